"""Find out who decides a run's request, and who if nobody does, at the moment when it is opened.

In this order: the assignees that the call names, the administrator's override for the orchestration, the
deciders that it was registered with, the run's owner. Only what the call itself names is part of its question
(see approvals.domain.questions): an open request keeps its deciders, and a replay does not compare them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from approvals.conf import approval_settings
from approvals.domain.escalation import Step, steps_that_fit
from approvals.domain.payloads import seconds
from approvals.domain.questions import REVIEWERS
from approvals.domain.term_rules import OMITTED
from approvals.exceptions import InvalidRequest
from approvals.writer.chain import as_text
from orchestration.catalog import Kind, find_orchestration
from orchestration.catalog.entries import Orchestration
from orchestration.models import DecidersOverride


class _Owner:
    """Stands for the run's owner; for REVIEWERS where the run has no owner."""

    def __repr__(self) -> str:
        return "OWNER"


OWNER: Any = _Owner()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownName:
    """A name that no user or group has, or both a user and a group. `index` is its place in the list."""

    index: int
    name: str
    rule: str

    def __str__(self) -> str:
        return f"{self.name!r} {self.rule}"


def resolve_terms(kind: Kind, owner: Any, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's terms with those who decide now; InvalidRequest where a name is unknown.

    The terms lack `assignees` if the call names nobody, and `escalation` if it says nothing of that; they
    have `named_four_eyes` if it does not say whether the requester may decide.
    """
    code = find_orchestration(*kind)
    now = _resolve_deciders(code, owner, terms)
    if "escalation" not in now and code.escalation:
        now["escalation"] = escalation_of(code, now)
    return now


def escalation_of(code: Orchestration, terms: Mapping[str, Any]) -> list[Step]:
    """Return the steps of the orchestration's escalation that fit a request with these terms."""
    timeout = terms.get("timeout", OMITTED)
    if timeout is OMITTED:
        timeout = approval_settings().default_timeout
    timeout = seconds(timeout, "timeout", none_allowed=True)
    return steps_that_fit(code.escalation, timeout, anybody=terms.get("assignees") is REVIEWERS)


def _resolve_deciders(code: Orchestration, owner: Any, terms: Mapping[str, Any]) -> dict[str, Any]:
    names_nobody, says_nothing = "assignees" not in terms, "named_four_eyes" in terms
    if not (names_nobody or says_nothing):
        return dict(terms)
    override = DecidersOverride.objects.filter(orchestration=code.name).first()
    by_override = names_nobody and override is not None and override.names_somebody
    names = override.names if override is not None and by_override else code.deciders
    now = dict(terms)
    if says_nothing:
        eyes = None if override is None else override.four_eyes
        by_override = by_override or eyes is not None
        now["four_eyes"] = code.four_eyes if eyes is None else eyes
    if names_nobody:
        # The owner can't be the second pair of eyes.
        default = REVIEWERS if owner is None or (says_nothing and now["four_eyes"]) else [owner]
        now["assignees"] = default if names is None else _assignees(names, code.name)
    if override is not None and by_override:
        now["override"] = {
            "orchestration": code.name,
            "by": override.changed_by_id,
            "at": as_text(override.changed_at),
        }
    return now


def _assignees(names: Any, orchestration: str) -> Any:
    if names is REVIEWERS:
        return REVIEWERS
    users, groups, unknown = find_people(names)
    for one in unknown:
        field = f"deciders[{one.index}]"
        raise InvalidRequest(f"{field} of orchestration {orchestration!r}: {one}.", field=field)
    return [*users, *(Group(pk=pk) for pk in groups)]


def find_people(names: Sequence[str]) -> tuple[list[int], list[int], list[UnknownName]]:
    """Return the ids of the active users and groups with these names, and the names of neither or both."""
    people = get_user_model()
    users = people._default_manager.filter(is_active=True, **{f"{people.USERNAME_FIELD}__in": names})
    user_ids = dict(users.values_list(people.USERNAME_FIELD, "pk"))
    group_ids = dict(Group.objects.filter(name__in=names).values_list("name", "pk"))
    unknown = [
        UnknownName(
            index=index,
            name=name,
            rule="is both a user and a group" if name in user_ids else "is no active user and no group",
        )
        for index, name in enumerate(names)
        if (name in user_ids) == (name in group_ids)
    ]
    return list(user_ids.values()), list(group_ids.values()), unknown


def overrides() -> Collection[DecidersOverride]:
    """Return all overrides."""
    return list(DecidersOverride.objects.order_by("orchestration"))
