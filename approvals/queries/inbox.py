"""A person's inbox: the first of what they may see, found by indexes however much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, Q

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import large_columns, permissions
from approvals.queries.requests import barred, group_assignments, user_assignments, with_people

if TYPE_CHECKING:
    from approvals.queries.requests import Requests


OVERDUE_SOON = timedelta(minutes=5)
# Assignments that are looked up one by one.
FEW_ASSIGNED = 500
# Beyond this nobody counts on.
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
    """What the user may see, what is due first coming first, then by age; `mine`: named to decide it.

    `status` None is every state; requests that are closed come last closed first. `light`: without what may
    be large of each, as `large_columns.light` says.
    """
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return []
    wanted = Q()
    if status:
        wanted &= Q(status=status)
    if kind:
        wanted &= Q(kind=kind)
    if overdue_soon:
        wanted &= Q(deadline__lte=database_now() + OVERDUE_SOON)
    for word in search.split():
        wanted &= Q(title__icontains=word) | Q(key__icontains=word) | Q(requester__username__icontains=word)
    pending = status == Status.PENDING
    parts = _parts_to_decide(person, pending=pending) if mine else _parts_seen(person, pending=pending)
    order = _DUE_FIRST if pending else _LAST_CLOSED_FIRST
    return _first_of(parts, wanted, order, limit, light=light)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many requests wait that somebody may see, and may decide; COUNTED stands for any more than that."""

    seen: int
    mine: int


def count_waiting(user_id: int) -> Waiting:
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return Waiting(seen=0, mine=0)
    in_charge = _parts_in_charge(person, pending=True)
    return Waiting(seen=_count(_all_seen(person, in_charge)), mine=_count(_without_barred(person, in_charge)))


def _count(parts: Iterable[Requests]) -> int:
    """How many pending requests these parts hold together, COUNTED at most. In no order: any will do."""
    some = [part.filter(status=Status.PENDING).order_by().values_list("pk")[:COUNTED] for part in parts]
    return min(len({pk for (pk,) in _union(some)}), COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order of requests, as the database sorts and as `rank` does: by these columns and the id."""

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
    """The first of all wanted requests that these parts hold together, with their people.

    Each part is asked for no more than its own first: the database finds those by an index, or by the few
    assignments there are. Of conditions joined by OR it would look at every row, and sort.
    """
    firsts = [part.filter(wanted).order_by(*order.by).values_list(*order.columns)[:limit] for part in parts]
    ranks = {row[-1]: order.rank(row) for row in _union(firsts)}
    first = sorted(ranks, key=ranks.__getitem__)[:limit]
    if not first:
        return []
    # Still wanted: some may have been decided meanwhile.
    found = HumanRequest.objects.filter(wanted, pk__in=first)
    rows = {row.pk: row for row in with_people(large_columns.defer_large(found) if light else found)}
    return [rows[pk] for pk in first if pk in rows]


def _union(firsts: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """The rows of all: of one question, where the database takes it (SQLite does not)."""
    if len(firsts) > 1 and connection.features.supports_slicing_ordering_in_compound:
        rows: Iterable[tuple[Any, ...]] = firsts[0].union(*firsts[1:], all=True)
        return rows
    return chain.from_iterable(firsts)


def _parts_seen(person: permissions.Person, *, pending: bool) -> list[Requests]:
    """What this person may see, as `visible_to` says; one request may be in several. `pending`: what is."""
    if person.holds(permissions.SEE_ALL):
        return [HumanRequest.objects.all()]
    return _all_seen(person, _parts_in_charge(person, pending=pending))


def _parts_to_decide(person: permissions.Person, *, pending: bool) -> list[Requests]:
    """What this person may decide, as `decidable_by` says."""
    return _without_barred(person, _parts_in_charge(person, pending=pending))


def _all_seen(person: permissions.Person, in_charge: list[Requests]) -> list[Requests]:
    if person.holds(permissions.SEE_ALL):
        return [HumanRequest.objects.all()]
    return [HumanRequest.objects.filter(requester_id=person.id), *in_charge]


def _without_barred(person: permissions.Person, in_charge: list[Requests]) -> list[Requests]:
    """Without those that need four eyes, of which this person is no second pair."""
    return [part.exclude(barred(person)) for part in in_charge]


def _parts_in_charge(person: permissions.Person, *, pending: bool) -> list[Requests]:
    named = _assigned_pending(person) if pending else None
    if named is None:
        by_name = Exists(user_assignments().filter(user_id=person.id))
        by_group = Exists(group_assignments().filter(group_id__in=person.group_ids))
        parts = [HumanRequest.objects.filter(by_name), HumanRequest.objects.filter(by_group)]
    else:
        parts = [HumanRequest.objects.filter(pk__in=named)]
    if person.holds(permissions.DECIDE):
        parts.append(HumanRequest.objects.filter(~Exists(user_assignments()), ~Exists(group_assignments())))
    return parts


def _assigned_pending(person: permissions.Person) -> list[UUID] | None:
    """What is pending and assigned to this person, by name or by group; None: too much to be named.

    Asked beforehand, because the database would not guess how little it is, and rather look at all that is
    pending.
    """
    by_name = UserAssignment.objects.filter(pending=True, user_id=person.id)
    by_group = GroupAssignment.objects.filter(pending=True, group_id__in=person.group_ids)
    found = [rows.values_list("request_id")[:FEW_ASSIGNED] for rows in (by_name, by_group)]
    ids = {request_id for (request_id,) in _union(found)}
    return None if len(ids) >= FEW_ASSIGNED else list(ids)
