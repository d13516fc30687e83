"""What a report says. Values only; times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from approvals.domain.lifecycle import Status
from approvals.reports.grouping import By
from approvals.reports.periods import Period

# Ends that a person gave a request.
DECIDED = (Status.APPROVED, Status.REJECTED, Status.ANSWERED)
ENDS = (*DECIDED, Status.TIMED_OUT, Status.WITHDRAWN)
PERCENTILES = {"median": 50, "p90": 90, "p95": 95}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of some requests and some time. None: there is no such figure.

    `opened` in that time; the five ends of what was closed in it; the time to decision, from opening, of what
    people decided in it; what was open at its end, and for how long.
    """

    opened: int | None = None
    approved: int = 0
    rejected: int = 0
    answered: int = 0
    timed_out: int | None = None
    withdrawn: int | None = None
    median: float | None = None
    p90: float | None = None
    p95: float | None = None
    backlog: int | None = None
    oldest: float | None = None
    mean_age: float | None = None

    @property
    def decided(self) -> int:
        return self.approved + self.rejected + self.answered

    @property
    def timeout_rate(self) -> float | None:
        """The share that timed out of all that was decided or timed out; what was withdrawn is left out."""
        if self.timed_out is None or not self.timed_out + self.decided:
            return None
        return self.timed_out / (self.timed_out + self.decided)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One stretch of the period: a day or a week, or what of it belongs to the period."""

    period: Period
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One part of the report's grouping; `name` is None for what belongs to no part."""

    name: str | None
    figures: Figures
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`days` says that the timeline's slots are days rather than weeks; `hours` counts what was opened, by
    weekday (Monday first) and hour (UTC)."""

    made_at: datetime
    period: Period
    by: By
    days: bool
    total: Figures
    rows: Sequence[Row]
    timeline: Sequence[Slot]
    hours: Sequence[Sequence[int]]
