"""The figures of a report. Values only; times in seconds.

A new figure is also counted in builder.py, named in labels.py, and shown by presentation.py and the admin; in
plots and timelines, if it is one of a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from approvals.domain.lifecycle import Status
from approvals.reports.grouping import By
from approvals.reports.periods import Period

# Outcomes that a person decided.
DECIDED = (Status.APPROVED, Status.REJECTED, Status.ANSWERED)
ENDS = (*DECIDED, Status.TIMED_OUT, Status.WITHDRAWN)
PERCENTILES = {"median": 50, "p90": 90, "p95": 95}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of some requests in some period; None where a figure does not apply.

    How many were opened in the period; how many closed, by outcome; percentiles of the time from opening to
    decision; how many were open at its end, and for how long.
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
        """The share of timeouts in all decisions and timeouts; withdrawn requests are left out."""
        if self.timed_out is None or not self.timed_out + self.decided:
            return None
        return self.timed_out / (self.timed_out + self.decided)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One part of the report's grouping, or one day or week of its timeline.

    `name` is None for requests without a part. A day or week may be in the period only in part.
    """

    name: str | None
    figures: Figures
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report: the whole period, its parts, and its timeline.

    `days`: the slots of the timeline are days, not weeks. `hours` counts opened requests by weekday (Monday
    first) and hour (UTC).
    """

    made_at: datetime
    period: Period
    by: By
    days: bool
    total: Figures
    rows: Sequence[Row]
    timeline: Sequence[Row]
    hours: Sequence[Sequence[int]]
