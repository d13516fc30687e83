"""A person's inbox: lists of what they may see and what became of it, and how much there is.

However many requests are on record, a list reads a bounded number of them: each has an index in its order,
and counts end at COUNTED. What was decided is searched among the newest SEARCHED, which the page says where
there are more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import Q

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries import large_columns, people_reads, permissions
from approvals.queries.due_soon import is_due_soon
from approvals.queries.inbox_parts import (
    DUE_FIRST,
    LAST_CLOSED_FIRST,
    NEWEST_FIRST,
    OLDEST_FIRST,
    PENDING_FIRST,
    Order,
    Parts,
    first_ids,
    some_ids,
)
from approvals.queries.quorum import voted_out
from approvals.queries.requests import (
    GroupName,
    Requests,
    decidable_by,
    given,
    not_voted_by,
    with_group_key,
    with_people,
)
from approvals.queries.search import search_condition

# Counting stops here.
COUNTED = 1_000
SEARCHED = 10_000

_PENDING = Q(status=Status.PENDING)
# As the indexes of closed requests have it.
_CLOSED = Q(closed_at__isnull=False)

# Behind this moment and id a page of closed requests begins.
Place: TypeAlias = tuple[datetime, UUID]


class Tab(StrEnum):
    """What a list is of: pending requests that this person may decide, has asked, or may see; closed ones."""

    MINE = "mine"
    ASKED = "asked"
    ALL = "all"
    DECIDED = "decided"


class Sort(StrEnum):
    DEADLINE = "deadline"
    AGE = "age"
    NEWEST = "newest"


_ORDERS = {Sort.DEADLINE: DUE_FIRST, Sort.AGE: OLDEST_FIRST, Sort.NEWEST: NEWEST_FIRST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which requests a list has, and in which order; of closed ones, those that closed last come first.

    `by_me`, `status` and `before` are for closed requests, `due_soon` and `sort` for pending ones.
    """

    tab: Tab = Tab.MINE
    by_me: bool = False
    kind: str = ""
    status: str = ""
    due_soon: bool = False
    search: str = ""
    sort: Sort = Sort.DEADLINE
    before: Place | None = None

    @property
    def closed(self) -> bool:
        return self.tab is Tab.DECIDED

    @property
    def searches(self) -> bool:
        """Whether closed requests are looked for that no index has."""
        return self.closed and bool(self.search or self.kind or self.status)

    @property
    def order(self) -> Order:
        return LAST_CLOSED_FIRST if self.closed else _ORDERS[self.sort]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The first rows, without large columns, and whether there are more.

    `searched`: only so many of the newest closed requests were looked at; 0: all.
    """

    rows: list[Any]
    more: bool
    searched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many pending requests somebody can still decide, has asked and may see, and how many closed ones.

    What they have voted on they can't decide again. At most COUNTED each. `sees_more`: they may see others
    than those that they may decide or have asked.
    """

    mine: int
    asked: int
    all: int
    decided: int
    sees_more: bool


