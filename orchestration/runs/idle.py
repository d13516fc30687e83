"""Note which runs do nothing but wait: their process may die then without that counting against them.

A run that is taken up, and attaches to what it waits for already, writes nothing by itself. So that thousands
of them cost few statements after a restart, those that come meanwhile are noted together.
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
    """A run that may have nothing to do but to wait."""

    ownership: Ownership
    marking: asyncio.Future[None] | None
    """While it is being noted: what is written meanwhile must come after that."""

    @property
    def became_idle(self) -> bool:
        """Whether it only waits, and that is not on record."""

    def note_marked_idle(self) -> None:
        """That is on record now."""


class IdleMarker:
    """Belongs to one event loop. Has a task only while there is something to note."""

    def __init__(self) -> None:
        self._waiting: dict[IdleRun, None] = {}
        self._noting: asyncio.Task[None] | None = None

    def add(self, run: IdleRun) -> None:
        """Have it noted in a moment, if it still only waits then."""
        self._waiting[run] = None
        if self._noting is None:
            self._noting = asyncio.create_task(self._note(), context=contextvars.Context())

    async def _note(self) -> None:
        try:
            while self._waiting:
                some = list(islice(self._waiting, orchestration_settings().claim_batch))
                for run in some:
                    del self._waiting[run]
                if idle := [run for run in some if run.became_idle]:
                    await self._mark(idle)
        finally:
            self._noting = None

    async def _mark(self, runs: list[IdleRun]) -> None:
        noted = asyncio.get_running_loop().create_future()
        for run in runs:
            run.marking = noted
        try:
            await in_database(journal.mark_idle, [run.ownership for run in runs])
            for run in runs:
                run.note_marked_idle()
        except DatabaseError as error:  # should their process die now, that counts once
            log.warning("waiting runs not noted runs=%d error=%s", len(runs), error)
        finally:
            noted.set_result(None)
            for run in runs:
                run.marking = None
