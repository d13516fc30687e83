"""One connection for all threads of this process, in a test whose transaction is rolled back.

Such a test sees what other threads write only if they write on its connection, within its transaction. Our
own transactions then are savepoints of it, one thread at a time. See approvals.testing; nobody else lends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.process import forks


@dataclass(frozen=True, slots=True)
class Lent:
    """The connection, how deep in transactions it was when it was lent, and whose turn it is to write."""

    connection: BaseDatabaseWrapper
    depth: int
    turn: threading.RLock

    @property
    def is_in_a_transaction(self) -> bool:
        """Whether a transaction was begun since, by the test or by this thread."""
        with self.turn:
            return _depth(self.connection) > self.depth


def lent() -> Lent | None:
    """Return what is lent; None outside of tests."""
    return _slot.value


@contextmanager
def lend(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Have our threads, of which none may live before or after, use this connection in the block."""
    connection.inc_thread_sharing()
    _slot.value = Lent(connection, _depth(connection), threading.RLock())
    try:
        yield
    finally:
        _slot.value = None
        connection.dec_thread_sharing()


def adopt() -> bool:
    """Use the lent connection on this thread; return False if none is lent."""
    if (lent := _slot.value) is None:
        return False
    connections[DEFAULT_DB_ALIAS] = lent.connection
    return True


def _depth(connection: BaseDatabaseWrapper) -> int:
    return len(connection.atomic_blocks)


_slot: forks.Slot[Lent] = forks.Slot()
