"""The host of a process that executes runs by the local engine: it holds a lease, and takes up runs.

Servers take up queued runs, and those whose process has died; a terminal executes only runs that it starts or
is attached to. The process renews its lease, and looks for runs of dead processes, every third of the lease;
everything else follows hints.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from itertools import islice
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.process import hints
from approvals.waiting.waiting_room import waiting_room
from orchestration import queries
from orchestration.conf import orchestration_settings
from orchestration.engines import leases
from orchestration.engines.hosts import Host
from orchestration.engines.leases import Lease
from orchestration.engines.run_tasks import Executions
from orchestration.runs import journal

log = logging.getLogger(__name__)

# Seconds for giving the lease back when the process stops; if that fails, it expires.
LAST_WORDS = 5.0


class LocalHost(Host):
    """Executes runs that belong to the process `process_id`. Follows the runs' topic while it lives."""

    def __init__(self, *, serves: bool = True) -> None:
        super().__init__()
        self._serves = serves
        self._wanted: frozenset[UUID] = frozenset()
        self._executions = Executions()
        self._claiming = asyncio.Lock()
        # Runs that executed here under a lease that was lost.
        self._left: frozenset[UUID] = frozenset()
        self._ready = asyncio.Event()
        self._stopping = False

    @property
    def executes(self) -> bool:
        return self.process_id is not None

    @property
    def run_ids(self) -> frozenset[UUID]:
        """Ids of the runs that execute here now."""
        return self._executions.run_ids

    async def start(self) -> None:
        self._begin(self._live())

    async def ready(self) -> None:
        await self._ready.wait()

    async def execute(self, run_ids: Collection[UUID]) -> None:
        # One claim at a time: claiming a run twice would fence its own execution.
        async with self._claiming:
            if self.process_id is None:
                return  # the next owner of a lease, maybe this process, will find them
            wanted = iter([run_id for run_id in run_ids if self._executions.task_of(run_id) is None])
            while some := list(islice(wanted, orchestration_settings().claim_batch)):
                for claimed in await in_database(journal.claim, some, self.process_id):
                    self._executions.begin(claimed)

    async def take_up(self, run_id: UUID) -> None:
        self._wanted |= {run_id}
        await self._take_up_what_is_wanted()

    async def stop(self) -> None:
        self._stopping = True
        await super().stop()
        self.close()

    async def let_go(self) -> None:
        """Stop executing without recording anything: whoever claims the runs next continues them."""
        async with self._claiming:
            self.process_id = None
            await self._executions.let_go()

    def close(self) -> None:
        """Start no further steps; steps in threads end by themselves."""
        self._executions.close()

    # Hints

    async def look(self, ids: frozenset[UUID]) -> None:
        own = self.run_ids
        await self._cancel(ids & own)
        if self._serves and (others := ids - own):
            await self._take_up(others)
            await self._tidy(others)
        elif wanted := self._wanted & ids - own:
            await self._take_up(wanted)

    async def look_everywhere(self) -> None:
        await self._cancel(self.run_ids)
        if self.process_id is not None:
            await self.execute(await in_database(queries.runs_not_begun, self.process_id, self.run_ids))
        if self._serves:
            await in_database(leases.end_dead_leases)
            await self._take_up(None)
            await self._tidy(None)
            await super().look_everywhere()
        elif self._wanted:
            await self._take_up_what_is_wanted()

    async def _take_up_what_is_wanted(self) -> None:
        await in_database(leases.end_dead_leases)
        await self._take_up(self._wanted)

    async def _cancel(self, run_ids: frozenset[UUID]) -> None:
        if run_ids:
            self._executions.cancel(await in_database(queries.runs_to_cancel, run_ids))

    async def _take_up(self, among: frozenset[UUID] | None) -> None:
        batch = orchestration_settings().claim_batch
        last: UUID | None = None
        while True:
            found = await in_database(queries.unowned_runs, among, after=last, limit=batch)
            await self.execute(found)
            if len(found) < batch:
                return
            last = found[-1]

    # The lease

    async def _live(self) -> None:
        room = waiting_room()
        room.follow(journal.TOPIC, self)
        try:
            while True:
                try:
                    await self._hold_a_lease()
                except Exception:
                    log.exception("engine restarted")
                    await asyncio.sleep(journal.BACKOFF[-1])
        finally:
            room.unfollow(journal.TOPIC, self)

    async def _hold_a_lease(self) -> None:
        """Execute runs under one lease, until it is lost."""
        take = partial(in_database, leases.take, serves=self._serves)
        lease = await journal.try_until_done(take, (DatabaseError,), log, "no lease yet")
        log.info("lease taken process=%s", lease.process_id)
        try:
            self.process_id = lease.process_id
            self._ready.set()
            # What this process executed under a lease that it lost, unless others execute it by now.
            await self.execute(self._left)
            await self._keep(lease)
        finally:
            self._left = self.run_ids
            # Steps may end only while the lease holds.
            await (self._drain() if self._stopping else self.let_go())
            await self._give_back(lease)

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease until it is lost, and look after runs in a task of its own, which may take long."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_after_runs(orchestration_settings().lease_renewal))
            await self._renew(lease)
            looking.cancel()

    async def _renew(self, lease: Lease) -> None:
        """Renew the lease until it is lost."""
        while True:
            try:
                if not await in_database(leases.renew, lease):
                    log.error("lease lost process=%s runs=%d", lease.process_id, len(self.run_ids))
                    return
            except DatabaseError as error:
                log.warning("lease not renewed process=%s error=%s", lease.process_id, error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def _drain(self) -> None:
        """Take no more runs, give executing steps a bounded time to end, and let go of all runs."""
        async with self._claiming:
            self.process_id = None
        await self._executions.drain(orchestration_settings().drain)

    async def _give_back(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await in_database(leases.release, lease)
                # Others take the runs at once, instead of at their next look.
                await in_database(hints.send, journal.TOPIC, self._left)
        except (TimeoutError, DatabaseError) as error:
            log.warning("lease not given back process=%s error=%r", lease.process_id, error)
