"""The database's clock, the only one that decides what is late, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic

from django.db import connection

CLOCK = {"postgresql": "SELECT clock_timestamp()", "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"}

# Seconds after which a reading of the database's clock gives way to any other.
READING_HOLDS = 60.0


def database_now() -> datetime:
    """Read the database's clock; UTC."""
    asked = monotonic()
    with connection.cursor() as cursor:
        cursor.execute(CLOCK[connection.vendor])
        (moment,) = cursor.fetchone()
    now = as_utc(moment)
    _reading.note(asked, now)
    return now


def seconds_since(moment: datetime) -> float | None:
    """Estimate how long ago this moment of the database's clock was; None before its first reading.

    For metrics only: it is wrong by up to half of the time that the last reading took, and after the machine
    was suspended.
    """
    return None if _reading.ahead is None else monotonic() + _reading.ahead - moment.timestamp()


def as_utc(moment: datetime | str) -> datetime:
    """Convert what a cursor returns for the clock to UTC; SQLite returns text without a time zone."""
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).replace(tzinfo=UTC) + _reading.moved
    return moment.astimezone(UTC) + _reading.moved


def move(by: timedelta) -> None:
    """Have this process read the clock so much later than it is, from now on: for tests."""
    _reading.moved += by


def move_back() -> None:
    """Have this process read the clock as it is."""
    _reading.moved = timedelta(0)


class _Reading:
    """How far the database's clock is ahead of this process's monotonic one.

    Of the last minute's readings, the one that was answered soonest counts.
    """

    ahead: float | None = None
    # How much later than it is the clock is read.
    moved = timedelta(0)
    _took = inf
    _at = -inf

    def note(self, asked: float, now: datetime) -> None:
        answered = monotonic()
        took = answered - asked
        if took <= self._took or answered - self._at > READING_HOLDS:
            self.ahead, self._took, self._at = now.timestamp() - asked - took / 2, took, answered


_reading = _Reading()
