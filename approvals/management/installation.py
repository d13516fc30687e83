"""Check, or bring up to date, the database before a command runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from approvals.conf import approval_settings
from approvals.management.screen import Refused, Screen
from approvals.process.files import make_private_folder, open_private

# The id of PostgreSQL's lock, under which one process migrates at a time.
_LOCK = 0x5A150


def is_embedded() -> bool:
    """Whether the database is SQLite, which commands may migrate by themselves."""
    return connection.vendor == "sqlite"


def require_tables() -> None:
    """Raise `Refused` if the database does not answer, or lacks migrations."""
    if _count_unapplied():
        raise Refused("The database is not up to date. Run `manage.py migrate` first.")


def prepare_tables(progress: Screen) -> None:
    """Apply missing migrations, and say so. Commands that start together do so one after the other."""
    if count := _count_unapplied():
        name = str(connection.settings_dict["NAME"])
        progress.say(f"Preparing the database {name}: {count} migrations …", style="dim")
        with _migration_lock():
            call_command("migrate", interactive=False, verbosity=0)


def _count_unapplied() -> int:
    try:
        executor = MigrationExecutor(connection)
        return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        name = connection.settings_dict["NAME"]
        raise Refused(f"unavailable: the database {str(name)!r} does not answer: {error}") from error


@contextmanager
def _migration_lock() -> Iterator[None]:
    if is_embedded():
        folder = approval_settings().var
        make_private_folder(folder)
        with os.fdopen(open_private(folder / "migrate.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
