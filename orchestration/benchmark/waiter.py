"""The roles of who waits: in this process's waiting room, as any program would; and, to compare, raw."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic_ns

from approvals.database.threads import in_database
from approvals.exceptions import StillPending
from approvals.gate import wait_for_outcome
from approvals.waiting.room import waiting_room
from orchestration.benchmark import raw, records, stopwatch
from orchestration.benchmark.roles import Role

# Seconds after the last decision until a wait that nobody has ended counts as lost.
PATIENCE = 60.0


class Waiter(Role):
    """Waits, and keeps what each wait was told and when."""

    def __init__(self) -> None:
        self.resumed: dict[str, int] = {}
        self._told: list[tuple[str, str]] = []
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        await waiting_room().start()

    async def end(self) -> None:
        for wait in self._waits.values():
            wait.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        await waiting_room().stop()

    async def open(self, count: int) -> list[str]:
        """Put requests on record that nobody waits for yet."""
        return [str(id_) for id_ in await in_database(records.open_requests, count)]

    async def wait(self, ids: list[str]) -> None:
        """Begin to wait for each; returns when all of these waits are in the waiting room."""
        room = waiting_room()
        wanted = len(room) + len(ids)
        for id_ in ids:
            self._waits[id_] = asyncio.create_task(self._wait(id_))
        while len(room) < wanted:  # noqa: ASYNC110  the room tells nobody who has come
            await asyncio.sleep(0)

    async def told(self, ids: list[str]) -> list[tuple[str, str]]:
        """What every wait so far was told, (id, status), once those for `ids` are over or lost."""
        waits = [self._waits[id_] for id_ in ids]
        if waits:
            await asyncio.wait(waits, timeout=PATIENCE)
        return self._told

    async def _wait(self, id_: str) -> None:
        with suppress(StillPending):
            outcome = await wait_for_outcome(id_)
            self.resumed[id_] = monotonic_ns()
            self._told.append((id_, outcome.status))


class ComparedWaiter(Waiter):
    """Waits in Sayso's room and, beside it, for raw messages; knows each wait's moments."""

    async def begin(self) -> None:
        await super().begin()
        self.raw = raw.RawWaiters()
        await self.raw.start()
        self._hints, self._reads = stopwatch.note_hints(), stopwatch.note_reads()
        self.others: dict[str, asyncio.Task[None]] = {}
        self._told_otherwise: list[tuple[str, str]] = []

    async def end(self) -> None:
        await self.raw.stop()
        await super().end()

    async def wait_raw(self, ids: list[str]) -> None:
        for id_ in ids:
            self.others[id_] = asyncio.create_task(self._wait_raw(id_))
        await asyncio.sleep(0)  # each begins

    async def moments(self, ids: list[str]) -> list[tuple[int | None, int | None, int | None]]:
        """Once all of these waits are over or lost: when each was heard of, read, and resumed."""
        waits = [self.others[id_] if id_ in self.others else self._waits[id_] for id_ in ids]
        await asyncio.wait(waits, timeout=PATIENCE)
        heard = self._hints | self.raw.heard
        return [(heard.get(id_), self._reads.get(id_), self.resumed.get(id_)) for id_ in ids]

    async def told_otherwise(self) -> list[tuple[str, str]]:
        """What every wait so far that was not Sayso's was told."""
        return self._told_otherwise

    def resume_otherwise(self, id_: str) -> None:
        self.resumed[id_] = monotonic_ns()
        self._told_otherwise.append((id_, raw.STATUS))

    async def _wait_raw(self, id_: str) -> None:
        await self.raw.wait(id_)
        self.resume_otherwise(id_)
