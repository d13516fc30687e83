"""Who may decide requests now, and how many they are, to tell where too few can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet

from approvals.database.clock import database_now
from approvals.models import Delegation
from approvals.queries.permissions import DECIDE, Audience

K = TypeVar("K")


def count_deciders(audience: Audience) -> int:
    """Count the active people who may decide this now."""
    return count_deciders_of_each({None: audience})[None]


def count_deciders_of_each(audiences: Mapping[K, Audience]) -> dict[K, int]:
    """Count the active people who may decide each of these now, in a constant number of queries."""
    return {key: len(deciders) for key, deciders in deciders_of_each(audiences).items()}


def deciders_of_each(audiences: Mapping[K, Audience]) -> dict[K, frozenset[int]]:
    """Return the active people who may decide each of these now, in a constant number of queries."""
    named = {user_id for audience in audiences.values() for user_id in audience.user_ids}
    groups = {group_id for audience in audiences.values() for group_id in audience.group_ids}
    active = _active_ids(Q(pk__in=named)) if named else frozenset()
    members = _member_ids(groups)
    holders = _holder_ids() if not all(audience.assigned for audience in audiences.values()) else frozenset()
    return {
        key: (
            (active & audience.user_ids).union(*(members[group_id] for group_id in audience.group_ids))
            if audience.assigned
            else holders
        )
        - audience.barred
        for key, audience in audiences.items()
    }


def groups_of_each(audiences: Mapping[K, Audience], group_ids: Collection[int]) -> dict[K, frozenset[int]]:
    """Return which of these groups may decide each request: named to, or, if nobody is, by permission."""
    unassigned = not all(audience.assigned for audience in audiences.values())
    holders = frozenset[int]()
    if group_ids and unassigned:
        held = Group.objects.filter(pk__in=group_ids, permissions__in=_deciding())
        holders = frozenset(held.values_list("pk", flat=True))
    asked = frozenset(group_ids)
    return {
        key: asked & audience.group_ids if audience.assigned else holders
        for key, audience in audiences.items()
    }


def delegates_of(user_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """Return the active people who stand for each of these people now; who is inactive has none."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    if user_ids:
        now = database_now()
        standing = Delegation.objects.filter(
            principal__in=user_ids, ended_at=None, starts_at__lte=now, ends_at__gt=now
        ).filter(principal__is_active=True, delegate__is_active=True)
        for principal_id, delegate_id in standing.values_list("principal_id", "delegate_id"):
            found[principal_id].add(delegate_id)
    return {principal_id: frozenset(delegates) for principal_id, delegates in found.items()}


def _active_ids(which: Q) -> frozenset[int]:
    people = get_user_model()._default_manager.filter(which, is_active=True)
    return frozenset(people.values_list("pk", flat=True))


def _member_ids(group_ids: Collection[int]) -> defaultdict[int, set[int]]:
    found: defaultdict[int, set[int]] = defaultdict(set)
    if group_ids:
        people = get_user_model()._default_manager.filter(is_active=True, groups__in=group_ids)
        for group_id, user_id in people.values_list("groups", "pk"):
            found[group_id].add(user_id)
    return found


def _holder_ids() -> frozenset[int]:
    held = _deciding()
    return _active_ids(Q(is_superuser=True) | Q(user_permissions__in=held) | Q(groups__permissions__in=held))


def _deciding() -> QuerySet[Permission]:
    return Permission.objects.filter(codename=DECIDE, content_type__app_label="approvals")
