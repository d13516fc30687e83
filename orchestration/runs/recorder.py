"""Record what a run does: all its reads of the record and all its writes go through here."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.exceptions import Fenced
from orchestration.models import RunStatus, StepStatus
from orchestration.runs import call_records, journal
from orchestration.runs.active_steps import ActiveSteps
from orchestration.runs.call_records import Call
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
        # While the run is being recorded as idle: its other writes wait for this.
        self.marking: asyncio.Future[None] | None = None
        # Whether according to the record some code of the run executes.
        self.executing = True
        self._idle_marker = idle_marker
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
            await self.write_wait(call_records.record_status)
        self.mark_when_idle()

    @property
    def became_idle(self) -> bool:
        """Whether the run only waits, and is not recorded as idle yet."""
        return self.executing and self._waits > 0 and not self.active_steps.any

    def mark_when_idle(self) -> None:
        """Have the run recorded as idle soon, if it only waits."""
        if self.became_idle:
            self._idle_marker.add(self)

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

    async def pause(self, seconds: float) -> None:
        """Pause the run before it tries a step again."""
        await asyncio.sleep(seconds)

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

    async def record(self, call: Call, status: StepStatus, *, waits: bool = False, **values: Any) -> None:
        """Record the state of a call, with values for its record, and keep it for later calls of this key.

        `waits`: from then on the call waits.
        """
        write = self.write_wait if waits else self.write
        await write(call_records.record_call, call, status, **values)
        self.replay.remember(call, status, **values)

    async def record_cancelled_wait(self, call: Call, status: StepStatus, **values: Any) -> None:
        """Record that the run has cancelled the wait of this call, and goes on."""
        await self.record(call, status, cancelled_waits=self.replay.begin_count(call), **values)

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
        self._status = RunStatus.WAITING if self._waits else RunStatus.RUNNING
        owned = replace(self.ownership, executing=executing, status=self._status)
        while self.marking is not None:
            await asyncio.wait([self.marking])
        try:
            result = await journal.on_record(write, owned, *args, **kwargs)
        except Fenced as error:
            self.cancel(error)
            raise asyncio.CancelledError(error.detail) from error
        self.executing = executing
        return result


class IdleMarker:
    """Records which runs only wait: if their process dies then, that does not count as a death of the run.

    After a restart, thousands of runs may attach to what they wait for, and write nothing themselves. Runs
    that become idle while a write is under way are recorded together by the next one. Belongs to one event
    loop; has a task only while there is something to record.
    """

    def __init__(self) -> None:
        self._waiting: dict[Recorder, None] = {}
        self._marking: asyncio.Task[None] | None = None

    def add(self, run: Recorder) -> None:
        """Record the run as idle soon, if it still only waits then."""
        self._waiting[run] = None
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark_all(), context=contextvars.Context())

    async def _mark_all(self) -> None:
        try:
            while self._waiting:
                some = list(islice(self._waiting, orchestration_settings().claim_batch))
                for run in some:
                    del self._waiting[run]
                if idle := [run for run in some if run.became_idle]:
                    await self._mark(idle)
        finally:
            self._marking = None

    async def _mark(self, runs: list[Recorder]) -> None:
        recorded = asyncio.get_running_loop().create_future()
        for run in runs:
            run.marking = recorded
        try:
            await in_database(journal.mark_idle, [run.ownership for run in runs])
            for run in runs:
                run.executing = False
        except DatabaseError as error:  # if their process dies now, that counts once
            log.warning("idle runs not recorded runs=%d error=%s", len(runs), error)
        finally:
            recorded.set_result(None)
            for run in runs:
                run.marking = None
