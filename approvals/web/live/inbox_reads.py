"""The inbox hub's reads: sets in, sets out, a few messages to the database for any number of connections.

Synchronous, for the database threads. Every reading looks up credentials, users and rights afresh, and has
nothing in it that its users may not see.

An event takes one message for the requests, for whom they concern, and for the sessions, users and rights of
those to whom they are shown; where it concerns others who are connected here, another one for theirs. What it
costs does not depend on how many more are connected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from itertools import chain
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection

from approvals import queries
from approvals.database.clock import CLOCK, as_utc, database_now
from approvals.database.pipeline import execute, together, together_in_a_snapshot
from approvals.domain.lifecycle import Status
from approvals.queries import people_reads, permissions
from approvals.queries.delegations import next_change
from approvals.queries.people_reads import Viewers
from approvals.queries.permissions import Audience, Person
from approvals.queries.request_rows import RequestRow
from approvals.web.edge.credentials import Claims, Credential, ask_for_claims, ask_for_owners
from approvals.web.live.protocol import LARGE, Json, outcome_of_row, request_in_frame

# A snapshot holds the first of what a user may see, in the inbox's order.
SNAPSHOT_REQUESTS = 200
# About how much a request takes in a frame without its large fields.
FRAME_OF_REQUEST = 600

# A user's whole inbox (None), or the requests of one origin.
Scope: TypeAlias = tuple[int, str | None]

# Where a request stands in the inbox: what is due first, then by age.
Place: TypeAlias = tuple[datetime, datetime, UUID]

_NEVER = datetime(MAXYEAR, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request as frames show it: the same for all who may see it."""

    id: UUID
    version: datetime
    place: Place
    origin_id: str
    request: Json
    outcome: Json | None  # None while pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """The pending requests of one scope, in order. `cut`: there may be more after the last.

    `rows` are without large fields, which `items` reads.
    """

    rows: Sequence[Any]
    cut: bool

    @property
    def versions(self) -> dict[UUID, datetime]:
        return {row.pk: row.changed_at for row in self.rows}

    @property
    def end(self) -> Place | None:
        """The place of the last request, if the list was cut there."""
        return _place(self.rows[-1]) if self.cut and self.rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """The owners of the credentials that are valid, and these people's rights."""

    owners: Mapping[Credential, int]
    people: Mapping[int, Person]

    def __or__(self, other: Attendance) -> Attendance:
        return Attendance(owners={**self.owners, **other.owners}, people={**self.people, **other.people})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inboxes:
    attendance: Attendance
    inboxes: Mapping[Scope, Inbox]
    server_time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The state of some requests, and which of them each user whom they concern may see.

    `concerned` are connected; those whose credentials are not valid any more are not in `visible`.
    """

    concerned: frozenset[int]
    attendance: Attendance
    items: Mapping[UUID, Item]
    visible: Mapping[int, frozenset[UUID]]


def attendance(credentials_of: Mapping[int, Collection[Credential]]) -> Attendance:
    """Return which of these credentials still hold, and belong to the users that are named; one message."""
    with together():
        return _ask_for_attendance(credentials_of)()


def _ask_for_attendance(credentials_of: Mapping[int, Collection[Credential]]) -> Callable[[], Attendance]:
    claims = ask_for_claims([each for credentials in credentials_of.values() for each in credentials])
    return _ask_who_is_there(claims, credentials_of.keys())


def _ask_who_is_there(claims: Callable[[], Claims], user_ids: Collection[int]) -> Callable[[], Attendance]:
    owners, persons = ask_for_owners(claims, user_ids), people_reads.ask_for_persons(user_ids)

    def build() -> Attendance:
        people = persons()
        there = {key: user_id for key, user_id in owners().items() if user_id in people}
        return Attendance(owners=there, people=people)

    return build


def inboxes(wanted: Collection[tuple[Credential, str | None]]) -> Inboxes:
    """Return the inboxes of these credentials' owners, whole or for one origin, all of one moment.

    A request decided between two queries would leave a list that is not full, as if it had not been cut.
    """
    with together_in_a_snapshot():
        claims = ask_for_claims({credential for credential, _ in wanted})
        attending = _ask_who_is_there(claims, claims().user_ids)
        clock = execute(CLOCK[connection.vendor])
        present = attending()
        scopes = {(present.owners[key], origin) for key, origin in wanted if key in present.owners}
        return Inboxes(
            attendance=present,
            inboxes=_inboxes(scopes, present),
            server_time=queries.moment_on_the_wire(as_utc(clock.rows()[0][0])),
        )


def standing() -> tuple[Mapping[int, Set[int]], float | None]:
    """Return who stands for whom now, and in how many seconds that next changes by itself."""
    now = database_now()
    changes_at = next_change(now)
    of_each = people_reads.ask_for_delegates()()
    return of_each, None if changes_at is None else (changes_at - now).total_seconds()


def weight_of(row: Any) -> int:
    """Return about how many bytes a request will take in a frame."""
    weight: int = row.weight
    return FRAME_OF_REQUEST + min(weight, LARGE)


def items(rows: Collection[Any]) -> dict[UUID, Item]:
    """Read the rows' large fields; what a request asks stays the same while it is pending."""
    queries.load_large(rows, LARGE)
    return {row.pk: _item(row) for row in rows}


