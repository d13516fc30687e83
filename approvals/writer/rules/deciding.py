"""How a request ends: by votes, which are counted, by an answer, at its deadline, or taken back."""

from __future__ import annotations

from typing import Any

from approvals.domain.accounts import on_record
from approvals.domain.commands import Accepted, Actor, Answer, Decision, Expire, Refused, Result, Withdraw
from approvals.domain.lifecycle import RESPOND, Kind, Status, Verdict, is_overdue, missing_reason, tally
from approvals.domain.payloads import canonical
from approvals.models import Event, HumanRequest
from approvals.queries import permissions
from approvals.queries.permissions import Person, Right
from approvals.writer.batch import Batch
from approvals.writer.rows import Said
from approvals.writer.rules.refusals import accept_unchanged, check_permission, check_state


def decide(batch: Batch, command: Decision, row: HumanRequest) -> Result:
    said = {"verdict": command.verdict.value, "comment": command.comment, "arguments": command.arguments}
    allowed = check_permission(batch, command.actor, row, permissions.decides_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.kind != Kind.APPROVAL:
        detail = "decision: a clarification is answered, not approved or rejected."
        return Refused(code="invalid", detail=detail, field="decision")
    earlier = batch.said.get((row.pk, command.actor.user_id))
    same = earlier and earlier.verdict == command.verdict and _is_same(earlier.arguments, command.arguments)
    if earlier and same and _may_repeat(command.actor):
        principal = batch.people.get(earlier.on_behalf_of_id) if earlier.on_behalf_of_id is not None else None
        return _repeat(batch, command, row, Right(by=allowed, on_behalf_of=principal), said)
    right = batch.right_to_vote(row, command.actor)
    if refused := check_state(batch, command.actor, row, said, voted=_why_no_vote(command, earlier, right)):
        return refused
    if refused := _check_words(command, row):
        return refused
    _vote(batch, command, row, right or Right(by=allowed), said)
    return Accepted(outcome=batch.outcome(row.pk))


def _check_words(command: Decision, row: HumanRequest) -> Refused | None:
    """Return the refusal of what this request does not take; of people it may want a reason."""
    # Not the truth of `editable`: an empty schema lets anything be edited.
    if command.arguments is not None and row.editable is False:
        detail = "arguments of this request may not be edited."
        return Refused(code="invalid", detail=detail, field="arguments")
    missing = missing_reason(row.reason_required, command.comment)
    if missing and command.actor.user_id is not None:  # programs need none
        return Refused(code="invalid", detail=missing, field="comment")
    return None


def _why_no_vote(command: Decision, earlier: Said | None, right: Right | None) -> str:
    """Say why this person has no vote left; programs need no right."""
    if earlier is not None:
        return "You have already voted; a vote can't be changed."
    if right is None and command.actor.user_id is not None:
        return "The vote that you have was already given, by you or on behalf of the same person."
    return ""


def _vote(batch: Batch, command: Decision, row: HumanRequest, right: Right, said: dict[str, Any]) -> None:
    batch.respond(
        row,
        command.actor,
        verdict=command.verdict,
        arguments=command.arguments,
        comment=command.comment,
        on_behalf_of_id=_id_of(right.on_behalf_of),
    )
    if command.verdict is Verdict.APPROVE:
        row.approvals += 1
    if command.arguments is not None:
        row.final_arguments = command.arguments
        said = {**said, "asked": row.arguments}
    _count_votes(batch, command, row, right, said)


def _count_votes(
    batch: Batch, command: Decision, row: HumanRequest, right: Right, said: dict[str, Any]
) -> None:
    """Close the request if enough votes count now, and record this vote with what it led to."""
    counted = batch.approvals_that_count(row) if row.required > 1 else [command.actor.user_id]
    rejected = command.verdict is Verdict.REJECT
    status = tally([command.verdict] if rejected else [Verdict.APPROVE] * len(counted), row.required)
    if status is Status.PENDING:
        batch.change(row)
        batch.check_stuck(row)
    else:
        batch.close(row, status, command.actor, command.comment)
    if status is Status.APPROVED and row.required > 1:
        said = {**said, "counted": [on_record(each) for each in counted]}
    batch.record(
        row,
        Event.DECIDED,
        command.actor,
        said,
        status=status,
        allowed_by=right.by,
        on_behalf_of_id=_id_of(right.on_behalf_of),
    )


def _repeat(batch: Batch, command: Decision, row: HumanRequest, right: Right, said: dict[str, Any]) -> Result:
    """Do nothing, unless enough votes count now that did not before: their voters may decide again."""
    open_still = row.status == Status.PENDING and not is_overdue(row.deadline, batch.now)
    if not open_still or row.required == 1 or len(batch.approvals_that_count(row)) < row.required:
        return accept_unchanged(row)
    _count_votes(batch, command, row, right, said)
    return Accepted(outcome=batch.outcome(row.pk))


def answer(batch: Batch, command: Answer, row: HumanRequest) -> Result:
    """Close a clarification with its answer, or an approval with a text instead, where it takes one."""
    said = {"answer": command.answer, "comment": command.comment}
    allowed = check_permission(batch, command.actor, row, permissions.decides_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.kind != Kind.CLARIFICATION and RESPOND not in row.decisions:
        detail = "answer: an approval is approved or rejected, not answered."
        return Refused(code="invalid", detail=detail, field="answer")
    earlier = batch.said.get((row.pk, command.actor.user_id))
    # A vote has no answer, and is none.
    if (
        earlier
        and not earlier.verdict
        and _is_same(earlier.answer, command.answer)
        and _may_repeat(command.actor)
    ):
        return accept_unchanged(row)
    if refused := check_state(batch, command.actor, row, said):
        return refused
    right = batch.right_to_vote(row, command.actor) or Right(by=allowed)
    principal_id = _id_of(right.on_behalf_of)
    batch.respond(
        row, command.actor, answer=command.answer, comment=command.comment, on_behalf_of_id=principal_id
    )
    row.answer = command.answer
    batch.close(row, Status.ANSWERED, command.actor, command.comment)
    batch.record(
        row,
        Event.ANSWERED,
        command.actor,
        said,
        status=Status.ANSWERED,
        allowed_by=right.by,
        on_behalf_of_id=principal_id,
    )
    return Accepted(outcome=batch.outcome(row.pk))


def expire(batch: Batch, command: Expire, row: HumanRequest) -> Result:
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
        return Accepted(outcome=batch.outcome(row.pk))
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
    if refused := check_state(batch, command.actor, row, said):
        return refused
    batch.close(row, Status.WITHDRAWN, command.actor, command.reason)
    batch.record(row, Event.WITHDRAWN, command.actor, said, status=Status.WITHDRAWN, allowed_by=allowed)
    return Accepted(outcome=batch.outcome(row.pk))


def _may_repeat(actor: Actor) -> bool:
    """Whether repeating one's own decision is harmless; by a personal link, it is a second use."""
    return actor.link_id is None


def _id_of(person: Person | None) -> int | None:
    return None if person is None else person.id


def _is_same(one: Any, other: Any) -> bool:
    """Whether these are the same JSON; Python holds True and 1 to be equal."""
    return canonical(one) == canonical(other)
