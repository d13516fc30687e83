"""What executes in this process: runs as tasks of its event loop, synchronous steps in threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.policies import allowlists
from orchestration.runs import journal
from orchestration.runs.execution import Execution
from orchestration.runs.idle import IdleMarker
from orchestration.runs.journal import Claimed
from orchestration.runs.run import Means
from orchestration.runs.wakeups import Wakeups

log = logging.getLogger(__name__)

# Seconds for a run to notice that this process lets go of it.
LETTING_GO = 5.0
# Seconds for noting that they were let go; after that it counts as if the process had died.
GIVING_BACK = 3.0


class Executions:
    """Belongs to one event loop. Ends with `let_go`, then `close`."""

    def __init__(self) -> None:
        self._executing: dict[UUID, tuple[Execution, asyncio.Task[None]]] = {}
        self._context = allowlists.clean_context()
        self._means = Means(
            ThreadPoolExecutor(orchestration_settings().step_threads, thread_name_prefix="sayso-step"),
            Wakeups(),
            IdleMarker(),
        )

    @property
    def run_ids(self) -> frozenset[UUID]:
        """What executes here now."""
        return frozenset(self._executing)

    def epochs(self, among: Collection[UUID]) -> Mapping[UUID, int]:
        """The epoch in which each of these runs executes here, if it does."""
        executing = self._executing
        return {run_id: executing[run_id][0].epoch for run_id in among if run_id in executing}

    def task_of(self, run_id: UUID) -> asyncio.Task[None] | None:
        """It ends when the run's end is on record; it is cancelled where this process lets the run go, and
        raises what broke the execution off."""
        return self._executing.get(run_id, (None, None))[1]

    def begin(self, claimed: Claimed) -> asyncio.Task[None]:
        execution = Execution(claimed, self._means)
        # A clean context: what started the run (a request, a socket) is none of its business.
        task = asyncio.create_task(execution.execute(), context=self._context.copy())
        self._executing[execution.run_id] = (execution, task)
        task.add_done_callback(lambda _: self._on_task_done(execution, task))
        return task

    def cancel(self, run_ids: Collection[UUID]) -> None:
        """End those of the runs that execute here."""
        for run_id in run_ids:
            if run_id in self._executing:
                self._executing[run_id][0].cancel()

    def abandon(self, run_ids: Collection[UUID]) -> None:
        """Stop executing them, without recording anything: others write them by now."""
        for run_id in run_ids:
            if run_id in self._executing:
                execution, task = self._executing[run_id]
                execution.let_go()
                # Once: what is just being asked is waited for then, to be taken back where the run has ended.
                if not task.cancelling():
                    task.cancel()

    async def drain(self, seconds: float) -> None:
        """Let go of what waits at once, and of what is within a step as soon as that is on record; of the
        rest when the time is over."""
        tasks = [task for _, task in self._executing.values()]
        for execution, _ in self._executing.values():
            execution.drain()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        await self.let_go()

    async def let_go(self) -> None:
        """Stop executing without recording anything: whoever claims the runs next goes on with them."""
        executions = list(self._executing.values())
        self.abandon(self.run_ids)
        if executions:
            _, stubborn = await asyncio.wait([task for _, task in executions], timeout=LETTING_GO)
            for task in stubborn:
                log.error("run does not let go task=%r", task)
        await self._give_back([execution for execution, _ in executions])

    async def _give_back(self, executions: Collection[Execution]) -> None:
        """Note that these runs were let go in good order: this was no death of their process."""
        if owned := [each.executing for each in executions if each.executing is not None]:
            try:
                async with asyncio.timeout(GIVING_BACK):
                    await in_database(journal.mark_idle, owned)
            except (TimeoutError, DatabaseError) as error:
                log.warning("runs not given back runs=%d error=%r", len(owned), error)

    def close(self) -> None:
        """Start no further steps; those in threads end by themselves."""
        self._means.threads.shutdown(wait=False, cancel_futures=True)
        self._means.wakeups.close()

    def _on_task_done(self, execution: Execution, task: asyncio.Task[None]) -> None:
        if self._executing.get(execution.run_id, (None,))[0] is execution:
            del self._executing[execution.run_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("run broke off run=%s", execution.run_id, exc_info=error)
