"""How a request is opened, and found again by its key.

Takes the command `OpenRequest`; returns the outcome on record, or the refusal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from approvals.domain import questions
from approvals.domain.accounts import on_record
from approvals.domain.commands import Accepted, OpenRequest, Refused, Result
from approvals.domain.payloads import canonical, digest
from approvals.domain.request_terms import Place, terms_in
from approvals.models import ORIGIN_ID_LIMIT, Event, HumanRequest
from approvals.queries import outcome_of
from approvals.writer.batch import Batch
from approvals.writer.chain import facts_of_asking
from approvals.writer.rules.refusals import accept_unchanged

_IN_ROWS = terms_in(Place.ROW)
_IN_ENTRIES = terms_in(Place.ENTRY)


def open_request(batch: Batch, command: OpenRequest) -> Result:
    known = batch.rows.get(command.request_id)
    if known is not None:
        return accept_unchanged(known)
    earlier = batch.by_key.get((command.key_scope, command.key)) if command.key else None
    if earlier is not None and not questions.is_past(earlier, command.new_round, command.asked_since):
        return _attach(command, earlier)
    if refused := batch.quotas.refuse(command):
        return refused
    row = _row_of(command, batch.now, round_number=earlier.round + 1 if earlier else 1)
    batch.plan_escalation(row)
    batch.add(row, command)
    on_behalf_of = command.requester_id if command.requester_id != command.actor.user_id else None
    # Every account may ask, whatever it may decide.
    allowed = command.actor.channel.value if command.actor.user_id is None else "account"
    batch.record(
        row,
        Event.OPENED,
        command.actor,
        _question_in(command),
        facts=facts_of_asking(row, command.user_ids, command.group_ids, command.override),
        allowed_by=allowed,
        on_behalf_of_id=on_behalf_of,
    )
    return Accepted(outcome=outcome_of(row))


def _attach(command: OpenRequest, row: HumanRequest) -> Result:
    if row.purged_at is not None:
        # The recorded outcome would stand for words that nobody can compare any more.
        detail = f"key {command.key!r} was used for a request whose content has been removed since."
        return Refused(code="key_conflict", detail=detail, field="key", outcome=outcome_of(row))
    differs = _differences(command, row)
    if not differs:
        return accept_unchanged(row)
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
        requester_id=command.requester_id,
        key_scope=command.key_scope,
        round=round_number,
        opened_at=now,
        changed_at=now,
        deadline=None if command.timeout is None else now + timedelta(seconds=command.timeout),
        origin_id=command.origin.get("id", "")[:ORIGIN_ID_LIMIT],
        group_key=(command.group or {}).get("key", ""),
        fingerprint=command.fingerprint,
        counted_bytes=command.counted_bytes,
        **{term.name: term.to_row(getattr(command, term.name)) for term in _IN_ROWS},
    )


def _question_in(command: OpenRequest) -> dict[str, Any]:
    """Return what was asked, as everybody will be shown it."""
    said = [(term, getattr(command, term.name)) for term in _IN_ENTRIES]
    return {
        **{term.name: value for term, value in said if value or not term.sparse},
        "arguments_sha256": digest(canonical(command.arguments)),
        "users": [on_record(user_id) for user_id in command.user_ids],
        "groups": list(command.group_ids),
    }
