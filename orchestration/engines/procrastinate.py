"""A worker: it takes runs from the job queue that `procrastinate` keeps, and executes thousands of them.

The queue has one job for each open run, announces it by NOTIFY, and gives it to another worker when the
heartbeat of its worker has stopped. A worker takes jobs only of orchestrations that it knows. Writes of a run
are fenced by its epoch, so a worker that was only frozen can't write once another has the run. Executions
outlive the queue's connection: a worker that loses it connects again, and a job that comes back finds its run
still executing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from functools import partial
from uuid import UUID

import procrastinate
from django.db import Error as DatabaseError
from procrastinate import jobs
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker as JobWorker

from approvals.database.threads import in_database
from approvals.waiting.outages import Away, keep_running
from approvals.waiting.waiting_room import waiting_room
from orchestration import queries
from orchestration.conf import orchestration_settings
from orchestration.engines import jobs as runs_as_jobs
from orchestration.engines.claims import Claims
from orchestration.engines.hosts import Host
from orchestration.engines.jobs import TASK, Taken
from orchestration.engines.queue_connection import (
    LetGo,
    QueueManager,
    RetryUnlessLetGo,
    make_connector,
    open_queue,
)
from orchestration.engines.run_tasks import Executions
from orchestration.runs import journal, run_records
from orchestration.runs.execution import withdraw_requests

log = logging.getLogger(__name__)

# Seconds for telling the queue which jobs are left, when the process stops.
LAST_WORDS = 3.0
# Seconds in which waiting runs are let go.
A_MOMENT = 0.5
# Seconds between two looks into the queue without an announcement: one may be missed before the worker
# listens, or while it fetches a job.
LOOK_AGAIN = 1.0


class Worker(Host):
    """The host of a worker process: it has `concurrency` jobs at most. Follows the runs' topic."""

    def __init__(self, *, concurrency: int) -> None:
        super().__init__()
        self._concurrency = concurrency
        self._executions = Executions()
        self._claims = Claims()
        self._ready = asyncio.Event()
        self._working: JobWorker | None = None
        # Jobs whose function runs here; and jobs that were taken but have no function here, at the last look.
        self._jobs: set[int] = set()
        self._suspects: frozenset[int] = frozenset()
        # The queue's worker ends: it tells the queue nothing more about single jobs.
        self._ending = False
        self._stopping = False

    @property
    def executes(self) -> bool:
        return self._worker_id is not None

    @property
    def _worker_id(self) -> int | None:
        """This worker's id in the queue; None while it is not registered there."""
        return None if self._working is None else self._working.worker_id

    @property
    def run_ids(self) -> frozenset[UUID]:
        """Ids of the runs that execute here now."""
        return self._executions.run_ids

    async def start(self) -> None:
        waiting_room().follow(journal.TOPIC, self)
        for name, work in (
            ("job worker", self._work),
            ("job keeper", self._keep),
            # Apart from jobs, which must not wait: tidying thousands of runs takes a while.
            ("run keeper", partial(self._look_after_runs, orchestration_settings().heartbeat)),
        ):
            self._begin(keep_running(name, work))

    async def ready(self) -> None:
        await self._ready.wait()

    async def stop(self) -> None:
        # The queue's worker takes nothing more, but stays until its jobs are given back: others get
        # jobs of a worker that is gone at once, even if a step still executes here.
        self._stopping = True
        draining = asyncio.create_task(self._executions.drain(orchestration_settings().drain))
        # Waiting runs are let go quickly, and go on elsewhere while steps still execute here.
        await asyncio.wait([draining], timeout=A_MOMENT)
        await self._give_back(self._jobs)
        await draining
        await self._give_back(())
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        waiting_room().unfollow(journal.TOPIC, self)
        self._executions.close()

    async def _give_back(self, but: Collection[int]) -> None:
        """Give back all jobs but these, so that others need not wait until this worker counts as dead."""
        if (worker_id := self._worker_id) is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                taken = await in_database(runs_as_jobs.jobs_of_worker, worker_id)
                await in_database(runs_as_jobs.give_back, taken - set(but))
        except (TimeoutError, DatabaseError) as error:
            log.warning("jobs not given back worker=%s error=%r", worker_id, error)

    # Hints

    async def look(self, ids: frozenset[UUID]) -> None:
        await self._abandon_lost_runs(ids)
        await self._tidy(ids - self.run_ids)

    async def look_everywhere(self) -> None:
        await self._abandon_lost_runs(self.run_ids)
        if jobless := await in_database(runs_as_jobs.defer_runs_without_job):
            log.warning("runs had no job runs=%d", len(jobless))
        await self._tidy(None)
        await super().look_everywhere()

    async def _abandon_lost_runs(self, among: frozenset[UUID]) -> None:
        """Stop executing runs that have ended, or belong to others by now."""
        if epochs := self._executions.epochs(among):
            self._executions.abandon(await in_database(queries.runs_taken_over, epochs))

    # Jobs

    async def _work(self) -> None:
        """Take and execute jobs, until the queue's connection fails or the process stops."""
        settings = orchestration_settings()
        await in_database(runs_as_jobs.queues)  # imports orchestrations: not on the event loop
        connector = make_connector()
        app = procrastinate.App(connector=connector)
        app.task(name=TASK, pass_context=True, retry=RetryUnlessLetGo())(self._execute)
        app.job_manager = queue = QueueManager(
            connector,
            begun=self._ready.set,
            ending=lambda: self._ending or self._stopping,
            stopping=lambda: self._stopping,
        )
        async with open_queue(app):
            self._working = JobWorker(
                app,
                # Listen to all queues; `QueueManager` says from which ones jobs are taken.
                queues=None,
                concurrency=self._concurrency,
                fetch_job_polling_interval=LOOK_AGAIN,
                shutdown_graceful_timeout=LAST_WORDS,
                delete_jobs=jobs.DeleteJobCondition.ALWAYS,
                install_signal_handlers=False,
                update_heartbeat_interval=settings.heartbeat,
                stalled_worker_timeout=settings.heartbeat_lost,
            )
            self._ending = False
            try:
                await self._working.run()  # type: ignore[no-untyped-call]
            finally:
                self._working = None
                await queue.stop_listening()
        if not self._stopping:
            # It also ends without an error, for instance when its heartbeat failed.
            raise Away("job queue")

    async def _execute(self, context: procrastinate.JobContext, run_id: str) -> None:
        job_id = context.job.id or 0
        self._jobs.add(job_id)
        try:
            await self._execute_run(UUID(run_id), (context.job.id, context.job.worker_id))
        except asyncio.CancelledError:
            if context.abort_reason() is not AbortReason.USER_REQUEST:
                # The queue's connection failed. The run goes on; its job is given to this worker or another.
                self._ending = True
            raise
        finally:
            self._jobs.discard(job_id)

    async def _execute_run(self, run_id: UUID, taken: Taken) -> None:
        execution = self._executions.task_of(run_id)
        if execution is None:
            claimed = await self._claims.claim(run_id, taken)
            if claimed is None:
                return
            if self._stopping:
                raise LetGo(run_id)
            execution = self._executions.begin(claimed)
        await asyncio.wait([execution])
        if execution.cancelled():
            if self._stopping or not await in_database(run_records.has_ended, run_id):
                raise LetGo(run_id)
            # Another process ended it, maybe while it opened a request: from now on it can open none.
            await in_database(withdraw_requests, run_id)
            return
        if error := execution.exception():
            raise error

    # Repair of what went wrong

    async def _keep(self) -> None:
        """Replace the jobs of workers that have died, at each heartbeat."""
        async with open_queue(procrastinate.App(connector=make_connector(connections=1))) as app:
            while True:
                await self._restart_if_silent()
                await self._continue_stalled(app)
                await self._continue_forgotten()
                await in_database(runs_as_jobs.gather_statistics)
                await asyncio.sleep(orchestration_settings().heartbeat)

    async def _restart_if_silent(self) -> None:
        """Restart the queue's worker if its heartbeat failed, since others count it as dead."""
        if (worker_id := self._worker_id) is None:
            return
        silence = orchestration_settings().heartbeat_lost / 2
        if await in_database(runs_as_jobs.is_silent, worker_id, silence) and self._working is not None:
            log.error("worker restarted: its heartbeat failed worker=%s", worker_id)
            self._working.stop()  # type: ignore[no-untyped-call]

    async def _continue_stalled(self, app: procrastinate.App) -> None:
        stalled = await app.job_manager.get_stalled_jobs(
            task_name=TASK, seconds_since_heartbeat=orchestration_settings().heartbeat_lost
        )
        if job_ids := [job.id for job in stalled if job.id is not None]:
            given = await in_database(runs_as_jobs.give_back, job_ids)
            log.warning("runs of lost workers are continued runs=%d", len(given))

    async def _continue_forgotten(self) -> None:
        """Give back jobs that this worker has taken but does not execute: the queue's answer was lost."""
        if (worker_id := self._worker_id) is None:
            return
        taken = await in_database(runs_as_jobs.jobs_of_worker, worker_id, more_than=len(self._jobs))
        suspects = taken - self._jobs
        # A job that was taken just now may not have begun: only what is suspect twice is given back.
        if forgotten := suspects & self._suspects:
            log.warning("jobs were forgotten jobs=%d", len(forgotten))
            await in_database(runs_as_jobs.give_back, forgotten)
        self._suspects = suspects
