"""The figures, read from requests alone: some grouped statements, in one snapshot, for any number of rows.

Django's querysets say which requests; what is wrapped around them counts in the database. What was closed in
a period has changed in it or later, so the re-check's index finds it, and older history costs nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable

from approvals.database import database_now, snapshot
from approvals.lifecycle import Status
from approvals.models import HumanRequest
from approvals.reports.dialects import Times, dialect
from approvals.reports.figures import DECIDED, ENDS, PERCENTILES, Figures, Report, Row, Slot
from approvals.reports.grouping import By, part
from approvals.reports.periods import DAY, Period
from approvals.reports.timelines import Backlog, Stay, Timeline, backlogs

if TYPE_CHECKING:
    Requests = QuerySet[Any, Any]

# A longer period begins no sooner than the record.
A_YEAR = 366 * DAY
HOUR = 3_600

Ends = Mapping[Any, Counter[str]]


def report(period: Period, by: By = By.DAY) -> Report:
    """Of all requests, whoever may see them."""
    with snapshot():
        made_at = database_now()
        timeline = Timeline.of(_worth_telling(period), by_day=by is By.DAY)
        hours = _opened_by_hour(timeline)
        slots = _slots(timeline, hours)
        total = _total(period, slots)
        return Report(
            made_at=made_at,
            period=period,
            by=by,
            days=timeline.width == DAY,
            total=total,
            rows=_days(slots) if by is By.DAY else _rows(period, by),
            timeline=slots,
            hours=_week(timeline.origin, hours),
        )


def _worth_telling(period: Period) -> Period:
    if period.length <= A_YEAR:
        return period
    first = HumanRequest.objects.order_by("opened_at", "id").values_list("opened_at", flat=True).first()
    if first is None or first >= period.until:
        return Period(since=max(period.since, period.until - A_YEAR), until=period.until)
    return Period(since=max(period.since, first), until=period.until)


# Along the time


def _opened_by_hour(timeline: Timeline) -> dict[int, int]:
    """How many were opened in each hour since the timeline's origin."""
    hour = dialect().slot("opened_at", timeline.origin, HOUR)
    return dict(_counted(hour, _opened(timeline.period).values("opened_at")))