class Inbox:
    """The inbox of one person, with the rights that they have now; for one page, not to be kept."""

    def __init__(self, user_id: int) -> None:
        self._person = people_reads.persons([user_id]).get(user_id)
        self._parts = Parts(self._person)

    def read(self, selection: Selection, limit: int, *, only: Set[UUID] = frozenset()) -> Listed:
        """Read the first requests of the selection, in a constant number of queries.

        `only`: of these, the rows with these ids; empty: all.
        """
        parts, wanted = self._parts_of(selection), _condition(selection)
        since = _start_of_search(parts) if selection.searches else None
        if since is not None:
            wanted &= Q(closed_at__gte=since)
        ids = first_ids(parts, wanted, selection.order, limit + 1)
        found = large_columns.defer_large(HumanRequest.objects.filter(wanted))
        shown = [pk for pk in ids[:limit] if pk in only] if only else ids[:limit]
        rows = _in_order(shown, found.select_related("requester", "decided_by"))
        return Listed(rows=rows, more=len(ids) > limit, searched=0 if since is None else SEARCHED)

    def count(self) -> Counts:
        """Count what each tab has."""
        pending = (Tab.MINE, Tab.ASKED, Tab.ALL)
        ids = {tab: some_ids(self._parts_of(Selection(tab=tab)), _PENDING, COUNTED) for tab in pending}
        ids[Tab.DECIDED] = self._parts.closed_ids(COUNTED)
        sees_all = self._person is not None and self._person.holds(permissions.SEE_ALL)
        sees_more = sees_all or not ids[Tab.ALL] <= ids[Tab.MINE] | ids[Tab.ASKED]
        ids[Tab.MINE] = self._to_decide()
        return Counts(
            **{tab.value: min(len(found), COUNTED) for tab, found in ids.items()}, sees_more=sees_more
        )

    def _to_decide(self) -> set[UUID]:
        """Return the ids of what the person may decide and has not voted on, up to COUNTED of each part."""
        if self._person is None:
            return set()
        left = _PENDING & (Q(required=1) | not_voted_by(self._person))
        return some_ids(self._parts_of(Selection(tab=Tab.MINE)), left, COUNTED)

    def read_groups(self, selection: Selection, names: Collection[GroupName]) -> list[Any]:
        """Return what the person can decide now of these groups and the selection has, in its order.

        At most COUNTED, in a constant number of queries, without large columns.
        """
        if self._person is None or not self._person.active or not names:
            return []
        wanted = _condition(selection) & decidable_by(self._person)
        found = with_group_key(HumanRequest.objects.filter(wanted), {name.key for name in names})
        rows = large_columns.defer_large(found.select_related("requester", "decided_by"))
        rows = rows.order_by(*selection.order.by)[:COUNTED]
        members = [row for row in rows if GroupName.of(row) in names]
        voted = self.voted_on(members)
        return [row for row in members if row.pk not in voted]

    def groups_of(self, ids: Collection[UUID]) -> set[GroupName]:
        """Return the groups of those of these requests that the person may see."""
        person = self._person
        if person is None:
            return set()
        rows = large_columns.defer_large(HumanRequest.objects.filter(pk__in=ids).exclude(group_key=""))
        audiences = people_reads.audiences(rows)
        seen = (row for row in rows if permissions.may_see(person, audiences[row.pk]))
        return {name for row in seen if (name := GroupName.of(row))}

    def may_decide(self, rows: Collection[HumanRequest]) -> set[UUID]:
        """Return which of these the person is permitted to decide, whatever their state."""
        person = self._person
        if person is None:
            return set()
        audiences = people_reads.audiences(rows)
        return {pk for pk, audience in audiences.items() if permissions.may_decide(person, audience)}

    def voted_on(self, rows: Collection[HumanRequest]) -> set[UUID]:
        """Return on which of these, of those that need several approvals, the person has no vote left."""
        several = [row for row in rows if row.required > 1]
        if self._person is None or not several:
            return set()
        return voted_out(self._person, people_reads.audiences(several))

    def _parts_of(self, selection: Selection) -> list[Requests]:
        match selection.tab:
            case Tab.MINE:
                return self._parts.decidable(pending=True)
            case Tab.ASKED:
                return self._parts.asked()
            case Tab.ALL:
                return self._parts.seen(pending=True)
            case Tab.DECIDED:
                if selection.by_me:
                    return self._parts.decided()
                newest = SEARCHED + 1 if selection.searches else None
                return self._parts.seen(pending=False, newest=newest)


def list_inbox(
    user_id: int,
    *,
    status: str | None = Status.PENDING,
    kind: str | None = None,
    mine: bool = False,
    limit: int = 200,
) -> list[HumanRequest]:
    """List the requests that the user may see, by deadline and then by age.

    `status` None is every state; other states than pending are ordered by when they closed, the latest first.
    `mine` leaves those that the user may decide.
    """
    parts = Parts(people_reads.persons([user_id]).get(user_id))
    pending = None if status is None else status == Status.PENDING
    some = parts.decidable(pending=pending) if mine else parts.seen(pending=pending)
    wanted, order = given(status=status, kind=kind), DUE_FIRST if pending else PENDING_FIRST
    if pending is False:
        wanted, order = wanted & _CLOSED, LAST_CLOSED_FIRST
    # Filtered again: some may have been decided meanwhile.
    return _in_order(first_ids(some, wanted, order, limit), with_people(HumanRequest.objects.filter(wanted)))


def first_pending(person: permissions.Person, limit: int) -> list[UUID]:
    """Return the ids of the first pending requests that this person may see, as `list_inbox` does."""
    return first_ids(Parts(person).seen(pending=True), _PENDING, DUE_FIRST, limit)


def _condition(selection: Selection) -> Q:
    wanted = given(kind=selection.kind) & search_condition(selection.search)
    if selection.closed:
        wanted &= _CLOSED & given(status=selection.status)
        return wanted & _behind(selection.before) if selection.before else wanted
    return wanted & _PENDING & (Q(is_due_soon(database_now())) if selection.due_soon else Q())


def _behind(place: Place) -> Q:
    at, request_id = place
    # The first condition is for the index.
    return Q(closed_at__lte=at) & (Q(closed_at__lt=at) | Q(pk__lt=request_id))


def _start_of_search(parts: Iterable[Requests]) -> datetime | None:
    """Return when the first of the newest SEARCHED was closed; None if there are no more than these.

    Of each part that many are looked at: together they have at least the newest SEARCHED of all.
    """
    begins: list[Any] = []
    for part in parts:
        closed = part.filter(_CLOSED).order_by("-closed_at", "-id").values_list("closed_at", flat=True)
        last, *beyond = closed[SEARCHED - 1 : SEARCHED + 1] or [None]
        begins += [last] if beyond else []
    return max(begins, default=None)


def _in_order(ids: Sequence[UUID], requests: Requests) -> list[Any]:
    """Return those of these requests that have these ids, in their order."""
    rows = {row.pk: row for row in requests.filter(pk__in=ids)} if ids else {}
    return [rows[pk] for pk in ids if pk in rows]
