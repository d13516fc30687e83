"""How Django's DATABASES should be told of a database, so that this code works well with it."""

from __future__ import annotations

from typing import Any


def configure(database: dict[str, Any], threads: int) -> dict[str, Any]:
    """Return an entry of DATABASES with the options for SQLite, or a pool for so many `threads`."""
    options = {**database.get("OPTIONS", {})}
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # Taking the write lock at BEGIN avoids "database is locked" on read-then-write transactions.
        options |= {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
        }
        return {**database, "OPTIONS": options}
    options.setdefault("connect_timeout", 5)
    # A pool and persistent connections exclude each other; the check replaces a dead connection.
    # The pool doubles its pauses between attempts to connect, for five minutes unless it gives up sooner: an
    # outage would last twice as long. Connections opened at a peak are closed after `max_idle` seconds.
    options["pool"] = {
        "min_size": 1,
        "max_size": 4 * threads,
        "timeout": 10,
        "reconnect_timeout": 10,
        "max_idle": 10,
    }
    # Few statements, always the same: approvals.database.pipeline. `?prepare_threshold=none` turns it off.
    prepare = options.get("prepare_threshold", 1)
    options["prepare_threshold"] = None if str(prepare).lower() == "none" else prepare
    return {**database, "OPTIONS": options, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}
