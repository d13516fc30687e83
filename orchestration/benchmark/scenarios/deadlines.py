"""Many deadlines in the same moment: how fast they are recorded and woken, and whether the loop is free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from statistics import median
from time import monotonic
from typing import Any, LiteralString, TypeAlias

from django.db import connection

from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.process import hints
from orchestration.benchmark import baseline
from orchestration.benchmark.load import SAYSO, Requests, Waiter, note_commits
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Check, Ratio, Report, Scenario, percentiles

FLOOR = "raw batched SQL"

# From this size on, there is one round.
ROUNDS = 3
MANY = 20_000

PROBE_EVERY = 0.005
# Seconds from setting the deadlines to them: setting takes time, and their keeper notices within a second.
AHEAD = 2.5
SET_A_SECOND = 10_000


Times: TypeAlias = tuple[float, list[float], float]
"""Seconds from the deadlines to the last commit; to each resumption, in order; the loop's longest block."""


class DueWaiter(Waiter):
    """Waits while the deadlines pass; its room is the one that keeps them."""

    async def begin(self) -> None:
        await super().begin()
        self._commits = note_commits()

    async def fall_due(self, ids: list[str]) -> Times:
        """Put the deadlines of all pending requests on the same moment soon, and wait for the timeouts."""
        gc.collect()
        due = await in_database(_put_deadlines, AHEAD + len(ids) / SET_A_SECOND)
        hints.send("requests", ids[:1])  # as if they had been asked so
        watching = asyncio.create_task(self._watch_loop(due))
        await self.told()
        await asyncio.sleep(2 * PROBE_EVERY)  # until the end of the last block has been noted, too
        watching.cancel()
        lateness = sorted(self._waits.resumed[id_] / 1e9 - due for id_ in ids if id_ in self._waits.resumed)
        recorded = max(self._commits[id_] for id_ in ids if id_ in self._commits) / 1e9 - due
        return recorded, lateness, self._blocked

    async def _watch_loop(self, since: float) -> None:
        """Note the longest time that the event loop was blocked since this moment: how late a timer comes."""
        self._blocked = 0.0
        while True:
            due = max(monotonic() + PROBE_EVERY, since)
            await asyncio.sleep(PROBE_EVERY)
            self._blocked = max(self._blocked, monotonic() - due)


class RawDecider(Remote):
    """Times out as many rows with as few statements as possible, in batches as large as the writer's."""

    async def begin(self) -> None:
        await in_database(baseline.create_tables)

    async def decide(self, count: int) -> float:
        """Return the seconds for all."""
        ids = await in_database(baseline.open_requests, count)
        size = approval_settings().writer_batch
        batches = [ids[start : start + size] for start in range(0, count, size)]
        gc.collect()
        return await in_database(_time_out, batches)


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


def _time_out(batches: Sequence[list[str]]) -> float:
    driver = baseline.Driver()
    decide: Callable[[Any], object] = driver.decide_set
    rows: Sequence[Any] = batches
    if connection.vendor == "postgresql":
        decide = partial(driver.execute, _DECIDE)
        rows = [(ids, [baseline.CONTENT] * len(ids), [baseline.HASH] * len(ids)) for ids in batches]
    started = monotonic()
    for batch in rows:
        decide(batch)
    took = monotonic() - started
    driver.close()
    return took


def _put_deadlines(seconds: float) -> float:
    """Put all pending deadlines so many seconds ahead; returns that moment on this process's clock."""
    asked = monotonic()
    deadline = database_now() + timedelta(seconds=seconds)
    here = (asked + monotonic()) / 2
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE approvals_humanrequest SET deadline = %s WHERE status = 'pending'",
            [connection.ops.adapt_datetimefield_value(deadline)],
        )
    return here + seconds


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure many deadlines in the same moment, recorded and woken.

    One process waits for N requests (gate.wait_for_outcome) and keeps their deadlines, as every server does;
    when all rows have been read, one statement puts all the deadlines on the same moment, some seconds ahead,
    and a hint says that something has changed. The time runs from that moment until the last timeout is
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
    return _report(check, count, times, floor) if check.passed else Report(check)


def _report(check: Check, count: int, times: Sequence[Times], floor: Sequence[float]) -> Report:
    recorded = [count / seconds for seconds, _, _ in times]
    woken = [count / lateness[-1] for _, lateness, _ in times]
    ratio = Ratio.of(woken, floor)
    report = Report(check, f"Medians of {len(times)} rounds; a ratio's range is theirs.")
    report.table(
        f"{count:,} deadlines in the same moment",
        "; deadlines; recorded|1/s; recorded and woken|1/s; × raw batched SQL",
        [
            (SAYSO, count, median(recorded), median(woken), str(ratio)),
            (FLOOR, count, median(floor), None, "1"),
        ],
    )
    late = [[*percentiles(lateness, 0, 0.5, 0.99, 1), blocked] for _, lateness, blocked in times]
    report.table(
        "How late, from the deadline to the waiter resumed",
        "round; first wait resumed|ms; p50|ms; p99|ms; last|ms; longest block of the loop|ms",
        [(number, *(1000 * seconds for seconds in row)) for number, row in enumerate(late, start=1)],
    )
    goal = f"{count:,} deadlines at once recorded and woken: at least 1/3 of raw batched SQL"
    report.at_least(goal, 1 / 3, ratio.median)
    longest = 1000 * max(blocked for _, _, blocked in times)
    report.at_most("the loop never blocked longer than 100 ms", 100, longest, "ms")
    return report


DEADLINES = Scenario(
    "deadlines", measure, unit="deadlines", sizes=(2_000,), most=100_000, memory=(400_000_000, 15_000)
)
