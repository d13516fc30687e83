"""Many deadlines in the same moment: how fast they are recorded and woken, and whether the loop is free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from statistics import median
from time import monotonic
from typing import Any, LiteralString, TypedDict

import psycopg
from django.db import connection

from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.process import hints
from orchestration.benchmark import raw, stopwatch
from orchestration.benchmark.crowd import Asker, Crowd
from orchestration.benchmark.figures import Ratio, in_turns, percentile
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.report import Cell, Check, Column, Goal, Report, Table
from orchestration.benchmark.roles import Role
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage

SAYSO = "Sayso"
FLOOR = "raw batched SQL"

# What takes long each time is done once.
ROUNDS = 3
MANY = 20_000

PROBE_EVERY = 0.005
# Before the deadlines: the keeper asks for news within a second; setting many of them takes its time, too.
AHEAD = 2.5
SET_A_SECOND = 10_000


class Times(TypedDict):
    """Of one round, in seconds since the deadlines; `lateness` of each wait, ordered."""

    recorded: float
    resumed: float
    lateness: list[float]
    blocked: float


class DueCrowd(Crowd):
    """Waits while the deadlines pass; its room is the one that keeps them."""

    async def begin(self) -> None:
        await super().begin()
        self._commits = stopwatch.note_commits()

    async def fall_due(self, ids: list[str]) -> Times:
        """Put the deadlines of all pending requests on the same moment soon, and see what comes of it."""
        gc.collect()
        due = await in_database(_put_deadlines, AHEAD + len(ids) / SET_A_SECOND)
        hints.send("requests", ids[:1])  # as if they had been asked so
        probe = _Probe(due)
        await self.told()
        probe.stop()
        lateness = sorted(self._waits.resumed[id_] / 1e9 - due for id_ in ids if id_ in self._waits.resumed)
        return Times(
            recorded=max(self._commits[id_] for id_ in ids if id_ in self._commits) / 1e9 - due,
            resumed=lateness[-1],
            lateness=lateness,
            blocked=probe.longest,
        )


class RawSide(Role):
    """Does the same to as many rows with as few statements as can be, in batches as large as the writer's."""

    async def begin(self) -> None:
        self._store = raw.store()
        self._store.create()

    async def end(self) -> None:
        self._store.close()

    async def decide(self, count: int) -> float:
        """Seconds for all."""
        ids = self._store.open(count)
        batch = approval_settings().writer_batch
        batches = [ids[start : start + batch] for start in range(0, count, batch)]
        gc.collect()
        if connection.vendor == "postgresql":
            return _decided_in_postgres(batches)
        return _timed(self._store.decide_set, batches)


# Each entry has a text of its own, as an audit trail has: raw.py's writes one text for all.
_POSTGRES: LiteralString = """
    WITH entry AS (SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS new (id, canonical, hash)),
    decided AS (
        UPDATE benchmark_request r
        SET status = 'timed_out', closed_at = now(), changed_at = now()
        FROM entry WHERE r.id = entry.id AND r.status = 'pending' RETURNING r.id
    )
    INSERT INTO benchmark_entry (request_id, event, outcome, recorded_at, canonical, hash)
    SELECT id, 'timed_out', 'timed_out', now(), entry.canonical, entry.hash FROM decided JOIN entry USING (id)
"""


def _decided_in_postgres(batches: Sequence[list[str]]) -> float:
    filled = [(ids, [raw.CONTENT] * len(ids), [raw.HASH] * len(ids)) for ids in batches]
    with psycopg.connect(**raw.postgres_parameters()) as driver:
        return _timed(lambda rows: driver.execute(_POSTGRES, rows), filled)


def _timed(decide: Callable[[Any], object], batches: Sequence[Any]) -> float:
    started = monotonic()
    for batch in batches:
        decide(batch)
    return monotonic() - started


class _Probe:
    """How long the event loop did nothing else at a stretch, from a moment on: a timer that comes late."""

    def __init__(self, since: float) -> None:
        self.longest = 0.0
        self._since = since
        self._set()

    def stop(self) -> None:
        self._timer.cancel()

    def _set(self) -> None:
        self._due = monotonic() + PROBE_EVERY
        self._timer = asyncio.get_running_loop().call_later(PROBE_EVERY, self._look)

    def _look(self) -> None:
        now = monotonic()
        if now > self._since:
            self.longest = max(self.longest, now - max(self._due, self._since))
        self._set()


