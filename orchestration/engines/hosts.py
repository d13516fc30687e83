"""What a process does about runs, from start to stop; by itself it leaves them to workers.

A process may not know an orchestration, or its version: it may have older code, lack an app, or have failed
to import a module. It reports the open runs of such, and others execute them.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.exceptions import ApprovalError
from approvals.process import telemetry
from approvals.waiting.outages import keep_running
from orchestration import queries
from orchestration.catalog import Kind, kind_name
from orchestration.conf import orchestration_settings
from orchestration.runs.execution import withdraw_requests

log = logging.getLogger(__name__)


class Host:
    """One process's part in executing runs. This one executes none; those that do derive from it."""

    process_id: UUID | None = None
    """The process that runs started here belong to; None: any process may take them."""

    def __init__(self) -> None:
        self.unknown: Mapping[Kind, int] = {}
        """Orchestrations that this process does not know, with how many open runs each has."""
        self._looking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def executes(self) -> bool:
        """Whether the process can execute runs now, as far as that is its part."""
        return True

    async def start(self) -> None:
        """Begin; the database need not be there yet."""
        every = orchestration_settings().lease_renewal
        self._begin(keep_running("run keeper", partial(self._look_after_runs, every)))

    async def ready(self) -> None:
        """Return when the process may execute runs, if that is its part."""

    async def execute(self, run_ids: Collection[UUID]) -> None:
        """Execute those of the runs that no process executes yet, if this one starts runs for itself."""

    async def take_up(self, run_id: UUID) -> None:
        """Execute this run here, whenever no other process does; without effect if workers execute runs."""

    async def stop(self) -> None:
        """Take no more runs, give executing steps a bounded time to end, and let go of all runs."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def look(self, ids: frozenset[UUID]) -> None:
        """Take note that these runs changed."""

    async def look_everywhere(self) -> None:
        """Take note that any run may have changed."""
        async with self._looking:  # so that reports come in the order of the reads
            self._note_unknown(await in_database(queries.unknown_kinds))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, context=contextvars.Context()))

    async def _look_after_runs(self, every: float) -> None:
        """Look everywhere each `every` seconds; a failure, such as a locked request, ends nothing here."""
        while True:
            try:
                await self.look_everywhere()
            except (DatabaseError, ApprovalError, OSError) as error:
                log.warning("runs not looked after error=%r", error)
            await asyncio.sleep(every)

    async def _tidy(self, among: Collection[UUID] | None) -> None:
        for run_id in await in_database(queries.runs_to_tidy, among):
            await in_database(withdraw_requests, run_id)

    def _note_unknown(self, found: Mapping[Kind, int]) -> None:
        """Report what is unknown, and log where it has changed."""
        before, self.unknown = self.unknown, found
        for name, version in before.keys() - found.keys():
            telemetry.unknown_runs.remove(name, str(version))
        for (name, version), number in found.items():
            telemetry.unknown_runs.labels(name, str(version)).set(number)
        if found and before.keys() != found.keys():
            names = "; ".join(sorted(map(kind_name, found)))
            log.warning("runs of unknown orchestrations are left to other processes orchestrations=%s", names)
        elif before and not found:
            log.info("no run is of an unknown orchestration any more")
