"""The users and groups that steps of escalations name by ids: their names, and which of them are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from approvals.domain.accounts import on_record

Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of users, by the id that the trail has, and of groups."""

    users: Mapping[Any, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)

    def of(self, named: Step) -> tuple[list[str], list[str]]:
        """Return the names of these users and groups; who is not there any more is left out."""
        users = sorted(self.users[one] for one in named["users"] if one in self.users)
        return users, sorted(self.groups[one] for one in named["groups"] if one in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nameable:
    """Those who can be named to decide: the ids of active users, by the id on record, and of groups."""

    users: Mapping[Any, Any] = field(default_factory=dict)
    groups: frozenset[int] = field(default_factory=frozenset)


def read_names(named: Collection[Step], *, active: bool = False) -> Names:
    """Read who is named there: at most one query for users, and one for groups.

    `active`: without accounts that are deactivated.
    """
    users, groups = _ids(named, "users"), _ids(named, "groups")
    people = get_user_model()
    rows = people._default_manager.filter(pk__in=users) if users else people._default_manager.none()
    rows = rows.filter(is_active=True) if active else rows
    found = Group.objects.filter(pk__in=groups) if groups else Group.objects.none()
    return Names(
        users={on_record(pk): name for pk, name in rows.values_list("pk", people.USERNAME_FIELD)},
        groups=dict(found.values_list("pk", "name")),
    )


def read_nameable(steps: Collection[Step]) -> Nameable:
    """Read which of those whom these steps name can be named now."""
    users, groups = _ids(steps, "users"), _ids(steps, "groups")
    people = get_user_model()._default_manager.filter(pk__in=users, is_active=True) if users else None
    found = Group.objects.filter(pk__in=groups) if groups else None
    return Nameable(
        users={} if people is None else {on_record(pk): pk for pk in people.values_list("pk", flat=True)},
        groups=frozenset(() if found is None else found.values_list("pk", flat=True)),
    )


def name_steps(requests: Iterable[Any]) -> None:
    """Read the names for the steps of all these requests, for `names_for`, by two queries at most.

    Whoever could not be named now is left out.
    """
    rows = [request for request in requests if request.escalation]
    if rows:
        names = read_names([step for row in rows for step in row.escalation], active=True)
        for row in rows:
            vars(row)["named_in_steps"] = names


def names_for(request: Any) -> Names:
    """Return the names for the request's steps; they are read now unless `name_steps` has."""
    if "named_in_steps" not in vars(request):
        vars(request)["named_in_steps"] = read_names(request.escalation, active=True)
    names: Names = vars(request)["named_in_steps"]
    return names


def _ids(named: Collection[Step], kind: str) -> set[Any]:
    return {one for each in named for one in each[kind]}
