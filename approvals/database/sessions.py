"""The writer's own connection: outside of the pool, with settings that hold for as long as it lives.

Behind a pooler that gives each transaction another connection (`prepare_threshold` None, see pipeline.py)
nothing is set for longer than a transaction.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

# Limits that are shorter together than the overlap of the re-check, which so finds every change.
LIMITS = {
    "lock_timeout": "2s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
}

# PostgreSQL plans a statement once, also where it takes a plan for these very values to be better: making
# that plan anew takes longer than most statements.
_OF_THE_WRITER = {**LIMITS, "plan_cache_mode": "force_generic_plan"}

_own: WeakSet[BaseDatabaseWrapper] = WeakSet()
_set: WeakSet[Any] = WeakSet()


def leave_the_pool() -> None:
    """Give this thread a connection outside of the pool, for short transactions only.

    The threads that wait for this one may hold all connections of the pool.
    """
    own = connection.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    _own.add(own)
    connections[own.alias] = own


def is_limited() -> bool:
    """Whether each transaction of this thread's connection has LIMITS already."""
    return connection.connection in _set


def _set_for_the_writer(*, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    if connection not in _own or connection.vendor != "postgresql":
        return
    if connection.connection.prepare_threshold is not None:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"SET {name} = '{value}'" for name, value in _OF_THE_WRITER.items()))
        _set.add(connection.connection)


connection_created.connect(_set_for_the_writer)
