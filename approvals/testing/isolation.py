"""Give a test process-wide parts of its own: its writer, threads and waiting room end with it.

In a transaction that is rolled back at the end (Django's TestCase, pytest-django's `db`) they use the test's
own connection. So they do with a SQLite database in memory, whose other connections don't wait for each
other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from asgiref.sync import SyncToAsync
from channels.layers import channel_layers
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database import clock, lending
from approvals.database.threads import close_threads
from approvals.waiting.waiting_room import close_waiting_room
from approvals.writer.queue import close_writer


@contextmanager
def isolated() -> Iterator[None]:
    """Isolate the test that runs in the block, inside of its transaction, if it has one.

    A block within such a block changes nothing.
    """
    if lending.lent() is not None:
        yield
        return
    close_parts()
    connection = connections[DEFAULT_DB_ALIAS]
    shared = connection.in_atomic_block or _is_in_memory(connection)
    with _shared(connection) if shared else _apart():
        try:
            yield
        finally:
            close_parts()
            clock.move_back()


def close_parts() -> None:
    """Stop and forget what is kept process-wide, users before what they use; the next use makes another."""
    close_waiting_room()
    close_threads()
    close_writer()
    if limits := sys.modules.get("approvals.web.edge.limits"):
        limits.forget()
    channel_layers.backends.clear()


def _is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    in_memory = getattr(connection, "is_in_memory_db", None)
    return in_memory is not None and bool(in_memory())


# Where the tests are coroutines themselves, their asynchronous ORM code runs on one thread of asgiref's.
_asgirefs_thread: ThreadPoolExecutor = SyncToAsync.single_thread_executor


@contextmanager
def _shared(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Have all threads use the test's connection."""
    former = _asgirefs_thread.submit(_own_connection).result()
    with lending.lend(connection):
        _asgirefs_thread.submit(lending.adopt).result()
        try:
            yield
        finally:
            _asgirefs_thread.submit(_use, former).result()


@contextmanager
def _apart() -> Iterator[None]:
    """Let each thread have a connection of its own; none is left to keep the database from being removed."""
    try:
        yield
    finally:
        _asgirefs_thread.submit(connections.close_all).result()


def _own_connection() -> BaseDatabaseWrapper | None:
    known = connections.all(initialized_only=True)
    return next((each for each in known if each.alias == DEFAULT_DB_ALIAS), None)


def _use(connection: BaseDatabaseWrapper | None) -> None:
    if connection is None:
        del connections[DEFAULT_DB_ALIAS]
    else:
        connections[DEFAULT_DB_ALIAS] = connection
