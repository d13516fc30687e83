"""Build a report from the rows of requests by a few grouped statements in one snapshot.

Django's querysets choose the requests; the SQL around them counts in the database. What was closed in a
period has changed in it or later, so the re-check's index finds it, and older history costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from approvals.database.clock import database_now
from approvals.database.transactions import snapshot
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.reports.dialects import ALL, Closings, Times, dialect, fetch
from approvals.reports.figures import DECIDED, PERCENTILES, Figures, Report, Row
from approvals.reports.grouping import By, Parts, parts_of
from approvals.reports.periods import DAY, Backlog, Period, Stay, Timeline, backlogs, midnight

Requests = QuerySet[Any, Any]

# A timeline without requests is not longer than this.
A_YEAR = 366 * DAY
HOUR = 3_600
# Columns of closed requests.
COLUMNS = ("status", "opened_at", "closed_at")


def report(period: Period, by: By = By.DAY) -> Report:
    """Build the report over all requests, regardless of who may see them."""
    with snapshot():
        dialect().begin()
        made_at = database_now()
        timeline = Timeline.of(_shorten(period), by_day=by is By.DAY)
        hours = _count_opened_by_hour(timeline)
        total, slots = _slots(timeline, hours)
        return Report(
            made_at=made_at,
            period=period,
            by=by,
            days=timeline.width == DAY,
            total=total,
            rows=slots if by is By.DAY else _rows(period, by),
            timeline=slots,
            hours=_week(timeline.origin, hours),
        )


def _shorten(period: Period) -> Period:
    """Begin with the day of the first request on record, if that is within the period."""
    first = HumanRequest.objects.order_by("opened_at", "id").values_list("opened_at", flat=True).first()
    if first is None or first >= period.until:
        return Period(since=max(period.since, period.until - A_YEAR), until=period.until)
    return Period(since=max(period.since, midnight(first)), until=period.until)


# By time


def _count_opened_by_hour(timeline: Timeline) -> dict[int, int]:
    """Count the requests opened in each hour since the timeline's origin."""
    hour = dialect().slot("opened_at", timeline.origin, HOUR)
    facts, params = _sql([_requests_opened(timeline.period).values("opened_at")])
    return dict(fetch(f"SELECT {hour}, count(*) FROM ({facts}) facts GROUP BY 1", params))  # noqa: S608


