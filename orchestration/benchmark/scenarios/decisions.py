"""How many decisions a second, several at once, end to end and in bulk; and writing alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from statistics import median
from time import monotonic_ns
from typing import Any

import psycopg
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection

from approvals import deciding
from approvals.process import hints
from orchestration.benchmark import baseline
from orchestration.benchmark.load import milliseconds
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.paired import SAYSO, Calls, Moments, Paired, PairedDecider, PairedWaiter
from orchestration.benchmark.processes import Environment, in_turns
from orchestration.benchmark.report import Cell, Chart, Findings, Goal, Ratio, Scenario, Table, percentiles

RAW, DJANGO = "raw, one by one", "Django, one by one"
CONTENDERS = (SAYSO, RAW, DJANGO)
ROUNDS = 5
AT_ONCE = (1, 8, 64, 512)
WRITTEN_AT_ONCE = 64
BULK = 1_000
WARM_UP = 64
# The slower a contender, the fewer decisions show its rate.
MOST = {RAW: 400, DJANGO: 200}
PER_CALLER = 40
# A server with its defaults takes a hundred connections.
CONNECTIONS = 64

SAYSO_CALLERS, RAW_SETS = f"Sayso, {WRITTEN_AT_ONCE} callers", f"raw, sets of {WRITTEN_AT_ONCE}"
SAYSO_BULK, RAW_BULK = "Sayso, bulk", "raw, one set"
WRITING = (SAYSO_CALLERS, RAW_SETS, SAYSO_BULK, RAW_BULK)


class LayerWaiter(PairedWaiter):
    """Hears of what Django decided by the channel layer, as its consumers would."""

    async def begin(self) -> None:
        await super().begin()
        self._hearing: asyncio.Task[None] | None = None
        if settings.REDIS_URL:
            layer = hints.make_layer()
            name = await layer.new_channel()
            await layer.group_add(baseline.channel(), name)
            self._hearing = asyncio.create_task(self._hear(layer, name))

    async def end(self) -> None:
        if self._hearing:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        await super().end()

    async def _hear(self, layer: Any, name: str) -> None:
        while True:
            self.futures.hear((await layer.receive(name))["id"])


class Callers(PairedDecider):
    """Decides for several callers, each with one decision at a time."""

    async def begin(self) -> None:
        await super().begin()
        self._layer = hints.make_layer()
        self._connections: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
        self._ending = AsyncExitStack()
        if connection.vendor == "postgresql":
            for _ in range(CONNECTIONS):
                opened = await psycopg.AsyncConnection.connect(**baseline.postgres_parameters())
                self._ending.push_async_callback(opened.close)
                self._connections.put_nowait(opened)
        if settings.REDIS_URL:
            pool = redis.asyncio.BlockingConnectionPool
            connections = pool.from_url(settings.REDIS_URL, max_connections=CONNECTIONS, timeout=None)
            self._redis = redis.asyncio.Redis.from_pool(connections)
            self._ending.push_async_callback(self._redis.aclose)

    async def end(self) -> None:
        await self._ending.aclose()
        await super().end()

    async def decide_at_once(self, contender: str, ids: list[str], at_once: int) -> Calls:
        """Have so many callers decide; when each decision was called and committed, in the ids' order."""
        ways = {SAYSO: self._decide, RAW: self._decide_raw, DJANGO: self._decide_in_django}
        calls: dict[str, tuple[int, int]] = {}
        rest: Iterator[str] = iter(ids)

        async def caller(decide: Callable[[str], Awaitable[int]]) -> None:
            for id_ in rest:
                called = monotonic_ns()
                calls[id_] = called, await decide(id_)

        async with asyncio.TaskGroup() as callers:
            for _ in range(at_once):
                callers.create_task(caller(ways[contender]))
        return [calls[id_] for id_ in ids]

    async def write(self, way: str, ids: list[str]) -> int:
        """Decision what nobody waits for; returns the nanoseconds that all took."""
        started = monotonic_ns()
        if way == SAYSO_CALLERS:
            await self.decide_at_once(SAYSO, ids, WRITTEN_AT_ONCE)
        elif way == SAYSO_BULK:
            await deciding.adecide_many(self.actor, [(id_, "approve") for id_ in ids])
        else:
            size = WRITTEN_AT_ONCE if way == RAW_SETS else len(ids)
            for start in range(0, len(ids), size):
                self.store.decide_set(ids[start : start + size])
        return monotonic_ns() - started

    async def _decide(self, id_: str) -> int:
        await deciding.adecide(self.actor, id_, "approve")
        return self.commits[id_]

    async def _decide_raw(self, id_: str) -> int:
        if connection.vendor == "postgresql":
            own = await self._connections.get()
            try:
                await own.execute(baseline.DECIDE_ONE, (id_, baseline.CONTENT, baseline.HASH))
            finally:
                self._connections.put_nowait(own)
        else:
            self.store.decide(id_)
        committed = monotonic_ns()
        if settings.REDIS_URL:
            await self._redis.publish(baseline.channel(), id_)
        else:
            self.publish(id_)
        return committed

    async def _decide_in_django(self, id_: str) -> int:
        await sync_to_async(baseline.decide_in_django)(id_)
        committed = monotonic_ns()
        if settings.REDIS_URL:
            await self._layer.group_send(baseline.channel(), {"type": "decided", "id": id_})
        else:  # the in-memory layer would drop what comes too fast
            self.publish(id_)
        return committed


