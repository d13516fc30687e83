"""Read outcomes for waiters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from approvals import queries
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.queries import lookups
from approvals.waiting.outages import Outage
from approvals.waiting.reader import Reader
from approvals.waiting.registry import Registry

Waiters: TypeAlias = Registry[Outcome | None]


class OutcomeReader(Reader):
    """Reads rows and wakes their waiters: with the recorded outcome, or with None for a missing row.

    `consider` gets the earliest deadline of the requests that are pending.
    """

    def __init__(
        self,
        waiters: Waiters,
        database: Outage,
        consider: Callable[[datetime], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(waiters, database, loop)
        self._waiters = waiters
        self._consider = consider

    async def look_since(self, moment: datetime) -> None:
        """Have read what changed at `moment` (database clock) or later, if anybody waits."""
        if len(self._waiters):
            with self._database.watch():
                changed = await in_database(queries.changed_since, moment)
            self.ask(changed)

    def _read_and_wake(self, ids: Sequence[UUID]) -> None:
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
