"""A server whose runs are executed by workers: it executes none itself, and reports what it does not know."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.waiting.outages import keep_running
from orchestration.catalog import Kind
from orchestration.conf import orchestration_settings
from orchestration.engines.unknown_orchestrations import UnknownOrchestrations

log = logging.getLogger(__name__)


class Dispatcher:
    """The host of a process that leaves runs to workers."""

    engine = None
    executes = True

    def __init__(self) -> None:
        self._unknown = UnknownOrchestrations()
        self._looking: asyncio.Task[None] | None = None

    @property
    def unknown(self) -> Mapping[Kind, int]:
        return self._unknown.runs

    async def start(self) -> None:
        looking = keep_running("look for unknown orchestrations", self._look)
        self._looking = asyncio.create_task(looking, context=contextvars.Context())

    async def ready(self) -> None: ...

    async def take_up(self, run_id: UUID) -> None: ...

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while True:
            try:
                await self._unknown.look()
            except DatabaseError as error:
                log.warning("unknown orchestrations not looked for error=%r", error)
            await asyncio.sleep(orchestration_settings().lease_renewal)

    async def look(self, ids: frozenset[UUID]) -> None: ...

    async def look_everywhere(self) -> None: ...
