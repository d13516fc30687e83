"""What a report on a year of requests takes, by each grouping, beside one on its last thirty days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from time import monotonic

from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.reports import By, Period, report
from orchestration.benchmark import history, years
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.report import Cell, Chart, Check, Column, Goal, Report, Series, Table
from orchestration.benchmark.roles import Role
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage

ROUNDS = 3
MONTH = timedelta(days=30)
PERIODS = {"a year": years.YEAR, "30 days": MONTH}
GOAL_SIZE, GOAL_SECONDS = 1_000_000, 5.0


class Manager(Role):
    """Lives in one place with its year, and reads reports on it."""

    async def settle(self, place: str, size: int) -> None:
        await in_database(history.move_to, place)
        cast = await in_database(history.people)
        await in_database(years.make_year, cast, size)
        self._now = await in_database(database_now)

    async def read(self, by: str, days: float) -> tuple[float, int]:
        """How many seconds it took, and how many requests it counted as opened."""
        period = Period(since=self._now - timedelta(days=days), until=self._now)
        started = monotonic()
        found = await in_database(report, period, By(by))
        return monotonic() - started, found.total.opened or 0


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    rounds = stage.rounds(ROUNDS)
    stage.expect(len(sizes) * (1 + rounds))
    rows: list[tuple[Cell, ...]] = []
    slowest: list[tuple[float, ...]] = []
    for size in sizes:
        manager = await stage.part(Manager)
        await manager(Manager.settle, f"year_{size}", size)
        stage.step()
        times: dict[tuple[str, str], list[float]] = {}
        counted: dict[str, int] = {}
        for _ in range(rounds):
            for by in By:
                for name, length in PERIODS.items():
                    took, counted[name] = await manager(Manager.read, by.value, length.days)
                    times.setdefault((by.value, name), []).append(took)
            stage.step()
        medians = {key: median(each) for key, each in times.items()}
        rows += [(by, size, name, counted[name], took) for (by, name), took in medians.items()]
        slowest.append(
            tuple(max(took for (_, which), took in medians.items() if which == name) for name in PERIODS)
        )
    return _report(sizes, rows, slowest)


def _report(
    sizes: Sequence[int], rows: Sequence[tuple[Cell, ...]], slowest: Sequence[tuple[float, ...]]
) -> Report:
    columns = (
        Column(name="report by"),
        Column(name="on record", unit="requests"),
        Column(name="period"),
        Column(name="in the period", unit="requests"),
        Column(name="p50", unit="s"),
    )
    at_goal = sizes[-1] >= GOAL_SIZE
    return Report(
        tables=(Table(title="Reports", columns=columns, rows=tuple(rows)),),
        goals=(
            Goal(
                text=f"a report on {GOAL_SIZE:,} requests of a year, by whatever is slowest",
                limit=GOAL_SECONDS,
                measured=slowest[-1][0] if at_goal else None,
                unit="s",
            ),
        ),
        charts=(
            Chart(
                title="The slowest report",
                kind="lines",
                unit="s",
                across="requests on record",
                ticks=tuple(f"{size:,}" for size in sizes),
                series=tuple(
                    Series(name=name, values=tuple(each[place] for each in slowest))
                    for place, name in enumerate(PERIODS)
                ),
            ),
        ),
        check=Check.of([], {}),
        notes=("Nobody waits here, so there are no waits to check.",),
    )


SCENARIO = Scenario(
    name="report",
    summary="a report on a year of requests, by each grouping",
    method=(
        "In a place of its own (a schema or a file), N requests of the last year: rows as Sayso writes them,"
        " with assigned groups and runs, but without trails, which reports do not read; the first 20,000 are"
        " made one by one, the rest are copies of these at other moments. PostgreSQL is vacuumed and"
        " analysed. Then three rounds of one report by each grouping, on the year and on its last thirty"
        " days; medians. There is no baseline: nothing else makes such a report."
    ),
    unit="requests on record",
    sizes=(2_000, 20_000),
    least=100,
    most=2_000_000,
    needs=lambda size: Needs(memory=300_000_000 + 300 * size),
    run=run,
)
