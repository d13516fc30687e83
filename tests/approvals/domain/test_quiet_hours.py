"""Quiet hours on the clock of the person's own zone, also where that clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.domain.quiet_hours import QuietHours, is_zone, zone_called
from tests.effort import effort

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Casablanca",
    "Antarctica/Troll",
]
TEN = datetime(2010, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(zone=BERLIN, begins=time(22), ends=time(7))


def berlin(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=BERLIN, fold=fold)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        (berlin(2026, 6, 1, 21, 59), berlin(2026, 6, 1, 21, 59)),
        (berlin(2026, 6, 1, 22, 0), berlin(2026, 6, 2, 7)),
        (berlin(2026, 6, 2, 6, 59), berlin(2026, 6, 2, 7)),
        (berlin(2026, 6, 2, 7), berlin(2026, 6, 2, 7)),
        # A night with an hour less, and one with an hour more.
        (berlin(2026, 3, 28, 23), berlin(2026, 3, 29, 7)),
        (berlin(2026, 10, 24, 23), berlin(2026, 10, 25, 7)),
    ],
)
def test_a_night_ends_in_the_morning(moment: datetime, end: datetime) -> None:
    assert NIGHT.end(moment) == end


def test_hours_within_a_day() -> None:
    lunch = QuietHours(zone=BERLIN, begins=time(12), ends=time(13))
    assert lunch.end(berlin(2026, 6, 1, 12, 30)) == berlin(2026, 6, 1, 13)
    assert lunch.end(berlin(2026, 6, 1, 13)) == berlin(2026, 6, 1, 13)


def test_quiet_days_end_with_the_hours_after_them() -> None:
    """A weekend, and the night to Monday."""
    quiet = QuietHours(zone=BERLIN, begins=time(22), ends=time(7), days={5, 6})
    assert quiet.end(berlin(2026, 6, 5, 23)) == berlin(2026, 6, 8, 7)
    days_alone = QuietHours(zone=BERLIN, days={5, 6})
    assert days_alone.end(berlin(2026, 6, 6, 12)) == berlin(2026, 6, 8, 0)
    assert days_alone.end(berlin(2026, 6, 5, 23)) == berlin(2026, 6, 5, 23)


def test_an_end_that_the_clocks_skip_is_when_they_go_on() -> None:
    """02:30 does not exist on that night."""
    early = QuietHours(zone=BERLIN, begins=time(1), ends=time(2, 30))
    assert early.end(berlin(2026, 3, 29, 1, 30)) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_a_night_into_a_day_that_is_skipped_ends_with_the_next_morning() -> None:
    """Samoa went from the 29th to the 31st: nobody is woken at the midnight where the clocks went on."""
    apia = ZoneInfo("Pacific/Apia")
    night = QuietHours(zone=apia, begins=time(22), ends=time(7))
    late = datetime(2011, 12, 29, 23, 0, tzinfo=apia)
    assert night.end(late) == datetime(2011, 12, 31, 7, 0, tzinfo=apia)
    assert night.end(late) - late.astimezone(UTC) == timedelta(hours=8)


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    early = QuietHours(zone=BERLIN, begins=time(1), ends=time(2, 30))
    assert early.end(berlin(2026, 10, 25, 2, 15)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert early.end(berlin(2026, 10, 25, 2, 15, fold=1)) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("urgent_breaks", "deadline", "due"),
    [
        (True, berlin(2026, 6, 2, 7), berlin(2026, 6, 1, 23)),
        (True, berlin(2026, 6, 2, 7, 1), berlin(2026, 6, 2, 7)),
        (True, None, berlin(2026, 6, 2, 7)),
        (False, berlin(2026, 6, 2, 3), berlin(2026, 6, 2, 7)),
    ],
)
def test_what_would_be_over_by_then_is_told_at_once_unless_somebody_wants_their_peace(
    urgent_breaks: bool, deadline: datetime | None, due: datetime
) -> None:
    night = QuietHours(zone=BERLIN, begins=time(22), ends=time(7), urgent_breaks=urgent_breaks)
    assert night.due_at(berlin(2026, 6, 1, 23), deadline) == due


@pytest.mark.parametrize(
    ("moment", "deadline", "digest"),
    [
        (berlin(2026, 6, 1, 8, 59), None, berlin(2026, 6, 1, 9)),
        (berlin(2026, 6, 1, 9), None, berlin(2026, 6, 2, 9)),
        # Over a day without messages, and a night with an hour more.
        (berlin(2026, 6, 6, 12), None, berlin(2026, 6, 8, 7)),
        (berlin(2026, 10, 24, 12), berlin(2026, 11, 1, 9), berlin(2026, 10, 26, 7)),
        (berlin(2026, 6, 1, 8), berlin(2026, 6, 1, 9), None),
    ],
)
def test_a_digest_comes_at_its_time_outside_of_quiet_hours_unless_that_is_too_late(
    moment: datetime, deadline: datetime | None, digest: datetime | None
) -> None:
    chosen = QuietHours(
        zone=BERLIN, begins=time(22), ends=time(7), days={6}, urgent_breaks=True, digest_at=time(9)
    )
    assert chosen.digest(moment, deadline) == digest
    assert QuietHours(zone=BERLIN).digest(moment, deadline) is None


def test_a_zone_is_known_by_its_name_and_the_clock_is_utc_without_one() -> None:
    assert is_zone("Europe/Berlin")
    assert zone_called("Europe/Berlin") == BERLIN
    assert is_zone("Asia/Calcutta"), "browsers name some zones by their old names"
    for name in ("", "Europe", "Europe/Atlantis", "../etc/passwd", "Europe/Berlin\0"):
        assert not is_zone(name)
        assert zone_called(name) is UTC


@given(
    zone=st.sampled_from(ZONES),
    moment=st.integers(0, 20 * 366 * 86_400).map(lambda seconds: TEN + timedelta(seconds=seconds)),
    begins=st.times(),
    ends=st.times(),
    days=st.sets(st.integers(0, 6), max_size=6),
)
@effort(300)
def test_the_end_is_the_first_moment_that_is_not_quiet(
    zone: str, moment: datetime, begins: time, ends: time, days: set[int]
) -> None:
    """It is not quiet itself, a moment before it was, and it comes within the week."""
    quiet = QuietHours(zone=ZoneInfo(zone), begins=begins, ends=ends, days=days)
    end = quiet.end(moment)
    assert moment <= end <= moment + timedelta(days=9)
    assert quiet.end(end) == end
    if end > moment:
        before = max(moment, end - timedelta(microseconds=1))
        assert quiet.end(before) == end
