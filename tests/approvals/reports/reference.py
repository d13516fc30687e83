"""A report in plain Python over lists, slow and plain: what the database's figures are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor
from statistics import fmean

from approvals.domain.lifecycle import Status
from approvals.reports import Figures
from approvals.reports.figures import DECIDED
from tests.approvals.reports.records import Asked


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Linear between the two values around percent × (n - 1)."""
    if not values:
        return None
    ordered, place = sorted(values), percent * (len(values) - 1) / 100
    low, high = ordered[floor(place)], ordered[ceil(place)]
    return low + (high - low) * (place - floor(place))


def figures(asked: Iterable[Asked], since: float, until: float) -> Figures:
    """Of these requests and this time (seconds, as `Asked` has them)."""
    everything = list(asked)
    closed = [one for one in everything if one.closed is not None and since <= one.closed < until]
    times = [one.closed - one.opened for one in closed if one.closed is not None and one.status in DECIDED]
    ages = [until - one.opened for one in everything if is_open(one, until)]

    def came_to(status: Status) -> int:
        return sum(one.status is status for one in closed)

    return Figures(
        opened=sum(since <= one.opened < until for one in everything),
        approved=came_to(Status.APPROVED),
        rejected=came_to(Status.REJECTED),
        answered=came_to(Status.ANSWERED),
        timed_out=came_to(Status.TIMED_OUT),
        withdrawn=came_to(Status.WITHDRAWN),
        median=percentile(times, 50),
        p90=percentile(times, 90),
        p95=percentile(times, 95),
        backlog=len(ages),
        oldest=max(ages, default=None),
        mean_age=fmean(ages) if ages else None,
    )


def is_open(asked: Asked, moment: float) -> bool:
    return asked.opened < moment and (asked.closed is None or asked.closed >= moment)