def _put_deadlines(seconds: float) -> float:
    """Everything pending is due in so many seconds. Returns when that is, on this process's clock."""
    asked = monotonic()
    now = database_now()
    here = (asked + monotonic()) / 2
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE approvals_humanrequest SET deadline = %s WHERE status = 'pending'",
            [_as_stored(now + timedelta(seconds=seconds))],
        )
    return here + seconds


def _as_stored(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (count,) = sizes
    rounds = stage.rounds(ROUNDS if count < MANY else 1)
    stage.expect(1 + 2 * rounds)
    crowd = await stage.part(DueCrowd)
    asker = await stage.part(Asker, opposite=crowd)
    raw_side = await stage.part(RawSide)
    closed = await asker(Asker.open_closed)
    stage.step()
    sayso: list[Times] = []
    floor: list[float] = []
    asked: list[str] = []
    for number in range(rounds):
        for contender in in_turns([SAYSO, FLOOR], number):
            if contender == SAYSO:
                ids = await asker(Asker.open, count)
                asked += ids
                await crowd(Crowd.join, ids)
                await crowd(Crowd.settle, closed)
                sayso.append(await crowd(DueCrowd.fall_due, ids))
            else:
                floor.append(await raw_side(RawSide.decide, count))
            stage.step()
    check = Check.of(await crowd(DueCrowd.told), await asker(Asker.recorded, asked))
    return _report(count, sayso, floor, check)


def _report(count: int, sayso: Sequence[Times], floor: Sequence[float], check: Check) -> Report:
    if not check.passed:
        return Report.failed(check)
    speeds = [count / times["resumed"] for times in sayso]
    ratio = Ratio.of(speeds, [count / seconds for seconds in floor])
    return Report(
        tables=(_speed_table(count, sayso, floor, ratio), _promptness_table(sayso)),
        goals=(
            Goal(
                text=f"{count:,} deadlines at once recorded and woken: at least 1/3 of raw batched SQL",
                limit=1 / 3,
                measured=ratio.median,
                at_least=True,
            ),
            Goal(
                text="the loop never blocked longer than 100 ms",
                limit=100,
                measured=max(times["blocked"] for times in sayso) * 1000,
                unit="ms",
            ),
        ),
        check=check,
        notes=(f"Medians of {len(sayso)} rounds; a ratio's range is theirs.",),
    )


def _speed_table(count: int, sayso: Sequence[Times], floor: Sequence[float], ratio: Ratio) -> Table:
    recorded = median([count / times["recorded"] for times in sayso])
    resumed = median([count / times["resumed"] for times in sayso])
    rows: tuple[tuple[Cell, ...], ...] = (
        (SAYSO, count, recorded, resumed, str(ratio)),
        (FLOOR, count, median([count / seconds for seconds in floor]), None, "1"),
    )
    return Table(
        title=f"{count:,} deadlines in the same moment",
        columns=(
            Column(name=""),
            Column(name="deadlines"),
            Column(name="recorded", unit="1/s"),
            Column(name="recorded and woken", unit="1/s"),
            Column(name="× raw batched SQL"),
        ),
        rows=rows,
    )


def _promptness_table(sayso: Sequence[Times]) -> Table:
    rows = tuple(
        (
            number,
            *(percentile(times["lateness"], share) * 1000 for share in (0, 0.5, 0.99)),
            times["resumed"] * 1000,
            times["blocked"] * 1000,
        )
        for number, times in enumerate(sayso, start=1)
    )
    names = ("first wait resumed", "p50", "p99", "last", "longest block of the loop")
    columns = (Column(name="round"), *(Column(name=name, unit="ms") for name in names))
    return Table(title="How late, from the deadline to the waiter resumed", columns=columns, rows=rows)


SCENARIO = Scenario(
    name="deadlines",
    summary="many deadlines in the same moment, recorded and woken",
    method=(
        "One process waits for N requests (gate.wait_for_outcome) and keeps their deadlines, as every"
        " server does; when all rows have been looked at, one statement puts all the deadlines on the"
        " same moment, some seconds ahead, and a hint says that something has changed. From that moment"
        " on it counts until the last timeout is committed, and until the last waiter is resumed. A"
        " timer of 5 ms on the same event loop tells how long that was blocked, by the writer's thread"
        " or garbage collection, too. Beside it, in turns: a conditional UPDATE and an INSERT of as"
        " many rows in one statement of a bare driver, in batches as large as the writer's, in a"
        " process that does nothing else; without hash chain, deadline test or anybody to wake. Three"
        " rounds; one from 20,000 on."
    ),
    unit="deadlines",
    sizes=(2_000,),
    most=100_000,
    needs=lambda size: Needs(memory=400_000_000 + 15_000 * size),
    run=run,
)
