"""Transactions: the writer's own, snapshots to read from, and none of the caller's around what records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from approvals.database import lending

_OWN_TRANSACTION = (
    "Sayso records in a transaction of its own: call it outside of atomic blocks, or when yours has"
    " committed, by transaction.on_commit. In tests, see approvals.testing."
)


@contextmanager
def begun_inside() -> Iterator[None]:
    """Open a durable transaction that the code inside begins and commits, by `pipeline.begin` and `commit`.

    So each goes in a message with other statements, where Django's `atomic` sends two more to PostgreSQL. To
    Django it is a transaction like any other: hooks of `on_commit` run after it, and it is rolled back where
    the code raises. RuntimeError if it was not committed.
    """
    if connection.vendor != "postgresql" or lending.lent() is not None:
        with own_transaction(durable=True):
            yield
        return
    here = connections[DEFAULT_DB_ALIAS]
    here.validate_no_atomic_block()
    here.close_if_health_check_failed()
    here.ensure_connection()
    here.needs_rollback = False
    here.in_atomic_block, here.autocommit = True, False
    try:
        yield
        _check_committed(here)
    except BaseException:
        _leave(here)
        _roll_back(here)
        raise
    _leave(here)
    here.run_and_clear_commit_hooks()


@contextmanager
def own_transaction(*, durable: bool = False) -> Iterator[None]:
    """Open a transaction like `atomic`; in a test's transaction, one after which hooks run all the same."""
    if (lent := lending.lent()) is None:
        with transaction.atomic(durable=durable):
            yield
        return
    with lent.turn:
        outermost, earlier = not lent.is_in_a_transaction, len(connection.run_on_commit)
        with transaction.atomic(durable=durable):
            yield
        hooks = connection.run_on_commit[earlier:] if outermost else []
        del connection.run_on_commit[len(connection.run_on_commit) - len(hooks) :]
    for hook in hooks:
        hook[1]()


def _check_committed(here: BaseDatabaseWrapper) -> None:
    if here.connection.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("the transaction was not committed")


def _leave(here: BaseDatabaseWrapper) -> None:
    here.in_atomic_block, here.autocommit = False, True


def _roll_back(here: BaseDatabaseWrapper) -> None:
    try:
        here.rollback()
    except Error:
        here.close()


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything inside as of one moment; nothing can be written.

    It takes no lock that a writer needs, however long it lasts. Inside a transaction it changes nothing.
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


def refuse_inside_a_transaction() -> None:
    """Raise RuntimeError if this thread is inside `atomic`.

    The writer has a transaction of its own, which the caller's could neither roll back nor, on SQLite,
    outlast.
    """
    if _is_in_a_transaction():
        raise RuntimeError(_OWN_TRANSACTION)


async def arefuse_inside_a_transaction() -> None:
    """Raise RuntimeError if the code that runs this coroutine is inside `atomic`."""
    if _is_in_a_transaction() or await is_run_inside_a_transaction():
        raise RuntimeError(_OWN_TRANSACTION)


async def is_run_inside_a_transaction() -> bool:
    """Tell whether the code that keeps waiting for this coroutine, by `async_to_sync`, is inside `atomic`.

    It is on another thread, which is asked.
    """
    if getattr(AsyncToSync.executors, "current", None) is None:
        return False
    # RuntimeError: whoever ran it does not wait for it any more.
    with suppress(RuntimeError):
        return await sync_to_async(_is_in_a_transaction)()
    return False


def _is_in_a_transaction() -> bool:
    lent = lending.lent()
    return any(
        one.in_atomic_block if lent is None or one is not lent.connection else lent.is_in_a_transaction
        for one in connections.all(initialized_only=True)
    )