def _slots(timeline: Timeline, hours: Mapping[int, int]) -> list[Slot]:
    slot = dialect().slot("closed_at", timeline.origin, timeline.seconds)
    opened: Counter[int] = Counter()
    for hour, count in hours.items():
        opened[hour * HOUR // timeline.seconds] += count
    ends = _ends(slot, _closed(timeline.period))
    times = _times(slot, _decided(timeline.period))
    left = backlogs(timeline, _stays(timeline))
    return [
        Slot(period=period, figures=_figures(opened[number], ends[number], times.get(number), backlog))
        for number, (period, backlog) in enumerate(zip(timeline.slots(), left, strict=True))
    ]


def _stays(timeline: Timeline) -> Iterator[Stay]:
    """Who was not closed in the slot of its opening. Most were, and are gone before they are counted."""
    words, period = dialect(), timeline.period
    opened = words.slot("opened_at", timeline.origin, timeline.seconds)
    closed = words.slot("closed_at", timeline.origin, timeline.seconds)
    facts, params = _sql(
        rows.values("opened_at", "closed_at", before=Q(opened_at__lt=period.since), still=_open_after(period))
        for rows in _open_at(period.since, until=period.until)
    )
    found = _fetched(
        "SELECT opened, closed, count(*), min(seconds), sum(seconds) FROM ("  # noqa: S608  our own names
        f"SELECT CASE WHEN before THEN -1 ELSE {opened} END AS opened,"
        f" CASE WHEN NOT still THEN {closed} END AS closed,"
        f" {words.seconds('opened_at', timeline.origin)} AS seconds FROM ({facts}) facts"
        ") stay WHERE closed IS NULL OR opened <> closed GROUP BY opened, closed",
        params,
    )
    for begin, end, count, first, sum_ in found:
        yield Stay(opened=begin, closed=end, count=count, first=first, sum=sum_)


def _days(slots: Iterable[Slot]) -> list[Row]:
    return [
        Row(name=f"{slot.period.since:%Y-%m-%d}", period=slot.period, figures=slot.figures) for slot in slots
    ]


def _total(period: Period, slots: Iterable[Slot]) -> Figures:
    """Counts add up; percentiles do not."""
    figures = [slot.figures for slot in slots]
    ends: Counter[str] = Counter({status: sum(getattr(each, status) for each in figures) for status in ENDS})
    last = figures[-1]
    return _figures(
        sum(each.opened or 0 for each in figures),
        ends,
        _times("NULL", _decided(period)).get(None),
        Backlog(count=last.backlog or 0, oldest=last.oldest, mean_age=last.mean_age),
    )


def _week(origin: datetime, hours: Mapping[int, int]) -> list[list[int]]:
    """By weekday, Monday first, and hour."""
    week = [[0] * 24 for _ in range(7)]
    for hour, count in hours.items():
        days, of_day = divmod(hour, 24)
        week[(origin.weekday() + days) % 7][of_day] += count
    return week


# By part


def _rows(period: Period, by: By) -> list[Row]:
    """The most first; what belongs to no part comes last."""
    figures = _of_approvers(period) if by is By.APPROVER else _of_parts(period, part(by))
    rows = [Row(name=name, period=period, figures=each) for name, each in figures.items()]
    return sorted(rows, key=lambda row: (row.name is None, -_size(row.figures), row.name or ""))


def _size(figures: Figures) -> int:
    return figures.decided if figures.opened is None else figures.opened


def _of_approvers(period: Period) -> dict[str | None, Figures]:
    """What people, and programs (no name), have decided: nothing else is anybody's."""
    name = part(By.APPROVER)
    decided = _decided(period).annotate(part=name)
    ends, times = _ends("part", decided), _times("part", decided)
    return {name: Figures(**_decisions(ends[name]), **_percentiles(times.get(name))) for name in ends}


def _of_parts(period: Period, name: Combinable) -> dict[str | None, Figures]:
    opened = dict(_counted("part", _opened(period).values(part=name)))
    ends = _ends("part", _closed(period).annotate(part=name))
    times = _times("part", _decided(period).annotate(part=name))
    left = _left_open(period, name)
    return {
        each: _figures(opened.get(each, 0), ends[each], times.get(each), left.get(each, Backlog()))
        for each in {*opened, *ends, *left}
    }


def _left_open(period: Period, name: Combinable) -> dict[str | None, Backlog]:
    age = dialect().seconds("opened_at", period.until)
    facts, params = _sql(
        rows.values("opened_at", part=name) for rows in _open_at(period.until, until=period.until)
    )
    found = _fetched(
        f"SELECT part, count(*), min({age}), avg({age}) FROM ({facts}) facts GROUP BY part",  # noqa: S608
        params,
    )
    return {each: Backlog(count=count, oldest=-first, mean_age=-mean) for each, count, first, mean in found}


# Which requests


def _opened(period: Period) -> Requests:
    return HumanRequest.objects.filter(opened_at__gte=period.since, opened_at__lt=period.until)


def _closed(period: Period) -> Requests:
    closed = HumanRequest.objects.filter(closed_at__gte=period.since, closed_at__lt=period.until)
    return closed.filter(changed_at__gte=period.since)


def _decided(period: Period) -> Requests:
    return _closed(period).filter(status__in=DECIDED)


def _open_at(moment: datetime, *, until: datetime) -> list[Requests]:
    """Opened before `until`, and not closed before the moment: in two parts with an index each."""
    opened = HumanRequest.objects.filter(opened_at__lt=until)
    closed_later = opened.filter(changed_at__gte=moment, closed_at__gte=moment)
    return [opened.filter(status=Status.PENDING), closed_later]


def _open_after(period: Period) -> Q:
    return Q(closed_at__isnull=True) | Q(closed_at__gte=period.until)


# Counting them


def _counted(part: str, requests: Requests) -> list[tuple[Any, int]]:
    facts, params = _sql([requests])
    return _fetched(f"SELECT {part}, count(*) FROM ({facts}) facts GROUP BY 1", params)  # noqa: S608


def _ends(part: str, requests: Requests) -> Ends:
    """How many came to each end, by part."""
    facts, params = _sql([requests.values("status", "closed_at", *_annotated(requests))])
    ends: defaultdict[Any, Counter[str]] = defaultdict(Counter)
    for each, status, count in _fetched(
        f"SELECT {part}, status, count(*) FROM ({facts}) facts GROUP BY 1, 2",  # noqa: S608
        params,
    ):
        ends[each][status] = count
    return ends


def _times(part: str, requests: Requests) -> dict[Any, Times]:
    """The percentiles of the time to decision, by part."""
    words = dialect()
    facts, params = _sql([requests.values("opened_at", "closed_at", *_annotated(requests))])
    statement = words.percentiles(part, words.between("opened_at", "closed_at"), f"({facts}) facts")
    return {each: words.times(row) for each, *row in _fetched(statement, params)}


def _annotated(requests: Requests) -> list[str]:
    return list(requests.query.annotations)


def _sql(parts: Iterable[Requests]) -> tuple[str, list[Any]]:
    made = [rows.query.sql_with_params() for rows in parts]
    return " UNION ALL ".join(sql for sql, _ in made), [value for _, values in made for value in values]


def _fetched(statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def _figures(opened: int, ends: Counter[str], times: Times | None, backlog: Backlog) -> Figures:
    return Figures(
        opened=opened,
        timed_out=ends[Status.TIMED_OUT],
        withdrawn=ends[Status.WITHDRAWN],
        backlog=backlog.count,
        oldest=backlog.oldest,
        mean_age=backlog.mean_age,
        **_decisions(ends),
        **_percentiles(times),
    )


def _decisions(ends: Counter[str]) -> dict[str, Any]:
    return {status.value: ends[status] for status in DECIDED}


def _percentiles(times: Times | None) -> dict[str, Any]:
    return dict(zip(PERCENTILES, times or (), strict=False))