class Rates:
    """Of one contender with so many at once: decisions a second, a round each; each one's milliseconds."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.resumed_after: list[float] = []
        self.on_the_wire: list[float] = []

    def add(self, calls: Calls, moments: Moments) -> None:
        first = min(called for called, _ in calls)
        resumed = [at for _, _, at in moments if at is not None]
        self.rates.append(len(resumed) / ((max(resumed, default=first + 1) - first) / 1e9))
        for (called, committed), (heard, _, at) in zip(calls, moments, strict=True):
            if at is not None:
                self.resumed_after.append(milliseconds(at - called))
                if heard is not None:
                    self.on_the_wire.append(milliseconds(heard - committed))


def count(contender: str, at_once: int, size: int) -> int:
    """Return how many decisions a block of this contender has."""
    return max(at_once, min(PER_CALLER * at_once, size, MOST.get(contender, size)))


async def measure(env: Environment, sizes: Sequence[int]) -> Findings:
    """Measure decisions a second, several at once, and in bulk.

    One process decides, another waits for each decision. 1, 8, 64 and 512 callers at once each make one
    decision at a time, up to N together; the clock runs from the first call to the last waiter's resumption.
    Beside it in each of five rounds, in changing order: raw psycopg, one statement and transaction for each
    decision over up to 64 connections, a Redis publish each, a future; and plain Django, an ORM update and
    create in a transaction each on Django's thread-sensitive thread, a message on the channel layer each, a
    future. These decide fewer, for they are slower; neither checks a permission, reads the row, or keeps a
    chain. Writing alone: 64 callers, and 1,000 decisions in one call, beside raw SQL that updates and inserts
    64 and 1,000 in one statement. On SQLite the raw floor has one connection and blocks its event loop, and
    no layer is between.
    """
    (size,) = sizes
    bulk = min(size, BULK)
    waiter = await env.start(LayerWaiter)
    decider = await env.start(Callers, beside=waiter)
    rounds = env.rounds(ROUNDS)
    paired = Paired(waiter, decider)
    written = rounds * (size + bulk)
    each = {name: rounds * sum(count(name, one, size) for one in AT_ONCE) + WARM_UP for name in CONTENDERS}
    await paired.open(each[SAYSO] + written, each[RAW] + each[DJANGO] + written)

    async def block(contender: str, decisions: int, at_once: int) -> tuple[Calls, Moments]:
        return await paired.block(
            contender, decisions, lambda ids: decider.decide_at_once(contender, ids, at_once)
        )

    for contender in CONTENDERS:
        await block(contender, WARM_UP, 8)
    found = {(contender, at_once): Rates() for at_once in AT_ONCE for contender in CONTENDERS}
    writing: dict[str, list[float]] = {way: [] for way in WRITING}
    for number in env.steps(range(rounds)):
        for at_once in AT_ONCE:
            for contender in in_turns(CONTENDERS, number):
                calls, moments = await block(contender, count(contender, at_once, size), at_once)
                found[contender, at_once].add(calls, moments)
        for way in in_turns(WRITING, number):
            some = size if way in (SAYSO_CALLERS, RAW_SETS) else bulk
            ids = paired.take(some, sayso=way in (SAYSO_CALLERS, SAYSO_BULK))
            writing[way].append(some / (await decider.write(way, ids) / 1e9))
    check = await paired.check()
    if not check.passed:
        return Findings(check=check)

    rates = {key: median(one.rates) for key, one in found.items()}
    ratios = {
        (other, one): Ratio.of(found[SAYSO, one].rates, found[other, one].rates)
        for other in (RAW, DJANGO)
        for one in AT_ONCE
    }
    wire = {one: found[SAYSO, one].on_the_wire for one in AT_ONCE}
    p50 = {one: percentiles(times, 0.5)[0] if times else None for one, times in wire.items()}
    slower = p50[64] / p50[1] if env.stack.two_processes and p50[64] and p50[1] else None
    beside = {(own, raw): Ratio.of(writing[own], writing[raw]) for own, raw in (WRITING[:2], WRITING[2:])}
    times: list[Sequence[Cell]] = []
    for one in AT_ONCE:
        shares = [
            share for each in CONTENDERS for share in percentiles(found[each, one].resumed_after, 0.5, 0.99)
        ]
        times.append((one, *shares, p50[one]))
    return Findings(
        tables=[
            [
                (
                    one,
                    *(rates[each, one] for each in CONTENDERS),
                    *(str(ratios[o, one]) for o in (RAW, DJANGO)),
                )
                for one in AT_ONCE
            ],
            times,
            [
                (own, median(writing[own]), raw, median(writing[raw]), str(ratio))
                for (own, raw), ratio in beside.items()
            ],
        ],
        goals=[
            ratios[DJANGO, 64].median,
            ratios[RAW, 64].median,
            beside[SAYSO_CALLERS, RAW_SETS].median,
            slower,
        ],
        charts=[
            (
                [str(one) for one in AT_ONCE],
                {each: [rates[each, one] for one in AT_ONCE] for each in CONTENDERS},
            )
        ],
        check=check,
        notes=(
            "Rates are the medians of the rounds; × is the median of the rounds' ratios, and their range.",
        ),
    )


DECISIONS = Scenario(
    name="decisions",
    unit="decisions in a block",
    sizes=(500,),
    most=100_000,
    needs=lambda size: Needs(files=100, memory=300_000_000 + 40_000 * size),
    measure=measure,
    tables=(
        Table(
            "Decisions a second, first call to last waiter resumed",
            f"at once; {'|1/s; '.join(CONTENDERS)}|1/s; Sayso × raw; Sayso × Django",
        ),
        Table(
            "Each decision's way meanwhile, its call to its waiter resumed",
            "; ".join(("at once", *(f"{each} {share}|ms" for each in CONTENDERS for share in ("p50", "p99"))))
            + "; Sayso on the wire p50|ms",
        ),
        Table("Writing alone, nobody waits", "; decisions|1/s; beside; decisions|1/s; ×"),
    ),
    goals=(
        Goal("64 at once, end to end: at least 10 × Django one by one", 10, at_least=True),
        Goal("64 at once, end to end: at least 4 × raw psycopg one by one", 4, at_least=True),
        Goal("writing alone: at least 1/3 of raw batched SQL", 1 / 3, at_least=True),
        Goal("time on the wire at 64 at most 2 × that at 1", 2),
    ),
    charts=(
        Chart(title="Decisions a second, end to end", kind="bars", unit="1/s", across="decisions at once"),
    ),
)
