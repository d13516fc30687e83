"""Lookups without a user: outcomes, what has changed, deadlines, requests by origin and by key, counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, Q

from approvals.database import bulk, conversions
from approvals.database.clock import database_now
from approvals.database.pipeline import execute
from approvals.domain.commands import Escalate
from approvals.domain.lifecycle import Kind, Outcome, Status
from approvals.models import HumanRequest, Notification, NotificationStatus
from approvals.queries import large_columns, origin_resolvers
from approvals.queries.requests import as_id, with_people
from approvals.queries.serialization import ECHOED, echo_of, recorded_outcome


def requests_by_id(ids: Collection[UUID | str], *, light: bool = False) -> list[HumanRequest]:
    """Return those of these requests that exist; `light` leaves out large columns, as `defer_large` does."""
    found = HumanRequest.objects.filter(pk__in=[as_id(request_id) for request_id in ids])
    return list(with_people(large_columns.defer_large(found) if light else found))


def outcomes(ids: Collection[UUID], *, only_closed: bool = False) -> dict[UUID, Outcome]:
    """Return the outcomes of these requests, or of those that are closed, by id; unknown ids are left out."""
    statement = _outcomes_statement(connection.vendor, only_closed=only_closed)
    return dict(map(_read_outcome, execute(statement, [bulk.values(ids)]).rows()))


def echoes(ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return what the askers of these requests get back with the outcome, by id."""
    asked = HumanRequest.objects.filter(pk__in=ids).only(*ECHOED)
    return {request.pk: echo_of(request) for request in asked}


def count_on_record(ids: Collection[UUID]) -> tuple[int, datetime | None]:
    """Count these requests, and return the earliest deadline of those that are pending.

    It reads as little as possible, because most of the requests that are waited for have not changed.
    """
    statement = (
        f"SELECT count(*), min(CASE WHEN status = %s THEN deadline END) FROM {bulk.table(HumanRequest)}"  # noqa: S608
        f" WHERE {bulk.among('id')}"
    )
    ((number, earliest),) = execute(statement, [Status.PENDING.value, bulk.values(ids)]).rows()
    return number, conversions.as_moment(earliest)


def missing_ids(ids: Collection[UUID]) -> set[UUID]:
    """Return those of these ids that no request has."""
    statement = f"SELECT id FROM {bulk.table(HumanRequest)} WHERE {bulk.among('id')}"  # noqa: S608  our own
    return set(ids) - {conversions.as_uuid(pk) for (pk,) in execute(statement, [bulk.values(ids)]).rows()}


def changed_since(moment: datetime) -> dict[UUID, tuple[datetime, int]]:
    """Return the requests that changed at `moment` (database clock) or later, each with its version."""
    changed = HumanRequest.objects.filter(changed_at__gte=moment)
    return {pk: (at, length) for pk, at, length in changed.values_list("pk", "changed_at", "trail_length")}


def next_due() -> tuple[datetime | None, datetime]:
    """Return the earliest deadline or step of an escalation of what is pending, and the database's clock."""
    pending = HumanRequest.objects.filter(status=Status.PENDING).order_by()
    deadlines = pending.filter(deadline__isnull=False).order_by("deadline")
    steps = pending.filter(escalates_at__isnull=False).order_by("escalates_at")
    earliest = (
        deadlines.values_list("deadline", flat=True).first(),
        steps.values_list("escalates_at", flat=True).first(),
    )
    return min((moment for moment in earliest if moment is not None), default=None), database_now()


def overdue(limit: int) -> list[UUID]:
    """Return the ids of pending requests whose deadline has passed (database clock), the oldest first."""
    due = HumanRequest.objects.filter(status=Status.PENDING, deadline__lte=database_now())
    return list(due.order_by("deadline", "id").values_list("pk", flat=True)[:limit])


def due_steps(limit: int) -> list[Escalate]:
    """Return the commands for steps of escalations that are due (database clock), the oldest first."""
    now = database_now()
    due = HumanRequest.objects.filter(status=Status.PENDING, escalates_at__lte=now)
    in_time = due.filter(Q(deadline=None) | Q(deadline__gt=now)).order_by("escalates_at", "id")
    steps = in_time.values_list("pk", "escalated")[:limit]
    return [Escalate(request_id=pk, step=escalated) for pk, escalated in steps]


def pending_requests() -> list[HumanRequest]:
    """Return all pending requests, the oldest first."""
    return list(with_people(HumanRequest.objects.filter(status=Status.PENDING)).order_by("opened_at", "id"))


def open_requests_of(origin_id: str, *, light: bool = False, limit: int | None = None) -> list[HumanRequest]:
    """Return the pending requests that this run asked; others may name its id in an origin of another kind.

    `light` leaves out large columns, as `defer_large` does. `limit`: the first ones by age.
    """
    rows = HumanRequest.objects.filter(origin_id=str(origin_id), status=Status.PENDING).exclude(origin_id="")
    asked = with_people((large_columns.defer_large(rows) if light else rows).order_by("opened_at", "id"))
    asked = asked if limit is None else asked[:limit]
    return [row for row in asked if row.origin.get("kind") == "run"]


