"""Record which runs only wait: if their process dies then, that does not count as a death of the run.

After a restart, thousands of runs may attach to what they wait for, and write nothing themselves. Runs that
become idle while a write is under way are recorded together by the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from itertools import islice
from typing import Protocol

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.runs import journal
from orchestration.runs.journal import Ownership

log = logging.getLogger(__name__)


class IdleRun(Protocol):
    """A run that may have become idle."""

    ownership: Ownership
    marking: asyncio.Future[None] | None
    """While it is being recorded as idle: other writes of the run wait for this."""

    @property
    def became_idle(self) -> bool:
        """Whether the run only waits, and is not recorded as idle yet."""

    def note_marked_idle(self) -> None:
        """Take note that the run is recorded as idle."""


class IdleMarker:
    """Records idle runs. Belongs to one event loop; has a task only while there is something to record."""

    def __init__(self) -> None:
        self._waiting: dict[IdleRun, None] = {}
        self._marking: asyncio.Task[None] | None = None

    def add(self, run: IdleRun) -> None:
        """Record the run as idle soon, if it still only waits then."""
        self._waiting[run] = None
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark_all(), context=contextvars.Context())

    async def _mark_all(self) -> None:
        try:
            while self._waiting:
                some = list(islice(self._waiting, orchestration_settings().claim_batch))
                for run in some:
                    del self._waiting[run]
                if idle := [run for run in some if run.became_idle]:
                    await self._mark(idle)
        finally:
            self._marking = None

    async def _mark(self, runs: list[IdleRun]) -> None:
        recorded = asyncio.get_running_loop().create_future()
        for run in runs:
            run.marking = recorded
        try:
            await in_database(journal.mark_idle, [run.ownership for run in runs])
            for run in runs:
                run.note_marked_idle()
        except DatabaseError as error:  # if their process dies now, that counts once
            log.warning("idle runs not recorded runs=%d error=%s", len(runs), error)
        finally:
            recorded.set_result(None)
            for run in runs:
                run.marking = None
