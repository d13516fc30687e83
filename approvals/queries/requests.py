"""Requests with their people, ids from text, and the conditions of assignment."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple, Self, TypeAlias
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.db.models.lookups import GreaterThan

from approvals.exceptions import UnknownRequest
from approvals.models import (
    ORIGIN_ID_LIMIT,
    AuditEntry,
    Event,
    GroupAssignment,
    HumanRequest,
    Response,
    UserAssignment,
)
from approvals.queries import permissions

Requests: TypeAlias = QuerySet[HumanRequest]


def with_people(requests: Requests) -> Requests:
    """Read the requests' people along, in a constant number of queries."""
    return requests.select_related("requester", "decided_by").prefetch_related(
        "assigned_users", "assigned_groups"
    )


def as_id(request_id: UUID | str) -> UUID:
    """Convert to a UUID; UnknownRequest for other text."""
    try:
        return request_id if isinstance(request_id, UUID) else UUID(str(request_id))
    except ValueError:
        raise unknown_request(request_id) from None


def id_or_none(text: str) -> UUID | None:
    """Convert to a UUID; None for other text."""
    try:
        return as_id(text)
    except UnknownRequest:
        return None


def unknown_request(request_id: UUID | str) -> UnknownRequest:
    """Return the error for an id that does not exist, or is not visible."""
    return UnknownRequest(
        f"There is no request {str(request_id)[:100]!r}, or you may not see it.", field="request_id"
    )


def given(**conditions: object) -> Q:
    """Return those of these conditions that are given: neither None nor empty."""
    return Q(**{name: value for name, value in conditions.items() if value})


def decidable_by(person: permissions.Person) -> Q:
    """Return the condition that this person is permitted to decide, as `permissions.may_decide` has it."""
    return (in_charge(person) | decidable_for_others(person)) & ~barred(person)


def decidable_for_others(person: permissions.Person) -> Q:
    """Return the condition that somebody may decide for whom this person stands."""
    return _any(in_charge(one) & ~barred(one) for one in person.principals)


def not_voted_by(person: permissions.Person) -> Q:
    """Return the condition that this person, who may decide, has not voted, and still has a vote to give."""
    voted = Response.objects.filter(request_id=OuterRef("pk"))
    mine = Exists(voted.filter(actor_id=person.id))

    def given(one: permissions.Person) -> Exists:
        return Exists(voted.filter(Q(on_behalf_of_id=one.id) | Q(on_behalf_of=None, actor_id=one.id)))

    if not person.principals:
        return ~Q(mine) & ~Q(given(person))
    own = in_charge(person) & ~Q(given(person))
    left = (in_charge(one) & ~barred(one) & ~Q(given(one)) for one in person.principals)
    return ~Q(mine) & (own | _any(left))


def seen_by(person: permissions.Person) -> Q:
    """Return the condition that this active person may see a request, as `permissions.may_see` has it."""
    if person.holds(permissions.SEE_ALL):
        return Q()
    return Q(requester_id=person.id) | in_charge(person) | seen_for_others(person)


def seen_for_others(person: permissions.Person) -> Q:
    """Return the condition that this person sees a request for somebody for whom they stand."""
    return _any(in_charge(one) & ~Q(four_eyes=True, requester_id=one.id) for one in person.principals)


def in_charge(person: permissions.Person) -> Q:
    """Return the condition that a request is this person's own to decide, if four eyes let them."""
    named = assigned_to(person)
    if person.holds(permissions.DECIDE):
        named |= ~Exists(user_assignments()) & ~Exists(group_assignments())
    return named


def _any(conditions: Iterable[Q]) -> Q:
    """Join conditions by OR; without any, nothing meets the result."""
    return reduce(or_, conditions, Q(pk__in=[]))


def barred(person: permissions.Person) -> Q:
    """Return the condition that four eyes keep this person from deciding, as `Audience.barred` has it."""
    handed_on = AuditEntry.objects.filter(
        request_id=OuterRef("pk"), event=Event.REASSIGNED, actor_id=person.id
    )
    return Q(four_eyes=True) & (Q(requester_id=person.id) | Q(Exists(handed_on)))


def assigned_to(person: permissions.Person) -> Q:
    """Return the condition that this person, or one of their groups, is named to decide."""
    by_name = Exists(user_assignments().filter(user_id=person.id))
    by_group = Exists(group_assignments().filter(group_id__in=person.group_ids))
    return Q(by_name) | Q(by_group)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginFilter:
    """What has asked: the `id` of an origin, and its `kind` unless that is None; "" is no kind."""

    kind: str | None
    id: str

    def condition(self) -> Q:
        """Return the condition that a request has this origin."""
        # The column, which has an index, has only the beginning of a long id.
        asked = Q(origin_id=self.id[:ORIGIN_ID_LIMIT]) & Q(_origin_says("id", self.id))
        if self.kind is None:
            return asked
        said = Q(_origin_says("kind", self.kind))
        return asked & (said if self.kind else said | ~Q(_origin_has('"kind":')))


def _origin_says(name: str, value: str) -> GreaterThan:
    return _origin_has(f'"{name}":{json.dumps(value, ensure_ascii=False)}')


def _origin_has(text: str) -> GreaterThan:
    # It is JSON without spaces, in which a quotation mark within a text has a backslash before it.
    return GreaterThan(StrIndex(Cast("origin", TextField()), Value(text)), 0)


class GroupName(NamedTuple):
    """What names a group: two requesters' equal keys are two groups. No requester: a program's."""

    requester_id: int | None
    key: str

    @classmethod
    def of(cls, request: HumanRequest) -> Self | None:
        """Return what names the request's group; None if it has none."""
        return cls(request.requester_id, request.group_key) if request.group_key else None


def with_group_key(requests: Requests, keys: Collection[str]) -> Requests:
    """Return those of groups with these keys, of any requester; the index has those that have a key."""
    return requests.filter(group_key__in=keys).exclude(group_key="")


def user_assignments() -> QuerySet[UserAssignment]:
    return UserAssignment.objects.filter(request_id=OuterRef("pk"))


def group_assignments() -> QuerySet[GroupAssignment]:
    return GroupAssignment.objects.filter(request_id=OuterRef("pk"))
