"""This process as part of a stack: joined, left, and cleared of what product code keeps process-wide."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from channels.layers import channel_layers
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from psycopg_pool import ConnectionPool

from approvals.database import triggers
from tests.database_roles import APPLICATION, KEEPER, SUPERUSER
from tests.patience import patience
from tests.processes import bare_environment
from tests.settings import UNSTACKED
from tests.stacks import SECRET_KEY, Database, Stack, installation_settings

# Whatever product code builds once a process, users before what they use.
_PARTS = (
    ("approvals.waiting.waiting_room", "close_waiting_room"),
    ("approvals.database.threads", "close_threads"),
    ("approvals.writer.queue", "close_writer"),
    ("approvals.web.edge.limits", "forget"),
)


def join(stack: Stack) -> None:
    """Make 'default' mean this stack's database and layer, for all threads from now on."""
    _take(installation_settings(stack.environment))


def leave() -> None:
    _take(UNSTACKED)


def migrate(database: Database) -> None:
    """Bring a new database to where every test begins."""
    _take(installation_settings(bare_environment() | {"SAYSO_SECRET_KEY": SECRET_KEY} | database.environment))
    call_command("migrate", verbosity=0)
    protect_the_record()
    leave()
    database.migrated()


@contextmanager
def acting_as(role: str, stack: Stack) -> Iterator[None]:
    """This process, and those it starts, are this role instead of the application."""
    stack.database.act_as(role)
    join(stack)
    try:
        yield
        close_parts()
    finally:
        stack.database.act_as(APPLICATION)
        join(stack)


def close_parts() -> None:
    """Stop and forget the process-wide parts; the next use starts new ones."""
    for name, close in _PARTS:
        if module := sys.modules.get(name):  # what nobody imported keeps nothing
            getattr(module, close)()
    channel_layers.backends.clear()
    close_connection()


def protect_the_record() -> None:
    """Put the record's triggers back where a test has left without them."""
    if triggers.faults(connection):
        with as_superuser():
            triggers.install(connection)
    close_connection()


@contextmanager
def as_superuser() -> Iterator[None]:
    """This thread's connection is one that may do anything to the database, where there are such roles."""
    restrained = connections["default"]
    if restrained.settings_dict.get("USER") not in (APPLICATION, KEEPER):
        yield
        return
    own = restrained.copy()
    own.settings_dict["USER"] = SUPERUSER
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections["default"] = own
    try:
        yield
    finally:
        own.close()
        connections["default"] = restrained


def all_connections_came_back(seconds: float = 30.0) -> bool:
    """False if a thread ended without closing its connection: the next test gets a whole pool again.

    Those that come back by themselves may take so many seconds, and longer where the machine is busy.
    """
    if not isinstance(own := connections["default"], PostgresWrapper) or not own.pool or own.pool.closed:
        return True
    given_up = time.monotonic() + patience(seconds)
    while not (idle := _idle(own.pool)) and time.monotonic() < given_up:
        threading.Event().wait(0.01)  # the pool's own threads test what comes back before it counts
    if not idle:
        own.close_pool()
    return idle


def _idle(pool: ConnectionPool) -> bool:
    stats = pool.get_stats()
    return stats.get("pool_size", 0) == stats.get("pool_available", 0)


def close_connection() -> None:
    """This thread's connection; the pool it came from stays."""
    connection.close()
    del connections["default"]


def _take(values: dict[str, Any]) -> None:
    """Set what differs between installations; what the test environment has changed is left alone."""
    own = connections["default"]
    close_connection()  # before its pool, or it would begin another as it was
    if isinstance(own, PostgresWrapper):
        own.close_pool()
    for name, value in values.items():
        if value != UNSTACKED[name]:
            _changed.add(name)
    for name in _changed:
        setattr(settings, name, values[name])
    connections.settings = connections.configure_settings(settings.DATABASES)
    channel_layers.backends.clear()
    ContentType.objects.clear_cache()


# Names of the settings in which one installation differed from another so far.
_changed: set[str] = set()
