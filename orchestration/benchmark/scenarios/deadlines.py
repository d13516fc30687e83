"""Many deadlines in the same moment: how fast they are recorded and woken, and whether the loop is free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import median
from time import monotonic
from typing import Any, LiteralString, TypedDict

import psycopg
from django.db import connection

from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.process import hints
from orchestration.benchmark import baseline
from orchestration.benchmark.load import Requests, Waiter, note_commits
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Check, Findings, Goal, Ratio, Scenario, Table, percentiles

SAYSO, FLOOR = "Sayso", "raw batched SQL"

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


class DueWaiter(Waiter):
    """Waits while the deadlines pass; its room is the one that keeps them."""

    async def begin(self) -> None:
        await super().begin()
        self._commits = note_commits()

    async def fall_due(self, ids: list[str]) -> Times:
        """Put the deadlines of all pending requests on the same moment soon, and see what comes of it."""
        gc.collect()
        due = await in_database(_put_deadlines, AHEAD + len(ids) / SET_A_SECOND)
        hints.send("requests", ids[:1])  # as if they had been asked so
        probe = Probe(due)
        await self.told()
        probe.stop()
        lateness = sorted(self._waits.resumed[id_] / 1e9 - due for id_ in ids if id_ in self._waits.resumed)
        return Times(
            recorded=max(self._commits[id_] for id_ in ids if id_ in self._commits) / 1e9 - due,
            resumed=lateness[-1],
            lateness=lateness,
            blocked=probe.longest,
        )


class RawDecider(Remote):
    """Does the same to as many rows with as few statements as can be, in batches as large as the writer's."""

    async def begin(self) -> None:
        self._store = baseline.store()
        self._store.create()

    async def end(self) -> None:
        self._store.close()

    async def decide(self, count: int) -> float:
        """Return the seconds for all."""
        ids = self._store.open(count)
        size = approval_settings().writer_batch
        batches = [ids[start : start + size] for start in range(0, count, size)]
        gc.collect()
        if connection.vendor != "postgresql":
            return _time(self._store.decide_set, batches)
        filled = [(some, [baseline.CONTENT] * len(some), [baseline.HASH] * len(some)) for some in batches]
        with psycopg.connect(**baseline.postgres_parameters()) as driver:
            return _time(lambda rows: driver.execute(_DECIDE, rows), filled)


# Each entry has a text of its own, as an audit trail has: baseline.py's writes one text for all.
_DECIDE: LiteralString = """
    WITH entry AS (SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS new (id, canonical, hash)),
    decided AS (
        UPDATE benchmark_request r
        SET status = 'timed_out', closed_at = now(), changed_at = now()
        FROM entry WHERE r.id = entry.id AND r.status = 'pending' RETURNING r.id
    )
    INSERT INTO benchmark_entry (request_id, event, outcome, recorded_at, canonical, hash)
    SELECT id, 'timed_out', 'timed_out', now(), entry.canonical, entry.hash FROM decided JOIN entry USING (id)
"""


def _time(decide: Callable[[Any], object], batches: Sequence[Any]) -> float:
    started = monotonic()
    for batch in batches:
        decide(batch)
    return monotonic() - started


class Probe:
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
    """Have everything pending fall due in so many seconds; returns when that is, on this process's clock."""
    asked = monotonic()
    deadline = database_now() + timedelta(seconds=seconds)
    here = (asked + monotonic()) / 2
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE approvals_humanrequest SET deadline = %s WHERE status = 'pending'",
            [connection.ops.adapt_datetimefield_value(deadline)],
        )
    return here + seconds


async def measure(env: Environment, sizes: Sequence[int]) -> Findings:
    """Measure many deadlines in the same moment, recorded and woken.

    One process waits for N requests (gate.wait_for_outcome) and keeps their deadlines, as every server does;
    when all rows have been looked at, one statement puts all the deadlines on the same moment, some seconds
    ahead, and a hint says that something has changed. From that moment on it counts until the last timeout is
    committed, and until the last waiter is resumed. A timer of 5 ms on the same event loop tells how long
    that was blocked, by the writer's thread or garbage collection, too. Beside it, in turns: a conditional
    UPDATE and an INSERT of as many rows in one statement of a bare driver, in batches as large as the
    writer's, in a process that does nothing else; without hash chain, deadline test or anybody to wake. Three
    rounds; one from 20,000 on.
    """
    (count,) = sizes
    waiter = await env.start(DueWaiter)
    requests = await env.start(Requests, beside=waiter)
    raw = await env.start(RawDecider)
    closed = await requests.open_closed()
    times: list[Times] = []
    floor: list[float] = []
    opened: list[str] = []
    for _, contender in env.turns([SAYSO, FLOOR], env.rounds(ROUNDS if count < MANY else 1)):
        if contender == FLOOR:
            floor.append(count / await raw.decide(count))
            continue
        ids = await requests.open(count)
        opened += ids
        await waiter.wait(ids)
        await waiter.settle(closed)
        times.append(await waiter.fall_due(ids))
    check = Check.of(await waiter.told(), await requests.recorded(opened))
    if not check.passed:
        return Findings(check=check)

    woken = [count / each["resumed"] for each in times]
    recorded = median([count / each["recorded"] for each in times])
    ratio = Ratio.of(woken, floor)
    return Findings(
        tables=[
            [(SAYSO, count, recorded, median(woken), str(ratio)), (FLOOR, count, median(floor), None, "1")],
            [
                (
                    number,
                    *(1000 * share for share in percentiles(each["lateness"], 0, 0.5, 0.99)),
                    1000 * each["resumed"],
                    1000 * each["blocked"],
                )
                for number, each in enumerate(times, start=1)
            ],
        ],
        goals=[ratio.median, 1000 * max(each["blocked"] for each in times)],
        check=check,
        notes=(f"Medians of {len(times)} rounds; a ratio's range is theirs.",),
    )


DEADLINES = Scenario(
    name="deadlines",
    unit="deadlines",
    sizes=(2_000,),
    most=100_000,
    needs=lambda size: Needs(memory=400_000_000 + 15_000 * size),
    measure=measure,
    tables=(
        Table(
            "{size:,} deadlines in the same moment",
            "; deadlines; recorded|1/s; recorded and woken|1/s; × raw batched SQL",
        ),
        Table(
            "How late, from the deadline to the waiter resumed",
            "round; first wait resumed|ms; p50|ms; p99|ms; last|ms; longest block of the loop|ms",
        ),
    ),
    goals=(
        Goal(
            "{size:,} deadlines at once recorded and woken: at least 1/3 of raw batched SQL",
            1 / 3,
            at_least=True,
        ),
        Goal("the loop never blocked longer than 100 ms", 100, "ms"),
    ),
)
