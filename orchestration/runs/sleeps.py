"""Let a run sleep until a recorded moment: a restart neither prolongs the sleep nor begins it again.

As with questions, a sleep that is cancelled while its run goes on is recorded as cancelled: a replay sleeps
there until it is cancelled again.

One heap and one timer wake all sleeping runs of a process. asyncio's clock stops while the machine is
suspended, and clocks of machines differ: a run is only woken when the database's clock has come to its
moment, and that clock is read at least every LONGEST_SLEEP seconds.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count

from django.db import Error as DatabaseError

from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.waiting.outages import Outage, keep_running
from orchestration.models import StepStatus
from orchestration.runs import call_records
from orchestration.runs.call_records import Call
from orchestration.runs.recorder import Recorder

LONGEST_SLEEP = 15.0
# Seconds until the next look where the timer was a little early.
SHORTEST_SLEEP = 0.001
ASK_DATABASE = partial(in_database, database_now)


async def sleep(record: Recorder, wakeups: Wakeups, call: Call, until: datetime | float) -> None:
    """Return at this moment, or after so many seconds; a recorded sleep keeps its end."""
    if record.replay.was_cancelled(call):
        await record.wait_until_cancelled_again(call)
    if await record.replay_call(call) is not None:
        return
    try:
        with record.waiting():
            await wakeups.until(await _end_of_sleep(record, call, until))
        await record.record(call, StepStatus.DONE)
    except asyncio.CancelledError:
        if record.goes_on:
            await record.record_cancelled_wait(call, StepStatus.GIVEN_UP)
        raise


async def _end_of_sleep(record: Recorder, call: Call, until: datetime | float) -> datetime:
    recorded = record.replay.find(call)
    end = None if recorded is None else recorded.due_at
    if recorded is not None and recorded.status == StepStatus.SLEEPING and end is not None:
        await record.record_waiting()
        return end
    end = await record.write_wait(call_records.record_sleep, call, end or until)
    record.replay.remember(call, StepStatus.SLEEPING, due_at=end)
    return end


@dataclass(order=True, slots=True)
class _Sleeper:
    moment: datetime
    number: int
    woken: asyncio.Future[None] = field(compare=False)
    held: bool = field(default=True, compare=False)
    gone: bool = field(default=False, compare=False)


class Wakeups:
    """Wakes sleepers. Belongs to one event loop; has a task from the first sleep until `close`."""

    def __init__(self, clock: Callable[[], Awaitable[datetime]] = ASK_DATABASE) -> None:
        self._clock = clock
        self._sleepers: list[_Sleeper] = []
        self._gone = 0
        self._numbers = count()
        self._earlier = asyncio.Event()
        self._database = Outage("database", DatabaseError)
        self._keeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of sleepers."""
        return len(self._sleepers) - self._gone

    async def until(self, moment: datetime) -> None:
        """Return when the database's clock has come to `moment`."""
        sleeper = _Sleeper(moment, next(self._numbers), asyncio.get_running_loop().create_future())
        heappush(self._sleepers, sleeper)
        if self._sleepers[0] is sleeper:
            self._earlier.set()
        if self._keeping is None:
            keeping = keep_running("wake-ups", self._keep)
            self._keeping = asyncio.create_task(keeping, context=contextvars.Context())
        try:
            await sleeper.woken
        finally:
            if sleeper.held:
                self._remove(sleeper)

    def close(self) -> None:
        """Stop; wake nobody from now on."""
        if self._keeping is not None:
            self._keeping.cancel()

    async def _keep(self) -> None:
        while True:
            await self._pause(await self._wake_the_due() if self._sleepers else None)

    async def _wake_the_due(self) -> float | None:
        """Wake all who are due; return the seconds until the next look, None if nobody sleeps."""
        with self._database.watch():
            now = await self._clock()
        while self._sleepers and (self._sleepers[0].moment <= now or self._sleepers[0].gone):
            sleeper = heappop(self._sleepers)
            sleeper.held = False
            self._gone -= sleeper.gone
            if not sleeper.woken.done():
                sleeper.woken.set_result(None)
        if not self._sleepers:
            return None
        left = (self._sleepers[0].moment - now).total_seconds()
        return max(min(left, LONGEST_SLEEP), SHORTEST_SLEEP)

    async def _pause(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._earlier.wait()
        self._earlier.clear()

    def _remove(self, sleeper: _Sleeper) -> None:
        """Mark a sleeper as gone, and rebuild the heap when most of it is gone."""
        sleeper.gone = True
        self._gone += 1
        if 2 * self._gone > len(self._sleepers):
            self._sleepers = [each for each in self._sleepers if not each.gone]
            heapify(self._sleepers)
            self._gone = 0
