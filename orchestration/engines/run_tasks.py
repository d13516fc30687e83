"""The runs that execute in this process: as tasks of its event loop, with synchronous steps in threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from orchestration.conf import orchestration_settings
from orchestration.policies import allowlists
from orchestration.runs import journal
from orchestration.runs.execution import Execution
from orchestration.runs.journal import Claimed
from orchestration.runs.run import Means
from orchestration.runs.steps import StepThreads

log = logging.getLogger(__name__)

# Seconds that a run may take to stop when this process lets go of it.
LETTING_GO = 5.0
# Seconds for recording that runs were let go; if that fails, it counts as a death of the process.
GIVING_BACK = 3.0


class Executions:
    """The executing runs of one event loop. End it with `let_go`, then `close`."""

    def __init__(self, means: Means | None = None) -> None:
        self._executing: dict[UUID, tuple[Execution, asyncio.Task[None]]] = {}
        self._context = allowlists.clean_context()
        self._means = means or Means(
            StepThreads(orchestration_settings().step_threads, thread_name_prefix="sayso-step")
        )

    @property
    def run_ids(self) -> frozenset[UUID]:
        """Ids of the runs that execute here now."""
        return frozenset(self._executing)

    def epochs(self, among: Collection[UUID]) -> Mapping[UUID, int]:
        """Return the epochs of those of these runs that execute here."""
        executing = self._executing
        return {run_id: executing[run_id][0].epoch for run_id in among if run_id in executing}

    def task_of(self, run_id: UUID) -> asyncio.Task[None] | None:
        """Return the task that executes the run here, if any.

        It ends when the run's end is on record, is cancelled where this process lets go of the run, and
        raises what broke the execution off.
        """
        return self._executing.get(run_id, (None, None))[1]

    def begin(self, claimed: Claimed) -> asyncio.Task[None]:
        """Execute a claimed run; return its task."""
        execution = Execution(claimed, self._means)
        # A context of its own: a run has nothing to do with the request or socket that started it.
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
        """Stop executing these runs without recording anything: they belong to others by now."""
        for run_id in run_ids:
            if run_id in self._executing:
                execution, task = self._executing[run_id]
                execution.let_go()
                # Once only: a request that is just being opened is waited for, and may have to be withdrawn.
                if not task.cancelling():
                    task.cancel()

    async def drain(self, seconds: float) -> None:
        """Let go of all runs: of waiting ones at once, of others when their step is on record.

        After `seconds` let go of the rest.
        """
        tasks = [task for _, task in self._executing.values()]
        for execution, _ in self._executing.values():
            execution.drain()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        await self.let_go()

    async def let_go(self) -> None:
        """Stop executing without recording anything: whoever claims the runs next continues them."""
        executions = list(self._executing.values())
        self.abandon(self.run_ids)
        if executions:
            _, stubborn = await asyncio.wait([task for _, task in executions], timeout=LETTING_GO)
            for task in stubborn:
                log.error("run did not stop when let go task=%r", task)
        await self._give_back([execution for execution, _ in executions])

    async def _give_back(self, executions: Collection[Execution]) -> None:
        """Record that these runs were let go in good order, so that this is no death of their process."""
        if owned := [each.executing for each in executions if each.executing is not None]:
            try:
                async with asyncio.timeout(GIVING_BACK):
                    await in_database(journal.mark_idle, owned)
            except (TimeoutError, DatabaseError) as error:
                log.warning("runs not given back runs=%d error=%r", len(owned), error)

    def close(self) -> None:
        """Start no further steps; steps in threads end by themselves."""
        self._means.threads.shutdown(wait=False, cancel_futures=True)
        self._means.wakeups.close()

    def _on_task_done(self, execution: Execution, task: asyncio.Task[None]) -> None:
        if self._executing.get(execution.run_id, (None,))[0] is execution:
            del self._executing[execution.run_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("run broke off run=%s", execution.run_id, exc_info=error)
