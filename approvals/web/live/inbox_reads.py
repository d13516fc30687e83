"""The inbox hub's reads: sets in, sets out, a constant number of queries for any number of connections.

Synchronous, for the database threads. Every reading looks up credentials, users and rights afresh, and has
nothing in it that its users may not see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q

from approvals import queries
from approvals.database.clock import database_now
from approvals.database.transactions import snapshot
from approvals.domain.lifecycle import Status
from approvals.queries import permissions
from approvals.queries.permissions import Audience, Person
from approvals.web.edge.credentials import Credential, owners
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


def attendance(credentials: Collection[Credential]) -> Attendance:
    found = owners(credentials)
    people = permissions.persons(found.values())
    there = {key: user_id for key, user_id in found.items() if user_id in people}
    return Attendance(owners=there, people=people)


def inboxes(wanted: Collection[tuple[Credential, str | None]]) -> Inboxes:
    """Return the inboxes of these credentials' owners, whole or for one origin, all of one moment.

    A request decided between two queries would leave a list that is not full, as if it had not been cut.
    """
    with snapshot():
        present = attendance({credential for credential, _ in wanted})
        scopes = {(present.owners[key], origin) for key, origin in wanted if key in present.owners}
        return Inboxes(
            attendance=present,
            inboxes={scope: _inbox(scope, present) for scope in scopes},
            server_time=queries.moment_on_the_wire(database_now()),
        )


def weight_of(row: Any) -> int:
    """Return about how many bytes a request will take in a frame."""
    weight: int = row.weight
    return FRAME_OF_REQUEST + min(weight, LARGE)


def items(rows: Collection[Any]) -> dict[UUID, Item]:
    """Read the rows' large fields; what a request asks stays the same while it is pending."""
    queries.load_large(rows, LARGE)
    return {row.pk: _item(row) for row in rows}


def news(
    ids: Collection[UUID], shown_to: Collection[int], credentials_of: Callable[[int], Collection[Credential]]
) -> News:
    """Return the state of these requests, for the users they are `shown_to` and all others they concern.

    `credentials_of` returns those with which a user is connected; it is called on this thread.
    """
    requests = queries.requests_by_id(ids, light=True)
    audiences = {request.pk: _audience(request) for request in requests}
    shown_by = {user_id: credentials_of(user_id) for user_id in {*shown_to, *_concerned(audiences.values())}}
    present = attendance({each for credentials in shown_by.values() for each in credentials})
    visible = {
        user_id: frozenset(
            id_ for id_, audience in audiences.items() if permissions.may_see(person, audience)
        )
        for user_id, person in present.people.items()
    }
    seen = frozenset().union(*visible.values())
    return News(
        concerned=frozenset(user_id for user_id, credentials in shown_by.items() if credentials),
        attendance=present,
        items=items([request for request in requests if request.pk in seen]),
        visible=visible,
    )


def _inbox(scope: Scope, present: Attendance) -> Inbox:
    user_id, origin_id = scope
    if origin_id is None:
        rows = queries.list_inbox(user_id, limit=SNAPSHOT_REQUESTS, light=True)
    else:
        person = present.people[user_id]
        asked = queries.open_requests_of(origin_id, light=True)
        rows = [row for row in asked if permissions.may_see(person, _audience(row))]
        rows = sorted(rows, key=_place)[:SNAPSHOT_REQUESTS]
    return Inbox(rows=rows, cut=len(rows) == SNAPSHOT_REQUESTS)


def _audience(request: Any) -> Audience:
    """Build the audience from the people that were read with the request."""
    return Audience(
        requester_id=request.requester_id,
        user_ids=frozenset(user.pk for user in request.assigned_users.all()),
        group_ids=frozenset(group.pk for group in request.assigned_groups.all()),
        four_eyes=request.four_eyes,
    )


def _place(request: Any) -> Place:
    return request.deadline or _NEVER, request.opened_at, request.pk


def _item(row: Any) -> Item:
    return Item(
        id=row.pk,
        version=row.changed_at,
        place=_place(row),
        origin_id=row.origin_id if row.origin.get("kind") == "run" else "",
        request=request_in_frame(row),
        outcome=None if row.status == Status.PENDING else outcome_of_row(row),
    )


def _concerned(audiences: Collection[Audience]) -> set[int]:
    """Return the users who may see one of these, and perhaps more: rights are tested for each later."""
    named = {user_id for audience in audiences for user_id in audience.user_ids}
    asking = {audience.requester_id for audience in audiences if audience.requester_id is not None}
    groups = {group_id for audience in audiences for group_id in audience.group_ids}
    return named | asking | _users(Q(groups__in=groups)) | _holders() if audiences else set()


def _holders() -> set[int]:
    """Return the users who see requests by a permission."""
    held = Permission.objects.filter(
        content_type__app_label="approvals", codename__in=[permissions.SEE_ALL, permissions.DECIDE]
    )
    return _users(Q(is_superuser=True) | Q(user_permissions__in=held) | Q(groups__permissions__in=held))


def _users(which: Q) -> set[int]:
    return set(get_user_model()._default_manager.filter(which).values_list("pk", flat=True))