def _slots(timeline: Timeline, hours: Mapping[int, int]) -> tuple[Figures, list[Row]]:
    """Return the figures of the whole period, then of each day or week of it."""
    slot = dialect().slot("closed_at", timeline.origin, timeline.seconds)
    opened: Counter[int] = Counter()
    for hour, count in hours.items():
        opened[hour * HOUR // timeline.seconds] += count
    facts, params = _sql([_requests_closed(timeline.period).values(*COLUMNS)])
    closed = dialect().closings(slot, facts, params, of_all=True)
    left = list(backlogs(timeline, _stays(timeline)))
    total = _figures(opened.total(), closed.get(ALL), left[-1])
    return total, [
        Row(
            name=f"{period.since:%Y-%m-%d}",
            period=period,
            figures=_figures(opened[number], closed.get(number), left[number]),
        )
        for number, period in enumerate(timeline.slots())
    ]


def _stays(timeline: Timeline) -> Iterator[Stay]:
    """Yield the requests that were not closed in the slot of their opening, which are few."""
    words, period = dialect(), timeline.period
    opened = words.slot("opened_at", timeline.origin, timeline.seconds)
    closed = words.slot("closed_at", timeline.origin, timeline.seconds)
    still = Q(closed_at__isnull=True) | Q(closed_at__gte=period.until)
    facts, params = _sql(
        rows.values("opened_at", "closed_at", before=Q(opened_at__lt=period.since), still=still)
        for rows in _requests_open_at(period.since, until=period.until)
    )
    found = fetch(
        "SELECT opened, closed, count(*), min(seconds), sum(seconds) FROM ("  # noqa: S608  our own names
        f"SELECT CASE WHEN before THEN -1 ELSE {opened} END AS opened,"
        f" CASE WHEN NOT still THEN {closed} END AS closed,"
        f" {words.seconds('opened_at', timeline.origin)} AS seconds FROM ({facts}) facts"
        ") stay WHERE closed IS NULL OR opened <> closed GROUP BY opened, closed",
        params,
    )
    for begin, end, count, first, sum_ in found:
        yield Stay(opened=begin, closed=end, count=count, first=first, sum=sum_)


def _week(origin: datetime, hours: Mapping[int, int]) -> list[list[int]]:
    """Add up by weekday, Monday first, and hour."""
    week = [[0] * 24 for _ in range(7)]
    for hour, count in hours.items():
        days, of_day = divmod(hour, 24)
        week[(origin.weekday() + days) % 7][of_day] += count
    return week


# By part


def _rows(period: Period, by: By) -> list[Row]:
    """Return the parts, the largest first; requests without a part come last."""
    parts = parts_of(by)
    figures = _of_approvers(period, parts) if by is By.APPROVER else _of_parts(period, parts)
    rows = [Row(name=name, period=period, figures=each) for name, each in parts.label(figures).items()]

    def place(row: Row) -> tuple[bool, int, str]:
        size = row.figures.decided if row.figures.opened is None else row.figures.opened
        return row.name is None, -size, row.name or ""

    return sorted(rows, key=place)


def _of_approvers(period: Period, parts: Parts) -> dict[Any, Figures]:
    """Return the figures of each approver; None stands for programs."""
    decided = _closings(_requests_closed(period).filter(status__in=DECIDED), parts)
    return {
        name: Figures(**_decisions(each.ends), **_percentiles(each.times)) for name, each in decided.items()
    }


def _of_parts(period: Period, parts: Parts) -> dict[Any, Figures]:
    opened = _count_opened_by_part(period, parts)
    closed = _closings(_requests_closed(period), parts)
    left = _count_left_open(period, parts)
    return {
        name: _figures(opened.get(name, 0), closed.get(name), left.get(name, Backlog()))
        for name in {*opened, *closed, *left}
    }


def _count_opened_by_part(period: Period, parts: Parts) -> dict[Any, int]:
    facts, params = parts.add_names(*_sql([_requests_opened(period).values(**parts.alias)]))
    return dict(fetch(f"SELECT part, count(*) FROM ({facts}) facts GROUP BY part", params))  # noqa: S608


def _closings(requests: Requests, parts: Parts) -> dict[Any, Closings]:
    facts, params = parts.add_names(*_sql([requests.values(*COLUMNS, **parts.alias)]))
    return dialect().closings("part", facts, params, of_all=False)


def _count_left_open(period: Period, parts: Parts) -> dict[Any, Backlog]:
    since_until = dialect().seconds("opened_at", period.until)
    asked = [
        rows.values("opened_at", **parts.alias)
        for rows in _requests_open_at(period.until, until=period.until)
    ]
    facts, params = parts.add_names(*_sql(asked))
    found = fetch(
        f"SELECT part, count(*), min({since_until}), avg({since_until})"  # noqa: S608
        f" FROM ({facts}) facts GROUP BY part",
        params,
    )
    return {name: Backlog(count=count, oldest=-first, mean_age=-mean) for name, count, first, mean in found}


# Which requests


def _requests_opened(period: Period) -> Requests:
    return HumanRequest.objects.filter(opened_at__gte=period.since, opened_at__lt=period.until)


def _requests_closed(period: Period) -> Requests:
    closed = HumanRequest.objects.filter(closed_at__gte=period.since, closed_at__lt=period.until)
    return closed.filter(changed_at__gte=period.since)


def _requests_open_at(moment: datetime, *, until: datetime) -> list[Requests]:
    """Return the requests opened before `until` and open at the moment, as two queries with an index each."""
    opened = HumanRequest.objects.filter(opened_at__lt=until)
    closed_later = opened.filter(changed_at__gte=moment, closed_at__gte=moment)
    return [opened.filter(status=Status.PENDING), closed_later]


def _sql(parts: Iterable[Requests]) -> tuple[str, list[Any]]:
    made = [rows.query.sql_with_params() for rows in parts]
    return " UNION ALL ".join(sql for sql, _ in made), [value for _, values in made for value in values]


# As figures


def _figures(opened: int, closed: Closings | None, backlog: Backlog) -> Figures:
    closed = closed or Closings()
    return Figures(
        opened=opened,
        timed_out=closed.ends[Status.TIMED_OUT],
        withdrawn=closed.ends[Status.WITHDRAWN],
        backlog=backlog.count,
        oldest=backlog.oldest,
        mean_age=backlog.mean_age,
        **_decisions(closed.ends),
        **_percentiles(closed.times),
    )


def _decisions(ends: Counter[str]) -> dict[str, Any]:
    return {status.value: ends[status] for status in DECIDED}


def _percentiles(times: Times) -> dict[str, Any]:
    return dict(zip(PERCENTILES, times, strict=False))
