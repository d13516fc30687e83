"""This process as the executor of its own runs: it holds a lease, and takes up what nobody executes.

Servers take up queued runs, and those whose process has died; a terminal executes only what it starts itself
or is attached to.
Done now and then are the renewal of the lease and a look for what the dead have left; all else follows hints.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.exceptions import ApprovalError
from approvals.process import hints
from approvals.waiting.room import waiting_room
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

# Seconds for giving the lease back when the process stops; after that it expires by itself.
LAST_WORDS = 5.0


class LocalProcess:
    """A local engine, and the lease it executes under. Follows the runs' topic while it lives."""

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

    # What it is told

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

    # Its life

    async def _live(self) -> None:
        room = waiting_room()
        room.follow(journal.TOPIC, self)
        try:
            while True:
                try:
                    await self._hold_a_lease()
                except Exception:
                    log.exception("engine begins again")
                    await asyncio.sleep(journal.BACKOFF[-1])
        finally:
            room.unfollow(journal.TOPIC, self)

    async def _hold_a_lease(self) -> None:
        """Execute runs under one lease, until it is lost."""
        lease = await _until_it_works(partial(leases.take, serves=self._serves))
        log.info("lease taken process=%s", lease.process_id)
        try:
            self.engine.process_id = lease.process_id
            self._ready.set()
            # What this process executed under a lost lease, if nobody else does by now.
            await self.engine.execute(self._left)
            await self._keep(lease)
        finally:
            self._left = self.engine.run_ids
            # Only while the lease holds does it make sense to let a step end.
            await (self.engine.drain() if self._stopping else self.engine.let_go())
            await self._give_back(lease)

    async def _keep(self, lease: Lease) -> None:
        """Until the lease is lost. What is done for others, however much, keeps no renewal waiting."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_after_others())
            await self._renew(lease)
            looking.cancel()

    async def _renew(self, lease: Lease) -> None:
        """Renew the lease until that is refused."""
        while True:
            try:
                if not await in_database(leases.renew, lease):
                    log.error("lease lost process=%s runs=%d", lease.process_id, len(self.engine.run_ids))
                    return
            except DatabaseError as error:
                log.warning("lease not renewed process=%s error=%s", lease.process_id, error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def _look_after_others(self) -> None:
        """What can't be done for them, such as withdrawing a locked request, must not end what runs here."""
        while True:
            try:
                await self.look_everywhere()
            except (DatabaseError, ApprovalError, OSError) as error:
                log.warning("not everything looked after error=%r", error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def _give_back(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await in_database(leases.release, lease)
                # So that others need not come upon them by chance.
                await in_database(hints.send, journal.TOPIC, self._left)
        except (TimeoutError, DatabaseError) as error:
            log.warning("lease not given back process=%s error=%r", lease.process_id, error)


async def _until_it_works(deed: Callable[[], T]) -> T:
    attempt = 0
    while True:
        try:
            return await in_database(deed)
        except DatabaseError as error:
            pause = journal.BACKOFF[min(attempt, len(journal.BACKOFF) - 1)]
            attempt += 1
            log.warning("no lease yet retry_in=%s error=%s", pause, error)
            await asyncio.sleep(pause)
