"""Let a run sleep until a recorded moment: a restart neither prolongs the sleep nor begins it again.

As with questions, a sleep that is cancelled while its run goes on is recorded as cancelled: a replay sleeps
there until it is cancelled again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from orchestration.models import StepStatus
from orchestration.runs import call_records
from orchestration.runs.call_records import Call
from orchestration.runs.recorder import Recorder
from orchestration.runs.wakeups import Wakeups


class Sleeps:
    """The sleeps of one execution of a run."""

    def __init__(self, record: Recorder, wakeups: Wakeups) -> None:
        self._record = record
        self._replay = record.replay
        self._wakeups = wakeups

    async def sleep(self, call: Call, until: datetime | float) -> None:
        """Return at this moment, or after so many seconds; a recorded sleep keeps its end."""
        if self._replay.was_cancelled(call):
            await self._record.wait_until_cancelled_again(call)
        if await self._record.replay_call(call) is not None:
            return
        try:
            with self._record.waiting():
                await self._wakeups.until(await self._end(call, until))
            await self._record.write(call_records.record_wakeup, call, self._record.update_status())
            self._replay.remember(call, StepStatus.DONE)
        except asyncio.CancelledError:
            if self._record.goes_on:
                await self._leave(call)
            raise

    async def _end(self, call: Call, until: datetime | float) -> datetime:
        recorded = self._replay.find(call)
        end = None if recorded is None else recorded.due_at
        if recorded is not None and recorded.status == StepStatus.SLEEPING and end is not None:
            await self._record.record_waiting()
            return end
        end = await self._record.write_wait(
            call_records.record_sleep, call, end or until, self._record.update_status()
        )
        self._replay.remember(call, StepStatus.SLEEPING, due_at=end)
        return end

    async def _leave(self, call: Call) -> None:
        waits = self._replay.begin_count(call)
        await self._record.write(
            call_records.record_cancelled_wait, call, StepStatus.GIVEN_UP, waits, self._record.update_status()
        )
        self._replay.remember(call, StepStatus.GIVEN_UP, cancelled_waits=waits)
