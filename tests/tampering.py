"""What nobody but a superuser of the database can do to the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database import triggers
from approvals.database.triggers.installation import TABLES, on_postgresql, on_sqlite
from tests.in_process import as_superuser


@contextmanager
def without_triggers() -> Iterator[None]:
    """As who may drop the triggers, and has."""
    with as_superuser():
        remove_triggers(connection)
        try:
            yield
        finally:
            triggers.install(connection)


def remove_triggers(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for guarded in TABLES:
            if connection.vendor == "postgresql":
                for name in on_postgresql(guarded):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {guarded.table}")
            else:
                for name in on_sqlite(guarded):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


@contextmanager
def as_a_superuser_might() -> Iterator[None]:
    """Past the triggers and the foreign keys."""
    with without_triggers(), _without_foreign_keys():
        yield


@contextmanager
def _without_foreign_keys() -> Iterator[None]:
    if connection.vendor == "sqlite":
        with connection.constraint_checks_disabled():
            yield
        return
    # As a session may that only replays what has been checked elsewhere.
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET session_replication_role")


def but_untried(lines: Iterable[str]) -> list[str]:
    """What verification says, without that it could not try the triggers: so it is for the application's role
    on PostgreSQL, and nowhere else."""
    lines = list(lines)
    untried = [line for line in lines if "could not be tried: this role may not" in line]
    assert len(untried) == (connection.vendor == "postgresql"), lines
    return [line for line in lines if line not in untried]
