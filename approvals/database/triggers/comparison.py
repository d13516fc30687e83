"""Compare the triggers in the database with those that should be there.

Meaning is compared, not text: how databases write a definition down differs between their versions, and the
text of a refusal between ours.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database.triggers.installation import TABLES, on_postgresql, on_sqlite


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
