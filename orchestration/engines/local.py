"""Executes runs in this process, as tasks on its event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from uuid import UUID

from approvals.database import in_database
from orchestration import journal
from orchestration.conf import orchestration_settings
from orchestration.execution import Execution

log = logging.getLogger(__name__)

# Seconds for a run to notice that this process lets go of it.
LETTING_GO = 5.0


class LocalEngine:
    """Owns what it executes, in the name of a process. Let it go in the end: `await engine.let_go()`."""

    def __init__(self) -> None:
        self.process_id: UUID | None = None
        self._executing: dict[UUID, tuple[Execution, asyncio.Task[None]]] = {}
        self._claiming = asyncio.Lock()
        self._threads = ThreadPoolExecutor(
            orchestration_settings().step_threads, thread_name_prefix="sayso-step"
        )

    @property
    def run_ids(self) -> frozenset[UUID]:
        """What executes here now."""
        return frozenset(self._executing)

    async def execute(self, run_ids: Collection[UUID]) -> None:
        # One at a time: claiming again what this process has just claimed would fence its own execution.
        async with self._claiming:
            if self.process_id is None:
                return  # whoever owns a lease, maybe this process in a moment, will find them
            wanted = iter([run_id for run_id in run_ids if run_id not in self._executing])
            while some := list(islice(wanted, orchestration_settings().claim_batch)):
                self._begin(await in_database(journal.claim, some, self.process_id))

    async def cancel(self, run_ids: Collection[UUID]) -> None:
        for run_id in run_ids:
            if run_id in self._executing:
                execution, _ = self._executing[run_id]
                execution.cancel()

    async def let_go(self) -> None:
        """Stop executing without recording anything: whoever claims the runs next goes on with them."""
        async with self._claiming:
            self.process_id = None
            tasks = [task for _, task in self._executing.values()]
            for execution, task in self._executing.values():
                execution.let_go()
                task.cancel()
            if tasks:
                _, stubborn = await asyncio.wait(tasks, timeout=LETTING_GO)
                for task in stubborn:
                    log.error("run does not let go task=%r", task)

    def close(self) -> None:
        """Start no further steps; those in threads end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, claimed: Iterable[journal.Claimed]) -> None:
        for each in claimed:
            execution = Execution(each, self._threads)
            # A clean context: what started the run (a request, a socket) is none of its business.
            task = asyncio.create_task(self._executed(execution), context=contextvars.Context())
            self._executing[execution.run_id] = (execution, task)

    async def _executed(self, execution: Execution) -> None:
        try:
            await execution.execute()
        except Exception:
            log.exception("run broke off run=%s", execution.run_id)
        finally:
            if self._executing.get(execution.run_id, (None,))[0] is execution:
                del self._executing[execution.run_id]
