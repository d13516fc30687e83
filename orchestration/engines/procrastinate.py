"""This process as a worker: it takes runs from the job queue, and executes thousands of waiting ones.

The queue owns dispatch: one job a run, announced by NOTIFY, started again elsewhere when its worker's
heartbeat has stopped. A worker asks for jobs of the orchestrations that it knows; the others rest. What a run
writes is fenced by its epoch, so a worker that was only frozen can't write once another has begun the next
one. The executions outlive the queue's connection: a worker that loses it begins anew, and a job that comes
back finds its run still executing here.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import procrastinate
from django.db import Error as DatabaseError
from procrastinate import exceptions, jobs, retry
from procrastinate.connector import BaseAsyncConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.job_context import AbortReason
from procrastinate.manager import NotificationCallback
from procrastinate.worker import Worker as JobWorker

from approvals.database.threads import in_database
from approvals.exceptions import ApprovalError
from approvals.waiting.outages import Away, keep_running
from approvals.waiting.room import waiting_room
from orchestration import queries
from orchestration.catalog import Kind
from orchestration.conf import orchestration_settings
from orchestration.engines import jobs as runs_as_jobs
from orchestration.engines.claims import Claims
from orchestration.engines.executions import Executions
from orchestration.engines.jobs import TASK, Taken
from orchestration.engines.unknown_orchestrations import UnknownOrchestrations
from orchestration.runs import journal
from orchestration.runs.execution import withdraw_requests

log = logging.getLogger(__name__)

# The worker's connections: one listens, one fetches, the others end jobs.
CONNECTIONS = 6
# Seconds for telling the queue which jobs are left, when the process stops.
LAST_WORDS = 3.0
A_MOMENT = 0.5
# Seconds until a connection that can't be had fails what wants it, which then begins anew. A pool that tries
# for longer doubles its pauses: after an outage it would be away for as long again as that has taken.
CONNECTING = 10.0
# Seconds after which the queue is asked although it announced nothing: an announcement may come while the
# worker, not listening yet or just asking, does not hear it.
LOOK_AGAIN = 1.0
# Seconds until a job whose run could not even begin is tried again.
AGAIN = 5


class LetGo(Exception):
    """This process does not execute the run any more; another shall, at once."""


class Worker:
    """Takes jobs while it lives, `concurrency` at most. Follows the runs' topic."""

    engine = None

    def __init__(self, *, concurrency: int) -> None:
        self._concurrency = concurrency
        self._executions = Executions()
        self._claims = Claims()
        self._unknown = UnknownOrchestrations()
        self._ready = asyncio.Event()
        self._working: JobWorker | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Jobs whose function runs here; and taken ones without, as of the last look.
        self._jobs: set[int] = set()
        self._suspects: frozenset[int] = frozenset()
        # The worker ends, and with it all that it could tell of its jobs one by one.
        self._ending = False
        self._stopping = False

    @property
    def executes(self) -> bool:
        return self._worker_id is not None

    @property
    def unknown(self) -> Mapping[Kind, int]:
        return self._unknown.runs

    @property
    def _worker_id(self) -> int | None:
        """What the queue knows this worker by; None while it does not."""
        return None if self._working is None else self._working.worker_id

    @property
    def run_ids(self) -> frozenset[UUID]:
        """What executes here now."""
        return self._executions.run_ids

    async def start(self) -> None:
        waiting_room().follow(journal.TOPIC, self)
        for name, work in (
            ("job worker", self._work),
            ("job keeper", self._keep),
            ("run keeper", self._look_after_runs),
        ):
            running = keep_running(name, work)
            self._tasks.append(asyncio.create_task(running, context=contextvars.Context()))

    async def ready(self) -> None:
        await self._ready.wait()

    async def take_up(self, run_id: UUID) -> None:
        """The queue sees to it."""

    async def stop(self) -> None:
        # The queue's worker takes nothing more, but lives until its jobs are given back: those of one that is
        # gone are anybody's at once, also where a step is still under way.
        self._stopping = True
        draining = asyncio.create_task(self._executions.drain(orchestration_settings().drain))
        # What waits has been let go in a moment, and goes on elsewhere while steps here are under way.
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
        """All jobs but these, so that others need not wait until this worker is taken for dead."""
        if (worker_id := self._worker_id) is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                taken = await in_database(runs_as_jobs.jobs_of_worker, worker_id)
                await in_database(runs_as_jobs.give_back, taken - set(but))
        except (TimeoutError, DatabaseError) as error:
            log.warning("jobs not given back worker=%s error=%r", worker_id, error)

    # What it is told

    async def look(self, ids: frozenset[UUID]) -> None:
        await self._abandon_lost_runs(ids)
        await self._tidy(ids - self.run_ids)

    async def look_everywhere(self) -> None:
        await self._abandon_lost_runs(self.run_ids)
        if jobless := await in_database(runs_as_jobs.defer_runs_without_job):
            log.warning("runs had no job runs=%d", len(jobless))
        await self._tidy(None)
        await self._unknown.look()

    async def _abandon_lost_runs(self, among: frozenset[UUID]) -> None:
        """Stop what others write by now, or have ended."""
        if epochs := self._executions.epochs(among):
            self._executions.abandon(await in_database(queries.runs_taken_over, epochs))

    async def _tidy(self, among: Collection[UUID] | None) -> None:
        for run_id in await in_database(queries.runs_to_tidy, among):
            await in_database(withdraw_requests, run_id)

    # Jobs

    async def _work(self) -> None:
        """Take and execute jobs, until the queue's connection fails or the process stops."""
        settings = orchestration_settings()
        await in_database(runs_as_jobs.queues)  # what is imported for it shall not keep the loop
        connector = _connector()
        app = procrastinate.App(connector=connector)
        app.task(name=TASK, pass_context=True, retry=_Again())(self._execute)
        app.job_manager = queue = _Jobs(
            connector,
            begun=self._ready.set,
            ending=lambda: self._ending or self._stopping,
            stopping=lambda: self._stopping,
        )
        async with _open(app):
            self._working = JobWorker(
                app,
                # Announcements of any; which of them it takes, `_Jobs` says each time.
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
            # It ends without an error, too, as when its heartbeat failed.
            raise Away("job queue")

    async def _execute(self, context: procrastinate.JobContext, run_id: str) -> None:
        job_id = context.job.id or 0
        self._jobs.add(job_id)
        try:
            await self._execute_run(UUID(run_id), (context.job.id, context.job.worker_id))
        except asyncio.CancelledError:
            if context.abort_reason() is not AbortReason.USER_REQUEST:
                # The queue's connection failed. The execution goes on; its job comes back, here or elsewhere.
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
            if self._stopping or not await in_database(journal.has_ended, run_id):
                raise LetGo(run_id)
            # It was ended from elsewhere, maybe while it asked: only now can nothing more be opened.
            await in_database(withdraw_requests, run_id)
            return
        if error := execution.exception():
            raise error

    # What nobody else would notice

    async def _keep(self) -> None:
        """Now and then, have somebody execute what no living worker does."""
        async with _open(procrastinate.App(connector=_connector(connections=1))) as app:
            while True:
                await self._restart_if_silent()
                await self._continue_stalled(app)
                await self._continue_forgotten()
                await in_database(runs_as_jobs.gather_statistics)
                await asyncio.sleep(orchestration_settings().heartbeat)

    async def _restart_if_silent(self) -> None:
        """The queue's worker goes on where its heartbeat failed, while all others take it for dead."""
        if (worker_id := self._worker_id) is None:
            return
        silence = orchestration_settings().heartbeat_lost / 2
        if await in_database(runs_as_jobs.is_silent, worker_id, silence) and self._working is not None:
            log.error("worker begins again: its heartbeat has failed worker=%s", worker_id)
            self._working.stop()  # type: ignore[no-untyped-call]

    async def _continue_stalled(self, app: procrastinate.App) -> None:
        stalled = await app.job_manager.get_stalled_jobs(
            task_name=TASK, seconds_since_heartbeat=orchestration_settings().heartbeat_lost
        )
        if job_ids := [job.id for job in stalled if job.id is not None]:
            given = await in_database(runs_as_jobs.give_back, job_ids)
            log.warning("runs of lost workers are continued runs=%d", len(given))

    async def _continue_forgotten(self) -> None:
        """Jobs that this worker has taken, but does not execute: the answer of the queue got lost."""
        if (worker_id := self._worker_id) is None:
            return
        taken = await in_database(runs_as_jobs.jobs_of_worker, worker_id, more_than=len(self._jobs))
        suspects = taken - self._jobs
        # A job that was taken just now may not have begun: what is suspect twice is not executed.
        if forgotten := suspects & self._suspects:
            log.warning("jobs were forgotten jobs=%d", len(forgotten))
            await in_database(runs_as_jobs.give_back, forgotten)
        self._suspects = suspects

    async def _look_after_runs(self) -> None:
        """Beside the keeping of jobs, which must not wait: thousands of ended runs take a while to tidy."""
        while True:
            try:
                await self.look_everywhere()
            except (DatabaseError, ApprovalError) as error:
                log.warning("not everything looked after error=%r", error)
            await asyncio.sleep(orchestration_settings().heartbeat)


class Dispatcher:
    """The host of a process that has its runs executed by workers: it only says what it does not know."""

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


class _Again(retry.BaseRetryStrategy):
    """A job ends with its run, never before."""

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> retry.RetryDecision:
        if isinstance(exception, LetGo | asyncio.CancelledError):
            return retry.RetryDecision()
        return retry.RetryDecision(retry_in={"seconds": AGAIN})


class _Jobs(procrastinate.manager.JobManager):
    """A job that was given to others meanwhile, or whose end can't be told now, is no reason to fail: the
    keeper sees to the rest. So it does once the worker ends."""

    def __init__(
        self,
        connector: BaseAsyncConnector,
        *,
        begun: Callable[[], None],
        ending: Callable[[], bool],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__(connector)
        self._begun = begun
        self._ending = ending
        self._stopping = stopping
        self._listener: asyncio.Task[Any] | None = None

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        self._listener = asyncio.current_task()
        await super().listen_for_jobs(on_notification=on_notification, queues=queues)

    async def stop_listening(self) -> None:
        """A cancellation may be lost (`asyncio.wait_for` before Python 3.12), and the queue's worker, once it
        is cancelled itself, does not try again."""
        while self._listener is not None and not self._listener.done():
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=A_MOMENT)

    async def register_worker(self) -> int:
        worker_id = await super().register_worker()
        self._begun()
        return worker_id

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        return None if self._stopping() else await super().fetch_job(runs_as_jobs.queues(), worker_id)

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        if self._ending():
            return
        try:
            await super().finish_job(job, status, delete_job)
        except exceptions.ConnectorException as error:
            log.warning("job not ended job=%s error=%s", job.id, _cause(error))

    async def retry_job(self, job: jobs.Job, *args: Any, **changes: Any) -> None:
        if self._ending():
            return
        try:
            await super().retry_job(job, *args, **changes)
        except exceptions.ConnectorException as error:
            log.warning("job not given back job=%s error=%s", job.id, _cause(error))


@asynccontextmanager
async def _open(app: procrastinate.App) -> AsyncIterator[procrastinate.App]:
    """Its connections, which are closed again even where opening them was interrupted."""
    try:
        await _connect(app)
        yield app
    finally:
        await app.close_async()


async def _connect(app: procrastinate.App) -> None:
    try:
        async with asyncio.timeout(CONNECTING):
            await app.open_async()
    except TimeoutError:
        log.warning("job queue away; trying until it is back")
        raise Away("job queue") from None


def _connector(connections: int = CONNECTIONS) -> procrastinate.PsycopgConnector:
    return procrastinate.PsycopgConnector(
        kwargs=connector_params(),
        min_size=1,
        max_size=connections,
        timeout=CONNECTING,
        reconnect_timeout=CONNECTING,
    )


def _cause(error: BaseException) -> object:
    return error.__cause__ or error
