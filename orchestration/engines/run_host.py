"""The host of a process that executes runs by the local engine: it holds a lease, and takes up runs.

Servers take up queued runs, and those whose process has died; a terminal executes only runs that it starts or
is attached to. The process renews its lease, and looks for runs of dead processes, every third of the lease;
everything else follows hints.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.exceptions import ApprovalError
from approvals.process import hints
from approvals.waiting.waiting_room import waiting_room
from orchestration import queries
from orchestration.catalog import Kind
from orchestration.conf import orchestration_settings
from orchestration.engines import leases
from orchestration.engines.leases import Lease
from orchestration.engines.local import LocalEngine
from orchestration.engines.unknown_orchestrations import UnknownOrchestrations
from orchestration.runs import journal
from orchestration.runs.execution import withdraw_requests

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds for giving the lease back when the process stops; if that fails, it expires.
LAST_WORDS = 5.0


class LocalProcess:
    """A local engine with its lease. Follows the runs' topic while it lives."""

    def __init__(self, *, serves: bool) -> None:
        self._serves = serves
        self._wanted: frozenset[UUID] = frozenset()
        self.engine = LocalEngine()
        self._unknown = UnknownOrchestrations()
        self._left: frozenset[UUID] = frozenset()
        self._ready = asyncio.Event()
        self._living: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def executes(self) -> bool:
        return self.engine.process_id is not None

    @property
    def unknown(self) -> Mapping[Kind, int]:
        return self._unknown.runs

    async def start(self) -> None:
        self._living = asyncio.create_task(self._live(), context=contextvars.Context())

    async def ready(self) -> None:
        await self._ready.wait()

    async def take_up(self, run_id: UUID) -> None:
        self._wanted |= {run_id}
        await self._take_up_what_is_wanted()

    async def stop(self) -> None:
        self._stopping = True
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])
        self.engine.close()

    # Hints

    async def look(self, ids: frozenset[UUID]) -> None:
        own = self.engine.run_ids
        await self._cancel(ids & own)
        if self._serves and (others := ids - own):
            await self._take_up(others)
            await self._tidy(others)
        elif wanted := self._wanted & ids - own:
            await self._take_up(wanted)

    async def look_everywhere(self) -> None:
        await self._cancel(self.engine.run_ids)
        await self._begin_what_is_taken()
        if self._serves:
            await in_database(leases.end_dead_leases)
            await self._take_up(None)
            await self._tidy(None)
            await self._unknown.look()
        elif self._wanted:
            await self._take_up_what_is_wanted()

    async def _take_up_what_is_wanted(self) -> None:
        await in_database(leases.end_dead_leases)
        await self._take_up(self._wanted)

    async def _cancel(self, run_ids: frozenset[UUID]) -> None:
        if run_ids:
            self.engine.cancel(await in_database(queries.runs_to_cancel, run_ids))

    async def _begin_what_is_taken(self) -> None:
        if (process_id := self.engine.process_id) is not None:
            taken = await in_database(queries.runs_not_begun, process_id, self.engine.run_ids)
            await self.engine.execute(taken)

    async def _take_up(self, among: frozenset[UUID] | None) -> None:
        batch = orchestration_settings().claim_batch
        last: UUID | None = None
        while True:
            found = await in_database(queries.unowned_runs, among, after=last, limit=batch)
            await self.engine.execute(found)
            if len(found) < batch:
                return
            last = found[-1]

    async def _tidy(self, among: frozenset[UUID] | None) -> None:
        for run_id in await in_database(queries.runs_to_tidy, among):
            await in_database(withdraw_requests, run_id)

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
            self.engine.process_id = lease.process_id
            self._ready.set()
            # What this process executed under a lease that it lost, unless others execute it by now.
            await self.engine.execute(self._left)
            await self._keep(lease)
        finally:
            self._left = self.engine.run_ids
            # Steps may end only while the lease holds.
            await (self.engine.drain() if self._stopping else self.engine.let_go())
            await self._give_back(lease)

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease until it is lost, and look after runs in a task of its own, which may take long."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_after_others())
            await self._renew(lease)
            looking.cancel()

    async def _renew(self, lease: Lease) -> None:
        """Renew the lease until it is lost."""
        while True:
            try:
                if not await in_database(leases.renew, lease):
                    log.error("lease lost process=%s runs=%d", lease.process_id, len(self.engine.run_ids))
                    return
            except DatabaseError as error:
                log.warning("lease not renewed process=%s error=%s", lease.process_id, error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def _look_after_others(self) -> None:
        """Take up and tidy runs of others; a failure there, such as a locked request, ends nothing here."""
        while True:
            try:
                await self.look_everywhere()
            except (DatabaseError, ApprovalError, OSError) as error:
                log.warning("runs not looked after error=%r", error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def _give_back(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await in_database(leases.release, lease)
                # Others take the runs at once, instead of at their next look.
                await in_database(hints.send, journal.TOPIC, self._left)
        except (TimeoutError, DatabaseError) as error:
            log.warning("lease not given back process=%s error=%r", lease.process_id, error)
