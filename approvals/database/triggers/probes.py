"""Try whether the triggers refuse changes; whatever they allow is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database.triggers.installation import TABLES, Guarded


class NotTried(Exception):
    """No change could be tried; the text says why."""


def try_changes(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the tables whose triggers allow a change. Every change is rolled back.

    Tried on the newest row of each table, if any: update it to what it is, delete it, and on SQLite replace
    it. NotTried where this role of the database may not do that anyway, or the database is read-only.
    """
    if not _may_change(connection):
        raise NotTried("this role may not change entries, whatever triggers say")
    try:
        return [guarded.table for guarded in TABLES if _is_open(guarded, connection)]
    except DatabaseError as error:
        raise NotTried(f"the database took no write: {str(error).strip()}") from error


def _may_change(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(has_table_privilege(named, 'UPDATE') AND has_table_privilege(named, 'DELETE'))"
            " FROM unnest(%s::text[]) AS named WHERE to_regclass(named) IS NOT NULL",
            [[guarded.table for guarded in TABLES]],
        )
        (may,) = cursor.fetchone()
    return bool(may)


def _is_open(guarded: Guarded, connection: BaseDatabaseWrapper) -> bool:
    return any(_is_done(change, connection) for change in _changes(guarded, connection))


def _changes(guarded: Guarded, connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield statements that change the newest row."""
    table, key = guarded.table, guarded.key
    row = f"{key} = (SELECT max({key}) FROM {table})"  # noqa: S608  constants, here and below
    yield f"UPDATE {table} SET {key} = {key} WHERE {row}"  # noqa: S608
    yield f"DELETE FROM {table} WHERE {row}"  # noqa: S608
    if connection.vendor == "sqlite":
        yield f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE {row}"  # noqa: S608


def _is_done(change: str, connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database allows this change, which is rolled back."""
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL lock_timeout = '2s'")
            cursor.execute(change)
            done: bool = cursor.rowcount > 0
            transaction.set_rollback(True, using=connection.alias)
    except IntegrityError:
        return False
    return done
