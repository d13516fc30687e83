"""Which time a report is about, as people name it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from approvals.reports import BadPeriod, Period

NOW = datetime(2026, 3, 31, 14, 30, tzinfo=UTC)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "begins", "ends"),
    [
        ("", "", "2026-03-02", "2026-03-31T14:30"),
        ("2026-03-01", "", "2026-03-01", "2026-03-31T14:30"),
        ("2026-02-01", "2026-02-28", "2026-02-01", "2026-03-01"),
        ("", "2026-02-28", "2026-01-30", "2026-03-01"),
        ("2026-03-01T08:00:00+02:00", "2026-03-01T08:00:00Z", "2026-03-01T06:00", "2026-03-01T08:00"),
        ("2026-03-01", "2999-12-31", "2026-03-01", "2026-03-31T14:30"),
    ],
)
def test_a_period_ends_now_at_the_latest_and_a_last_day_belongs_to_it(
    since: str, until: str, begins: str, ends: str
) -> None:
    """Left out, it is the last thirty days, today included."""
    assert Period.parse(since, until, NOW) == Period(since=moment(begins), until=moment(ends))


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        ("2026-03-02", "2026-03-01", "until"),
        ("2026-03-01T08:00:00", "2026-03-01T08:00:00", "until"),
        ("2026-04-01", "", "since"),
        ("2026-04-01", "2026-03-01", "since"),
        ("tuesday", "", "since"),
        ("2026-02-30", "", "since"),
        ("", "9999-12-31", None),
        ("", "9999-99-99", "until"),
        ("0001-01-01T00:00:00+14:00", "", "since"),
        ("", "0001-01-01", "until"),
    ],
)
def test_an_impossible_period_is_refused_by_name(since: str, until: str, field: str | None) -> None:
    if field is None:
        assert Period.parse(since, until, NOW).until <= NOW
        return
    with pytest.raises(BadPeriod) as refused:
        Period.parse(since, until, NOW)
    assert refused.value.field == field
    assert "must be" in str(refused.value)


def test_thirty_days_begin_at_midnight() -> None:
    period = Period.parse("", "", NOW)
    assert period.length < timedelta(days=30)
    assert period.since.hour == 0
