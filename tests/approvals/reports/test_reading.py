"""The figures of a report: the same on both databases, and as plain Python counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.lifecycle import Status
from approvals.models import GroupAssignment, HumanRequest
from approvals.reports import By, Figures, Period, Report, report
from tests.approvals.reports import reference
from tests.approvals.reports.records import MONDAY, Asked, after, put_on_record
from tests.effort import SHARED_FIXTURES, effort
from tests.in_process import as_superuser

pytestmark = pytest.mark.django_db

DAY = 86_400
ENDS = (Status.APPROVED, Status.REJECTED, Status.ANSWERED, Status.TIMED_OUT, Status.WITHDRAWN)


def between(since: float, until: float) -> Period:
    return Period(since=after(since), until=after(until))


def by_name(found: Report) -> dict[str | None, Figures]:
    return {row.name: row.figures for row in found.rows}


def same(found: Figures, expected: Figures) -> bool:
    """Exact counts; times to the microsecond."""
    return asdict(found) == {
        name: pytest.approx(value, rel=1e-9, abs=2e-6) if isinstance(value, float) else value
        for name, value in asdict(expected).items()
    }


# --- Against plain Python ---

moments = st.integers(-2 * DAY * 4, 5 * DAY * 4).map(lambda quarter: quarter / 4) | st.floats(
    -DAY, 4 * DAY, allow_nan=False
).map(lambda seconds: round(seconds, 6))


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    opened, closed = sorted((draw(moments), draw(moments)))
    return Asked(
        opened=opened,
        closed=draw(st.sampled_from([closed, closed, None])),
        status=draw(st.sampled_from(ENDS)),
        by=draw(st.sampled_from([None, "ana", "ben"])),
        groups=draw(st.sampled_from([(), ("finance",), ("finance", "legal")])),
    )


@effort(40, allowed=(SHARED_FIXTURES,))
@given(
    asked=st.lists(requests(), max_size=25),
    since=st.integers(-DAY, 2 * DAY),
    length=st.integers(1, 4 * DAY),
)
def test_every_figure_is_what_plain_python_counts(asked: Sequence[Asked], since: int, length: int) -> None:
    """In total, by day and by part, on any record and for any period."""
    with as_superuser():
        GroupAssignment.writing.all().delete()
        HumanRequest.writing.all().delete()
    put_on_record(asked)
    until = since + length
    by_day = report(between(since, until), By.DAY)
    assert same(by_day.total, reference.figures(asked, since, until))
    for slot in by_day.timeline:
        begin, end = ((moment - MONDAY).total_seconds() for moment in (slot.period.since, slot.period.until))
        assert same(slot.figures, reference.figures(asked, begin, end))
    assert sum(map(sum, by_day.hours)) == by_day.total.opened
    by_group = by_name(report(between(since, until), By.GROUP))
    for name in ("finance", "legal"):
        of_group = [one for one in asked if name in one.groups]
        assert same(by_group.get(name, NOTHING), reference.figures(of_group, since, until))
    by_kind = by_name(report(between(since, until), By.KIND))
    for name in ("approval", "clarification"):
        of_kind = [one for one in asked if one.kind == name]
        assert same(by_kind.get(name, NOTHING), reference.figures(of_kind, since, until))


NOTHING = Figures(opened=0, timed_out=0, withdrawn=0, backlog=0)


# --- By example ---


def test_what_is_opened_and_not_closed_is_added_to_the_backlog() -> None:
    """Backlog before + opened - closed = backlog after, day by day."""
    put_on_record(
        Asked(opened=number * 7_000.0, closed=number * 9_000.0 + 60 if number % 5 else None)
        for number in range(-10, 60)
    )
    found = report(between(0, 5 * DAY), By.DAY)
    before = report(between(-3 * DAY, 0), By.DAY).total.backlog or 0
    for slot in found.timeline:
        figures = slot.figures
        closed = figures.decided + (figures.timed_out or 0) + (figures.withdrawn or 0)
        assert figures.backlog == before + (figures.opened or 0) - closed
        before = figures.backlog


def test_an_approver_is_told_what_he_or_she_decided_and_nothing_else() -> None:
    """Withdrawals are not decisions, although somebody made them; what no person decided, a program did."""
    put_on_record(
        [
            Asked(closed=10, by="ana"),
            Asked(closed=30, by="ana", status=Status.REJECTED),
            Asked(closed=50, by="ben", status=Status.ANSWERED),
            Asked(closed=50, by="ben", status=Status.WITHDRAWN),
            Asked(closed=70),
            Asked(closed=90, status=Status.TIMED_OUT),
            Asked(),
        ]
    )
    found = report(between(0, DAY), By.APPROVER)
    assert [row.name for row in found.rows] == ["ana", "ben", None]
    assert by_name(found)["ana"] == Figures(approved=1, rejected=1, median=20, p90=28, p95=29)
    assert by_name(found)["ben"] == Figures(answered=1, median=50, p90=50, p95=50)
    assert by_name(found)[None] == Figures(approved=1, median=70, p90=70, p95=70)


def test_the_timeout_rate_leaves_out_what_was_withdrawn() -> None:
    put_on_record(
        [
            Asked(closed=1),
            *(Asked(closed=1, status=status) for status in (Status.TIMED_OUT, Status.WITHDRAWN)),
        ]
    )
    assert report(between(0, DAY)).total.timeout_rate == 0.5
    assert report(between(DAY, 2 * DAY)).total.timeout_rate is None


def test_hours_of_the_week_begin_on_monday_in_utc() -> None:
    put_on_record([Asked(opened=0), Asked(opened=3 * 3600 + 1), Asked(opened=13 * DAY + 23 * 3600 + 3599)])
    hours = report(between(0, 14 * DAY)).hours
    assert (hours[0][0], hours[0][3], hours[6][23]) == (1, 1, 1)
    assert sum(map(sum, hours)) == 3


def test_long_periods_are_told_by_week_unless_days_are_asked_for() -> None:
    """Weeks begin on Mondays; the first and the last have what belongs to the period."""
    put_on_record([Asked(opened=DAY, closed=20 * DAY)])
    period = between(DAY, 201 * DAY)
    weeks = report(period, By.KIND)
    assert not weeks.days
    assert weeks.timeline[0].period == between(DAY, 7 * DAY)
    assert weeks.timeline[-1].period == between(196 * DAY, 201 * DAY)
    assert sum(slot.figures.decided for slot in weeks.timeline) == 1
    assert len(report(period, By.DAY).timeline) == 200


def test_a_period_of_centuries_begins_with_the_record() -> None:
    put_on_record([Asked(opened=0.0, closed=10.0)])
    period = Period(since=MONDAY.replace(year=1), until=MONDAY + timedelta(days=2))
    found = report(period, By.DAY)
    assert [slot.period.since for slot in found.timeline] == [MONDAY, after(DAY)]
    assert (found.period, found.total.opened, found.total.median) == (period, 1, 10.0)


def test_a_timeline_begins_with_the_day_of_the_first_request() -> None:
    """Days before it would be rows of zeros; days without requests after it are shown."""
    put_on_record([Asked(opened=2.5 * DAY, closed=2.6 * DAY)])
    period = between(-27 * DAY, 4.25 * DAY)
    found = report(period, By.DAY)
    assert [slot.period.since for slot in found.timeline] == [after(2 * DAY), after(3 * DAY), after(4 * DAY)]
    assert [row.name for row in found.rows] == ["2026-03-04", "2026-03-05", "2026-03-06"]
    assert (found.period, found.total.opened) == (period, 1)


def test_an_empty_record_has_a_report() -> None:
    found = report(between(0, 3 * DAY), By.GROUP)
    assert (found.total, found.rows, len(found.timeline)) == (NOTHING, [], 3)
