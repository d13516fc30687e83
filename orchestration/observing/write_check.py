"""Checks whether the database takes writes, by a small committed write to a row of its own.

Nothing less proves it: a database that answers may be read-only, and a full one accepts a write that is
rolled back. The row grows and shrinks again, to check that there is space for new data without keeping it.
"""

from __future__ import annotations

import secrets
from math import inf
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection

from approvals.database.clock import CLOCK
from orchestration.models import WriteTrial
from orchestration.observing.background_check import FailureLog

# Seconds between two writes of this process.
EVERY = 10.0
# Random characters, more than one page of a database even when compressed.
ROOM = 16_384
# Milliseconds that SQLite may wait for another writer.
LONGEST_LOCK = 1_000

# By SQLSTATE of PostgreSQL, and by names of SQLite's result codes.
_WORDS = {
    "25006": "is read-only",
    "53100": "has no room left",
    "53300": "has no connection left",
    "SQLITE_READONLY": "is read-only",
    "SQLITE_FULL": "has no room left",
    "SQLITE_BUSY": "is locked by another process",
}


class WriteCheck:
    """The check of one process, for one thread at a time."""

    def __init__(self) -> None:
        self._failures = FailureLog("check writes")
        self._tried_at = -inf
        self._fault: str | None = None

    def fault(self) -> str | None:
        """Return why nothing can be written, in words; None if it can. At most EVERY seconds old."""
        if monotonic() - self._tried_at >= EVERY:
            self._fault = None
            try:
                with self._failures.watch():
                    _write()
            except DatabaseError as error:
                self._fault = f"the database {describe_error(error, otherwise='takes nothing new')}"
            self._tried_at = monotonic()
        return self._fault


def describe_error(error: BaseException, *, otherwise: str) -> str:
    """Say what is wrong with the database by its error's code; `otherwise` for an unknown one."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
    return next((words for known, words in _WORDS.items() if str(code).startswith(known)), otherwise)


def _write() -> None:
    """Write in a transaction for each statement, so that a frozen process holds no lock between them."""
    table, now = (
        connection.ops.quote_name(WriteTrial._meta.db_table),
        CLOCK[connection.vendor].replace("%", "%%"),
    )
    statement = (
        f"INSERT INTO {table} (id, tried_at, room) VALUES (1, ({now}), %s)"  # noqa: S608  our own names
        " ON CONFLICT (id) DO UPDATE SET tried_at = excluded.tried_at, room = excluded.room"
    )
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {LONGEST_LOCK}")
        for room in (secrets.token_hex(ROOM // 2), ""):
            cursor.execute(statement, [room])
