"""What each command does to its request, in memory: the rules of asking, deciding and ending.

Permission is tested before state, state before content. Every deed returns what is then on record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from approvals.domain import questions
from approvals.domain.commands import (
    ALTERED,
    STILL_NEEDED,
    Accepted,
    Actor,
    Answer,
    Command,
    Decide,
    Expire,
    Forget,
    Keyed,
    OpenRequest,
    Purge,
    Reassign,
    Reference,
    Refused,
    Reschedule,
    Result,
    View,
    Withdraw,
)
from approvals.domain.lifecycle import Kind, Outcome, Status, Verdict, is_overdue, tally
from approvals.domain.payloads import canonical, digest
from approvals.models import ORIGIN_ID_LIMIT, Event, HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch
from approvals.writer.chain import PERSON, REQUEST, as_text, facts_of_asking, hash_of_assignees, hash_of_rest
from approvals.writer.removal import Shown, question_in


def carry_out(batch: Batch, command: Command) -> Result:
    """Do what the command says to the batch's rows; the outcome on record then, or the refusal."""
    if isinstance(command, OpenRequest):
        return _open(batch, command)
    row = batch.find(command.request_id)
    if row is None:
        return _unknown(command.request_id)
    return _DEEDS[type(command)](batch, command, row)


# Asking


def _open(batch: Batch, command: OpenRequest) -> Result:
    known = batch.rows.get(command.request_id)
    if known is not None:
        return _unchanged(known)
    earlier = batch.by_key.get((command.key_scope, command.key)) if command.key else None
    if earlier is not None and not questions.is_past(earlier, command.new_round, command.asked_since):
        return _attached(command, earlier)
    if refused := batch.quotas.refuse(command):
        return refused
    row = _row_of(command, batch.now, round_number=earlier.round + 1 if earlier else 1)
    batch.add(row, command)
    on_behalf_of = command.requester_id if command.requester_id != command.actor.user_id else None
    # Every account may ask, whatever it may decide.
    allowed = command.actor.channel.value if command.actor.user_id is None else "account"
    batch.record(
        row,
        Event.OPENED,
        command.actor,
        _asked(command),
        facts=facts_of_asking(row, command.user_ids, command.group_ids, command.override),
        allowed_by=allowed,
        on_behalf_of_id=on_behalf_of,
    )
    return Accepted(outcome=outcome_of(row))


def _attached(command: OpenRequest, row: HumanRequest) -> Result:
    if row.purged_at is not None:
        # The recorded outcome would stand for words that nobody can compare any more.
        detail = f"key {command.key!r} was used for a request whose content has been removed since."
        return Refused(code="key_conflict", detail=detail, field="key", outcome=outcome_of(row))
    differs = _differences(command, row)
    if not differs:
        return _unchanged(row)
    detail = (
        f"key {command.key!r} was used for another question, {row.title!r}, with other {', '.join(differs)}."
    )
    return Refused(code="key_conflict", detail=detail, field="key", outcome=outcome_of(row), differs=differs)


def _differences(command: OpenRequest, row: HumanRequest) -> tuple[str, ...]:
    if command.fingerprint and command.fingerprint == row.fingerprint:
        return ()
    meaning = questions.meaning_of(command, command.named)
    elsewhere = command.named_four_eyes is not None
    if elsewhere:
        meaning["four_eyes"] = command.named_four_eyes
    beside = {name: getattr(command, name) for name in (*questions.BESIDE, "timeout")}
    return questions.differences(
        meaning, row, command.former_fingerprint, beside, four_eyes_elsewhere=elsewhere
    )


def _row_of(command: OpenRequest, now: datetime, *, round_number: int) -> HumanRequest:
    return HumanRequest(
        id=command.request_id,
        kind=command.kind.value,
        title=command.title,
        details=command.details,
        arguments=command.arguments,
        editable=command.editable,
        choices=command.choices,
        multiple=command.multiple,
        schema=command.schema,
        requester_id=command.requester_id,
        required=command.required,
        four_eyes=command.four_eyes,
        key=command.key,
        key_scope=command.key_scope,
        round=round_number,
        opened_at=now,
        changed_at=now,
        deadline=None if command.timeout is None else now + timedelta(seconds=command.timeout),
        on_timeout=command.on_timeout.value if command.on_timeout else "",
        default=command.default,
        origin=command.origin,
        origin_id=command.origin.get("id", "")[:ORIGIN_ID_LIMIT],
        fingerprint=command.fingerprint,
        callback_url=command.callback_url,
        counted_bytes=command.counted_bytes,
    )


