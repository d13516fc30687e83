"""Reads rows for those who wait: ids are collected while a query runs, and the next one reads them all."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from approvals.database.threads import in_database
from approvals.waiting.outages import Outage
from approvals.waiting.set_queue import SetQueue

CHUNK = 1000


class Waited(Protocol):
    """Which requests somebody waits for, from any thread."""

    def ids(self) -> list[UUID]: ...

    def waited_for(self, ids: Iterable[UUID]) -> list[UUID]: ...


class Reader(ABC):
    """Reads those requests that are waited for. `ask` may be called from any thread, the rest on the loop."""

    def __init__(self, waited: Waited, database: Outage, loop: asyncio.AbstractEventLoop) -> None:
        self._waited = waited
        self._database = database
        self._asked: SetQueue[UUID] = SetQueue(loop)

    def ask(self, ids: Iterable[UUID]) -> None:
        """Have those of `ids` read soon that are waited for."""
        self._asked.put(self._waited.waited_for(ids))

    async def run(self) -> None:
        while True:
            ids = await self._asked.take(CHUNK)
            try:
                await self.look(ids)
            except BaseException:
                self.ask(ids)
                raise

    async def look(self, ids: Sequence[UUID]) -> None:
        """Read those of `ids` that are waited for, now, with one query."""
        waited = self._waited.waited_for(ids)
        if waited:
            with self._database.watch():
                await in_database(self._read_and_wake, waited)

    async def look_everywhere(self) -> None:
        """Read everything that is waited for. What is asked for meanwhile need not wait for this."""
        ids = self._waited.ids()
        for start in range(0, len(ids), CHUNK):
            await self.look(ids[start : start + CHUNK])

    @abstractmethod
    def _read_and_wake(self, ids: Sequence[UUID]) -> None:
        """Read these requests and wake their waiters.

        On a database thread, which saves a hop through the room's loop.
        """
