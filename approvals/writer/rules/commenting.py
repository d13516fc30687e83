"""What is said about a request: comments and questions. They change nothing of its outcome."""

from __future__ import annotations

from approvals.domain.commands import Accepted, Comment, Refused, Result
from approvals.domain.lifecycle import AFTERWARDS, Status, is_overdue
from approvals.models import HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch
from approvals.writer.comments import event_of
from approvals.writer.rules.refusals import accept_unchanged, check_permission, record_refusal


def comment(batch: Batch, command: Comment, row: HumanRequest) -> Result:
    # What is refused leaves no words on the record: they would have no limit.
    attempt = {"question": command.question}
    allowed = check_permission(batch, command.actor, row, permissions.sees_by, attempt)
    if isinstance(allowed, Refused):
        return allowed
    if batch.comments.is_repeated(command):
        return accept_unchanged(row)
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
    if refused := _check_closed(batch, row) or batch.comments.refuse(command):
        record_refusal(batch, row, command.actor, refused.code, attempt)
        return refused
    batch.comments.count(command)
    batch.change(row)
    facts = {} if command.reply_to is None else {"reply_to": command.reply_to}
    said = {**attempt, "comment": command.text}
    batch.record(row, event_of(command), command.actor, said, facts=facts, allowed_by=allowed)
    return Accepted(outcome=batch.outcome(row.pk))


def _check_closed(batch: Batch, row: HumanRequest) -> Refused | None:
    if row.closed_at is None or batch.now < row.closed_at + AFTERWARDS:
        return None
    detail = f"It was closed more than {AFTERWARDS.days} days ago: comments are not taken any more."
    return Refused(code="too_late", detail=detail, outcome=outcome_of(row))
