"""How what was shown and said is removed: of a closed request, or of one person."""

from __future__ import annotations

from collections.abc import Sequence

from approvals.domain.commands import ALTERED, STILL_NEEDED, Accepted, Actor, Forget, Purge, Refused, Result
from approvals.domain.lifecycle import Status
from approvals.models import Event, HumanRequest
from approvals.queries import outcome_of, permissions
from approvals.writer.batch import Batch
from approvals.writer.chain import PERSON, REQUEST, as_text, hash_of_rest
from approvals.writer.removal import Shown, question_in
from approvals.writer.rules.refusals import accept_unchanged, check_permission


def purge(batch: Batch, command: Purge, row: HumanRequest) -> Result:
    allowed = _check_removable(batch, command.actor, row)
    if isinstance(allowed, Refused):
        return allowed
    if row.closed_at is None or row.closed_at >= command.before:
        return accept_unchanged(row)
    shown = batch.removals.shown_before(row, command.before)
    altered = _check_hashes(shown)
    if altered or not shown:
        return altered or accept_unchanged(row)
    batch.removals.purge(row, shown, batch.now)
    removed = {"before": as_text(command.before), "entries": [one.sequence for one in shown]}
    rest = hash_of_rest(multiple=row.multiple, callback_url=row.callback_url)
    facts = {"scope": REQUEST, "rest": rest}
    batch.record(row, Event.PURGED, command.actor, removed, facts=facts, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def forget(batch: Batch, command: Forget, row: HumanRequest) -> Result:
    allowed = _check_removable(batch, command.actor, row)
    if isinstance(allowed, Refused):
        return allowed
    shown = batch.removals.naming(row, command.user_id)
    if row.status == Status.PENDING:
        shown = [one for one in shown if one.event not in {Event.OPENED, Event.DECIDED}]
    altered = _check_hashes(shown)
    if altered or not shown:
        return altered or accept_unchanged(row)
    batch.removals.forget(row, shown, command.user_id)
    # What was asked is what others decided: the new entry vouches for it, without the name of who asked.
    removed = {"kept": question_in(shown), "entries": [one.sequence for one in shown]}
    batch.record(row, Event.PURGED, command.actor, removed, facts={"scope": PERSON}, allowed_by=allowed)
    return Accepted(outcome=outcome_of(row))


def _check_removable(batch: Batch, actor: Actor, row: HumanRequest) -> str | Refused:
    allowed = check_permission(batch, actor, row, permissions.purges_by, {})
    if isinstance(allowed, Refused):
        return allowed
    if row.pk in batch.removals.to_be_posted:
        return Refused(code=STILL_NEEDED, detail="Its outcome is still to be posted.")
    return allowed


def _check_hashes(shown: Sequence[Shown]) -> Refused | None:
    """Return the refusal if some content does not fit its hash: it is evidence, and stays."""
    altered = [str(one.sequence) for one in shown if not one.holds]
    if not altered:
        return None
    detail = f"What was shown or said is not what was hashed, at: {', '.join(altered)}. Nothing was removed."
    return Refused(code=ALTERED, detail=detail)
