"""The period of a report, parsed from dates and moments in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

USUAL = timedelta(days=30)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
LAST = datetime.max.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)


class BadPeriod(ValueError):
    """The period is invalid. `field` is "since" or "until"; the text names the rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(rule)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The time from `since` (included) to `until` (excluded)."""

    since: datetime
    until: datetime

    @classmethod
    def parse(cls, since: str, until: str, now: datetime) -> Period:
        """Parse ISO 8601 dates and moments; a date as `until` is the last day of the period.

        By default the period is the last thirty days, today included. It never ends later than now. BadPeriod
        if it would be empty or the text is invalid.
        """
        end = _moment(until, "until", end=True) if until else now
        begin = _moment(since, "since", end=False) if since else _usual(min(end, now))
        if begin >= now:
            raise BadPeriod("since", "must be in the past")
        if begin >= end:
            raise BadPeriod("until", "must be later than since")
        return cls(since=begin, until=min(end, now))

    @property
    def length(self) -> timedelta:
        return self.until - self.since


def midnight(moment: datetime) -> datetime:
    """Return the beginning of the moment's day in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _usual(end: datetime) -> datetime:
    """Return the default beginning: thirty days, the last of which may be incomplete."""
    try:
        return midnight(end - USUAL + DAY - timedelta(microseconds=1))
    except OverflowError:
        raise BadPeriod("until", "must be some weeks later") from None


def _moment(text: str, field: str, *, end: bool) -> datetime:
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + DAY if end and day < LAST else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadPeriod(
            field, f"must be a date or a moment in ISO 8601, such as 2026-01-31, not {text!r}"
        ) from None
