"""What a decision, lists and the re-check cost when much is on record, beside when little is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median
from time import monotonic_ns
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
from orchestration.benchmark import history, records
from orchestration.benchmark.figures import Ratio, in_turns, milliseconds
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.players import Part
from orchestration.benchmark.report import Cell, Chart, Check, Column, Goal, Report, Series, Table
from orchestration.benchmark.roles import Role
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage

ROUNDS = 12
TIMES = 10
# One page of the inbox; the reviewer has as many at the smallest size, too.
PAGE = 50
# Of the history, so much is pending beside it.
PENDING_SHARE = 10
DUE_AT_ONCE = 1_000

COSTS = (
    "decision",
    "inbox, reviewer",
    "inbox, plain user",
    "admin, requests",
    "admin, entries",
    "re-check",
    "next deadline",
)

Times = dict[str, float]


class Keeper(Role):
    """Lives in one place with its history, and says what things cost there."""

    async def settle(self, place: str) -> None:
        # As in a server: who has decided hands the hint on and does not wait for the wire.
        hints.attach(_taken)
        await in_database(history.move_to, place)
        self._cast = await in_database(history.people)

    async def end(self) -> None:
        hints.detach(_taken)

    async def fill(self, past: int, pending: int) -> None:
        await in_database(history.make_history, self._cast, past)
        self._pending = await in_database(history.make_pending, self._cast, pending)
        random.Random(pending).shuffle(self._pending)  # noqa: S311  old ones and new ones
        await in_database(history.tidy)

    async def costs(self) -> tuple[Times, list[tuple[str, str]]]:
        """The median of each cost, in milliseconds, and what was decided meanwhile: (id, status)."""
        # As many are pending, and as many have changed lately, each time.
        since = await in_database(database_now)
        self._pending += await in_database(history.open_unassigned, self._cast, TIMES)
        decisions, told = await self._decide()
        cast = self._cast
        reads: dict[str, Callable[[], Any]] = {
            "inbox, reviewer": lambda: queries.list_inbox(cast.reviewer, limit=PAGE),
            "inbox, plain user": lambda: queries.list_inbox(cast.plain, limit=PAGE),
            "admin, requests": lambda: _listed(Approval, cast.auditor),
            "admin, entries": lambda: _listed(AuditEntry, cast.auditor),
            "re-check": lambda: queries.changed_since(since),
            "next deadline": lambda: (queries.next_deadline(), queries.overdue(DUE_AT_ONCE)),
        }
        found = {name: await in_database(_median_of, read) for name, read in reads.items()}
        return {"decision": decisions, **found}, told

    async def recorded(self, ids: list[str]) -> dict[str, str]:
        return await in_database(records.recorded, ids)

    async def seen(self) -> dict[str, int]:
        """How many rows the two inboxes and the two lists have to show."""
        return {
            "inbox, reviewer": len(await in_database(queries.list_inbox, self._cast.reviewer, limit=PAGE)),
            "inbox, plain user": len(await in_database(queries.list_inbox, self._cast.plain, limit=PAGE)),
            "admin, requests": len(await in_database(_listed, Approval, self._cast.auditor)),
            "admin, entries": len(await in_database(_listed, AuditEntry, self._cast.auditor)),
        }

    async def _decide(self) -> tuple[float, list[tuple[str, str]]]:
        ids, self._pending = self._pending[:TIMES], self._pending[TIMES:]
        times, told = [], []
        for id_ in ids:
            started = monotonic_ns()
            outcome = await deciding.adecide(self._cast.deciding, id_, "approve")
            times.append(milliseconds(monotonic_ns() - started))
            told.append((str(id_), outcome.status))
        return median(times), told


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    turns = stage.rounds(ROUNDS)
    stage.expect(len(sizes) + turns * len(sizes))
    places: dict[str, Part[Keeper]] = {}
    for size in sizes:
        keeper = places[str(size)] = await stage.part(Keeper)
        await keeper(Keeper.settle, f"history_{size}")
        await keeper(Keeper.fill, size, _pending(size))
        stage.step()
    rounds: dict[str, list[Times]] = {name: [] for name in places}
    told: dict[str, list[tuple[str, str]]] = {name: [] for name in places}
    for number in range(turns + 1):
        for name in in_turns(list(places), number):
            costs, decided = await places[name](Keeper.costs)
            told[name] += decided
            if number:  # the first warms up
                rounds[name].append(costs)
                stage.step()
    return _report(sizes, rounds, await _check(places, told), await _shown(places))


async def _check(places: dict[str, Part[Keeper]], told: dict[str, list[tuple[str, str]]]) -> Check:
    check = Check(waits=0, resolved=0)
    for name, keeper in places.items():
        recorded = await keeper(Keeper.recorded, [id_ for id_, _ in told[name]])
        check += Check.of(told[name], recorded)
    return check


async def _shown(places: dict[str, Part[Keeper]]) -> list[dict[str, int]]:
    return [await keeper(Keeper.seen) for keeper in places.values()]


def _report(
    sizes: Sequence[int], rounds: dict[str, list[Times]], check: Check, shown: list[dict[str, int]]
) -> Report:
    least, most = str(sizes[0]), str(sizes[-1])
    ratios = {
        (name, cost): Ratio.of(_of(rounds[name], cost), _of(rounds[least], cost))
        for name in rounds
        for cost in COSTS
    }
    rows: list[tuple[Cell, ...]] = []
    for cost in COSTS:
        for size in sizes:
            name = str(size)
            ratio = "1" if name == least else str(ratios[name, cost])
            rows.append((cost, size, _pending(size), median(_of(rounds[name], cost)), ratio))
    columns = (
        Column(name="cost of one"),
        Column(name="history", unit="rows"),
        Column(name="pending", unit="rows"),
        Column(name="p50", unit="ms"),
        Column(name="× smallest"),
    )
    grown = len(sizes) > 1
    return Report(
        tables=(Table(title="Cost as the record grows", columns=columns, rows=tuple(rows)),),
        goals=tuple(
            Goal(
                text=f"{cost}: at {int(most):,} rows of history at most 1.2 × at {int(least):,}",
                limit=1.2,
                measured=ratios[most, cost].median if grown else None,
            )
            for cost in COSTS
        ),
        charts=(
            Chart(
                title="Cost as the record grows",
                kind="lines",
                unit="ms",
                across="rows of history",
                ticks=tuple(f"{size:,}" for size in sizes),
                series=tuple(
                    Series(name=cost, values=tuple(median(_of(rounds[str(size)], cost)) for size in sizes))
                    for cost in COSTS
                ),
            ),
        ),
        check=check,
        notes=(
            "Each inbox and each list shows as many rows at every size: "
            + ", ".join(f"{cost} {sorted({each[cost] for each in shown})}" for cost in shown[0])
            + ".",
            "Here each decision is taken for a wait: what its caller was told is held against the record.",
        ),
    )


def _pending(size: int) -> int:
    return max(size // PENDING_SHARE, 3 * history.OWN)


def _of(rounds: list[Times], cost: str) -> list[float]:
    return [each[cost] for each in rounds]


def _median_of(read: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        started = monotonic_ns()
        read()
        times.append(milliseconds(monotonic_ns() - started))
    return median(times)


def _listed(model: type[Model], user_id: int) -> Sequence[Any]:
    """The rows of the first page of the admin's list, as whoever opens it is known and permitted to."""
    request = HttpRequest()
    request.method, request.user = "GET", User.objects.get(pk=user_id)
    return list(admin.site.get_model_admin(model).get_changelist_instance(request).result_list)


