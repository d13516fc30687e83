"""A person's inbox: the first requests that they may see, found by indexes however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, Q

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import large_columns, permissions
from approvals.queries.account_names import name_field
from approvals.queries.requests import (
    Requests,
    barred,
    given,
    group_assignments,
    user_assignments,
    with_people,
)

OVERDUE_SOON = timedelta(minutes=5)
# With fewer assignments than this, requests are looked up by their ids.
FEW_ASSIGNED = 500
# Counting stops here.
COUNTED = 1_000


def list_inbox(
    user_id: int,
    *,
    status: str | None = Status.PENDING,
    kind: str | None = None,
    mine: bool = False,
    overdue_soon: bool = False,
    search: str = "",
    limit: int = 200,
    light: bool = False,
) -> list[HumanRequest]:
    """List the requests that the user may see, by deadline and then by age.

    `status` None is every state; other states than pending are ordered by when they closed, the latest first.
    `mine` leaves those that the user may decide. `light` leaves out large columns, as `defer_large` does.
    """
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return []
    wanted = given(status=status, kind=kind)
    if overdue_soon:
        wanted &= Q(deadline__lte=database_now() + OVERDUE_SOON)
    for word in search.split():
        asked_by = Q(**{f"requester__{name_field()}__icontains": word})
        wanted &= Q(title__icontains=word) | Q(key__icontains=word) | asked_by
    pending = status == Status.PENDING
    if not mine and person.holds(permissions.SEE_ALL):
        parts = [HumanRequest.objects.all()]
    else:
        in_charge = _parts_in_charge(person, pending=pending)
        parts = _without_barred(person, in_charge) if mine else _parts_seen(person, in_charge)
    order = _DUE_FIRST if pending else _LAST_CLOSED_FIRST
    return _first_of(parts, wanted, order, limit, light=light)


def first_pending(person: permissions.Person, limit: int) -> list[UUID]:
    """Return the ids of the first pending requests that this active person may see, as `list_inbox` does."""
    parts = _parts_seen(person, _parts_in_charge(person, pending=True))
    return _first_ids(parts, Q(status=Status.PENDING), _DUE_FIRST, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many pending requests a user may see, and may decide; at most COUNTED each."""

    seen: int
    mine: int


def count_waiting(user_id: int) -> Waiting:
    """Count the pending requests that the user may see, and may decide."""
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return Waiting(seen=0, mine=0)
    in_charge = _parts_in_charge(person, pending=True)
    return Waiting(
        seen=_count(_parts_seen(person, in_charge)), mine=_count(_without_barred(person, in_charge))
    )


def _count(parts: Iterable[Requests]) -> int:
    """Count the pending requests of these parts together, up to COUNTED."""
    some = [part.filter(status=Status.PENDING).order_by().values_list("pk")[:COUNTED] for part in parts]
    return min(len({pk for (pk,) in _union(some)}), COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order of requests by these columns and the id, for the database and, by `rank`, in Python."""

    by: tuple[Any, ...]
    columns: tuple[str, ...]
    rank: Callable[[tuple[Any, ...]], Any]


_NEVER = datetime(MAXYEAR, 12, 31, tzinfo=UTC)


_DUE_FIRST = _Order(
    by=(F("deadline").asc(nulls_last=True), "opened_at", "id"),
    columns=("deadline", "opened_at", "id"),
    rank=lambda row: (row[0] or _NEVER, row[1], row[2]),
)


_LAST_CLOSED_FIRST = _Order(
    by=(F("closed_at").desc(nulls_first=True), "-id"),
    columns=("closed_at", "id"),
    rank=lambda row: (_NEVER - (row[0] or _NEVER), -row[1].int),
)


def _first_of(
    parts: Iterable[Requests], wanted: Q, order: _Order, limit: int, *, light: bool
) -> list[HumanRequest]:
    """Return the first wanted requests of these parts together, with their people."""
    first = _first_ids(parts, wanted, order, limit)
    if not first:
        return []
    # Filtered again: some may have been decided meanwhile.
    found = HumanRequest.objects.filter(wanted, pk__in=first)
    rows = {row.pk: row for row in with_people(large_columns.defer_large(found) if light else found)}
    return [rows[pk] for pk in first if pk in rows]


def _first_ids(parts: Iterable[Requests], wanted: Q, order: _Order, limit: int) -> list[UUID]:
    """Return the ids of the first wanted requests of these parts together.

    Each part is queried for its own first: the database finds those by an index, or by the few assignments
    that there are. With conditions joined by OR it would read and sort every row.
    """
    firsts = [part.filter(wanted).order_by(*order.by).values_list(*order.columns)[:limit] for part in parts]
    ranks = {row[-1]: order.rank(row) for row in _union(firsts)}
    return sorted(ranks, key=ranks.__getitem__)[:limit]


def _union(firsts: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """Return the rows of all queries, in one query where the database can (SQLite can't)."""
    if len(firsts) > 1 and connection.features.supports_slicing_ordering_in_compound:
        rows: Iterable[tuple[Any, ...]] = firsts[0].union(*firsts[1:], all=True)
        return rows
    return chain.from_iterable(firsts)


def _parts_seen(person: permissions.Person, in_charge: list[Requests]) -> list[Requests]:
    """Return queries of what this person may see, as `visible_to` does; a request may be in several."""
    if person.holds(permissions.SEE_ALL):
        return [HumanRequest.objects.all()]
    return [HumanRequest.objects.filter(requester_id=person.id), *in_charge]


def _without_barred(person: permissions.Person, in_charge: list[Requests]) -> list[Requests]:
    """Leave out what four eyes keep this person from deciding; the rest is as `decidable_by` has it."""
    return [part.exclude(barred(person)) for part in in_charge]


def _parts_in_charge(person: permissions.Person, *, pending: bool) -> list[Requests]:
    named = _pending_assignments(person) if pending else None
    if named is None:
        by_name = Exists(user_assignments().filter(user_id=person.id))
        by_group = Exists(group_assignments().filter(group_id__in=person.group_ids))
        parts = [HumanRequest.objects.filter(by_name), HumanRequest.objects.filter(by_group)]
    else:
        parts = [HumanRequest.objects.filter(pk__in=named)]
    if person.holds(permissions.DECIDE):
        parts.append(HumanRequest.objects.filter(~Exists(user_assignments()), ~Exists(group_assignments())))
    return parts


def _pending_assignments(person: permissions.Person) -> list[UUID] | None:
    """Return the ids of pending requests assigned to this person or their groups; None: too many.

    Queried beforehand, because the database would not guess how few they are and read all pending requests.
    """
    by_name = UserAssignment.objects.filter(pending=True, user_id=person.id)
    by_group = GroupAssignment.objects.filter(pending=True, group_id__in=person.group_ids)
    found = [rows.values_list("request_id")[:FEW_ASSIGNED] for rows in (by_name, by_group)]
    ids = {request_id for (request_id,) in _union(found)}
    return None if len(ids) >= FEW_ASSIGNED else list(ids)
