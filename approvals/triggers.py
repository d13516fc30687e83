"""The trail and its seals refuse UPDATE, DELETE, TRUNCATE and overwriting INSERT, on both databases.

Row triggers don't stop TRUNCATE, and SQLite's INSERT OR REPLACE passes by UPDATE and DELETE triggers: hence
the statement triggers and the BEFORE INSERT triggers. Table rebuilds drop triggers, so they are installed
after every migration. A database superuser can still get past them; verification tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A table that only grows. `taken` is SQLite's condition under which a new row would replace another."""

    table: str
    prefix: str
    message: str
    taken: str


TABLE = "approvals_auditentry"
TABLES = (
    Guarded(
        table=TABLE,
        prefix="sayso_audit",
        message="audit entries are append-only",
        taken=(
            "id = NEW.id OR (request_id = NEW.request_id AND sequence = NEW.sequence)"
            " OR (request_id = NEW.request_id AND outcome <> '' AND NEW.outcome <> '')"
        ),
    ),
    Guarded(
        table="approvals_seal",
        prefix="sayso_seal",
        message="seals are append-only",
        taken="number = NEW.number",
    ),
)


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers there, replacing older ones of the same names, on those of the tables that exist."""
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for guarded in TABLES:
            if guarded.table not in present:
                continue
            if connection.vendor == "postgresql":
                cursor.execute(
                    f"CREATE OR REPLACE FUNCTION {guarded.prefix}_refuse() RETURNS trigger"
                    f" LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{guarded.message}'"
                    " USING ERRCODE = 'integrity_constraint_violation'; END $$"
                )
                for name, when in _on_postgresql(guarded).items():
                    cursor.execute(
                        f"CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION {guarded.prefix}_refuse()"
                    )
            else:
                for name, when in _on_sqlite(guarded).items():
                    cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                    cursor.execute(
                        f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{guarded.message}'); END"
                    )


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers away, as only emptying a test database needs."""
    with connection.cursor() as cursor:
        for guarded in TABLES:
            for name in _triggers(guarded, connection):
                suffix = f" ON {guarded.table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{suffix}")


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of the triggers that ought to be there and aren't, or are switched off."""
    tables = [guarded.table for guarded in TABLES]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A')"
                " AND tgrelid IN (SELECT to_regclass(named) FROM unnest(%s::text[]) AS named)",
                [tables],
            )
        else:
            cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN (%s, %s)", tables
            )
        present = {name for (name,) in cursor.fetchall()}
    return [name for name in expected(connection) if name not in present]


def expected(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    return tuple(name for guarded in TABLES for name in _triggers(guarded, connection))


def _triggers(guarded: Guarded, connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    return _on_postgresql(guarded) if connection.vendor == "postgresql" else _on_sqlite(guarded)


def _on_postgresql(guarded: Guarded) -> Mapping[str, str]:
    return {
        f"{guarded.prefix}_no_change": f"BEFORE UPDATE OR DELETE ON {guarded.table} FOR EACH ROW",
        f"{guarded.prefix}_no_truncate": f"BEFORE TRUNCATE ON {guarded.table} FOR EACH STATEMENT",
    }


def _on_sqlite(guarded: Guarded) -> Mapping[str, str]:
    present = f"SELECT 1 FROM {guarded.table} WHERE {guarded.taken}"  # noqa: S608  constants
    return {
        f"{guarded.prefix}_no_update": f"BEFORE UPDATE ON {guarded.table}",
        f"{guarded.prefix}_no_delete": f"BEFORE DELETE ON {guarded.table}",
        f"{guarded.prefix}_no_overwrite": f"BEFORE INSERT ON {guarded.table} WHEN EXISTS ({present})",
    }
