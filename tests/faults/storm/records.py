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
class Records:
    requests: Mapping[str, RequestRow]
    """In the order in which they were opened."""
    runs: Mapping[str, RunRow]
    steps: tuple[StepRow, ...]


def read(url: str) -> Records:
    """All of one moment."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        requests = connection.execute(
            "SELECT id::text, title, kind, status, answer, on_timeout, origin_id AS run_id, key, details,"
            " extract(epoch FROM deadline)::float8 AS deadline,"
            " extract(epoch FROM closed_at)::float8 AS closed_at FROM approvals_humanrequest"
            " ORDER BY opened_at, id"
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
    return Records(
        requests={row["id"]: RequestRow(**{**row, "answer": _json(row["answer"])}) for row in requests},
        runs={row["id"]: RunRow(**{**row, "result": _json(row["result"])}) for row in runs},
        steps=tuple(StepRow(**{**row, "result": _json(row["result"])}) for row in steps),
    )


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
