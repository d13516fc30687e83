"""The parts of what somebody may see: queries whose rows an index has, or few assignments.

With conditions joined by OR the database would read and sort every row. So each part is queried for its own
first, and these are put in order together. A request may be in several parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q

from approvals.models import GroupAssignment, HumanRequest, Response, UserAssignment
from approvals.queries import permissions
from approvals.queries.requests import (
    Requests,
    barred,
    decidable_for_others,
    group_assignments,
    seen_by,
    seen_for_others,
    user_assignments,
)

# With fewer assignments than this, requests are looked up by their ids.
FEW_ASSIGNED = 500

_NEVER = datetime(MAXYEAR, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order of requests by these columns and the id, for the database and, by `rank`, in Python."""

    by: tuple[Any, ...]
    columns: tuple[str, ...]
    rank: Callable[[tuple[Any, ...]], Any]


DUE_FIRST = Order(
    by=(F("deadline").asc(nulls_last=True), "opened_at", "id"),
    columns=("deadline", "opened_at", "id"),
    rank=lambda row: (row[0] or _NEVER, row[1], row[2]),
)
OLDEST_FIRST = Order(by=("opened_at", "id"), columns=("opened_at", "id"), rank=lambda row: (row[0], row[1]))
NEWEST_FIRST = Order(
    by=("-opened_at", "-id"), columns=("opened_at", "id"), rank=lambda row: (_NEVER - row[0], -row[1].int)
)
LAST_CLOSED_FIRST = Order(
    by=("-closed_at", "-id"), columns=("closed_at", "id"), rank=lambda row: (_NEVER - row[0], -row[1].int)
)
# Pending ones before all that are closed.
PENDING_FIRST = Order(
    by=(F("closed_at").desc(nulls_first=True), "-id"),
    columns=("closed_at", "id"),
    rank=lambda row: (_NEVER - (row[0] or _NEVER), -row[1].int),
)


