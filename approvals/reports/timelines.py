"""The days or weeks of a period, and how many requests were open at the end of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from math import ceil, inf

from approvals.reports.periods import DAY, WEEK, Period, midnight

# Longer timelines have weeks, unless a report is by day.
MOST_DAYS = timedelta(days=184)


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
