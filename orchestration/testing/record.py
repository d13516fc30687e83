"""The record of a run under test, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestration.models import StepStatus
from orchestration.runs import call_records
from orchestration.runs.call_records import Call
from orchestration.runs.journal import Claimed, Ownership
from orchestration.runs.recorder import IdleMarker, Recorder
from orchestration.testing.clock import Clock, Sleeps

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Step:
    """A step of a run under test; `status` is "done" or "failed", or how far it came."""

    name: str
    key: str
    status: str
    attempts: int
    result: Any = None
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Said:
    """A message of a run under test."""

    agent: str
    text: str


class Book:
    """What one run has recorded, in order."""

    def __init__(self, clock: Clock) -> None:
        self.steps: dict[str, Step] = {}
        self.messages: list[Said] = []
        self.plan: list[dict[str, Any]] = []
        self._clock = clock
        self._writes: dict[Callable[..., Any], Callable[..., Any]] = {
            call_records.record_status: lambda: None,
            call_records.record_call: self._record_call,
            call_records.record_sleep: self._record_sleep,
            call_records.record_message: self._record_message,
            call_records.begin_message: self._begin_message,
            call_records.extend_message: self._extend_message,
            call_records.end_message: self._end_message,
            call_records.record_plan: self._record_plan,
            call_records.record_plan_step: self._record_plan_step,
        }

    def write(self, write: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Record what this write of `call_records` would record in the database; return what it returns."""
        return self._writes[write](*args, **kwargs)

    def _record_call(self, call: Call, status: StepStatus, **values: Any) -> None:
        if call.kind == "step":
            step = self.steps.setdefault(
                call.key, Step(name=call.name, key=call.key, status=status.value, attempts=call.attempt)
            )
            step.status, step.attempts = status.value, call.attempt
            step.result, step.error = values.get("result"), values.get("error", step.error)

    def _record_sleep(self, call: Call, until: datetime | float) -> datetime:
        return until if isinstance(until, datetime) else self._clock.now + timedelta(seconds=until)

    def _record_message(self, call: Call, agent: str, text: str) -> None:
        self.messages.append(Said(agent=agent, text=text))

    def _begin_message(self, call: Call, agent: str) -> int:
        self._record_message(call, agent, "")
        return len(self.messages) - 1

    def _extend_message(self, number: int, text: str) -> None:
        self.messages[number].text = text

    def _end_message(self, call: Call, number: int, text: str, *, whole: bool) -> None:
        self._extend_message(number, text)

    def _record_plan(self, number: int, steps: Sequence[dict[str, Any]]) -> None:
        self.plan = list(steps)

    def _record_plan_step(self, plan: Sequence[dict[str, Any]], index: int) -> list[dict[str, Any]]:
        self.plan = call_records.mark_times(plan, index, self._clock.now)
        return self.plan


class MemoryRecorder(Recorder):
    """A Recorder that writes into a book, and pauses by the run's clock."""

    def __init__(
        self, book: Book, clock: Clock, sleeps: Sleeps, claimed: Claimed, idle_marker: IdleMarker
    ) -> None:
        super().__init__(claimed, idle_marker)
        self._book = book
        self._clock = clock
        self._sleeps = sleeps

    def mark_when_idle(self) -> None:
        """Nothing: no process could die meanwhile."""

    async def pause(self, seconds: float) -> None:
        """Pause by the run's clock."""
        await self._sleeps.until(self._clock.now + timedelta(seconds=seconds))

    async def _write(
        self,
        executing: bool,
        write: Callable[Concatenate[Ownership, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self.replay.check()
        self._clock.events += 1
        await asyncio.sleep(0)  # as a write to the database, it lets other tasks go on
        result: T = self._book.write(write, *args, **kwargs)
        return result