class Parts:
    """What one person may see, in parts, with the rights that they have now. Inactive ones see nothing.

    `pending`: what is pending, or closed, will be asked for; None: any.
    """

    def __init__(self, person: permissions.Person | None) -> None:
        self._person = person if person is not None and person.active else None
        self._few: dict[tuple[bool, bool], list[UUID] | None] = {}

    def seen(self, *, pending: bool | None, newest: int | None = None) -> list[Requests]:
        """Return what the person may see, as `visible_to` does.

        `newest`: of many that are assigned to them, so many that were assigned last.
        """
        if self._sees_all:
            return [HumanRequest.objects.all()]
        return [*self.asked(), *self._in_charge(pending, newest), *self._for_others(pending, seen_for_others)]

    def decidable(self, *, pending: bool | None) -> list[Requests]:
        """Return what the person may decide, as `decidable_by` does."""
        person = self._person
        if person is None:
            return []
        parts = [*self._in_charge(pending), *self._for_others(pending, decidable_for_others)]
        return [part.exclude(barred(person)) for part in parts]

    def asked(self) -> list[Requests]:
        """Return what the person has asked."""
        person = self._person
        return [] if person is None else [HumanRequest.objects.filter(requester_id=person.id)]

    def decided(self) -> list[Requests]:
        """Return what the person closed, or voted on where several are needed, and may still see."""
        person = self._person
        if person is None:
            return []
        voted = Exists(Response.objects.filter(request_id=OuterRef("pk"), actor_id=person.id))
        acts = (Q(decided_by_id=person.id), Q(voted, required__gt=1))
        return [HumanRequest.objects.filter(act & seen_by(person)) for act in acts]

    def closed_ids(self, limit: int) -> set[UUID]:
        """Return the ids of closed requests that the person may see, up to `limit` of each part."""
        parts = [HumanRequest.objects.all()]
        if not self._sees_all:
            parts = [*self.asked(), *self._free(), *self._for_others(False, seen_for_others)]
        found = [part.filter(closed_at__isnull=False).order_by().values_list("pk")[:limit] for part in parts]
        if not self._sees_all:
            found += [rows.values_list("request_id")[:limit] for rows in self._assignments(pending=False)]
        return {pk for (pk,) in _union(found)}

    @property
    def _sees_all(self) -> bool:
        return self._person is not None and self._person.holds(permissions.SEE_ALL)

    def _in_charge(self, pending: bool | None, newest: int | None = None) -> list[Requests]:
        """Return what is assigned to the person, by name or by group, and to any reviewer if this is one."""
        person = self._person
        if person is None:
            return []
        few = self._few_assigned(pending)
        if few is not None:
            named = [Q(pk__in=few)]
        elif newest is not None and pending is not None:
            last = [rows.order_by("-id")[:newest] for rows in self._assignments(pending=pending)]
            named = [Q(pk__in=rows.values("request_id")) for rows in last]
        else:
            by_name = user_assignments().filter(user_id=person.id)
            by_group = group_assignments().filter(group_id__in=person.group_ids)
            named = [Q(Exists(by_name)), Q(Exists(by_group))]
        return [*(HumanRequest.objects.filter(these) for these in named), *self._free()]

    def _for_others(
        self, pending: bool | None, condition: Callable[[permissions.Person], Q], /
    ) -> list[Requests]:
        """Return what meets the condition, which is about those for whom the person stands, all together."""
        person = self._person
        if person is None or not person.principals:
            return []
        few = self._few_assigned(pending, others=True)
        named = HumanRequest.objects.all() if few is None else HumanRequest.objects.filter(pk__in=few)
        free = [] if few is None else self._free(person.principals)
        return [part.filter(condition(person)) for part in (named, *free)]

    def _free(self, people: Collection[permissions.Person] | None = None) -> list[Requests]:
        """Return what is assigned to nobody, if one of these people, or this one, is a reviewer."""
        people = people if people is not None else [self._person] if self._person is not None else []
        if not any(one.holds(permissions.DECIDE) for one in people):
            return []
        return [HumanRequest.objects.filter(~Exists(user_assignments()), ~Exists(group_assignments()))]

    def _few_assigned(self, pending: bool | None, *, others: bool = False) -> list[UUID] | None:
        """Return the ids of requests assigned to the person or their groups; None: too many, or of any state.

        With `others`, to those for whom they stand. Queried beforehand, and once, because the database would
        not guess how few they are and read all requests.
        """
        if pending is None:
            return None
        if (pending, others) not in self._few:
            found = self._assignments(pending=pending, others=others)
            ids = {pk for (pk,) in _union([rows.values_list("request_id")[:FEW_ASSIGNED] for rows in found])}
            self._few[pending, others] = None if len(ids) >= FEW_ASSIGNED else list(ids)
        return self._few[pending, others]

    def _assignments(self, *, pending: bool, others: bool = False) -> list[Any]:
        if self._person is None:
            return []
        people = self._person.principals if others else (self._person,)
        groups = {group_id for one in people for group_id in one.group_ids}
        return [
            UserAssignment.objects.filter(pending=pending, user_id__in=[one.id for one in people]),
            GroupAssignment.objects.filter(pending=pending, group_id__in=groups),
        ]


def first_ids(parts: Iterable[Requests], wanted: Q, order: Order, limit: int) -> list[UUID]:
    """Return the ids of the first wanted requests of these parts together."""
    firsts = [part.filter(wanted).order_by(*order.by).values_list(*order.columns)[:limit] for part in parts]
    ranks = {row[-1]: order.rank(row) for row in _union(firsts)}
    return sorted(ranks, key=ranks.__getitem__)[:limit]


def some_ids(parts: Sequence[Requests], wanted: Q, limit: int) -> set[UUID]:
    """Return the ids of wanted requests of these parts together, up to `limit` of each part."""
    some = [part.filter(wanted).order_by().values_list("pk")[:limit] for part in parts]
    return {pk for (pk,) in _union(some)}


def _union(firsts: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """Return the rows of all queries, in one query where the database can (SQLite can't)."""
    if len(firsts) > 1 and connection.features.supports_slicing_ordering_in_compound:
        rows: Iterable[tuple[Any, ...]] = firsts[0].union(*firsts[1:], all=True)
        return rows
    return chain.from_iterable(firsts)
