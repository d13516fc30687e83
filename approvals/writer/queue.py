"""The only door to the writer: one thread a process, which writes in batches what was queued.

While one transaction commits, commands gather; the next transaction takes them all. A single command waits
for nothing; under load, hundreds share one commit. The thread is an executor's: it outlives every event loop,
and the interpreter waits for it at exit, so what was handed over is written. A batch that fails is run again
one by one, so that one bad command never fails its neighbours. Every command may be run twice without harm.
The thread's connection is not from the pool, all of whose connections may be held by those who wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from time import perf_counter
from typing import Any

from django.db import IntegrityError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.conf import approval_settings
from approvals.database import lending
from approvals.database.sessions import leave_the_pool
from approvals.database.threads import LOST, close_idle
from approvals.database.transactions import refuse_inside_a_transaction
from approvals.domain.commands import Accepted, Command, Result
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import REFUSALS, Busy, KeyConflict, RateLimited, Unavailable
from approvals.process import forks, telemetry
from approvals.writer import execution

logger = logging.getLogger(__name__)

# A command, its future, and the span of whoever handed it over.
_Queued = tuple[Command, "Future[Result]", Any]

# How many requests the log names where a batch fails.
NAMED = 10


class Writer:
    """A bounded queue before one thread that writes in batches."""

    def __init__(self, *, capacity: int, batch: int) -> None:
        self._capacity = capacity
        self._batch = batch
        self._queue: deque[_Queued] = deque()
        self._lock = threading.Lock()
        self._draining = False
        self._writing = forks.Activity()
        self._connection: BaseDatabaseWrapper | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sayso-writer", initializer=self._begin)

    def submit_many(self, commands: Sequence[Command]) -> list[Future[Result]]:
        """Queue the commands, in order; each future gets its own result or error.

        Cancelling a future changes nothing: what was handed over is written. Raises Busy when the queue is
        full, Unavailable when the process ends; then none of the commands was taken.
        """
        here = telemetry.current_span()
        queued: list[_Queued] = [(command, _uncancellable(), here) for command in commands]
        with self._lock:
            if len(self._queue) + len(queued) > self._capacity:
                telemetry.writer_full.inc(len(queued))
                raise Busy("More commands are queued than may wait; try again in a moment.")
            self._queue.extend(queued)
            if queued and not self._draining:
                self._begin_to_drain()
        return [future for _, future, _ in queued]

    def __len__(self) -> int:
        """Return how many commands wait for the thread."""
        return len(self._queue)

    def close(self) -> None:
        """Write what is queued, then stop the thread and close its connection."""
        self._thread.submit(_close_connection)
        self._thread.shutdown(wait=True)

    def pause(self) -> None:
        """Have the thread rest, without a connection, until `resume`; commands are taken meanwhile."""
        if not self._writing.pause():
            logger.warning("forked while the writer was writing")
        elif self._connection is not None:
            close_idle([self._connection])

    def resume(self) -> None:
        self._writing.resume()

    def _begin(self) -> None:
        if not lending.adopt():
            leave_the_pool()
            self._connection = connections[connection.alias]

    def _begin_to_drain(self) -> None:
        try:
            self._thread.submit(self._drain)
        except RuntimeError:
            # The interpreter ends its threads before it ends: who is still served must not wait for ever.
            self._queue.clear()
            raise Unavailable("This process is stopping. Nothing was recorded; try again.") from None
        self._draining = True

    def _drain(self) -> None:
        while True:
            with self._writing:
                if not (batch := self._next_batch()):
                    return
                _write_batch(batch)

    def _next_batch(self) -> list[_Queued]:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._draining = bool(batch)
            return batch


def write(command: Command) -> Outcome:
    """Have one command written; return the outcome that is on record after the commit.

    Raises the refusal, an ApprovalError; Busy, Unavailable; RuntimeError inside a transaction.
    """
    return write_result(command).outcome


def write_result(command: Command) -> Accepted:
    """Have one command written, as `write`; the result also says whether it has changed anything."""
    refuse_inside_a_transaction()
    return _check_accepted(submit(command).result())


async def awrite(command: Command) -> Outcome:
    """Have one command written, as `write`. Cancelling the caller does not take the command back."""
    return outcome_of_result(await asyncio.wrap_future(submit(command)))


def outcome_of_result(result: Result) -> Outcome:
    """Return the outcome on record; raise a refusal."""
    return _check_accepted(result).outcome


def submit(command: Command) -> Future[Result]:
    """Queue one command for this process's writer."""
    return submit_many([command])[0]


