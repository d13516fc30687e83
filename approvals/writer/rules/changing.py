"""What leaves a request as it is, or pending: it is reassigned, moved, looked at, or a link to it misused."""

from __future__ import annotations

from datetime import timedelta

from approvals.domain.accounts import on_record
from approvals.domain.commands import Accepted, Actor, Misuse, Reassign, Refused, Reschedule, Result, View
from approvals.domain.lifecycle import Outcome, Status, is_overdue
from approvals.models import Event, HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch
from approvals.writer.chain import hash_of_assignees
from approvals.writer.rules.refusals import accept_unchanged, check_permission, check_state, record_refusal


def reassign(batch: Batch, command: Reassign, row: HumanRequest) -> Result:
    before = batch.audiences[row.pk]
    if _is_repeated(batch, command, row):
        return Accepted(outcome=_outcome_as_handed_on(batch, command.actor, row), changed=False)
    said = {
        "users": [on_record(user_id) for user_id in command.user_ids],
        "groups": list(command.group_ids),
        "before": {"users": sorted(map(on_record, before.user_ids)), "groups": sorted(before.group_ids)},
        "reason": command.reason,
    }
    allowed = check_permission(batch, command.actor, row, permissions.reassigns_by, said)
    if isinstance(allowed, Refused):
        return allowed
    if refused := check_state(batch, command.actor, row, said):
        return refused
    batch.name_deciders(row, command.actor, command.user_ids, command.group_ids)
    batch.handed_on[row.pk] = command.actor.user_id
    facts = {"assignees": hash_of_assignees(command.user_ids, command.group_ids)}
    batch.record(row, Event.REASSIGNED, command.actor, said, facts=facts, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def _is_repeated(batch: Batch, command: Reassign, row: HumanRequest) -> bool:
    """Whether this actor has reassigned the request to the same people, and nobody to others since.

    Tested before permission: who reassigns a request may lose all rights to it, and could not repeat the
    command after a lost answer.
    """
    now = batch.audiences[row.pk]
    same = (now.user_ids, now.group_ids) == (frozenset(command.user_ids), frozenset(command.group_ids))
    by_same = row.pk in batch.handed_on and batch.handed_on[row.pk] == command.actor.user_id
    return same and by_same and _is_active(batch, command.actor)


def _is_active(batch: Batch, actor: Actor) -> bool:
    person = None if actor.user_id is None else batch.people.get(actor.user_id)
    return actor.user_id is None or (person is not None and person.active)


def _outcome_as_handed_on(batch: Batch, actor: Actor, row: HumanRequest) -> Outcome:
    """Return the outcome on record; the pending one for an actor who may no longer see the request."""
    recorded = outcome_of(row)
    if actor.user_id is None or permissions.may_see(batch.people[actor.user_id], batch.audiences[row.pk]):
        return recorded
    return Outcome(
        request_id=recorded.request_id,
        kind=recorded.kind,
        status=Status.PENDING.value,
        arguments=row.arguments,
    )


def reschedule(batch: Batch, command: Reschedule, row: HumanRequest) -> Result:
    if row.pk in batch.rescheduled or row.status != Status.PENDING:
        return accept_unchanged(row)
    if is_overdue(row.deadline, batch.now):
        batch.time_out(row)
        return Accepted(outcome=outcome_of(row))
    before, row.deadline = row.deadline, batch.now + timedelta(seconds=command.timeout)
    batch.rescheduled.add(row.pk)
    batch.plan_escalation(row)
    batch.change(row)
    moments = {"before": before and before.isoformat(), "deadline": row.deadline.isoformat()}
    batch.record(row, Event.RESCHEDULED, command.actor, moments, allowed_by=command.actor.channel.value)
    return Accepted(outcome=outcome_of(row))


def view(batch: Batch, command: View, row: HumanRequest) -> Result:
    allowed = check_permission(batch, command.actor, row, permissions.sees_by, {})
    if isinstance(allowed, Refused):
        return allowed
    who = (row.pk, command.actor.user_id)
    if who not in batch.viewers:
        batch.viewers.add(who)
        shown = {"title": row.title, "details": row.details, "arguments": row.arguments, "status": row.status}
        batch.record(row, Event.VIEWED, command.actor, shown, allowed_by=allowed)
    batch.check_stuck(row)
    return accept_unchanged(row)


def misuse(batch: Batch, command: Misuse, row: HumanRequest) -> Result:
    said = {"link_of": on_record(command.link_of)}
    record_refusal(batch, row, command.actor, "not_permitted", said)
    return Refused(code="not_permitted", detail="This link is for somebody else.")
