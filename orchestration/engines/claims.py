"""Claims of single runs, made together: while one transaction claims, those that come meanwhile gather."""

from __future__ import annotations

import asyncio
import contextvars
from itertools import islice
from uuid import UUID

from approvals.database import in_database
from orchestration import journal
from orchestration.conf import orchestration_settings
from orchestration.journal import Claimed


class Claims:
    """Belongs to one event loop. Has a task only while there is something to claim."""

    def __init__(self) -> None:
        self._wanted: dict[UUID, asyncio.Future[Claimed | None]] = {}
        self._claiming: asyncio.Task[None] | None = None

    async def claim(self, run_id: UUID) -> Claimed | None:
        """The run as its new owner finds it; None where it has ended, or a process with a lease executes it.

        Raises what the database raised. Who asks for a run that is asked for already takes its place, and the
        former gets None: only one may execute it.
        """
        if (former := self._wanted.pop(run_id, None)) is not None and not former.done():
            former.set_result(None)
        wanted: asyncio.Future[Claimed | None] = asyncio.get_running_loop().create_future()
        self._wanted[run_id] = wanted
        if self._claiming is None:
            self._claiming = asyncio.create_task(self._claim(), context=contextvars.Context())
        return await wanted

    async def _claim(self) -> None:
        try:
            while batch := self._next():
                await self._claim_batch(batch)
        finally:
            self._claiming = None

    def _next(self) -> dict[UUID, asyncio.Future[Claimed | None]]:
        ids = list(islice(self._wanted, orchestration_settings().claim_batch))
        return {run_id: self._wanted.pop(run_id) for run_id in ids}

    async def _claim_batch(self, batch: dict[UUID, asyncio.Future[Claimed | None]]) -> None:
        try:
            claimed = await in_database(journal.claim, list(batch), None)
        except Exception as error:  # noqa: BLE001 - each who waits for it gets it
            for wanted in batch.values():
                if not wanted.done():
                    wanted.set_exception(error)
            return
        found = {each.ownership.run_id: each for each in claimed}
        for run_id, wanted in batch.items():
            if not wanted.done():
                wanted.set_result(found.get(run_id))