def _asked(command: OpenRequest) -> dict[str, Any]:
    """What was asked, as everybody will be shown it."""
    return {
        "title": command.title,
        "details": command.details,
        "arguments": command.arguments,
        "arguments_sha256": digest(canonical(command.arguments)),
        "editable": command.editable,
        "choices": command.choices,
        "multiple": command.multiple,
        "schema": command.schema,
        "default": command.default,
        "on_timeout": command.on_timeout.value if command.on_timeout else None,
        "timeout": command.timeout,
        "required": command.required,
        "four_eyes": command.four_eyes,
        "users": list(command.user_ids),
        "groups": list(command.group_ids),
        "origin": command.origin,
        "callback_url": command.callback_url,
    }


# Deciding


def _decide(batch: Batch, command: Decide, row: HumanRequest) -> Result:
    said = {"verdict": command.verdict.value, "comment": command.comment, "arguments": command.arguments}
    allowed = _allowed(batch, command.actor, row, permissions.decides_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.kind != Kind.APPROVAL:
        detail = "decision: a clarification is answered, not approved or rejected."
        return Refused(code="invalid", detail=detail, field="decision")
    earlier = batch.said.get((row.pk, command.actor.user_id))
    if earlier and earlier.verdict == command.verdict and _same(earlier.arguments, command.arguments):
        return _repeated(batch, command, row, allowed, said)
    refused = _refused_by_state(batch, command.actor, row, said, voted=earlier is not None)
    if refused:
        return refused
    # Not its truth: an empty schema lets anything be edited.
    if command.arguments is not None and row.editable is False:
        detail = "arguments of this request may not be edited."
        return Refused(code="invalid", detail=detail, field="arguments")
    _vote(batch, command, row, allowed, said)
    return Accepted(outcome=outcome_of(row))


def _vote(batch: Batch, command: Decide, row: HumanRequest, allowed_by: str, said: dict[str, Any]) -> None:
    batch.respond(
        row, command.actor, verdict=command.verdict, arguments=command.arguments, comment=command.comment
    )
    if command.verdict is Verdict.APPROVE:
        row.approvals += 1
    if command.arguments is not None:
        row.final_arguments = command.arguments
        said = {**said, "asked": row.arguments}
    _count(batch, command, row, allowed_by, said)


def _count(batch: Batch, command: Decide, row: HumanRequest, allowed_by: str, said: dict[str, Any]) -> None:
    """Close the request if the votes that count by now do, and record what this vote has come to."""
    counted = batch.approvals_that_count(row) if row.required > 1 else [command.actor.user_id]
    rejected = command.verdict is Verdict.REJECT
    status = tally([command.verdict] if rejected else [Verdict.APPROVE] * len(counted), row.required)
    if status is Status.PENDING:
        batch.change(row)
        batch.question(row)
    else:
        batch.close(row, status, command.actor, command.comment)
    if status is Status.APPROVED and row.required > 1:
        said = {**said, "counted": counted}
    batch.record(row, Event.DECIDED, command.actor, said, status=status, allowed_by=allowed_by)


def _repeated(
    batch: Batch, command: Decide, row: HumanRequest, allowed_by: str, said: dict[str, Any]
) -> Result:
    """Nothing happens, unless enough votes count by now that did not when the last one was given: of people
    who might not decide then."""
    open_still = row.status == Status.PENDING and not is_overdue(row.deadline, batch.now)
    if not open_still or row.required == 1 or len(batch.approvals_that_count(row)) < row.required:
        return _unchanged(row)
    _count(batch, command, row, allowed_by, said)
    return Accepted(outcome=outcome_of(row))


def _answer(batch: Batch, command: Answer, row: HumanRequest) -> Result:
    said = {"answer": command.answer, "comment": command.comment}
    allowed = _allowed(batch, command.actor, row, permissions.decides_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.kind != Kind.CLARIFICATION:
        detail = "answer: an approval is approved or rejected, not answered."
        return Refused(code="invalid", detail=detail, field="answer")
    earlier = batch.said.get((row.pk, command.actor.user_id))
    if earlier and _same(earlier.answer, command.answer):
        return _unchanged(row)
    refused = _refused_by_state(batch, command.actor, row, said)
    if refused:
        return refused
    batch.respond(row, command.actor, answer=command.answer, comment=command.comment)
    row.answer = command.answer
    batch.close(row, Status.ANSWERED, command.actor, command.comment)
    batch.record(row, Event.ANSWERED, command.actor, said, status=Status.ANSWERED, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


# Ending otherwise


def _expire(batch: Batch, command: Expire, row: HumanRequest) -> Result:
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
        return Accepted(outcome=outcome_of(row))
    return _unchanged(row)


def _withdraw(batch: Batch, command: Withdraw, row: HumanRequest) -> Result:
    said = {"reason": command.reason}
    if command.by_origin:
        allowed: str | Refused = "origin"
    else:
        allowed = _allowed(batch, command.actor, row, permissions.withdraws_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if row.status == Status.WITHDRAWN and row.decided_by_id == command.actor.user_id:
        return _unchanged(row)
    refused = _refused_by_state(batch, command.actor, row, said)
    if refused:
        return refused
    batch.close(row, Status.WITHDRAWN, command.actor, command.reason)
    batch.record(row, Event.WITHDRAWN, command.actor, said, status=Status.WITHDRAWN, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


# Changing what is open


def _reassign(batch: Batch, command: Reassign, row: HumanRequest) -> Result:
    before = batch.audiences[row.pk]
    if _is_repeated(batch, command, row):
        return Accepted(outcome=_as_handed_on(batch, command.actor, row), changed=False)
    said = {
        "users": list(command.user_ids),
        "groups": list(command.group_ids),
        "before": {"users": sorted(before.user_ids), "groups": sorted(before.group_ids)},
    }
    allowed = _allowed(batch, command.actor, row, permissions.reassigns_by, said)
    if isinstance(allowed, Refused):
        return allowed
    refused = _refused_by_state(batch, command.actor, row, said)
    if refused:
        return refused
    batch.reassign(row, command)
    facts = {"assignees": hash_of_assignees(command.user_ids, command.group_ids)}
    batch.record(row, Event.REASSIGNED, command.actor, said, facts=facts, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def _is_repeated(batch: Batch, command: Reassign, row: HumanRequest) -> bool:
    """Has this actor handed the request to the same people, and nobody since to others?

    Asked before permission: who hands a request on may lose all rights to it, and with a lost answer could
    not tell whether that has happened.
    """
    now = batch.audiences[row.pk]
    same = (now.user_ids, now.group_ids) == (frozenset(command.user_ids), frozenset(command.group_ids))
    by_same = row.pk in batch.handed_on and batch.handed_on[row.pk] == command.actor.user_id
    return same and by_same and _is_there(batch, command.actor)


def _is_there(batch: Batch, actor: Actor) -> bool:
    person = None if actor.user_id is None else batch.people.get(actor.user_id)
    return actor.user_id is None or (person is not None and person.active)


def _as_handed_on(batch: Batch, actor: Actor, row: HumanRequest) -> Outcome:
    """The outcome on record; for who may not see the request any more, the one it was left with."""
    recorded = outcome_of(row)
    if actor.user_id is None or permissions.may_see(batch.people[actor.user_id], batch.audiences[row.pk]):
        return recorded
    return Outcome(
        request_id=recorded.request_id,
        kind=recorded.kind,
        status=Status.PENDING.value,
        approved=None,
        answer=None,
        arguments=row.arguments,
        comment="",
        decided_by=None,
        decided_at=None,
        timed_out=False,
        withdrawn=False,
    )


def _reschedule(batch: Batch, command: Reschedule, row: HumanRequest) -> Result:
    if row.pk in batch.rescheduled or row.status != Status.PENDING:
        return _unchanged(row)
    if is_overdue(row.deadline, batch.now):
        batch.time_out(row)
        return Accepted(outcome=outcome_of(row))
    before, row.deadline = row.deadline, batch.now + timedelta(seconds=command.timeout)
    batch.rescheduled.add(row.pk)
    batch.change(row)
    moments = {"before": before and before.isoformat(), "deadline": row.deadline.isoformat()}
    batch.record(row, Event.RESCHEDULED, command.actor, moments, allowed_by=command.actor.channel.value)
    return Accepted(outcome=outcome_of(row))


def _view(batch: Batch, command: View, row: HumanRequest) -> Result:
    allowed = _allowed(batch, command.actor, row, permissions.sees_by, {})
    if isinstance(allowed, Refused):
        return allowed
    who = (row.pk, command.actor.user_id)
    if who not in batch.viewers:
        batch.viewers.add(who)
        shown = {"title": row.title, "details": row.details, "arguments": row.arguments, "status": row.status}
        batch.record(row, Event.VIEWED, command.actor, shown, allowed_by=allowed)
    batch.question(row)
    return _unchanged(row)


# Taking away what may not be kept


def _purge(batch: Batch, command: Purge, row: HumanRequest) -> Result:
    allowed = _may_remove(batch, command.actor, row)
    if isinstance(allowed, Refused):
        return allowed
    if row.closed_at is None or row.closed_at >= command.before:
        return _unchanged(row)
    shown = batch.removals.shown_before(row, command.before)
    altered = _refused_if_altered(shown)
    if altered or not shown:
        return altered or _unchanged(row)
    batch.removals.purge(row, shown, batch.now)
    removed = {"before": as_text(command.before), "entries": [one.sequence for one in shown]}
    rest = hash_of_rest(multiple=row.multiple, callback_url=row.callback_url)
    facts = {"scope": REQUEST, "rest": rest}
    batch.record(row, Event.PURGED, command.actor, removed, facts=facts, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def _forget(batch: Batch, command: Forget, row: HumanRequest) -> Result:
    allowed = _may_remove(batch, command.actor, row)
    if isinstance(allowed, Refused):
        return allowed
    shown = batch.removals.naming(row, command.user_id)
    if row.status == Status.PENDING:
        shown = [one for one in shown if one.event not in {Event.OPENED, Event.DECIDED}]
    altered = _refused_if_altered(shown)
    if altered or not shown:
        return altered or _unchanged(row)
    batch.removals.forget(row, shown, command.user_id)
    # What was asked is what others decided: it is vouched for anew, without who asked it.
    removed = {"kept": question_in(shown), "entries": [one.sequence for one in shown]}
    batch.record(row, Event.PURGED, command.actor, removed, facts={"scope": PERSON}, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def _may_remove(batch: Batch, actor: Actor, row: HumanRequest) -> str | Refused:
    allowed = _allowed(batch, actor, row, permissions.purges_by, {})
    if isinstance(allowed, Refused):
        return allowed
    if row.pk in batch.removals.to_be_posted:
        return Refused(code=STILL_NEEDED, detail="Its outcome is still to be posted.")
    return allowed


def _refused_if_altered(shown: Sequence[Shown]) -> Refused | None:
    """What is not as it was hashed is evidence: it stays until somebody has looked at it."""
    altered = [str(one.sequence) for one in shown if not one.holds]
    if not altered:
        return None
    detail = f"What was shown or said is not what was hashed, at: {', '.join(altered)}. Nothing was removed."
    return Refused(code=ALTERED, detail=detail)


_DEEDS: dict[type[Command], Callable[[Batch, Any, HumanRequest], Result]] = {
    Decide: _decide,
    Answer: _answer,
    Expire: _expire,
    Withdraw: _withdraw,
    Reassign: _reassign,
    View: _view,
    Reschedule: _reschedule,
    Purge: _purge,
    Forget: _forget,
}


# Rules that several deeds share


def _allowed(
    batch: Batch,
    actor: Actor,
    row: HumanRequest,
    rule: Callable[[permissions.Person, permissions.Audience], str | None],
    said: dict[str, Any],
) -> str | Refused:
    """What allows the actor to do this; otherwise the refusal, which is recorded."""
    if actor.user_id is None:
        return actor.channel.value
    person = batch.people.get(actor.user_id)
    if person is None:
        return _unknown(row.pk)
    audience = batch.audiences[row.pk]
    allowed = rule(person, audience)
    if allowed is not None:
        return allowed
    if permissions.may_see(person, audience):
        _record_refusal(batch, row, actor, "not_permitted", said)
        return Refused(code="not_permitted", detail="You may see this request, but not do this to it.")
    _record_refusal(batch, row, actor, "unknown_request", said)
    return _unknown(row.pk)


def _refused_by_state(
    batch: Batch, actor: Actor, row: HumanRequest, said: dict[str, Any], *, voted: bool = False
) -> Refused | None:
    """The refusal if the request is closed, overdue (which is recorded here and now) or voted on already."""
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
    if row.status == Status.TIMED_OUT:
        _record_refusal(batch, row, actor, "too_late", said)
        return Refused(code="too_late", detail="The deadline has passed.", outcome=outcome_of(row))
    if row.status != Status.PENDING or voted:
        _record_refusal(batch, row, actor, "already_decided", said)
        return Refused(code="already_decided", detail=_who_won(row), outcome=outcome_of(row))
    return None


def _record_refusal(batch: Batch, row: HumanRequest, actor: Actor, code: str, said: dict[str, Any]) -> None:
    batch.record(row, Event.REFUSED, actor, {**said, "code": code})


def _same(one: Any, other: Any) -> bool:
    """Are these the same JSON? Python takes true for 1."""
    return canonical(one) == canonical(other)


def _unchanged(row: HumanRequest) -> Accepted:
    return Accepted(outcome=outcome_of(row), changed=False)


def _unknown(reference: Reference) -> Refused:
    name = reference.key if isinstance(reference, Keyed) else str(reference)
    detail = f"There is no request {name!r}, or you may not see it."
    return Refused(code="unknown_request", detail=detail, field="request_id")


def _who_won(row: HumanRequest) -> str:
    if row.status == Status.PENDING:
        return "You have already voted; a vote can't be changed."
    who = row.decided_by.get_username() if row.decided_by else "the program that asked"
    return f"It was already {row.status} by {who}."
