"""The period of a report, its days or weeks, and how many requests were open at the end of each; in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from heapq import heappop, heappush
from math import ceil, inf

USUAL = timedelta(days=30)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# The last day that there is: it has no end.
LAST = "9999-12-31"
# Longer timelines have weeks, unless a report is by day.
MOST_DAYS = timedelta(days=184)


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


def parse_moment(text: str, *, end: bool = False) -> datetime:
    """Parse an ISO 8601 date, as its begin or with `end` its end, or a moment, by default in UTC.

    Raises ValueError or OverflowError.
    """
    if len(text) == len(LAST):
        day = datetime.combine(date.fromisoformat(text), time(), UTC)
        return day + DAY if end else day
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _moment(text: str, field: str, *, end: bool) -> datetime:
    try:
        return parse_moment(text, end=end and text != LAST)
    except (ValueError, OverflowError):
        raise BadPeriod(
            field, f"must be a date or a moment in ISO 8601, such as 2026-01-31, not {text!r}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The slots of a period. `origin` is the beginning of the day or week in which the period begins."""

    period: Period
    origin: datetime
    width: timedelta

    @classmethod
    def of(cls, period: Period, *, by_day: bool) -> Timeline:
        """Divide the period into days, or into weeks from Monday."""
        day = midnight(period.since)
        if by_day or period.length <= MOST_DAYS:
            return cls(period=period, origin=day, width=DAY)
        return cls(period=period, origin=day - day.weekday() * DAY, width=WEEK)

    def __len__(self) -> int:
        return ceil((self.period.until - self.origin) / self.width)

    @property
    def seconds(self) -> int:
        return int(self.width.total_seconds())

    def slots(self) -> Iterator[Period]:
        for number in range(len(self)):
            begin = self.origin + number * self.width
            yield Period(
                since=max(begin, self.period.since), until=min(begin + self.width, self.period.until)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Requests opened in one slot (-1: before all slots) and closed in a later one (None: not closed).

    `first` and `sum` are of the moments of their opening, in seconds from the origin.
    """

    opened: int
    closed: int | None
    count: int
    first: float
    sum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many requests are open at one moment; ages in seconds, None if none is open."""

    count: int = 0
    oldest: float | None = None
    mean_age: float | None = None


def backlogs(timeline: Timeline, stays: Iterable[Stay]) -> Iterator[Backlog]:
    """Yield the backlog at the end of each slot."""
    begun = sorted(stays, key=lambda stay: stay.opened, reverse=True)
    under_way: list[tuple[float, float, int, float]] = []
    ending: dict[int, tuple[int, float]] = {}
    count, sum_ = 0, 0.0
    for number, slot in enumerate(timeline.slots()):
        while begun and begun[-1].opened <= number:
            stay = begun.pop()
            count, sum_ = count + stay.count, sum_ + stay.sum
            end = inf if stay.closed is None else stay.closed
            heappush(under_way, (stay.first, end, stay.count, stay.sum))
            if stay.closed is not None:
                ended = ending.get(stay.closed, (0, 0.0))
                ending[stay.closed] = (ended[0] + stay.count, ended[1] + stay.sum)
        ended = ending.pop(number, (0, 0.0))
        count, sum_ = count - ended[0], sum_ - ended[1]
        while under_way and under_way[0][1] <= number:
            heappop(under_way)
        if not count:
            sum_ = 0.0  # and no rest of roundings
            yield Backlog()
            continue
        now = (slot.until - timeline.origin).total_seconds()
        yield Backlog(count=count, oldest=now - under_way[0][0], mean_age=now - sum_ / count)
