"""A worker's connection to the job queue, which tolerates outages and jobs that others have by now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
from procrastinate import exceptions, jobs, retry
from procrastinate.connector import BaseAsyncConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.manager import NotificationCallback

from approvals.waiting.outages import Away
from orchestration.engines import jobs as runs_as_jobs

log = logging.getLogger(__name__)

# The worker's connections: one listens, one fetches, the others end jobs.
CONNECTIONS = 6
# Seconds until a cancellation is repeated.
A_MOMENT = 0.5
# Seconds until a missing connection fails what needs it, which then tries again. A pool that tries for longer
# doubles its pauses: after an outage it would be away for as long again.
CONNECTING = 10.0
# Seconds until a job whose run could not even begin is tried again.
AGAIN = 5


class LetGo(Exception):
    """This process lets go of the run; its job is to be taken by another at once."""


class RetryUnlessLetGo(retry.BaseRetryStrategy):
    """Retry every job until its run has ended: at once if the run was let go, else after AGAIN seconds."""

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> retry.RetryDecision:
        if isinstance(exception, LetGo | asyncio.CancelledError):
            return retry.RetryDecision()
        return retry.RetryDecision(retry_in={"seconds": AGAIN})


class QueueManager(procrastinate.manager.JobManager):
    """Tell the queue of jobs, and don't fail where it can't be told, or has given a job to others meanwhile.

    The worker's keeper repairs what is missed; `ending`: the worker ends, so nothing is told any more.
    """

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
        """Cancel the listener until it has ended.

        A cancellation may be lost (`asyncio.wait_for` before Python 3.12), and the queue's worker, once it is
        cancelled itself, does not try again.
        """
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
async def open_queue(app: procrastinate.App) -> AsyncIterator[procrastinate.App]:
    """Open the queue's connections, and close them even if opening them was interrupted."""
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


def make_connector(connections: int = CONNECTIONS) -> procrastinate.PsycopgConnector:
    return procrastinate.PsycopgConnector(
        kwargs=connector_params(),
        min_size=1,
        max_size=connections,
        timeout=CONNECTING,
        reconnect_timeout=CONNECTING,
    )


def _cause(error: BaseException) -> object:
    return error.__cause__ or error
