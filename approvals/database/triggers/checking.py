"""Check the triggers: compare them with those that should be there, and try whether they refuse changes.

Meaning is compared, not text: how databases write a definition down differs between their versions, and the
text of a refusal between ours. Whatever a trial changes is rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database.triggers.installation import TABLES, Guarded, on_postgresql, on_sqlite


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
        return [
            guarded.table
            for guarded in TABLES
            if any(_is_done(change, connection) for change in _changes(guarded, connection))
        ]
    except DatabaseError as error:
        raise NotTried(f"the database took no write: {str(error).strip()}") from error


def faults(connection: BaseDatabaseWrapper) -> list[str]:
    """Return what is wrong with the triggers, a sentence without full stop for each."""
    flaws = _flaws_on_postgresql if connection.vendor == "postgresql" else _flaws_on_sqlite
    return [f"{name} {flaw}" for name, flaw in flaws(connection).items() if flaw]


class _Kept(NamedTuple):
    """A trigger in PostgreSQL's catalog. `kind` has a bit for each event and for when it fires."""

    enabled: str
    kind: int
    is_limited: bool
    language: str
    body: str


# pg_trigger.tgtype (catalog/pg_trigger.h): ROW 1, BEFORE 2, DELETE 8, UPDATE 16, TRUNCATE 32.
_NO_CHANGE, _NO_TRUNCATE = 1 + 2 + 8 + 16, 2 + 32

# Enabled in ordinary sessions (O) or always (A), not on replicas only (R) or never (D).
_ENABLED = ("O", "A")
# Raises unconditionally, before anything else.
_REFUSING = re.compile(r"begin raise exception '[^']*'( using errcode = '\w+')?; end;?", re.IGNORECASE)

_KEPT_BY_POSTGRESQL = """
    SELECT named || '.' || tgname, tgenabled::text, tgtype::int, tgqual IS NOT NULL OR tgattr::text <> '',
        lanname::text, prosrc
    FROM unnest(%s::text[]) AS named JOIN pg_trigger ON tgrelid = to_regclass(named)
        JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_language ON pg_language.oid = prolang
    WHERE NOT tgisinternal
"""


def _flaws_on_postgresql(connection: BaseDatabaseWrapper) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(_KEPT_BY_POSTGRESQL, [[guarded.table for guarded in TABLES]])
        kept = {name: _Kept(*values) for name, *values in cursor.fetchall()}
    return {
        name: _flaw_of(kept.get(f"{guarded.table}.{name}"), kind)
        for guarded in TABLES
        for name, kind in zip(on_postgresql(guarded), (_NO_CHANGE, _NO_TRUNCATE), strict=True)
    }


def _flaw_of(kept: _Kept | None, kind: int) -> str:
    if kept is None:
        return "is missing"
    if kept.enabled not in _ENABLED:
        return "is switched off"
    if kept.kind != kind:
        return "is for other events"
    if kept.is_limited:
        return "has a condition"
    if kept.language != "plpgsql" or not _REFUSING.fullmatch(_in_one_line(kept.body)):
        return "does not refuse"
    return ""


def _flaws_on_sqlite(connection: BaseDatabaseWrapper) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tbl_name || '.' || name, sql FROM sqlite_master WHERE type = 'trigger'")
        kept = dict(cursor.fetchall())
    return {
        name: _flaw_in(kept.get(f"{guarded.table}.{name}"), f"CREATE TRIGGER {name} {when}")
        for guarded in TABLES
        for name, when in on_sqlite(guarded).items()
    }


_QUOTED_NAME = re.compile(r'["`\[](\w+)["`\]]')
_BEGIN = re.compile(r" begin ", re.IGNORECASE)
_BODY = re.compile(r"select raise\((abort|rollback), '[^']*'\); end", re.IGNORECASE)


def _flaw_in(kept: str | None, head: str) -> str:
    if kept is None:
        return "is missing"
    found, *body = _BEGIN.split(_in_one_line(kept), maxsplit=1)
    if _plain(found) != _plain(head):
        return "is for other events, or has another condition"
    return "" if body and _BODY.fullmatch(body[0]) else "does not refuse"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(head: str) -> str:
    """Remove case and the quotes around names, which SQLite stores as typed or adds when a table is renamed.

    A quoted name with other characters stays quoted: SQLite may read it as text.
    """
    return _QUOTED_NAME.sub(r"\1", head).lower().replace(" for each row", "")


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
