"""The local engine: execute runs in this process, under its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import islice
from uuid import UUID

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.engines.run_tasks import Executions
from orchestration.runs import journal


class LocalEngine:
    """Executes runs that belong to the process `process_id`. End it with `let_go`, then `close`."""

    def __init__(self) -> None:
        self.process_id: UUID | None = None
        self._executions = Executions()
        self._claiming = asyncio.Lock()

    @property
    def run_ids(self) -> frozenset[UUID]:
        """Ids of the runs that execute here now."""
        return self._executions.run_ids

    async def execute(self, run_ids: Collection[UUID]) -> None:
        # One claim at a time: claiming a run twice would fence its own execution.
        async with self._claiming:
            if self.process_id is None:
                return  # the next owner of a lease, maybe this process, will find them
            wanted = iter([run_id for run_id in run_ids if self._executions.task_of(run_id) is None])
            while some := list(islice(wanted, orchestration_settings().claim_batch)):
                for claimed in await in_database(journal.claim, some, self.process_id):
                    self._executions.begin(claimed)

    def cancel(self, run_ids: Collection[UUID]) -> None:
        """End those of the runs that execute here."""
        self._executions.cancel(run_ids)

    async def drain(self) -> None:
        """Take no more runs, give executing steps a bounded time to end, and let go of all runs."""
        async with self._claiming:
            process_id, self.process_id = self.process_id, None
        await self._executions.drain(orchestration_settings().drain if process_id else 0.0)

    async def let_go(self) -> None:
        """Stop executing without recording anything: whoever claims the runs next continues them."""
        async with self._claiming:
            self.process_id = None
            await self._executions.let_go()

    def close(self) -> None:
        """Start no further steps; steps in threads end by themselves."""
        self._executions.close()
