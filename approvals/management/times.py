"""Parse days and moments given on the command line, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from approvals.management.screen import Misuse


def parse_period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Parse --since and --until; a day as `until` is included. `Misuse` if they are invalid."""
    begin, end = _moment(since, "--since"), _moment(until, "--until", end=True)
    if begin and end and begin >= end:
        raise Misuse("--until must be later than --since.")
    return begin, end


def _moment(text: str | None, name: str, *, end: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + timedelta(days=1) if end else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misuse(
            f"{name} must be a day or a moment in ISO 8601, such as 2026-01-31 or 2026-01-31T12:00Z."
        ) from None