def submit_many(commands: Sequence[Command]) -> list[Future[Result]]:
    """Queue commands for this process's writer, as Writer.submit_many."""
    return _writer().submit_many(commands)


def queue_length() -> int:
    """Return how many commands wait for this process's writer."""
    return len(_writer())


def close_writer() -> None:
    """Write what is queued, then stop the thread; the next command starts another."""
    if _writer.cache_info().currsize:
        _writer().close()
        _writer.cache_clear()


@cache
def _writer() -> Writer:
    settings = approval_settings()
    writer = Writer(capacity=settings.writer_queue, batch=settings.writer_batch)
    telemetry.queue_length.set_function(queue_length)
    return writer


def _pause() -> None:
    if _writer.cache_info().currsize:
        _writer().pause()


def _resume() -> None:
    if _writer.cache_info().currsize:
        _writer().resume()


# What was handed over in the parent, the parent writes.
forks.register(_writer.cache_clear, pause=_pause, resume=_resume)


def _check_accepted(result: Result) -> Accepted:
    if isinstance(result, Accepted):
        return result
    more: dict[str, Any] = {}
    if result.code == KeyConflict.code:
        more = {"differs": result.differs}
    elif result.code == RateLimited.code:
        more = {"retry_after": result.retry_after}
    raise REFUSALS[result.code](result.detail, field=result.field, outcome=result.outcome, **more)


def _close_connection() -> None:
    if lending.lent() is None:
        connection.close()  # looked up here: the name means another connection in each thread


def _uncancellable() -> Future[Result]:
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()
    return future


def _write_batch(batch: list[_Queued]) -> None:
    try:
        results = _measure(batch)
    except Exception as error:  # noqa: BLE001  the loop's outer edge: every caller gets its error
        if len(batch) > 1 and (not isinstance(error, LOST) or _database_answers()):
            requests = _request_ids(batch)
            logger.warning(
                "batch_failed commands=%d requests=%s error=%r: one by one", len(batch), requests, error
            )
            for queued in batch:
                _write_batch([queued])
        else:
            _fail(batch, error)
    else:
        for (_, future, _), result in zip(batch, results, strict=True):
            future.set_result(result)


def _measure(batch: list[_Queued]) -> list[Result]:
    links = [here for _, _, here in batch if here is not None]
    began = perf_counter()
    with telemetry.span("sayso.write", links, commands=len(batch)):
        results = _execute([command for command, _, _ in batch])
    telemetry.batch_seconds.observe(perf_counter() - began)
    telemetry.batch_size.observe(len(batch))
    return results


def _execute(commands: list[Command]) -> list[Result]:
    """Run the commands; once more after a lost connection or a duplicate key.

    The connection is lost where the server was restarted; where another process was first with the same key,
    the second run finds its request.
    """
    try:
        return execution.execute(commands)
    except LOST:
        connection.close()
        return execution.execute(commands)
    except IntegrityError:
        return execution.execute(commands)


def _database_answers() -> bool:
    connection.close()
    try:
        connection.ensure_connection()
    except LOST:
        return False
    return True


def _fail(batch: list[_Queued], error: Exception) -> None:
    requests = _request_ids(batch)
    logger.error("write_failed commands=%d requests=%s error=%r", len(batch), requests, error, exc_info=error)
    if isinstance(error, LOST):
        error = Unavailable("The database does not answer. Nothing that is on record is lost; try again.")
    for _, future, _ in batch:
        future.set_exception(error)


def _request_ids(batch: list[_Queued]) -> str:
    names = [str(command.request_id) for command, _, _ in batch[:NAMED]]
    return ",".join(names) + ("…" if len(batch) > NAMED else "")
