"""Define, install and remove the triggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An append-only table. `taken` is SQLite's condition that a new row would replace another."""

    table: str
    key: str
    prefix: str
    message: str
    taken: str


TABLE = "approvals_auditentry"
TABLES = (
    Guarded(
        table=TABLE,
        key="id",
        prefix="sayso_audit",
        message="audit entries are append-only",
        taken=(
            "id = NEW.id OR (request_id = NEW.request_id AND sequence = NEW.sequence)"
            " OR (request_id = NEW.request_id AND outcome <> '' AND NEW.outcome <> '')"
        ),
    ),
    Guarded(
        table="approvals_seal",
        key="number",
        prefix="sayso_seal",
        message="seals are append-only",
        taken="number = NEW.number",
    ),
)


def install(connection: BaseDatabaseWrapper) -> None:
    """Install the triggers on the tables that exist, replacing older ones of the same names."""
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
                for name, when in on_postgresql(guarded).items():
                    cursor.execute(
                        f"CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION {guarded.prefix}_refuse()"
                    )
            else:
                for name, when in on_sqlite(guarded).items():
                    cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                    cursor.execute(
                        f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{guarded.message}'); END"
                    )


@contextmanager
def lifted_in_tests(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Remove the triggers while the block executes, so that tables of a test database can be emptied.

    RuntimeError unless a test runner has set up its environment.
    """
    if not in_tests():
        raise RuntimeError("The triggers are lifted in tests only.")
    with connection.cursor() as cursor:
        for guarded in TABLES:
            names = on_postgresql(guarded) if connection.vendor == "postgresql" else on_sqlite(guarded)
            of_table = f" ON {guarded.table}" if connection.vendor == "postgresql" else ""
            for name in names:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{of_table}")
    try:
        yield
    finally:
        install(connection)


def in_tests() -> bool:
    """Tell whether Django's test runner, or pytest-django, has set up this process."""
    from django.test.utils import _TestState

    return hasattr(_TestState, "saved_data")


def on_postgresql(guarded: Guarded) -> Mapping[str, str]:
    """Return when each trigger fires, by name: first the row trigger, then that for TRUNCATE."""
    return {
        f"{guarded.prefix}_no_change": f"BEFORE UPDATE OR DELETE ON {guarded.table} FOR EACH ROW",
        f"{guarded.prefix}_no_truncate": f"BEFORE TRUNCATE ON {guarded.table} FOR EACH STATEMENT",
    }


def on_sqlite(guarded: Guarded) -> Mapping[str, str]:
    """Return when each trigger fires, by name."""
    present = f"SELECT 1 FROM {guarded.table} WHERE {guarded.taken}"  # noqa: S608  constants
    return {
        f"{guarded.prefix}_no_update": f"BEFORE UPDATE ON {guarded.table}",
        f"{guarded.prefix}_no_delete": f"BEFORE DELETE ON {guarded.table}",
        f"{guarded.prefix}_no_overwrite": f"BEFORE INSERT ON {guarded.table} WHEN EXISTS ({present})",
    }
