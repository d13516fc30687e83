"""How soon after its start a process waits again for everything that is pending."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from statistics import median
from time import monotonic_ns, process_time
from typing import TypedDict

import psycopg
from django.db import connection

from approvals.database.threads import in_database
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.waiting.room import waiting_room
from orchestration.benchmark import raw
from orchestration.benchmark.crowd import Asker, Crowd, Decider
from orchestration.benchmark.figures import Ratio, in_turns
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.report import Cell, Check, Column, Goal, Report, Table
from orchestration.benchmark.roles import Role
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage

SAYSO = "Sayso"
FLOOR = "plain SELECT"

ROUNDS = 3
SAMPLE = 500


class Times(TypedDict):
    """Of one start: moments in nanoseconds of the monotonic clock; `cpu` in seconds since `serving`."""

    serving: int
    known: int
    registered: int
    attached: int
    cpu: float


class Returning(Crowd):
    """A process that has just started: it waits for all that is pending, as its programs did before."""

    async def begin(self) -> None:
        await super().begin()
        self._serving = monotonic_ns()

    async def reattach(self, closed: str) -> Times:
        """Wait again for everything; when each has been looked at, nothing of before can be missed."""
        cpu = process_time()
        ids = await in_database(_pending)
        known = monotonic_ns()
        await self._waits.begin(ids)
        registered = monotonic_ns()
        await self.settle(closed)
        return Times(
            serving=self._serving,
            known=known,
            registered=registered,
            attached=monotonic_ns(),
            cpu=process_time() - cpu,
        )

    async def waiting(self) -> int:
        return len(waiting_room())

    async def told_of(self, ids: list[str]) -> list[tuple[str, str]]:
        """What all waits were told, once those for these are over or lost."""
        await self._waits.over(ids)
        return self._waits.told


class Reading(Role):
    """Reads the same rows at once, by the bare driver."""

    async def read(self) -> tuple[int, float]:
        """How many rows, and the seconds it took."""
        gc.collect()
        read = _read_from_postgres if connection.vendor == "postgresql" else _read_from_sqlite
        return await in_database(read)


_SELECT = "SELECT id, status, deadline, arguments FROM approvals_humanrequest WHERE status = 'pending'"


def _read_from_postgres() -> tuple[int, float]:
    with psycopg.connect(**raw.postgres_parameters()) as driver:
        started = monotonic_ns()
        rows = driver.execute(_SELECT).fetchall()
        return len(rows), (monotonic_ns() - started) / 1e9


def _read_from_sqlite() -> tuple[int, float]:
    connection.ensure_connection()
    started = monotonic_ns()
    rows = connection.connection.execute(_SELECT).fetchall()
    return len(rows), (monotonic_ns() - started) / 1e9


def _pending() -> list[str]:
    """What the process's programs wait for; they have it from their own record."""
    pending = HumanRequest.objects.filter(status=Status.PENDING).order_by("id")
    return [str(pk) for pk in pending.values_list("pk", flat=True)]


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (count,) = sizes
    rounds = stage.rounds(ROUNDS)
    stage.expect(2 + 2 * rounds)
    asker = await stage.part(Asker)
    closed = await asker(Asker.open_closed)
    ids = await asker(Asker.open, count)
    await stage.dismiss(asker)
    stage.step()
    reading = await stage.part(Reading)
    starts: list[tuple[int, Times]] = []
    reads: list[float] = []
    returning = None
    for number in range(rounds):
        for contender in in_turns([SAYSO, FLOOR], number):
            if contender == FLOOR:
                rows, seconds = await reading(Reading.read)
                if rows != count:
                    raise RuntimeError(f"{rows} rows are pending, not {count}")
                reads.append(seconds)
            else:
                if returning is not None:
                    await stage.dismiss(returning)
                started = monotonic_ns()
                returning = await stage.part(Returning)
                starts.append((started, await returning(Returning.reattach, closed)))
                if (waiting := await returning(Returning.waiting)) != count:
                    raise RuntimeError(f"{waiting} are waited for, not {count}")
            stage.step()
    if returning is None:
        raise RuntimeError("nothing was started")
    decider = await stage.part(Decider, opposite=returning)
    sample = ids[:: max(1, count // SAMPLE)]
    await decider(Decider.decide_all, sample)
    recorded = await decider(Decider.recorded, sample)
    check = Check.of(await returning(Returning.told_of, sample), recorded)
    stage.step()
    return _report(count, starts, reads, check)


def _report(count: int, starts: Sequence[tuple[int, Times]], reads: Sequence[float], check: Check) -> Report:
    attaching = [_seconds(times["serving"], times["attached"]) for _, times in starts]
    whole = [_seconds(started, times["attached"]) for started, times in starts]
    return Report(
        tables=(_table(count, starts, reads, Ratio.of(attaching, reads)),),
        goals=(
            Goal(
                text=f"{count:,} pending waits re-attached after a restart, once the process serves",
                limit=20_000,
                measured=median([count / seconds for seconds in attaching]),
                unit="waits a second",
                at_least=True,
            ),
        ),
        check=check,
        notes=(f"From the process's start, imports included: {count / median(whole):,.0f} waits a second.",),
    )


def _table(count: int, starts: Sequence[tuple[int, Times]], reads: Sequence[float], ratio: Ratio) -> Table:
    steps = [
        (
            _seconds(started, times["serving"]),
            _seconds(times["serving"], times["known"]),
            _seconds(times["known"], times["registered"]),
            _seconds(times["registered"], times["attached"]),
            _seconds(started, times["attached"]),
            count / _seconds(times["serving"], times["attached"]),
            times["cpu"],
        )
        for started, times in starts
    ]
    sayso: tuple[Cell, ...] = (SAYSO, *(median(step) for step in zip(*steps, strict=True)), str(ratio))
    read = median(reads)
    floor: tuple[Cell, ...] = (FLOOR, None, read, None, None, None, count / read, None, "1")
    names = ("start to serving", "ids read", "registered", "all looked at", "start to re-attached")
    return Table(
        title=f"A process starts while {count:,} requests are pending",
        columns=(
            Column(name=""),
            *(Column(name=name, unit="s") for name in names),
            Column(name="waits, once serving", unit="1/s"),
            Column(name="CPU, once serving", unit="s"),
            Column(name="serving to re-attached, × SELECT"),
        ),
        rows=(sayso, floor),
    )


def _seconds(start: int, end: int) -> float:
    return (end - start) / 1e9


SCENARIO = Scenario(
    name="restart",
    summary="a process starts, and waits again for all that is pending",
    method=(
        "N requests are pending, the process that waited for them is gone. Three times a fresh process"
        " starts, reads the ids of what is pending and waits for each (gate.wait_for_outcome), as the"
        " programs of a server do after its restart; asking again under the same key ends in the same"
        " wait, after one more write. A wait counts as re-attached when its row has been looked at"
        " after it was registered: what was decided meanwhile is known then. The start of the"
        " interpreter and Django's imports are told apart, since they do not grow with the waits."
        " Beside it, in turns, in a process that is already there: one plain SELECT of the same rows by"
        " the bare driver. Then a sample of up to some 500 is decided by another process, and each of"
        " those waits must be told what is on record."
    ),
    unit="pending waits",
    sizes=(5_000,),
    most=100_000,
    needs=lambda size: Needs(memory=400_000_000 + 12_000 * size),
    run=run,
)
