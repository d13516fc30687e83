"""What the database says after a storm, read by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    id: str
    title: str
    kind: str
    status: str
    answer: Any
    on_timeout: str
    run_id: str
    key: str
    details: str
    deadline: float | None
    closed_at: float | None
    opened_at: float = 0.0
    requester: str = ""
    required: int = 1
    closed_by_asker: bool = False

    @property
    def approved(self) -> bool:
        return self.status == "approved" or (self.status == "timed_out" and self.on_timeout == "approve")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    id: str
    key: str
    status: str
    reason: str
    result: Any
    finished_at: float | None
    error: str = ""
    version: int = 1
    resumed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A recorded call of a run: `request_id` where it asked somebody, `due_at` where it sleeps, `begun_by`
    (host and process id) where it did something."""

    run_id: str
    key: str
    kind: str
    status: str
    request_id: str | None
    result: Any = None
    finished_at: float | None
    error: str = ""
    begun_by: str = ""
    due_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRow:
    """One event on its way to one person. `used`: its link has decided; `together`: with others, in one."""

    id: str
    request_id: str
    event: str
    person: str
    status: str
    used: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRow:
    """A vote or an answer, by whom and for whom, if that is somebody else."""

    request_id: str
    person: str | None
    on_behalf_of: str | None
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    requests: Mapping[str, RequestRow]
    """In the order in which they were opened."""
    runs: Mapping[str, RunRow]
    steps: tuple[StepRow, ...]
    notifications: tuple[NotificationRow, ...] = ()
    responses: tuple[ResponseRow, ...] = ()


def read(url: str) -> Records:
    """All of one moment."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        requests = connection.execute(
            "SELECT r.id::text, title, kind, status, answer, on_timeout, origin_id AS run_id, key, details,"
            " required, coalesce(u.username, '') AS requester,"
            " coalesce(e.actor_id = r.requester_id AND e.token_id IS NULL, false) AS closed_by_asker,"
            " extract(epoch FROM opened_at)::float8 AS opened_at,"
            " extract(epoch FROM deadline)::float8 AS deadline,"
            " extract(epoch FROM closed_at)::float8 AS closed_at FROM approvals_humanrequest r"
            " LEFT JOIN auth_user u ON u.id = r.requester_id"
            " LEFT JOIN approvals_auditentry e ON e.request_id = r.id AND e.outcome <> ''"
            " ORDER BY opened_at, r.id"
        ).fetchall()
        runs = connection.execute(
            "SELECT id::text, key, status, reason, result, error, version, resumed,"
            " extract(epoch FROM finished_at)::float8 AS finished_at FROM orchestration_run"
        ).fetchall()
        steps = connection.execute(
            "SELECT run_id::text, key, kind, status, request_id::text, result, error, begun_by,"
            " extract(epoch FROM due_at)::float8 AS due_at,"
            " extract(epoch FROM finished_at)::float8 AS finished_at FROM orchestration_steprecord"
        ).fetchall()
        notifications = connection.execute(
            "SELECT n.id::text, request_id::text, event, u.username AS person, n.status,"
            " used_at IS NOT NULL AS used, digest IS NOT NULL AS together FROM approvals_notification n"
            " JOIN approvals_destination d ON d.id = n.destination_id JOIN auth_user u ON u.id = d.user_id"
        ).fetchall()
        responses = connection.execute(
            "SELECT request_id::text, u.username AS person, p.username AS on_behalf_of, channel"
            " FROM approvals_response r LEFT JOIN auth_user u ON u.id = r.actor_id"
            " LEFT JOIN auth_user p ON p.id = r.on_behalf_of_id"
        ).fetchall()
    return Records(
        requests={row["id"]: RequestRow(**{**row, "answer": _json(row["answer"])}) for row in requests},
        runs={row["id"]: RunRow(**{**row, "result": _json(row["result"])}) for row in runs},
        steps=tuple(StepRow(**{**row, "result": _json(row["result"])}) for row in steps),
        notifications=tuple(NotificationRow(**row) for row in notifications),
        responses=tuple(ResponseRow(**row) for row in responses),
    )


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
