"""What all rules refuse alike: by permission first, then by the request's state. Each refusal is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from approvals.domain.commands import Accepted, Actor, Keyed, Reference, Refused
from approvals.domain.lifecycle import Status, is_overdue
from approvals.models import Event, HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch


def check_permission(
    batch: Batch,
    actor: Actor,
    row: HumanRequest,
    rule: Callable[[permissions.Person, permissions.Audience], str | None],
    said: dict[str, Any],
) -> str | Refused:
    """Return what allows the actor to do this, for the trail; or the refusal, which is recorded."""
    if actor.user_id is None:
        return actor.channel.value
    person = batch.people.get(actor.user_id)
    if person is None:
        return unknown(row.pk)
    audience = batch.audiences[row.pk]
    allowed = rule(person, audience)
    if allowed is not None:
        return allowed
    if permissions.may_see(person, audience):
        record_refusal(batch, row, actor, "not_permitted", said)
        return Refused(code="not_permitted", detail="You may see this request, but not do this to it.")
    record_refusal(batch, row, actor, "unknown_request", said)
    return unknown(row.pk)


def check_state(
    batch: Batch, actor: Actor, row: HumanRequest, said: dict[str, Any], *, voted: str = ""
) -> Refused | None:
    """Return the refusal if the request is closed; time it out first where overdue.

    `voted` says why the actor has no vote left on a pending one; "" where they have.
    """
    if row.status == Status.PENDING and is_overdue(row.deadline, batch.now):
        batch.time_out(row)
    if row.status == Status.TIMED_OUT:
        record_refusal(batch, row, actor, "too_late", said)
        return Refused(code="too_late", detail="The deadline has passed.", outcome=outcome_of(row))
    if row.status != Status.PENDING or voted:
        record_refusal(batch, row, actor, "already_decided", said)
        detail = voted if row.status == Status.PENDING else _who_won(row)
        return Refused(code="already_decided", detail=detail, outcome=outcome_of(row))
    return None


def record_refusal(batch: Batch, row: HumanRequest, actor: Actor, code: str, said: dict[str, Any]) -> None:
    batch.record(row, Event.REFUSED, actor, {**said, "code": code})


def accept_unchanged(row: HumanRequest) -> Accepted:
    return Accepted(outcome=outcome_of(row), changed=False)


def unknown(reference: Reference) -> Refused:
    name = reference.key if isinstance(reference, Keyed) else str(reference)
    detail = f"There is no request {name!r}, or you may not see it."
    return Refused(code="unknown_request", detail=detail, field="request_id")


def _who_won(row: HumanRequest) -> str:
    who = row.decided_by.get_username() if row.decided_by else "the program that asked"
    return f"It was already {row.status} by {who}."
