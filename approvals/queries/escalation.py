"""Whom the steps of an escalation name, looked up when a request is asked; and which are still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from approvals.domain.accounts import on_record
from approvals.domain.escalation import Step, moment_of
from approvals.domain.lifecycle import Status
from approvals.exceptions import InvalidRequest
from approvals.queries import deciders
from approvals.queries.assignees import group_ids_of, user_ids_of
from approvals.queries.named_in_steps import names_for
from approvals.queries.permissions import Audience


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """A step of a pending request that was not done yet, with the names of its people."""

    at: datetime
    users: Sequence[str]
    groups: Sequence[str]
    replace: bool


def find_steps(steps: Sequence[Step], audience: Audience, required: int) -> list[Step]:
    """Return checked steps with the ids of those whom they name, as they are recorded.

    InvalidRequest names the step and the name that is nobody's, or the step that fewer people than required
    could decide after. `audience` are those who decide until the first.
    """
    found: list[Step] = []
    after: dict[int, Audience] = {}
    for at, step in enumerate(steps):
        field = f"escalation[{at}]"
        users = user_ids_of(step["users"], f"{field}.users", spots=True)
        groups = group_ids_of(step["groups"], f"{field}.groups", spots=True)
        if step["replace"]:
            audience = replace(audience, user_ids=frozenset(users), group_ids=frozenset(groups))
            after[at] = audience
        elif not audience.assigned:
            raise InvalidRequest(
                f"{field}.replace must be true: any reviewer may decide this, and naming somebody leaves out"
                " all others.",
                field=f"{field}.replace",
            )
        else:
            audience = replace(
                audience, user_ids=audience.user_ids | set(users), group_ids=audience.group_ids | set(groups)
            )
        found.append({**step, "users": [on_record(pk) for pk in users], "groups": list(groups)})
    _check_possible(after, required)
    return found


def next_steps(request: Any) -> list[NextStep]:
    """Return the steps that are still to come while the request is pending, the next one first."""
    if request.status != Status.PENDING:
        return []
    steps = []
    for step in request.escalation[request.escalated :]:
        at = moment_of(step, request.opened_at, request.deadline)
        if at is not None and (request.deadline is None or at < request.deadline):
            users, groups = names_for(request).of(step)
            steps.append(NextStep(at=at, users=users, groups=groups, replace=step["replace"]))
    return steps


def _check_possible(audiences: Mapping[int, Audience], required: int) -> None:
    """Refuse a step that leaves too few, where the others before may not decide any more."""
    for at, able in deciders.count_deciders_of_each(audiences).items() if audiences else ():
        if able < required:
            others = ", other than the requester" if audiences[at].four_eyes else ""
            raise InvalidRequest(
                f"escalation[{at}] must leave at least {required} who may decide{others}, not {able}.",
                field=f"escalation[{at}]",
            )
