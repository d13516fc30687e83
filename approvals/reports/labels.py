"""Labels of columns and parts, and figures formatted for display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from approvals.reports.figures import DECIDED, PERCENTILES, Figures, Report, Row
from approvals.reports.grouping import By
from approvals.reports.periods import Period, midnight

NONE = "-"

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of figures: the attribute, the name in files, and the heading."""

    attribute: str
    name: str
    heading: str
    unit: Literal["count", "share", "seconds"] = "count"

    def value(self, figures: Figures) -> float | None:
        """Return the figure for files: seconds to the millisecond, shares to four digits."""
        found: float | None = getattr(figures, self.attribute)
        if found is None or self.unit == "count":
            return found
        return round(found, 3 if self.unit == "seconds" else 4)

    def text(self, figures: Figures) -> str:
        found = getattr(figures, self.attribute)
        if found is None:
            return NONE
        match self.unit:
            case "seconds":
                return duration(found)
            case "share":
                return f"{found * 100:.1f} %"
        return f"{found:,}"


COLUMNS = (
    Column(attribute="opened", name="opened", heading="Opened"),
    Column(attribute="approved", name="approved", heading="Approved"),
    Column(attribute="rejected", name="rejected", heading="Rejected"),
    Column(attribute="answered", name="answered", heading="Answered"),
    Column(attribute="timed_out", name="timed_out", heading="Timed out"),
    Column(attribute="withdrawn", name="withdrawn", heading="Withdrawn"),
    Column(attribute="timeout_rate", name="timeout_rate", heading="Timeout rate", unit="share"),
    Column(attribute="median", name="median_seconds", heading="Median", unit="seconds"),
    Column(attribute="p90", name="p90_seconds", heading="p90", unit="seconds"),
    Column(attribute="p95", name="p95_seconds", heading="p95", unit="seconds"),
    Column(attribute="backlog", name="backlog", heading="Open at the end"),
    Column(attribute="oldest", name="oldest_seconds", heading="Oldest", unit="seconds"),
    Column(attribute="mean_age", name="mean_age_seconds", heading="Mean age", unit="seconds"),
)

BY_ATTRIBUTE = {column.attribute: column for column in COLUMNS}

BY: Mapping[By, str] = {
    By.DAY: "Day",
    By.KIND: "Kind",
    By.ORCHESTRATION: "Orchestration",
    By.APPROVER: "Approver",
    By.GROUP: "Assignee group",
}

_NO_PART: Mapping[By, str] = {
    By.ORCHESTRATION: "no orchestration",
    By.APPROVER: "programs",
    By.GROUP: "no group",
}


def part(report: Report, row: Row) -> str:
    """Return the label of a row; requests without a part have one as well."""
    return _NO_PART.get(report.by, "") if row.name is None else row.name


def columns(by: By) -> list[Column]:
    """Return the columns that have figures in this grouping."""
    of_approvers = {*DECIDED, *PERCENTILES}
    return [column for column in COLUMNS if by is not By.APPROVER or column.attribute in of_approvers]


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: "3 min 20 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    for place, (size, unit) in enumerate(_UNITS):
        whole, rest_of = divmod(rest, size)
        if whole:
            if whole >= 10 or unit == "s":
                return f"{round(rest / size):,} {unit}"
            below, name = _UNITS[place + 1]
            return f"{whole} {unit} {rest_of // below} {name}" if rest_of // below else f"{whole} {unit}"
    return f"{rest} s"


def moment(value: datetime) -> str:
    """Format a moment in UTC, to the minute."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def iso(value: datetime) -> str:
    """Format a moment in UTC by ISO 8601."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def period(value: Period) -> str:
    """Format a period, as days if it consists of whole days."""
    if value.since == midnight(value.since) and value.until == midnight(value.until):
        return days(value)
    return f"{moment(value.since)} to {moment(value.until)}"


def days(value: Period) -> str:
    """Format the first and the last day of a period."""
    last = value.until - timedelta(microseconds=1)
    first, end = f"{value.since:%Y-%m-%d}", f"{last:%Y-%m-%d}"
    return first if first == end else f"{first} to {end}"
