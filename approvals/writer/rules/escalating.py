"""How a request that nobody decided comes to those whom the next step of its escalation names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from approvals.domain.accounts import on_record
from approvals.domain.commands import Accepted, Escalate, Result
from approvals.domain.lifecycle import Status, is_overdue
from approvals.models import Event, HumanRequest
from approvals.queries import outcome_of
from approvals.queries.permissions import Audience
from approvals.writer.batch import Batch
from approvals.writer.chain import hash_of_assignees
from approvals.writer.rules.refusals import accept_unchanged


def escalate(batch: Batch, command: Escalate, row: HumanRequest) -> Result:
    if not _is_due(batch, command, row):
        return accept_unchanged(row)
    step, before = row.escalation[command.step], batch.audiences[row.pk]
    users, groups = _named_by(batch, step, before)
    said = {
        "step": command.step + 1,
        "replace": step["replace"],
        "added": _on_record(users - before.user_ids, groups - before.group_ids),
        **_on_record(users, groups),
        "before": _on_record(before.user_ids, before.group_ids),
    }
    row.escalated += 1
    batch.plan_escalation(row)
    batch.name_deciders(row, command.actor, users, groups)
    facts = {"assignees": hash_of_assignees(users, groups), "step": command.step + 1}
    batch.record(row, Event.ESCALATED, command.actor, said, facts=facts, allowed_by="escalation")
    return Accepted(outcome=outcome_of(row))


def _is_due(batch: Batch, command: Escalate, row: HumanRequest) -> bool:
    """Whether it is this step's turn, by the database's clock; a decision may have come first."""
    pending = row.status == Status.PENDING and not is_overdue(row.deadline, batch.now)
    if not pending or row.escalated != command.step:
        return False
    return row.escalates_at is not None and row.escalates_at <= batch.now


def _named_by(batch: Batch, step: dict[str, Any], before: Audience) -> tuple[frozenset[Any], frozenset[int]]:
    """Return who is named to decide after the step.

    Whose account or group is gone is left out. If that leaves nobody to name instead, those stay who decide;
    and nobody is added where any reviewer decides, for that would leave the others out.
    """
    known = batch.nameable
    users = frozenset(known.users[one] for one in step["users"] if one in known.users)
    groups = known.groups.intersection(step["groups"])
    if step["replace"]:
        return (users, groups) if users or groups else (before.user_ids, before.group_ids)
    if not before.assigned:
        return before.user_ids, before.group_ids
    return before.user_ids | users, before.group_ids | groups


def _on_record(users: Collection[Any], groups: Collection[int]) -> dict[str, list[Any]]:
    return {"users": sorted(map(on_record, users)), "groups": sorted(groups)}
