"""The time of a run under test: it stands still while anything can happen, then moves to what is due next.

So things come in the order in which they would come, whatever the test's machine does meanwhile: a reply that
takes an hour comes after a sleep of a minute.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush
from itertools import count

from orchestration.runs.active_steps import is_within_a_step
from orchestration.runs.sleeps import Wakeups

# Turns of the event loop without a write after which the run only waits.
QUIET_TURNS = 20
# Seconds between two looks at a step that executes.
STEP = 0.001
NEVER = datetime.max.replace(tzinfo=UTC)


class NothingComes(Exception):
    """Nothing will ever end this wait: the run does nothing else."""


class Clock:
    """The time of one run."""

    def __init__(self) -> None:
        self.started = self.now = datetime.now(UTC)
        self.events = 0
        """How much has happened: counted by who makes it happen."""


@dataclass(order=True, slots=True)
class _Sleeper:
    moment: datetime
    number: int
    woken: asyncio.Future[None] = field(compare=False)


class Sleeps(Wakeups):
    """Wakes who sleeps in a run under test, in order, when the run does nothing else.

    `executing` returns how many of its steps execute.
    """

    def __init__(self, clock: Clock, executing: Callable[[], int]) -> None:
        super().__init__()
        self._time = clock
        self._executing = executing
        self._asleep: list[_Sleeper] = []
        self._order = count()
        self._within_steps = 0
        self._waking: asyncio.Task[None] | None = None

    async def until(self, moment: datetime) -> None:
        """Return at this moment by the run's clock. Raises NothingComes for NEVER, if nothing else comes."""
        sleeper = _Sleeper(moment, next(self._order), asyncio.get_running_loop().create_future())
        heappush(self._asleep, sleeper)
        if self._waking is None:
            self._waking = asyncio.create_task(self._wake_in_order(), context=contextvars.Context())
        within = is_within_a_step()
        self._within_steps += within
        try:
            await sleeper.woken
        finally:
            self._within_steps -= within
            if sleeper in self._asleep:
                self._asleep.remove(sleeper)
                heapify(self._asleep)

    async def _wake_in_order(self) -> None:
        try:
            while self._asleep:
                await self._until_quiet()
                if self._asleep:
                    self._wake(heappop(self._asleep))
        finally:
            self._waking = None

    def _wake(self, sleeper: _Sleeper) -> None:
        self._time.events += 1
        if sleeper.woken.done():
            return  # cancelled a moment ago
        if sleeper.moment == NEVER:
            sleeper.woken.set_exception(NothingComes())
        else:
            self._time.now = max(self._time.now, sleeper.moment)
            sleeper.woken.set_result(None)

    async def _until_quiet(self) -> None:
        """Return when the run only waits: nothing has happened for some turns, and no step executes."""
        quiet, seen = 0, self._time.events
        while quiet < QUIET_TURNS:
            executes = self._executing() > self._within_steps
            await asyncio.sleep(STEP if executes else 0)
            quiet = 0 if executes or self._time.events != seen else quiet + 1
            seen = self._time.events
