"""How a request ends without a decision: its deadline passes, or who asked takes it back.

Decisions are in deciding.py; all closings are written by `Batch.write`.
"""

from __future__ import annotations

from approvals.domain.commands import Accepted, Expire, Refused, Result, Withdraw
from approvals.domain.lifecycle import Status, is_overdue
from approvals.models import Event, HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch
from approvals.writer.rules.refusals import accept_unchanged, check_permission, check_state


def expire(batch: Batch, command: Expire, row: HumanRequest) -> Result:
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
        return Accepted(outcome=outcome_of(row))
    return accept_unchanged(row)


def withdraw(batch: Batch, command: Withdraw, row: HumanRequest) -> Result:
    said = {"reason": command.reason}
    if command.by_origin:
        allowed: str | Refused = "origin"
    else:
        allowed = check_permission(batch, command.actor, row, permissions.withdraws_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.status == Status.WITHDRAWN and row.decided_by_id == command.actor.user_id:
        return accept_unchanged(row)
    refused = check_state(batch, command.actor, row, said)
    if refused:
        return refused
    batch.close(row, Status.WITHDRAWN, command.actor, command.reason)
    batch.record(row, Event.WITHDRAWN, command.actor, said, status=Status.WITHDRAWN, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))
