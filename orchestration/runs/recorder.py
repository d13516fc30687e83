"""What one run has on record, and its way to write more: whatever it does goes through here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestration.exceptions import Fenced
from orchestration.models import RunStatus
from orchestration.runs import journal
from orchestration.runs.active_steps import ActiveSteps
from orchestration.runs.idle import IdleMarker
from orchestration.runs.journal import Call, Claimed, Ownership
from orchestration.runs.replay import NO_TIME, Recorded, Replay

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Seconds before a call of a run that is over is refused.
FIRST_PAUSE = 0.001
LONGEST_PAUSE = 1.0
# Seconds that a replay may take longer than what it repeats.
MARGIN = 10.0


class Recorder:
    """One execution of a run, as it is recorded. Belongs to one event loop."""

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
        """The run waits for something that is no work of its own."""
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def update_status(self) -> RunStatus:
        """The status from now on, as the next write shall have it: waiting while anything is waited for."""
        self._status = RunStatus.WAITING if self._waits else RunStatus.RUNNING
        return self._status

    def set_task(self, task: asyncio.Task[Any] | None) -> None:
        """The task that executes the run: where that is cancelled, this process lets go of it."""
        self._execution = task

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on here: what is cancelled now, its own code has cancelled."""
        leaving = self._execution is not None and self._execution.cancelling() > 0
        return self.replay.over is None and not leaving

    async def record_waiting(self) -> None:
        """Have on record that the run waits, where that needs a write of its own."""
        if self._status is not RunStatus.WAITING:
            await self.write_wait(journal.record_status, self.update_status())
        self.mark_when_idle()

    @property
    def executing(self) -> bool:
        """Whether the record has it that something of the run executes."""
        return self._executing_on_record

    @property
    def became_idle(self) -> bool:
        return self._executing_on_record and self._waits > 0 and not self.active_steps.any

    def mark_when_idle(self) -> None:
        """Have noted in a moment, if it is so by then, that the run only waits."""
        if self.became_idle:
            self._idle_marker.add(self)

    def note_marked_idle(self) -> None:
        self._executing_on_record = False

    async def wait_until_cancelled_again(self, call: Call) -> None:
        """Wait until this wait is cancelled, as the record has it: then it takes no longer than that did.

        Return where it is not, as after the code has changed, or what failed beside it has not failed again.
        """
        recorded = self.replay.of(call)
        longest = NO_TIME if recorded is None else recorded.waited
        with self.waiting():
            await self.record_waiting()
            await asyncio.sleep(longest.total_seconds() + MARGIN)
        log.warning("wait not cancelled again run=%s step=%s", self.ownership.run_id, call.key)

    def finished_record(self, call: Call) -> Recorded | None:
        """The call as it is on record, if it is over."""
        recorded = self.replay.of(call)
        return recorded if recorded is not None and recorded.finished else None

    def cancel(self, error: Fenced) -> None:
        """From now on refuse whatever the run's code calls, as cancelled: `error` says why."""
        self.replay.over = self.replay.over or error

    async def admit(self) -> None:
        """Return if the run may go on; else raise why not, a moment later each time.

        Code that catches that and tries again must not keep the event loop for itself.
        """
        if self.replay.over is not None:
            pause = min(FIRST_PAUSE * 2**self._refusals, LONGEST_PAUSE)
            self._refusals = min(self._refusals + 1, 20)
            await asyncio.sleep(pause)
            self.replay.check()

    async def replay_call(self, call: Call) -> Recorded | None:
        """The call as it is on record, if it is over. Other tasks of the run have their turn first, as they
        had when it happened: what began before this returned then, begins before it returns now."""
        recorded = self.finished_record(call)
        if recorded is not None:
            await asyncio.sleep(0)
        return recorded

    async def write(
        self, write: Callable[Concatenate[Ownership, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return once it is on record. Where the run is not ours to write any more, it is over here."""
        return await self._write(True, write, *args, **kwargs)

    async def write_wait(
        self, write: Callable[Concatenate[Ownership, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `write`, for what begins a wait: from then on, unless a step is under way, nothing executes."""
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
