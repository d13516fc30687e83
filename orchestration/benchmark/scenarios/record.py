"""How the cost of reading and deciding grows with the record; and how long a report takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import chain, product
from statistics import median
from time import monotonic, monotonic_ns
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest

from approvals import deciding, queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import Approval, AuditEntry
from approvals.process import hints
from approvals.reports import By, Period, report
from orchestration.benchmark import history
from orchestration.benchmark.load import Requests, milliseconds
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Cell, Check, Report, Samples, Scenario

ROUNDS = 12
TIMES = 10
# One page of the inbox; the reviewer has as many at the smallest size, too.
PAGE = 50
# The history is this many times as large as what is pending beside it.
PENDING_SHARE = 10
DUE_AT_ONCE = 1_000

LISTS = ("inbox, reviewer", "inbox, plain user", "decided, reviewer", "admin, requests", "admin, entries")
# The page of what was decided.
DECIDED = queries.Selection(tab=queries.Tab.DECIDED)
COSTS = ("decision", *LISTS, "re-check", "next deadline")


class Keeper(Requests):
    """Uses one place with its history, and measures what things cost there."""

    async def begin(self) -> None:
        # As in a server, a decision only hands its hint on and does not wait until it is sent.
        hints.attach(lambda topic, ids: None)
        admin.autodiscover()  # the URLs do it, which nothing loads here

    async def fill(self, place: str, past: int, pending: int) -> None:
        await in_database(history.move_to, place)
        self._people = people = await in_database(history.make_people)
        await in_database(history.make_past, people, past)
        self._pending = await in_database(history.make_pending, people, pending)
        random.Random(pending).shuffle(self._pending)  # noqa: S311  old ones and new ones
        await in_database(history.tidy)
        self._lists: dict[str, Callable[[], Sequence[Any]]] = {
            "inbox, reviewer": lambda: queries.list_inbox(people.reviewer, limit=PAGE),
            "inbox, plain user": lambda: queries.list_inbox(people.plain, limit=PAGE),
            "decided, reviewer": lambda: queries.Inbox(people.reviewer).read(DECIDED, PAGE).rows,
            "admin, requests": lambda: _list(Approval, people.auditor),
            "admin, entries": lambda: _list(AuditEntry, people.auditor),
        }

    async def costs(self) -> tuple[dict[str, float], list[tuple[str, str]]]:
        """Return the median of each cost, in milliseconds, and what was decided meanwhile: (id, status)."""
        # As many are pending, and as many have changed lately, each time.
        since = await in_database(database_now)
        self._pending += await in_database(history.open_unassigned, self._people, TIMES)
        decisions, told = await self._decide()
        reads: dict[str, Callable[[], Any]] = {
            **self._lists,
            "re-check": lambda: queries.changed_since(since),
            "next deadline": lambda: (queries.next_due(), queries.overdue(DUE_AT_ONCE)),
        }
        found = {name: await in_database(_median_of, read) for name, read in reads.items()}
        return {"decision": decisions, **found}, told

    async def shown(self) -> dict[str, int]:
        """Return how many rows the two inboxes and the two lists have to show."""
        return {name: len(await in_database(read)) for name, read in self._lists.items()}

    async def _decide(self) -> tuple[float, list[tuple[str, str]]]:
        ids, self._pending = self._pending[:TIMES], self._pending[TIMES:]
        times, told = [], []
        for id_ in ids:
            started = monotonic_ns()
            outcome = await deciding.adecide(self._people.deciding, id_, "approve")
            times.append(milliseconds(monotonic_ns() - started))
            told.append((str(id_), outcome.status))
        return median(times), told


def _median_of(read: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        started = monotonic_ns()
        read()
        times.append(milliseconds(monotonic_ns() - started))
    return median(times)


def _list(model: type[Model], user_id: int) -> Sequence[Any]:
    """Read the rows of the first page of this user's list in the admin."""
    request = HttpRequest()
    request.method, request.user = "GET", User.objects.get(pk=user_id)
    return list(admin.site.get_model_admin(model).get_changelist_instance(request).result_list)


