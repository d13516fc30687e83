"""Requests with their people, ids from text, and the conditions of assignment."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals.exceptions import UnknownRequest
from approvals.models import AuditEntry, Event, GroupAssignment, HumanRequest, UserAssignment
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
    named = assigned_to(person)
    if person.holds(permissions.DECIDE):
        named |= ~Exists(user_assignments()) & ~Exists(group_assignments())
    return named & ~barred(person)


def seen_by(person: permissions.Person) -> Q:
    """Return the condition that this active person may see a request, as `permissions.may_see` has it."""
    if person.holds(permissions.SEE_ALL):
        return Q()
    seen = Q(requester_id=person.id) | assigned_to(person)
    if person.holds(permissions.DECIDE):
        seen |= ~Exists(user_assignments()) & ~Exists(group_assignments())
    return seen


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


def user_assignments() -> QuerySet[UserAssignment]:
    return UserAssignment.objects.filter(request_id=OuterRef("pk"))


def group_assignments() -> QuerySet[GroupAssignment]:
    return GroupAssignment.objects.filter(request_id=OuterRef("pk"))
