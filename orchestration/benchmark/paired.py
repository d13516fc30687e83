"""Paired comparison of decisions: the same by Sayso and by others, in turns, while another process waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from orchestration.benchmark import baseline, load
from orchestration.benchmark.load import Decider, Waiter, Waits
from orchestration.benchmark.report import Check

SAYSO, POLLING = "Sayso", "polling"

POLL_EVERY = 0.2

Calls: TypeAlias = list[tuple[int, int]]
"""When each decision was called and committed, in nanoseconds."""
Moments: TypeAlias = list[tuple[int | None, int | None, int | None]]
"""When each was heard of, read, and its waiter resumed; None: never."""


class PairedWaiter(Waiter):
    """Waits in Sayso's room and beside it: for bare messages, or by asking the database again and again."""

    async def begin(self) -> None:
        await super().begin()
        self.futures = baseline.Futures()
        await self.futures.start()
        self._store = baseline.store()
        self._hints, self._reads = load.note_hints(), load.note_reads()
        self._on_futures, self._polling = Waits(self.futures.wait), Waits(self._poll)

    async def end(self) -> None:
        await self._on_futures.cancel()
        await self._polling.cancel()
        await self.futures.stop()
        self._store.close()
        await super().end()

    async def wait_for(self, contender: str, ids: list[str]) -> None:
        await (self.wait(ids) if contender == SAYSO else self._waits_of(contender).begin(ids))

    async def moments(self, contender: str, ids: list[str]) -> Moments:
        """Wait until these waits have ended or are lost; return when each was hinted, read and resumed."""
        waits = self._waits_of(contender)
        await waits.finish(ids)
        heard = self._hints if contender == SAYSO else self.futures.heard
        return [(heard.get(id_), self._reads.get(id_), waits.resumed.get(id_)) for id_ in ids]

    async def told_otherwise(self) -> list[tuple[str, str]]:
        """Return what every wait so far that was not Sayso's was told."""
        return self._on_futures.told + self._polling.told

    def _waits_of(self, contender: str) -> Waits:
        return {SAYSO: self._waits, POLLING: self._polling}.get(contender, self._on_futures)

    async def _poll(self, id_: str) -> str:
        while (status := self._store.statuses([id_])[id_]) == "pending":  # noqa: ASYNC110
            await asyncio.sleep(POLL_EVERY)
        return status


class PairedDecider(Decider):
    """Decides in the baseline's tables, too."""

    async def begin(self) -> None:
        await super().begin()
        self.store = baseline.store()
        self.publish = baseline.publisher()

    async def end(self) -> None:
        self.store.close()
        await super().end()

    async def open_baseline(self, count: int) -> list[str]:
        """Make the baseline's tables, with so many rows to decide."""
        self.store.create()
        return self.store.open(count)

    async def recorded_baseline(self, ids: list[str]) -> dict[str, str]:
        return self.store.statuses(ids)


class Paired:
    """The requests and the baseline's rows that are decided block by block, and the check of all waits."""

    def __init__(self, waiter: PairedWaiter, decider: PairedDecider) -> None:
        self._waiter, self._decider = waiter, decider

    async def open(self, requests: int, rows: int) -> None:
        self._left = {True: await self._waiter.open(requests), False: await self._decider.open_baseline(rows)}
        self._waited: dict[bool, list[str]] = {True: [], False: []}

    def take(self, count: int, *, sayso: bool) -> list[str]:
        """Return the ids of so many that are not decided yet."""
        left = self._left[sayso]
        if len(left) < count:
            raise RuntimeError("fewer requests were opened than are decided")
        self._left[sayso] = left[count:]
        return left[:count]

    async def block(
        self, contender: str, count: int, decide: Callable[[list[str]], Awaitable[Calls]]
    ) -> tuple[Calls, Moments]:
        """Have so many waited for as by this contender, and decided."""
        ids = self.take(count, sayso=contender == SAYSO)
        self._waited[contender == SAYSO] += ids
        await self._waiter.wait_for(contender, ids)
        calls = await decide(ids)
        return calls, await self._waiter.moments(contender, ids)

    async def check(self) -> Check:
        told = await self._waiter.told(self._waited[True])
        recorded = await self._decider.recorded(self._waited[True])
        told_otherwise = await self._waiter.told_otherwise()
        recorded_baseline = await self._decider.recorded_baseline(self._waited[False])
        return Check.of(told, recorded) + Check.of(told_otherwise, recorded_baseline)
