"""The audit table refuses UPDATE, DELETE, TRUNCATE and overwriting INSERT by itself, on both databases.

Row triggers don't stop TRUNCATE, and SQLite's INSERT OR REPLACE passes by UPDATE and DELETE triggers: hence
the statement trigger and the BEFORE INSERT trigger. Table rebuilds drop triggers, so they are installed
after every migration. A database superuser can still get past them; verification tells.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "approvals_auditentry"
_MESSAGE = "audit entries are append-only"

_POSTGRESQL = {
    "sayso_audit_no_change": f"BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW",
    "sayso_audit_no_truncate": f"BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT",
}
_SQLITE = {
    "sayso_audit_no_update": f"BEFORE UPDATE ON {TABLE}",
    "sayso_audit_no_delete": f"BEFORE DELETE ON {TABLE}",
    "sayso_audit_no_overwrite": (
        f"BEFORE INSERT ON {TABLE} WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id"  # noqa: S608  constants
        " OR (request_id = NEW.request_id AND sequence = NEW.sequence)"
        " OR (request_id = NEW.request_id AND outcome <> '' AND NEW.outcome <> ''))"
    ),
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers there, replacing older ones of the same names."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE OR REPLACE FUNCTION sayso_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION '{_MESSAGE}'"
                " USING ERRCODE = 'integrity_constraint_violation'; END $$"
            )
            for name, when in _POSTGRESQL.items():
                cursor.execute(
                    f"CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION sayso_audit_refuse()"
                )
        else:
            for name, when in _SQLITE.items():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                cursor.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END")


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers away, as only emptying a test database needs."""
    with connection.cursor() as cursor:
        for name in expected(connection):
            suffix = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{suffix}")


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of the triggers that ought to be there and aren't, or are switched off."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgenabled IN ('O', 'A')",
                [TABLE],
            )
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
        present = {name for (name,) in cursor.fetchall()}
    return [name for name in expected(connection) if name not in present]


def expected(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    return tuple(_POSTGRESQL if connection.vendor == "postgresql" else _SQLITE)
