"""The one gateway from coroutines to the database: synchronous ORM code on threads of our own.

Django's default, one thread-sensitive thread, makes every socket wait for every other's query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, partial
from math import inf
from threading import Thread, local
from time import monotonic, thread_time
from typing import ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    InternalError,
    OperationalError,
    close_old_connections,
    connection,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.conf import approval_settings
from approvals.process import forks

# The database is away, or the connection was. Of a transaction in which a process was frozen for too long,
# PostgreSQL says that as an InternalError.
LOST = (OperationalError, InterfaceError, InternalError)

CLOCK = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}

# Seconds after its last use in which a connection is taken for alive.
TRUSTED = 0.1

# Seconds after which a reading of the database's clock gives way to any other.
READING_HOLDS = 60.0

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Used:
    """Seconds of processor time."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def count_time() -> Iterator[Used]:
    """Count what the calls of `in_database` take of the processor that are made in here, by this task."""
    used = Used()
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


def _call_timed(used: Used, call: Callable[[], T]) -> T:
    started = thread_time()
    try:
        return call()
    finally:
        used.seconds += thread_time() - started


_used: ContextVar[Used | None] = ContextVar("used", default=None)


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` on a database thread and return its result.

    Cancelling the caller does not interrupt the function: what it commits, stays.
    """
    call = partial(_with_living_connection, partial(function, *args, **kwargs))
    if used := _used.get():
        call = partial(_call_timed, used, call)
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


def in_database_now(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` and wait for it, also where a running event loop forbids it on this thread.

    Such a loop stands still meanwhile: for what has to be synchronous only.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args, **kwargs)
    return _threads().submit(_with_living_connection, partial(function, *args, **kwargs)).result()


def refuse_inside_a_transaction() -> None:
    """RuntimeError if this thread is inside `atomic`: the writer has a transaction of its own, which this one
    could neither roll back nor, on SQLite, outlast."""
    if _in_a_transaction():
        raise RuntimeError(_OWN_TRANSACTION)


async def arefuse_inside_a_transaction() -> None:
    """As `refuse_inside_a_transaction`, of the code that runs this coroutine.

    That may be on another thread, which `async_to_sync` keeps waiting: it is asked there. On a plain
    event loop there is nobody to ask.
    """
    inside = _in_a_transaction()
    if not inside and getattr(AsyncToSync.executors, "current", None) is not None:
        # RuntimeError: whoever ran it does not wait for it any more.
        with suppress(RuntimeError):
            inside = await sync_to_async(_in_a_transaction)()
    if inside:
        raise RuntimeError(_OWN_TRANSACTION)


_OWN_TRANSACTION = "Sayso records in a transaction of its own: call it outside of atomic blocks."


def _in_a_transaction() -> bool:
    """Of this thread's connections, as far as there are any."""
    return any(one.in_atomic_block for one in connections.all(initialized_only=True))


def database_now() -> datetime:
    """The database's clock, the only one that decides; UTC."""
    asked = monotonic()
    with connection.cursor() as cursor:
        cursor.execute(CLOCK[connection.vendor])
        (moment,) = cursor.fetchone()
    now = as_utc(moment)
    _reading.note(asked, now)
    return now


@contextmanager
def snapshot() -> Iterator[None]:
    """Everything read inside was on record at one and the same moment; nothing can be written.

    Nobody waits for it and it waits for nobody, however long it takes. Within a transaction that is under
    way, it is no more than that.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT 1")  # the moment is that of the first reading
            yield
    else:
        # `atomic` would take the lock that writers need.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def leave_the_pool() -> None:
    """From now on this thread's connection is none of the pool's: who waits for it may hold all of those."""
    own = connection.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections[own.alias] = own


def seconds_since(moment: datetime) -> float | None:
    """How long ago the database's clock said so, by what it said last. None where nobody has asked it yet.

    For figures only: it is wrong by half of what that question took, and after the machine was suspended.
    """
    return None if _reading.ahead is None else monotonic() + _reading.ahead - moment.timestamp()


def close_idle(idle: Iterable[BaseDatabaseWrapper]) -> None:
    """Close connections that no thread is using. On a thread for it: Django closes none where an event loop
    runs, nor those of other threads."""
    if idle := list(idle):
        closing = Thread(target=_close, args=(idle,), name="sayso-closing")
        closing.start()
        closing.join()


def as_utc(moment: datetime | str) -> datetime:
    """What the clock says, as a cursor gives it."""
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def close_threads() -> None:
    """Stop the database threads and close their connections; the next call starts new ones."""
    if _threads.cache_info().currsize:
        _threads().shutdown(wait=True)
        _threads.cache_clear()
        while _kept:
            _kept.pop().close()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        approval_settings().database_threads, thread_name_prefix="sayso-database", initializer=_begin_thread
    )


class _Reading:
    """How far the database's clock is ahead of this process's monotonic one: of the last minute's questions
    the one that was answered soonest."""

    ahead: float | None = None
    _took = inf
    _at = -inf

    def note(self, asked: float, now: datetime) -> None:
        answered = monotonic()
        took = answered - asked
        if took <= self._took or answered - self._at > READING_HOLDS:
            self.ahead, self._took, self._at = now.timestamp() - asked - took / 2, took, answered


class _Rest(local):
    """Since when (monotonic clock) a thread has not used its connection."""

    since = -inf


_reading = _Reading()
_rest = _Rest()
_kept: list[BaseDatabaseWrapper] = []
_calls = forks.Activity()


def _close(idle: Iterable[BaseDatabaseWrapper]) -> None:
    for each in idle:
        each.inc_thread_sharing()
        each.close()
        each.dec_thread_sharing()


def _begin_thread() -> None:
    connection.inc_thread_sharing()  # so that it can be closed when its thread has ended
    _kept.append(connections[connection.alias])


def _with_living_connection(call: Callable[[], T]) -> T:
    """Threads keep their connections: taking one anew costs more than most calls do. One that has rested, or
    met an error (which the call may have caught), may be dead, and is given up."""
    with _calls:
        if monotonic() - _rest.since > TRUSTED:
            close_old_connections()
        try:
            return call()
        finally:
            if connection.errors_occurred:
                close_old_connections()
            _rest.since = monotonic()


# When the process forks


def _pause() -> None:
    if _calls.pause():
        close_idle(_kept)
    else:
        log.warning("forked while the database was asked")
    close_idle(each for each in _own_connection() if each.vendor == "sqlite" and not each.in_atomic_block)


def _resume() -> None:
    _calls.resume()


def _forget() -> None:
    global _calls  # noqa: PLW0603 - a thread of the parent may have held its lock
    _calls = forks.Activity()
    _threads.cache_clear()
    for inherited in [*_kept, *_own_connection()]:
        forks.keep(inherited)
    _kept.clear()
    if settings.configured:
        _leave_the_parents_connections()


def _leave_the_parents_connections() -> None:
    connections[DEFAULT_DB_ALIAS] = own = connections.create_connection(DEFAULT_DB_ALIAS)
    # Django's pools belong to the class of connections, and closing one would end the parent's sessions.
    forks.keep(getattr(own, "_connection_pools", {}).pop(DEFAULT_DB_ALIAS, None))


def _own_connection() -> list[BaseDatabaseWrapper]:
    """This thread's, if it has one."""
    known = connections.all(initialized_only=True) if settings.configured else []
    return [each for each in known if each.alias == DEFAULT_DB_ALIAS]


forks.register(_forget, pause=_pause, resume=_resume)
