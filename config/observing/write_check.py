"""Whether anything can be recorded now: a small write to a row of its own, committed.

Nothing less proves it. A database that answers may be read-only, and one that has no room left takes a write
that is rolled back. So that the room for something new is tried, the row grows, and shrinks again: what it
has taken is free for whatever comes next.
"""

from __future__ import annotations

import secrets
from math import inf
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection

from approvals.database.clock import CLOCK
from config.observing.failure_log import FailureLog
from orchestration.models import WriteTrial

# Seconds between two writes of this process.
EVERY = 10.0
# Characters that can't be compressed to less than some pages of a database.
ROOM = 16_384
# Milliseconds that SQLite may wait for another writer.
LONGEST_LOCK = 1_000

# What databases call it, and what we do: SQLSTATE of PostgreSQL, names of SQLite's result codes.
_WORDS = {
    "25006": "is read-only",
    "53100": "has no room left",
    "53300": "has no connection left",
    "SQLITE_READONLY": "is read-only",
    "SQLITE_FULL": "has no room left",
    "SQLITE_BUSY": "is locked by somebody else",
}


class WriteCheck:
    """Of one process; for one thread at a time."""

    def __init__(self) -> None:
        self._trouble = FailureLog("check writes")
        self._tried_at = -inf
        self._fault: str | None = None

    def fault(self) -> str | None:
        """Why nothing can be recorded, in words; None: it can. No older than EVERY seconds."""
        if monotonic() - self._tried_at >= EVERY:
            self._fault = self._try_write()
            self._tried_at = monotonic()
        return self._fault

    def _try_write(self) -> str | None:
        try:
            with self._trouble.noticed():
                _write()
        except DatabaseError as error:
            return f"the database {describe_error(error, otherwise='takes nothing new')}"
        return None


def describe_error(error: BaseException, *, otherwise: str) -> str:
    """What is wrong with the database, where its error says so in a code that is known here."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
    return next((words for known, words in _WORDS.items() if str(code).startswith(known)), otherwise)


def _write() -> None:
    """Each statement is a transaction: a process that is frozen between them keeps nobody waiting."""
    table, now = connection.ops.quote_name(WriteTrial._meta.db_table), CLOCK[connection.vendor]
    statement = (
        f"INSERT INTO {table} (id, tried_at, room) VALUES (1, ({now}), %s)"  # noqa: S608  our own names
        " ON CONFLICT (id) DO UPDATE SET tried_at = excluded.tried_at, room = excluded.room"
    )
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {LONGEST_LOCK}")
        for room in (secrets.token_hex(ROOM // 2), ""):
            cursor.execute(statement, [room])
