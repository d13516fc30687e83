"""Decide what is kept of an ended run's record when somebody resumes the run.

After a crash an open run goes on by itself: see engines/local.py and runs/replay.py.

Calls that are recorded as done are kept, and never done again. The call that made the run fail is deleted: a
question that was rejected, answered instead, withdrawn or not answered in time is asked again, a step that
failed is tried again. A call that ended badly but was handled, so that the run went on, replays as it was.

After such a call the run may take another path than before, so what it said and asked on the old path is
deleted too. Steps that were done there are set aside: the run finds each of them again wherever it calls the
same function with the same arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals import queries
from approvals.domain.lifecycle import Status
from orchestration.exceptions import Rejected, Responded, StepFailed, TimedOut, Withdrawn
from orchestration.models import Run, RunStatus, StepRecord, StepStatus
from orchestration.queries import QUESTIONS

RESUMABLE = (RunStatus.FAILED, RunStatus.REJECTED)

# What a question is called for those who may not see it.
UNSEEN = "a request that you may not see"

STEP, SLEEP, INTERRUPTED = "step", "sleep", "interrupted"
# Reasons of runs that ended because of their last bad question or step, even if they did something after it.
BY_A_QUESTION = (Rejected.code, Responded.code, TimedOut.code, Withdrawn.code)
BY_A_STEP = (StepFailed.code,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What becomes of the records; `forgotten` includes those that are asked or tried again."""

    asked_anew: Sequence[StepRecord]
    tried_again: Sequence[StepRecord]
    unclear: Sequence[StepRecord]
    """Steps that have no result: a person is asked whether they were done, unless they may be repeated."""
    forgotten: Sequence[StepRecord]
    set_aside: Sequence[StepRecord]

    @property
    def empty(self) -> bool:
        return not (self.asked_anew or self.tried_again or self.unclear)


def is_resumable(run: Run) -> bool:
    """Tell whether the run failed or was rejected, and still has its content."""
    return run.status in RESUMABLE and run.purged_at is None


def hide_unseen_titles(resumption: Resumption, user_id: int) -> Resumption:
    """Replace the titles of questions that this user may not see; return the resumption."""
    asked = [each.request_id for each in resumption.asked_anew if each.request_id]
    rights = queries.rights_among(user_id, queries.requests_by_id(asked, light=True)) if asked else {}
    for each in resumption.asked_anew:
        if each.request_id in rights and not rights[each.request_id].see:
            each.name = UNSEEN
    return resumption


def describe_resumption(resumption: Resumption) -> list[str]:
    """Say in sentences what the run repeats when it is resumed, apart from replaying its record."""
    asked = [f"Asks again: {each.name} ({how_it_ended(each)})" for each in resumption.asked_anew]
    tried = [f"Tries again: step {each.name!r}, which failed" for each in resumption.tried_again]
    unclear = [
        f"Has no result on record: step {each.name!r}. A person is asked whether it was done,"
        " unless it may be repeated"
        for each in resumption.unclear
    ]
    return [*asked, *tried, *unclear]


def resumption_of(reason: str, records: Iterable[StepRecord]) -> Resumption:
    """Decide it for a run that ended for this reason, with these records in the order of their ids."""
    records = list(records)
    ends = _bad_ends(reason, records)
    anew = {each.pk for each in records if each.pk in ends or _was_under_way(each)}
    beyond = [each for each in _beyond(ends, records) if each.pk not in anew]
    steps = [each for each in records if each.kind == STEP]
    aside = [each for each in beyond if each.kind == STEP and each.status != StepStatus.FAILED]
    kept_no_longer = {each.pk for each in beyond} - {each.pk for each in aside}
    about = tuple(f"{each.key}/{INTERRUPTED}/" for each in steps if each.pk in anew | kept_no_longer)
    return Resumption(
        asked_anew=[each for each in records if each.pk in anew and each.kind in QUESTIONS],
        tried_again=[each for each in steps if each.pk in anew],
        unclear=[each for each in steps if each.status == StepStatus.STARTED],
        forgotten=[
            each
            for each in records
            # Another attempt that is interrupted is another question.
            if each.pk in anew | kept_no_longer or (each.kind == INTERRUPTED and each.key.startswith(about))
        ],
        set_aside=aside,
    )


def _bad_ends(reason: str, records: Sequence[StepRecord]) -> set[int]:
    """Return the ids of calls that ended badly, and after which the run made no further call."""
    ends: list[StepRecord] = []
    begun_after: datetime | None = None
    for each in reversed(records):
        if _ended_badly(each) and (begun_after is None or begun_after < _end_of(each)):
            ends.append(each)
        if each.kind in (STEP, SLEEP, *QUESTIONS):  # and not just a message
            begun_after = each.started_at if begun_after is None else max(begun_after, each.started_at)
    for reasons, kinds in ((BY_A_QUESTION, QUESTIONS), (BY_A_STEP, (STEP,))):
        # The run may have cleaned up after it by other calls.
        if reason in reasons and not any(each.kind in kinds for each in ends):
            bad = [each for each in records if each.kind in kinds and _ended_badly(each)]
            ends += sorted(bad, key=lambda each: (_end_of(each), each.pk))[-1:]
    return {each.pk for each in ends}


def _ended_badly(record: StepRecord) -> bool:
    if record.status == StepStatus.FAILED:
        return record.kind == STEP
    if record.status != StepStatus.DONE or record.kind not in QUESTIONS:
        return False
    return how_it_ended(record) != ""


def how_it_ended(record: StepRecord) -> str:
    """Return why the run can't go on with a question's outcome, in a word; empty where it can."""
    if record.status == StepStatus.OPEN:
        return "open"
    outcome: Mapping[str, Any] = record.result or {}
    if outcome.get("withdrawn"):
        return "withdrawn"
    if record.kind == "approve":
        if outcome.get("approved"):
            return ""
        if outcome.get("status") == Status.ANSWERED:
            return "answered instead"
        return "timed out" if outcome.get("timed_out") else "rejected"
    return "timed out" if outcome.get("timed_out") and outcome.get("answer") is None else ""


def _was_under_way(record: StepRecord) -> bool:
    """Tell whether the call was not over. A begun step counts as over: it may have had its effect."""
    if record.status in (StepStatus.RETRYING, StepStatus.OPEN):
        return True
    if record.status == StepStatus.STARTED:
        return record.kind != STEP
    return record.kind == INTERRUPTED and record.status == StepStatus.FAILED


def _beyond(ends: Collection[int], records: Sequence[StepRecord]) -> Iterator[StepRecord]:
    """Yield the numbered calls that were begun after one of these ended badly. Keyed calls are kept."""
    first: datetime | None = None
    for each in records:
        if each.pk in ends:
            first = _end_of(each) if first is None else min(first, _end_of(each))
        elif first is not None and each.position is not None and each.started_at >= first:
            yield each


def _end_of(record: StepRecord) -> datetime:
    return record.finished_at or record.started_at
