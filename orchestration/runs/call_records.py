"""Write what a run does: its steps, questions, sleeps, messages and its plan.

Each function is a write by the run's owner; see journal.py. They are called through `Recorder.write`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from approvals.database.clock import database_now
from orchestration.models import Message, StepRecord, StepStatus
from orchestration.plans import OVER, StepState
from orchestration.runs.journal import Ownership, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a run, as it is recorded. `attempt` counts how often it was begun."""

    key: str
    position: int | None
    kind: str
    name: str
    fingerprint: str
    attempt: int = 1


def record_status(owned: Ownership) -> None:
    """Record the run's status alone."""
    with writing(owned):
        pass


def record_call(owned: Ownership, call: Call, status: StepStatus, /, **values: Any) -> None:
    """Record the state of a call, with `values` for columns of its record.

    What may have had an effect is recorded even if the run was cancelled: a failure, or a step's result.
    """
    ended = status == StepStatus.FAILED or (call.kind == "step" and status == StepStatus.DONE)
    known = (status == StepStatus.STARTED and call.attempt > 1) or (
        status == StepStatus.OPEN and call.kind == "interrupted"
    )
    with writing(owned, news=not known, begins=not ended, recorded_at=Now()):
        _save_call(owned, call, status=status, **values)


def find_step(run_id: UUID, key: str) -> StepRecord:
    """Return the record of a step."""
    return StepRecord.objects.get(run_id=run_id, key=key)


def record_sleep(owned: Ownership, call: Call, until: datetime | float) -> datetime:
    """Record that the run sleeps, and until when; return that moment.

    `until` is a moment, or seconds from now. A sleep that is on record keeps its end.
    """
    with writing(owned, news=True, recorded_at=Now()):
        asleep = StepRecord.objects.filter(run_id=owned.run_id, key=call.key, status=StepStatus.SLEEPING)
        for due_at in asleep.values_list("due_at", flat=True):
            if due_at is not None:
                return due_at
        due_at = until if isinstance(until, datetime) else database_now() + timedelta(seconds=until)
        _save_call(owned, call, status=StepStatus.SLEEPING, due_at=due_at)
        return due_at


def record_message(owned: Ownership, call: Call, agent: str, text: str) -> None:
    with writing(owned, news=True):
        done = StepRecord.objects.filter(run_id=owned.run_id, key=call.key, status=StepStatus.DONE)
        if not done.exists():  # it may be a repeated write
            Message.objects.create(run_id=owned.run_id, agent=agent, text=text, said_at=Now())
            _save_call(owned, call, status=StepStatus.DONE)


def begin_message(owned: Ownership, call: Call, agent: str) -> int:
    """Record an empty message that will grow, and return its id; end what an earlier attempt left."""
    with writing(owned, news=call.attempt == 1):
        Message.objects.filter(run_id=owned.run_id, agent=agent, complete=False).update(complete=True)
        message = Message.objects.create(
            run_id=owned.run_id, agent=agent, text="", complete=False, said_at=Now()
        )
        _save_call(owned, call, status=StepStatus.STARTED)
    return message.pk


def extend_message(owned: Ownership, message_id: int, text: str) -> None:
    with writing(owned):
        Message.objects.filter(pk=message_id).update(text=text)


def end_message(owned: Ownership, call: Call, message_id: int, text: str, *, whole: bool) -> None:
    with writing(owned, news=whole):
        Message.objects.filter(pk=message_id).update(text=text, complete=True)
        if whole:
            _save_call(owned, call, status=StepStatus.DONE, result=text)


def record_plan(owned: Ownership, number: int, steps: Sequence[dict[str, Any]]) -> None:
    with writing(owned, news=True, plan=list(steps), plan_round=number):
        pass


def record_plan_step(owned: Ownership, plan: Sequence[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """Record the state of the plan's step at `index`, with the time; return the plan as recorded."""
    marked = mark_times(plan, index, database_now())
    with writing(owned, plan=marked):
        pass
    return marked


def mark_times(plan: Sequence[dict[str, Any]], index: int, now: datetime) -> list[dict[str, Any]]:
    """Return the plan with the times of the step at `index`, according to its state."""
    moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    step = dict(plan[index])
    if step["state"] != StepState.PENDING:
        step["started_at"] = step["started_at"] or moment
    if step["state"] in OVER:
        step["finished_at"] = moment
    return [*plan[:index], step, *plan[index + 1 :]]


def _save_call(owned: Ownership, call: Call, **values: Any) -> None:
    """Insert or update the call's record, in one statement, so that repeating it is harmless.

    Columns that are not given stay as they are, such as the error of an earlier attempt.
    """
    finished = values["status"] in (StepStatus.DONE, StepStatus.FAILED)
    if "cancelled_waits" in values:
        values["cancelled_at"] = Now()
    changes = [*values, "attempts", "finished_at"]
    if values["status"] == StepStatus.STARTED:
        values["begun_by"] = f"{socket.gethostname()}:{os.getpid()}"[:200]
        changes += ["begun_by", "started_at"]
    record = StepRecord(
        run_id=owned.run_id,
        key=call.key,
        position=call.position,
        kind=call.kind,
        name=call.name,
        fingerprint=call.fingerprint,
        attempts=call.attempt,
        started_at=Now(),
        finished_at=Now() if finished else None,
        **values,
    )
    StepRecord.objects.bulk_create(
        [record],
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=changes,
    )
