"""Threads for database calls: coroutines run synchronous ORM code on them.

Django's default, one thread-sensitive thread, makes every socket wait for every other's query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from threading import Thread, local
from time import monotonic, thread_time
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.conf import approval_settings
from approvals.database import lending
from approvals.process import forks

# The database or the connection was lost. PostgreSQL reports an InternalError where it has ended the
# transaction of a process that was frozen for too long.
LOST = (OperationalError, InterfaceError, InternalError)

# Seconds after its last use for which a connection is assumed to be alive.
TRUSTED = 0.1

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Used:
    """Seconds of processor time that were used."""

    seconds: float = 0.0


@contextmanager
def count_time() -> Iterator[Used]:
    """Count the processor time of the calls of `in_database` that this task makes inside the block."""
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

    Cancelling the caller does not interrupt the function: what it commits stays.
    """
    call = partial(_with_living_connection, partial(function, *args, **kwargs))
    if used := _used.get():
        call = partial(_call_timed, used, call)
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


def in_database_now(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` and return its result, also on a thread whose event loop is running.

    That loop is blocked meanwhile: use it only where the caller must be synchronous.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args, **kwargs)
    return _threads().submit(_with_living_connection, partial(function, *args, **kwargs)).result()


def close_obsolete() -> None:
    """Close this thread's connections that may be dead or are too old, as Django does after each request.

    Not within a transaction, such as that of a test.
    """
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close_if_unusable_or_obsolete()


def close_idle(idle: Iterable[BaseDatabaseWrapper]) -> None:
    """Close connections that no thread is using.

    This takes a thread of its own: Django refuses to close connections while an event loop runs here.
    """
    if idle := list(idle):
        closing = Thread(target=_close, args=(idle,), name="sayso-closing")
        closing.start()
        closing.join()


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


class _Rest(local):
    """When a thread last used its connection, by the monotonic clock."""

    since = -inf


_rest = _Rest()
_kept: list[BaseDatabaseWrapper] = []
_calls = forks.Activity()


def _close(idle: Iterable[BaseDatabaseWrapper]) -> None:
    for each in idle:
        each.inc_thread_sharing()
        each.close()
        each.dec_thread_sharing()


def _begin_thread() -> None:
    if lending.adopt():
        return
    connection.inc_thread_sharing()  # so that it can be closed when its thread has ended
    _kept.append(connections[connection.alias])


def _with_living_connection(call: Callable[[], T]) -> T:
    """Call on the thread's own connection, after closing one that may be dead.

    Threads keep their connections, because a new one costs more than most calls. One that was idle, or met an
    error (which the call may have caught), may be dead.
    """
    with _calls:
        if monotonic() - _rest.since > TRUSTED:
            close_obsolete()
        try:
            return call()
        finally:
            if connection.errors_occurred:
                close_obsolete()
            _rest.since = monotonic()


# When the process forks


def _pause() -> None:
    if _calls.pause():
        close_idle(_kept)
    else:
        log.warning("forked while a database call was running")
    close_idle(each for each in _own_connection() if each.vendor == "sqlite" and not each.in_atomic_block)


def _forget() -> None:
    _calls.forget()
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
    """Return this thread's connection, if it has one."""
    known = connections.all(initialized_only=True) if settings.configured else []
    return [each for each in known if each.alias == DEFAULT_DB_ALIAS]


forks.register(_forget, pause=_pause, resume=_calls.resume)
