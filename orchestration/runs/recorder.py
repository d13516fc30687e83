"""Record what a run does: all its reads of the record and all its writes go through here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestration.exceptions import Fenced
from orchestration.models import RunStatus
from orchestration.runs import call_records, journal
from orchestration.runs.active_steps import ActiveSteps
from orchestration.runs.call_records import Call
from orchestration.runs.idle_marking import IdleMarker
from orchestration.runs.journal import Claimed, Ownership
from orchestration.runs.replay import NO_TIME, Recorded, Replay

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Seconds before a call of a run that is over is refused.
FIRST_PAUSE = 0.001
LONGEST_PAUSE = 1.0
# Seconds that a replayed wait may take longer than the recorded one.
MARGIN = 10.0


class Recorder:
    """The record of one execution of a run. Belongs to one event loop."""

    def __init__(self, claimed: Claimed, idle_marker: IdleMarker) -> None:
        self.replay = Replay(claimed.records)
        self.active_steps = ActiveSteps()
        self.ownership = claimed.ownership
        self.marking: asyncio.Future[None] | None = None
        self._idle_marker = idle_marker
        self._executing_on_record = True
        self._status = RunStatus(claimed.run.status)
        self._waits = 0
        self._execution: asyncio.Task[Any] | None = None
        self._refusals = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a wait for something other than the run's own work, while the block executes."""
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def update_status(self) -> RunStatus:
        """Return the status for the next write: waiting while the run waits for anything, else running."""
        self._status = RunStatus.WAITING if self._waits else RunStatus.RUNNING
        return self._status

    def set_task(self, task: asyncio.Task[Any] | None) -> None:
        """Set the task that executes the run; if it is cancelled, this process lets go of the run."""
        self._execution = task

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on in this process, so that a cancellation comes from its own code."""
        leaving = self._execution is not None and self._execution.cancelling() > 0
        return self.replay.over is None and not leaving

    async def record_waiting(self) -> None:
        """Record that the run waits, unless it is recorded already."""
        if self._status is not RunStatus.WAITING:
            await self.write_wait(call_records.record_status, self.update_status())
        self.mark_when_idle()

    @property
    def executing(self) -> bool:
        """Whether according to the record some code of the run executes."""
        return self._executing_on_record

    @property
    def became_idle(self) -> bool:
        return self._executing_on_record and self._waits > 0 and not self.active_steps.any

    def mark_when_idle(self) -> None:
        """Have the run recorded as idle soon, if it only waits."""
        if self.became_idle:
            self._idle_marker.add(self)

    def note_marked_idle(self) -> None:
        self._executing_on_record = False

    async def wait_until_cancelled_again(self, call: Call) -> None:
        """Wait until this wait is cancelled, which takes about as long as it took according to the record.

        Return where it is not cancelled: the code may have changed, or a call beside it may succeed now.
        """
        recorded = self.replay.find(call)
        longest = NO_TIME if recorded is None else recorded.waited
        with self.waiting():
            await self.record_waiting()
            await asyncio.sleep(longest.total_seconds() + MARGIN)
        log.warning("wait not cancelled again run=%s step=%s", self.ownership.run_id, call.key)

    def finished_record(self, call: Call) -> Recorded | None:
        """Return the record of the call, if the call is over."""
        recorded = self.replay.find(call)
        return recorded if recorded is not None and recorded.finished else None

    def cancel(self, error: Fenced) -> None:
        """Refuse all further calls of the run's code by CancelledError; `error` says why."""
        self.replay.over = self.replay.over or error

    async def admit(self) -> None:
        """Return if the run may go on; else raise why not, after a pause that grows each time.

        The pause keeps code that catches the error and tries again from blocking the event loop.
        """
        if self.replay.over is not None:
            pause = min(FIRST_PAUSE * 2**self._refusals, LONGEST_PAUSE)
            self._refusals = min(self._refusals + 1, 20)
            await asyncio.sleep(pause)
            self.replay.check()

    async def replay_call(self, call: Call) -> Recorded | None:
        """Return the record of the call, if the call is over, after other tasks of the run had their turn.

        They had it when the call was made first: calls must begin in the same order now.
        """
        recorded = self.finished_record(call)
        if recorded is not None:
            await asyncio.sleep(0)
        return recorded

    async def write(
        self, write: Callable[Concatenate[Ownership, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a write, and return when it is committed; if the run is no longer ours, end it here."""
        return await self._write(True, write, *args, **kwargs)

    async def write_wait(
        self, write: Callable[Concatenate[Ownership, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a write that begins a wait; from then on the run is idle, unless a step executes."""
        return await self._write(self.active_steps.any, write, *args, **kwargs)

    async def _write(
        self,
        executing: bool,
        write: Callable[Concatenate[Ownership, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self.replay.check()
        while self.marking is not None:
            await asyncio.wait([self.marking])
        try:
            owned = replace(self.ownership, executing=executing)
            result = await journal.on_record(write, owned, *args, **kwargs)
        except Fenced as error:
            self.cancel(error)
            raise asyncio.CancelledError(error.detail) from error
        self._executing_on_record = executing
        return result
