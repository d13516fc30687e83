"""A request's trail as its page shows it: who, when, from where, for whom, and what allowed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.utils.dateparse import parse_datetime

from approvals.domain.lifecycle import Severity
from approvals.models import HumanRequest
from approvals.queries import TimelineEntry
from approvals.queries.permissions import ON_BEHALF
from approvals.web.pages.wording import entry_in_words

# Events with which the policy is shown; views and refusals would only repeat it.
WITH_POLICY = {"opened", "decided", "answered", "timed_out", "rescheduled"}
BY_GROUP = "assigned group "


def timeline(asked: HumanRequest, trail: Sequence[TimelineEntry]) -> list[dict[str, Any]]:
    """Describe each entry of a request's trail: `line` says it in words, the rest is for auditors."""
    names = _group_names(trail)
    return [
        {
            "line": entry_in_words(entry, asked.required, choices=asked.choices),
            "allowed_by": _allowed_by_words(entry.allowed_by, names),
            "policy": policy_in_words(entry.policy) if entry.event in WITH_POLICY else "",
        }
        for entry in trail
    ]


def _group_names(trail: Iterable[TimelineEntry]) -> dict[str, str]:
    """Look up the present names of the groups as whose members people decided, by id."""
    ids = {_group_id(entry.allowed_by) for entry in trail if entry.allowed_by.startswith(BY_GROUP)}
    named = Group.objects.filter(pk__in=[one for one in ids if one.isdecimal()])
    return {str(pk): name for pk, name in named.values_list("pk", "name")}


def _allowed_by_words(by: str, names: Mapping[str, str]) -> str:
    name = names.get(_group_id(by)) if by.startswith(BY_GROUP) else None
    group, behalf, principal = by.partition(ON_BEHALF)
    return f"{group} ({name}){behalf}{principal}" if name else by


def _group_id(by: str) -> str:
    """Return the id of the group by which something was allowed."""
    return by.removeprefix(BY_GROUP).partition(ON_BEHALF)[0]


def policy_in_words(policy: Mapping[str, Any] | None) -> str:
    """Describe the policy that an entry names; empty for older formats, which name none."""
    if not policy:
        return ""
    required = int(policy.get("required", 1))
    parts = [f"{required} must approve" if required > 1 else "one decides"]
    if policy.get("four_eyes"):
        parts.append("neither the requester nor anybody who reassigns it")
    if policy.get("severity") == Severity.HIGH:
        parts.append("severity high")
    due = parse_datetime(str(policy.get("deadline") or ""))
    if due is None:
        return ", ".join([*parts, "no deadline"])
    otherwise = f", else {policy['on_timeout']}" if policy.get("on_timeout") else ""
    return ", ".join([*parts, f"until {due:%Y-%m-%d %H:%M:%S} UTC{otherwise}"])