def _taken(topic: str, ids: Any) -> None:
    """Nobody waits here."""


SCENARIO = Scenario(
    name="growth",
    summary="decision, inbox, lists of the admin and re-check as the record grows",
    method=(
        "For each size a place of its own (a schema or a file), with N requests that were decided and"
        " N/10 that are pending, put on record by Sayso's writer, with answers and trails (on PostgreSQL"
        " the first 10,000, the rest are copies of these under other ids with their trails hashed anew);"
        " then PostgreSQL is vacuumed and analysed, as it does by itself. All places exist side by side"
        " and are measured in turns: twelve rounds, in each ten of every cost, one after the other;"
        " medians, and the ratio to the smallest size's in the same round. Cost of: one decision"
        " (deciding.adecide until committed) of a request opened at any time; one page (50) of the inbox,"
        " for a reviewer who may decide what is assigned to nobody and for a user without permissions, who"
        " has 30 pending at every size, and asked one in a hundred of the history, was named in one of"
        " five hundred and by group in another; the rows of the first page of the admin's lists of"
        " approvals and of audit entries, for an auditor who sees all (reading them, not drawing the page);"
        " the re-check's questions: what changed since the round began, the next deadline and what is"
        " overdue. Reports have a scenario of their own."
    ),
    unit="decided requests on record",
    sizes=(1_000, 10_000),
    least=100,
    most=1_000_000,
    needs=lambda size: Needs(memory=300_000_000 + 500 * size),
    run=run,
)