def news(
    ids: Set[UUID],
    shown_to: Mapping[UUID, Collection[int]],
    superusers: Set[int],
    credentials_of: Callable[[int], Collection[Credential]],
) -> News:
    """Return the state of these requests, for the users they are `shown_to` and all others they concern.

    `superusers` are those connected, as of when their rights were last read. `credentials_of` returns those
    with which a user is connected; it is called on this thread.
    """
    expected = _connected(chain(superusers, *shown_to.values()), credentials_of)
    likely = ids if superusers else ids & shown_to.keys()
    with together():
        found, asked_for_viewers = queries.ask_for_rows(ids), people_reads.ask_for_viewers(ids)
        standing = people_reads.ask_for_delegates()
        attending, large = _ask_for_attendance(expected), queries.ask_for_large(likely, LARGE)
        audiences, viewers = {row: row.audience for row in found()}, asked_for_viewers()
        involved = chain(viewers.user_ids, standing().keys(), *map(_named, audiences.values()))
        connected = _connected(involved, credentials_of)
        unexpected = {user_id: connected[user_id] for user_id in connected.keys() - expected.keys()}
        concerning = _concerning(connected.keys(), audiences, viewers, standing())
        also_attending = _ask_for_attendance(unexpected)
        also_large = queries.ask_for_large(concerning - likely, LARGE)
        present = attending() | also_attending()
    rows = [row for row in audiences if row.pk in likely or row.pk in concerning]
    large(rows)
    also_large(rows)
    visible = {
        user_id: frozenset(row.pk for row in rows if permissions.may_see(person, audiences[row]))
        for user_id, person in present.people.items()
    }
    seen = frozenset().union(*visible.values())
    return News(
        concerned=frozenset(expected.keys() | unexpected.keys()),
        attendance=present,
        items={row.pk: _item(row) for row in rows if row.pk in seen},
        visible=visible,
    )


def _inboxes(scopes: Collection[Scope], present: Attendance) -> dict[Scope, Inbox]:
    whole = [present.people[user_id] for user_id, origin in scopes if origin is None]
    of_origins = {origin: queries.ask_for_open_requests(origin) for _, origin in scopes if origin is not None}
    listed = queries.list_inboxes(whole, SNAPSHOT_REQUESTS)
    wanted = {*chain(*listed.values()), *chain(*(asked() for asked in of_origins.values()))}
    rows = {row.pk: row for row in queries.ask_for_rows(wanted)()}

    def inbox(user_id: int, origin: str | None) -> Inbox:
        if origin is None:
            shown = [rows[id_] for id_ in listed.get(user_id, ())]
        else:
            asked = [rows[id_] for id_ in of_origins[origin]()]
            person = present.people[user_id]
            seen = [row for row in asked if _is_of_a_run(row) and permissions.may_see(person, row.audience)]
            shown = sorted(seen, key=_place)[:SNAPSHOT_REQUESTS]
        return Inbox(rows=shown, cut=len(shown) == SNAPSHOT_REQUESTS)

    return {scope: inbox(*scope) for scope in scopes}


def _place(request: Any) -> Place:
    return request.deadline or _NEVER, request.opened_at, request.pk


def _is_of_a_run(row: Any) -> bool:
    """Whether a run asked it; others may name a run's id in an origin of another kind."""
    return bool(row.origin.get("kind") == "run")


def _item(row: Any) -> Item:
    return Item(
        id=row.pk,
        version=row.changed_at,
        place=_place(row),
        origin_id=row.origin_id if _is_of_a_run(row) else "",
        request=request_in_frame(row),
        outcome=None if row.status == Status.PENDING else outcome_of_row(row),
    )


def _connected(
    user_ids: Iterable[int], credentials_of: Callable[[int], Collection[Credential]]
) -> dict[int, Collection[Credential]]:
    """Return with which credentials these users are connected; those who are not are left out."""
    return {user_id: there for user_id in set(user_ids) if (there := credentials_of(user_id))}


def _concerning(
    user_ids: Set[int],
    audiences: Mapping[RequestRow, Audience],
    viewers: Viewers,
    standing: Mapping[int, Set[int]],
) -> set[UUID]:
    """Return the requests that one of these users, superusers left out, may see.

    `standing` says for whom each user stands, who may be a superuser. They may be fewer by the time when the
    rights of each are read.
    """
    principals: set[int] = set().union(*(standing.get(user_id, ()) for user_id in user_ids))
    there = user_ids | principals
    here = viewers.among(there)
    return {
        row.pk
        for row, audience in audiences.items()
        if here.include_one_of(audience)
        or (principals and not audience.assigned)
        or not there.isdisjoint(_named(audience))
    }


def _named(audience: Audience) -> frozenset[int]:
    """Return who asks and who is named."""
    asking = set() if audience.requester_id is None else {audience.requester_id}
    return audience.user_ids | asking
