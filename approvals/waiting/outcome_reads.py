"""Read outcomes for waiters: ids are collected while a query runs, and the next one reads them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from approvals import queries
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.queries import lookups
from approvals.waiting.outages import Outage
from approvals.waiting.registry import Registry
from approvals.waiting.set_queue import SetQueue

CHUNK = 1000

Waiters: TypeAlias = Registry[Outcome | None]


class OutcomeReader:
    """Reads rows and wakes their waiters: with the recorded outcome, or with None for a missing row.

    `ask` may be called from any thread, the rest on the room's loop. `consider` gets the earliest deadline of
    the requests that are pending.
    """

    def __init__(
        self,
        waiters: Waiters,
        database: Outage,
        consider: Callable[[datetime], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._waiters = waiters
        self._database = database
        self._consider = consider
        self._asked: SetQueue[UUID] = SetQueue(loop)

    def ask(self, ids: Iterable[UUID]) -> None:
        """Have those of `ids` read soon that are waited for."""
        self._asked.put(self._waiters.waited_for(ids))

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
        waited = self._waiters.waited_for(ids)
        if waited:
            with self._database.watch():
                await in_database(self._read_and_wake, waited)

    async def look_since(self, moment: datetime) -> None:
        """Have read what changed at `moment` (database clock) or later, if anybody waits."""
        if len(self._waiters):
            with self._database.watch():
                changed = await in_database(queries.changed_since, moment)
            self.ask(changed)

    async def look_everywhere(self) -> None:
        """Read everything that is waited for. What is asked for meanwhile need not wait for this."""
        ids = self._waiters.ids()
        for start in range(0, len(ids), CHUNK):
            await self.look(ids[start : start + CHUNK])

    def _read_and_wake(self, ids: Sequence[UUID]) -> None:
        # Wakes from the database thread, which saves a hop through the room's loop.
        closed = queries.outcomes(ids, only_closed=True)
        self._waiters.wake(closed)
        if rest := [each for each in ids if each not in closed]:
            self._consider_pending(rest)

    def _consider_pending(self, ids: Sequence[UUID]) -> None:
        on_record, earliest = lookups.count_on_record(ids)
        if on_record < len(ids):
            self._waiters.wake(dict.fromkeys(lookups.missing_ids(ids)))
        if earliest is not None:
            self._consider(earliest)