def ask_for_open_requests(origin_id: str) -> Callable[[], list[UUID]]:
    """Request the ids of the pending requests with this origin, of whatever kind that is."""
    statement = (
        f"SELECT id FROM {bulk.table(HumanRequest)} WHERE origin_id = %s AND origin_id <> ''"  # noqa: S608
        f" AND status = '{Status.PENDING.value}'"
    )
    found = execute(statement, [origin_id])
    return lambda: [conversions.as_uuid(pk) for (pk,) in found.rows()]


def origins_beginning(text: str, limit: int) -> list[str]:
    """Return the ids, up to this many, of runs that have asked something and whose id begins with this text.

    The id that is the text comes first.
    """
    asked = HumanRequest.objects.filter(origin_id__startswith=text).order_by("origin_id")
    return list(asked.values_list("origin_id", flat=True).distinct()[:limit])


def requests_of_run(run_id: UUID, *, before: UUID | None = None, limit: int) -> list[HumanRequest]:
    """Return the last requests that this run asked, open or not, newest first, without large columns.

    `before`: those that were asked before this one.
    """
    rows = HumanRequest.objects.filter(origin_id=str(run_id), key_scope=f"run:{run_id}")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(with_people(large_columns.defer_large(rows).order_by("-id"))[:limit])


def origin_names(ids: Collection[UUID], word: str) -> dict[UUID, str]:
    """Return the names of what asked these requests, as the resolver with this word names them.

    They are told to whoever may see a request, whether or not they may see what asked it.
    """
    resolver = next(one for one in origin_resolvers.resolvers().values() if one.word == word)
    named = HumanRequest.objects.filter(pk__in=ids).exclude(origin_id="").annotate(name=resolver.name())
    return dict(named.exclude(name=None).values_list("pk", "name"))


def request_of_key(key_scope: str, key: str) -> HumanRequest | None:
    """Return the latest round of the request with this key."""
    rows = HumanRequest.objects.filter(key_scope=key_scope, key=key).select_related("decided_by")
    return rows.order_by("-round").first()


def requests_of_keys(key_scope: str) -> dict[str, UUID]:
    """Return the latest round of each key of this scope, in the order in which the keys were first used."""
    # A key has a first round, which keeps its place here, and gets the id of each later one.
    asked = HumanRequest.objects.filter(key_scope=key_scope).order_by("round", "opened_at", "id")
    return dict(asked.values_list("key", "pk"))


def seconds_left(request_id: UUID) -> float | None:
    """Return the seconds to the request's deadline, by the database's clock; None without a deadline."""
    deadline = HumanRequest.objects.values_list("deadline", flat=True).get(pk=request_id)
    return None if deadline is None else (deadline - database_now()).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCounts:
    """How many requests are pending, by kind, and overdue; ages in seconds, by the database's clock."""

    pending: Mapping[str, int]
    oldest: float
    overdue: int
    most_overdue: float


def count_pending() -> PendingCounts:
    """Count what is pending now."""
    pending = HumanRequest.objects.filter(status=Status.PENDING).order_by()
    by_kind = dict(pending.values_list("kind").annotate(Count("pk")))
    opened = pending.order_by("opened_at", "id").values_list("opened_at", flat=True).first()
    now = database_now()
    overdue = pending.filter(deadline__lte=now)
    due = overdue.order_by("deadline", "id").values_list("deadline", flat=True).first()
    return PendingCounts(
        pending={kind.value: by_kind.get(kind.value, 0) for kind in Kind},
        oldest=(now - opened).total_seconds() if opened else 0.0,
        overdue=overdue.count(),
        most_overdue=(now - due).total_seconds() if due else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingNotifications:
    """How many notifications wait to be sent, and by how many seconds the first is late."""

    waiting: int
    late: float


def count_notifications() -> WaitingNotifications:
    """Count what waits to be told now; what is due later is not late."""
    waiting = Notification.objects.filter(status=NotificationStatus.WAITING).order_by()
    due = waiting.order_by("due_at", "id").values_list("due_at", flat=True).first()
    late = (database_now() - due).total_seconds() if due else 0.0
    return WaitingNotifications(waiting=waiting.count(), late=max(late, 0.0))


@cache
def _outcomes_statement(vendor: str, *, only_closed: bool) -> str:
    """Return the statement that reads only the columns that waiters need."""
    user = get_user_model()
    name, key = bulk.column(user, user.USERNAME_FIELD), bulk.column(user, "pk")
    return (
        "SELECT r.id, r.kind, r.status, r.on_timeout, r.answer, r.arguments, r.final_arguments, r.comment,"  # noqa: S608
        f" u.{name}, r.closed_at FROM {bulk.table(HumanRequest)} r"
        f" LEFT JOIN {bulk.table(user)} u ON u.{key} = r.decided_by_id WHERE {bulk.among('r.id')}"
        + (f" AND r.status <> '{Status.PENDING.value}'" if only_closed else "")
    )


def _read_outcome(row: tuple[Any, ...]) -> tuple[UUID, Outcome]:
    """Return id and outcome of a row of that statement."""
    pk, kind, status, on_timeout, answer, asked, final, comment, decided_by, closed_at = row
    request_id = conversions.as_uuid(pk)
    return request_id, recorded_outcome(
        request_id=str(request_id),
        kind=Kind(kind),
        status=Status(status),
        on_timeout=on_timeout,
        answer=conversions.as_json(answer),
        arguments=conversions.as_json(asked if final is None else final),
        comment=comment,
        decided_by=decided_by,
        closed_at=conversions.as_moment(closed_at),
    )
