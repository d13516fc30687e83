"""May this person see, decide, withdraw or reassign this request? Always from fresh rows.

Who sees: the requester, the assignees (by name or by group), and holders of `view_humanrequest`; a request
that is assigned to nobody is also seen by holders of `decide_humanrequest`. Who decides: active assignees if
any are named, nobody else, superusers included; otherwise holders of `decide_humanrequest`. Where four eyes
are asked for, never the requester.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db.models import F, Q

from approvals.models import GroupAssignment, HumanRequest, UserAssignment

DECIDE = "decide_humanrequest"
SEE_ALL = "view_humanrequest"
MANAGE = "change_humanrequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user as the rows have it now; `permissions` are the codenames above that he or she holds."""

    id: int
    username: str
    active: bool
    superuser: bool
    group_ids: frozenset[int]
    permissions: frozenset[str]

    def holds(self, codename: str) -> bool:
        return self.active and (self.superuser or codename in self.permissions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whom a request concerns: who asked, and who is named to decide."""

    requester_id: int | None = None
    user_ids: frozenset[int] = field(default_factory=frozenset)
    group_ids: frozenset[int] = field(default_factory=frozenset)
    four_eyes: bool = False

    @property
    def assigned(self) -> bool:
        return bool(self.user_ids or self.group_ids)


def may_see(person: Person, audience: Audience) -> bool:
    if not person.active:
        return False
    if person.id == audience.requester_id or _is_assigned(person, audience) or person.holds(SEE_ALL):
        return True
    return not audience.assigned and person.holds(DECIDE)


def may_decide(person: Person, audience: Audience) -> bool:
    return decides_by(person, audience) is not None


def decides_by(person: Person, audience: Audience) -> str | None:
    """What allows this person to decide, as the trail records it; None: nothing does."""
    if not person.active or (audience.four_eyes and person.id == audience.requester_id):
        return None
    if person.id in audience.user_ids:
        return "assigned"
    shared = person.group_ids & audience.group_ids
    if shared:
        return f"assigned group {min(shared)}"
    if not audience.assigned and person.holds(DECIDE):
        return f"permission {DECIDE}"
    return None


def withdraws_by(person: Person, audience: Audience) -> str | None:
    """The requester may take the question back, and so may who manages requests."""
    if person.active and person.id == audience.requester_id:
        return "requester"
    return f"permission {MANAGE}" if person.holds(MANAGE) else None


def reassigns_by(person: Person, audience: Audience) -> str | None:
    """An assignee may hand the request on; who manages requests may hand on any."""
    if _is_assigned(person, audience):
        return "assigned"
    return f"permission {MANAGE}" if person.holds(MANAGE) else None


def persons(user_ids: Iterable[int]) -> dict[int, Person]:
    """These users as they are now: four queries, however many."""
    wanted = set(user_ids)
    if not wanted:
        return {}
    groups: defaultdict[int, set[int]] = defaultdict(set)
    members = Group.objects.filter(user__in=wanted)
    for user_id, group_id in members.values_list("user__pk", "pk"):
        groups[user_id].add(group_id)
    held = _permissions_of(wanted)
    users = get_user_model()._default_manager.filter(pk__in=wanted)
    return {
        user_id: Person(
            id=user_id,
            username=username,
            active=active,
            superuser=superuser,
            group_ids=frozenset(groups[user_id]),
            permissions=frozenset(held[user_id]),
        )
        for user_id, username, active, superuser in users.values_list(
            "pk", get_user_model().USERNAME_FIELD, "is_active", "is_superuser"
        )
    }


def audiences(requests: Collection[HumanRequest]) -> dict[UUID, Audience]:
    """Whom these requests concern: two queries, however many."""
    ids = [request.pk for request in requests]
    users = _grouped(UserAssignment.objects.filter(request_id__in=ids).values_list("request_id", "user_id"))
    groups = _grouped(
        GroupAssignment.objects.filter(request_id__in=ids).values_list("request_id", "group_id")
    )
    return {
        request.pk: Audience(
            requester_id=request.requester_id,
            user_ids=frozenset(users.get(request.pk, ())),
            group_ids=frozenset(groups.get(request.pk, ())),
            four_eyes=request.four_eyes,
        )
        for request in requests
    }


def deciders(audience: Audience) -> int:
    """How many active people may decide this now."""
    people = get_user_model()._default_manager.filter(is_active=True)
    if audience.assigned:
        people = people.filter(Q(pk__in=audience.user_ids) | Q(groups__in=audience.group_ids))
    else:
        held = Q(codename=DECIDE, content_type__app_label="approvals")
        permission = Permission.objects.filter(held)
        people = people.filter(
            Q(is_superuser=True) | Q(user_permissions__in=permission) | Q(groups__permissions__in=permission)
        )
    if audience.four_eyes and audience.requester_id is not None:
        people = people.exclude(pk=audience.requester_id)
    return people.distinct().count()


def _is_assigned(person: Person, audience: Audience) -> bool:
    named = person.id in audience.user_ids or bool(person.group_ids & audience.group_ids)
    return person.active and named


def _permissions_of(user_ids: set[int]) -> defaultdict[int, set[str]]:
    held: defaultdict[int, set[str]] = defaultdict(set)
    codenames = [DECIDE, SEE_ALL, MANAGE]
    wanted = Permission.objects.filter(content_type__app_label="approvals", codename__in=codenames)
    direct = wanted.filter(user__in=user_ids).values_list("user__pk", "codename")
    by_group = wanted.filter(group__user__in=user_ids).values_list(F("group__user__pk"), "codename")
    for user_id, codename in chain(direct, by_group):
        held[user_id].add(codename)
    return held


def _grouped(pairs: Iterable[tuple[UUID, int]]) -> Mapping[UUID, set[int]]:
    grouped: defaultdict[UUID, set[int]] = defaultdict(set)
    for key, value in pairs:
        grouped[key].add(value)
    return grouped