def pending(size: int) -> int:
    return max(size // PENDING_SHARE, 3 * history.OWN)


async def measure_growth(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure decision, inbox, lists of the admin and re-check as the record grows.

    For each size a place of its own (a schema or a file), with N requests that were decided and N/10 that are
    pending, put on record by Sayso's writer, with answers and trails; then PostgreSQL is vacuumed and
    analysed, as it does by itself. All places exist side by side and are measured in turns: twelve rounds, in
    each ten of every cost, one after the other; medians, and the ratio to the smallest size's in the same
    round. Cost of: one decision (deciding.adecide until committed) of a request opened at any time; one page
    (50) of the inbox, for a reviewer who may decide what is assigned to nobody and for a user without
    permissions, who has 30 pending at every size, and asked one in a hundred of the history, was named in one
    of five hundred and by group in another; the first page of what was decided, for the reviewer; the rows of
    the first page of the admin's lists of approvals and
    of audit entries, for an auditor who sees all (reading them, not drawing the page); the re-check's
    questions: what changed since the round began, the next deadline and what is overdue. Reports have a
    scenario of their own.
    """
    rounds = env.rounds(ROUNDS)
    keepers = {size: await env.start(Keeper) for size in sizes}
    for size in env.steps(sizes):
        await keepers[size].fill(f"history_{size}", size, pending(size))
    found = Samples()
    told: dict[int, list[Sequence[str]]] = {size: [] for size in sizes}
    for number, size in env.turns(sizes, rounds + 1):
        costs, decided = await keepers[size].costs()
        told[size] += decided
        if number:  # the first warms up
            for cost, took in costs.items():
                found[cost, size].append(took)
    recorded: dict[str, str] = {}
    for size, keeper in keepers.items():
        recorded |= await keeper.recorded([id_ for id_, _ in told[size]])
    shown = [await keeper.shown() for keeper in keepers.values()]
    return _report_growth(Check.of(chain(*told.values()), recorded), sizes, found, shown)


def _report_growth(
    check: Check, sizes: Sequence[int], found: Samples, shown: Sequence[Mapping[str, int]]
) -> Report:
    same = ", ".join(f"{name} {sorted({each[name] for each in shown})}" for name in LISTS)
    report = Report(
        check,
        f"Each inbox and each list shows as many rows at every size: {same}.",
        "Here each decision is taken for a wait: what its caller was told is held against the record.",
    )
    least, most = sizes[0], sizes[-1]

    def row(cost: str, size: int) -> tuple[Cell, ...]:
        ratio = "1" if size == least else str(found.ratio((cost, size), (cost, least)))
        return cost, size, pending(size), found.median((cost, size)), ratio

    report.table(
        "Cost as the record grows",
        "cost of one; history|rows; pending|rows; p50|ms; × smallest",
        [row(cost, size) for cost in COSTS for size in sizes],
    )
    for cost in COSTS:
        ratio = found.ratio((cost, most), (cost, least)).median if len(sizes) > 1 else None
        report.at_most(f"{cost}: at {most:,} rows of history at most 1.2 × at {least:,}", 1.2, ratio)
    ticks = [f"{size:,}" for size in sizes]
    series = {cost: [found.median((cost, size)) for size in sizes] for cost in COSTS}
    report.chart("Cost as the record grows", "lines", "ms", ticks, series, across="rows of history")
    return report


GROWTH = Scenario(
    "growth",
    measure_growth,
    unit="decided requests on record",
    sizes=(1_000, 10_000),
    least=100,
    most=1_000_000,
    memory=(300_000_000, 500),
)


REPORT_ROUNDS = 3
PERIODS = {"a year": history.YEAR, "30 days": timedelta(days=30)}
GOAL_SIZE = 1_000_000


class Reader(Remote):
    """Uses one place with its year, and reads reports on it."""

    async def fill(self, place: str, size: int) -> None:
        await in_database(history.move_to, place)
        people = await in_database(history.make_people)
        await in_database(history.make_year, people, size)
        self._now = await in_database(database_now)

    async def read(self, by: str, days: float) -> tuple[float, int]:
        """Return the seconds that it took, and how many requests it counted as opened."""
        period = Period(since=self._now - timedelta(days=days), until=self._now)
        started = monotonic()
        found = await in_database(report, period, By(by))
        return monotonic() - started, found.total.opened or 0


async def measure_report(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure a report on a year of requests, by each grouping.

    In a place of its own (a schema or a file), N requests of the last year: rows as Sayso writes them, with
    assigned groups and runs, but without trails, which reports do not read. PostgreSQL is vacuumed and
    analysed. Then three rounds of one report by each grouping, on the year and on its last thirty days;
    medians. There is no baseline: nothing else makes such a report.
    """
    rows: list[tuple[Cell, ...]] = []
    slowest: dict[str, list[float]] = {name: [] for name in PERIODS}
    for size in sizes:
        reader = await env.start(Reader)
        await reader.fill(f"year_{size}", size)
        found, opened = Samples(), {}
        for _ in env.steps(range(env.rounds(REPORT_ROUNDS))):
            for by, name in product([by.value for by in By], PERIODS):
                took, opened[by, name] = await reader.read(by, PERIODS[name].days)
                found[by, name].append(took)
        rows += [(by, size, name, opened[by, name], found.median((by, name))) for by, name in found]
        for name, times in slowest.items():
            times.append(max(found.median(key) for key in found if key[1] == name))
    report = Report(Check(), "Nobody waits here, so there are no waits to check.")
    report.table("Reports", "report by; on record|requests; period; in the period|requests; p50|s", rows)
    goal = f"a report on {GOAL_SIZE:,} requests of a year, by whatever is slowest"
    report.at_most(goal, 5.0, slowest["a year"][-1] if sizes[-1] >= GOAL_SIZE else None, "s")
    ticks = [f"{size:,}" for size in sizes]
    report.chart("The slowest report", "lines", "s", ticks, slowest, across="requests on record")
    return report


REPORT = Scenario(
    "report",
    measure_report,
    unit="requests on record",
    sizes=(2_000, 20_000),
    least=100,
    most=2_000_000,
    memory=(300_000_000, 300),
)
