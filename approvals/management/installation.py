"""Is this installation's database there and up to date? What commands ask before they do anything."""

from __future__ import annotations

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from approvals.management.screen import Refused


def is_embedded() -> bool:
    """SQLite: this installation is one computer's own, so commands may prepare it by themselves."""
    return connection.vendor == "sqlite"


def require_tables() -> None:
    """`Refused` where the database does not answer, or lacks migrations."""
    if _unapplied():
        raise Refused("The database is not up to date. Run `manage.py migrate` first.")


def prepare_tables() -> int:
    """Apply what migrations are missing; how many there were."""
    missing = _unapplied()
    if missing:
        call_command("migrate", interactive=False, verbosity=0)
    return missing


def _unapplied() -> int:
    try:
        executor = MigrationExecutor(connection)
        return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        name = connection.settings_dict["NAME"] or DEFAULT_DB_ALIAS
        raise Refused(f"unavailable: the database {str(name)!r} does not answer: {error}") from error
