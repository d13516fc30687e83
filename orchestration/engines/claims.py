"""Claim single runs in batches: while one transaction claims runs, the next batch gathers."""

from __future__ import annotations

import asyncio
import contextvars
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.engines import jobs
from orchestration.engines.jobs import Taken
from orchestration.runs.journal import Claimed


class _Wanted(NamedTuple):
    taken: Taken
    claimed: asyncio.Future[Claimed | None]


class Claims:
    """Claims runs. Belongs to one event loop; has a task only while there is something to claim."""

    def __init__(self) -> None:
        self._wanted: dict[UUID, _Wanted] = {}
        self._batch: dict[UUID, _Wanted] = {}
        self._claiming: asyncio.Task[None] | None = None

    async def claim(self, run_id: UUID, taken: Taken) -> Claimed | None:
        """Claim the run; return None where it can't be had.

        That is where it has ended, a process with a lease executes it, or the job `taken` is another worker's
        by now. A second claim of the same run replaces a first one that is not done, which returns None.
        Raises what the database raised, and CancelledError where claiming was cancelled.
        """
        if (former := self._wanted.pop(run_id, None)) is not None and not former.claimed.done():
            former.claimed.set_result(None)
        wanted = _Wanted(taken, asyncio.get_running_loop().create_future())
        self._wanted[run_id] = wanted
        if self._claiming is None:
            self._begin()
        return await wanted.claimed

    def _begin(self) -> None:
        self._claiming = asyncio.create_task(self._claim(), context=contextvars.Context())
        self._claiming.add_done_callback(self._on_claiming_done)

    async def _claim(self) -> None:
        while batch := self._next():
            self._batch = batch
            await self._claim_batch(batch)

    def _on_claiming_done(self, claiming: asyncio.Task[None]) -> None:
        """Claim what has come since; if claiming was cancelled, cancel all who wait."""
        self._claiming = None
        if claiming.cancelled():
            for wanted in (*self._batch.values(), *self._wanted.values()):
                wanted.claimed.cancel()
            self._wanted.clear()
        elif self._wanted:
            self._begin()

    def _next(self) -> dict[UUID, _Wanted]:
        ids = list(islice(self._wanted, orchestration_settings().claim_batch))
        return {run_id: self._wanted.pop(run_id) for run_id in ids}

    async def _claim_batch(self, batch: dict[UUID, _Wanted]) -> None:
        try:
            claimed = await in_database(jobs.claim, {run_id: each.taken for run_id, each in batch.items()})
        except Exception as error:  # noqa: BLE001 - raised to each who waits
            for wanted in batch.values():
                if not wanted.claimed.done():
                    wanted.claimed.set_exception(error)
            return
        found = {each.ownership.run_id: each for each in claimed}
        for run_id, wanted in batch.items():
            if not wanted.claimed.done():
                wanted.claimed.set_result(found.get(run_id))
