"""Roles of scenarios with many waits: a crowd that waits, who asks, and who decides."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Coroutine
from time import monotonic_ns, thread_time_ns
from typing import Any

from approvals import deciding
from approvals.database.threads import in_database
from approvals.exceptions import ApprovalError
from approvals.gate import wait_for_outcome
from approvals.waiting.room import waiting_room
from orchestration.benchmark import records, stopwatch
from orchestration.benchmark.roles import Role
from orchestration.benchmark.usage import Usage

# Between an answer and the next call, where one follows the other.
PAUSE = 0.01
# Below what the writer's queue takes.
DECIDED_AT_ONCE = 5000
# Seconds after the last decision until a wait that nobody has ended counts as lost.
PATIENCE = 60.0
PATIENCE_A_WAIT = 0.002


class Waits:
    """Tasks that wait, each in the way of `wait`, and what each was told."""

    def __init__(self, wait: Callable[[str], Coroutine[Any, Any, str]]) -> None:
        self._wait = wait
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.told: list[tuple[str, str]] = []
        self.resumed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def begin(self, ids: list[str]) -> float:
        """Begin to wait for each. Returns what one took of this thread's CPU time, in microseconds."""
        started = thread_time_ns()
        self._tasks |= {id_: asyncio.create_task(self._keep(id_)) for id_ in ids}
        await asyncio.sleep(0)  # a turn of the loop: each has come to where it waits
        return (thread_time_ns() - started) / 1000 / len(ids)

    def pending(self) -> int:
        return sum(not task.done() for task in self._tasks.values())

    async def over(self, ids: Collection[str] | None = None) -> None:
        """Until these are over, or lost; by default all."""
        waits = self._tasks.values() if ids is None else [self._tasks[id_] for id_ in ids]
        if waits:
            await asyncio.wait(waits, timeout=PATIENCE + len(waits) * PATIENCE_A_WAIT)

    async def cancel(self) -> None:
        """Have all of them end."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, id_: str) -> None:
        status = await self._wait(id_)
        self.resumed[id_] = monotonic_ns()
        self.told.append((id_, status))


async def outcome_of(id_: str) -> str:
    """Sayso's way to wait."""
    return (await wait_for_outcome(id_)).status


class Crowd(Role):
    """Waits for any number of requests in this process's waiting room."""

    async def begin(self) -> None:
        self._waits = Waits(outcome_of)
        self._usage = Usage()
        await waiting_room().start()

    async def end(self) -> None:
        await self._waits.cancel()
        await waiting_room().stop()

    async def join(self, ids: list[str]) -> float:
        """Begin to wait for each; microseconds of the loop's thread that one took."""
        gc.collect()
        took = await self._waits.begin(ids)
        if len(waiting_room()) < self._waits.pending():
            raise RuntimeError("a wait ended before anything was decided, or never began")
        self._thread_time = thread_time_ns()
        return took

    async def settle(self, closed: str) -> None:
        """Until everything waited for has been looked at: looks come in the order in which they were asked
        for, and this request is closed."""
        await wait_for_outcome(closed)

    async def idle(self, seconds: float) -> tuple[float, float]:
        """CPU (% of a core) and wake-ups a second over so many seconds."""
        return await self._usage.over(seconds)

    async def about_to_be_decided(self) -> None:
        """The cost of resumptions is counted from here."""
        gc.collect()
        self._thread_time = thread_time_ns()

    async def released(self) -> float:
        """When all are over: microseconds of the loop's thread that one took."""
        await self._waits.over()
        return (thread_time_ns() - self._thread_time) / 1000 / len(self._waits)

    async def told(self) -> list[tuple[str, str]]:
        """What every wait was told, (id, status), once all are over or lost."""
        await self._waits.over()
        return self._waits.told

    async def resumed(self, ids: list[str]) -> list[int | None]:
        """When each of these was resumed."""
        return [self._waits.resumed.get(id_) for id_ in ids]


class Asker(Role):
    """Puts requests on record and reads the record; has no waiting room of its own."""

    async def begin(self) -> None:
        self._actor = await in_database(records.decider)

    async def open(self, count: int) -> list[str]:
        return [str(id_) for id_ in await in_database(records.open_requests, count)]

    async def open_closed(self) -> str:
        """One that is decided already."""
        (id_,) = await self.open(1)
        await deciding.adecide(self._actor, id_, "approve")
        return id_

    async def recorded(self, ids: list[str]) -> dict[str, str]:
        return await in_database(records.recorded, ids)


class Decider(Asker):
    """Decides, too, as a server does: with a waiting room, which passes the hints on."""

    async def begin(self) -> None:
        await super().begin()
        await waiting_room().start()
        self._commits = stopwatch.note_commits()

    async def end(self) -> None:
        await waiting_room().stop()

    async def decide(self, ids: list[str]) -> list[int]:
        """One at a time, with a pause before each: when each was committed."""
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            await deciding.adecide(self._actor, id_, "approve")
        return [self._commits[id_] for id_ in ids]

    async def decide_all(self, ids: list[str]) -> float:
        """Many at a time; the seconds it took."""
        started = monotonic_ns()
        for start in range(0, len(ids), DECIDED_AT_ONCE):
            some = [(id_, "approve") for id_ in ids[start : start + DECIDED_AT_ONCE]]
            for result in await deciding.adecide_many(self._actor, some):
                if isinstance(result, ApprovalError):
                    raise result
        return (monotonic_ns() - started) / 1e9
