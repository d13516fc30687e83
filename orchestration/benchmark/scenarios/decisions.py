"""How soon a decision reaches its waiter, one at a time; and how many there are a second, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
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
from orchestration.benchmark.baseline import FLOOR, POLLING, Moments, Paired, PairedDecider, PairedWaiter
from orchestration.benchmark.load import SAYSO, Calls, milliseconds
from orchestration.benchmark.processes import Environment, in_turns
from orchestration.benchmark.report import Cell, Check, Ratio, Report, Samples, Scenario, percentiles, spread

LATENCY_ROUNDS = 8
DECIDED = {SAYSO: 40, FLOOR: 40, POLLING: 15}
PARTS = ("commit", "publish", "read", "resume")

RAW, DJANGO = "raw, one by one", "Django, one by one"
CONTENDERS = (SAYSO, RAW, DJANGO)
ROUNDS = 5
AT_ONCE = (1, 8, 64, 512)
WRITTEN_AT_ONCE = 64
BULK = 1_000
# The slower a contender, the fewer decisions show its rate.
MOST = {RAW: 400, DJANGO: 200}
PER_CALLER = 40
# A server with its defaults takes a hundred connections.
CONNECTIONS = 64

SAYSO_CALLERS, RAW_SETS = f"Sayso, {WRITTEN_AT_ONCE} callers", f"raw, sets of {WRITTEN_AT_ONCE}"
SAYSO_BULK, RAW_BULK = "Sayso, bulk", "raw, one set"
WRITING = (SAYSO_CALLERS, RAW_SETS, SAYSO_BULK, RAW_BULK)

LATENCY_WARM_UP, WARM_UP = 20, 64


async def measure_latency(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure decision call to waiter resumed, while others wait.

    One process decides (deciding.adecide, as a socket does), another waits (gate.wait_for_outcome), while N
    others wait there, too. Eight rounds; in each, in changing order: 40 decisions by Sayso, 40 by the raw
    floor (one psycopg statement that updates a row and inserts one, its commit, a Redis publish, a future in
    a dictionary), 15 found by a loop that asks the database each 0.2 s. All have the same pace: 10 ms between
    an answer and the next call. The floor's database call blocks its event loop, which no server could do;
    its tables are small, with no constraint but one. The N others wait for requests that nobody decides
    meanwhile; they do not poll. Where there are servers, the same is measured once more on SQLite and the
    in-memory layer, in one process: there the floor is a bare commit of SQLite, as durable as Sayso's.
    """
    waiter = await env.start(PairedWaiter)
    decider = await env.start(PairedDecider, beside=waiter)
    rounds = env.rounds(LATENCY_ROUNDS)
    await waiter.wait(await waiter.open(sizes[-1]))
    paired = Paired(waiter, decider)
    requests, rows = DECIDED[SAYSO], DECIDED[FLOOR] + DECIDED[POLLING]
    await paired.open(LATENCY_WARM_UP + rounds * requests, LATENCY_WARM_UP + rounds * rows)
    for contender in (SAYSO, FLOOR):
        await paired.block(contender, LATENCY_WARM_UP)
    blocks: dict[str, list[list[list[float]]]] = {contender: [] for contender in DECIDED}
    for _, contender in env.turns(list(DECIDED), rounds):
        blocks[contender].append(split(*await paired.block(contender, DECIDED[contender])))
    check = await paired.check()
    return _report_latency(check, blocks, sizes[-1]) if check.passed else Report(check)


def split(calls: Calls, moments: Moments) -> list[list[float]]:
    """Return the milliseconds of each of PARTS, for every decision whose wait was not lost.

    A part that a contender or a stack does not have takes no time: nothing is published within one process,
    and only Sayso reads the row.
    """
    ways = []
    for (called, committed), (heard, read, resumed) in zip(calls, moments, strict=True):
        if resumed is not None:
            came = max(heard or 0, committed)
            way = (called, committed, came, max(read or 0, came), resumed)
            ways.append([milliseconds(after - before) for before, after in pairwise(way)])
    return ways


def _report_latency(check: Check, blocks: Mapping[str, list[list[list[float]]]], others: int) -> Report:
    medians = {name: [median(map(sum, block)) for block in of_one] for name, of_one in blocks.items()}
    floor, polling = (Ratio.of(medians[SAYSO], medians[other]) for other in (FLOOR, POLLING))
    slower = Ratio.of(medians[POLLING], medians[FLOOR])
    times = {SAYSO: str(floor), FLOOR: "1", POLLING: f"{slower.median:.0f}"}
    wholes = {name: [sum(way) for way in chain(*of_one)] for name, of_one in blocks.items()}
    parts = {name: list(zip(*chain(*blocks[name]), strict=True)) for name in (SAYSO, FLOOR)}
    report = Report(
        check,
        "A floor within one process has no wire: there its publish is a turn of the event loop.",
        "Percentiles are over all rounds. Ratios are of one round's medians: their median and range.",
    )
    report.table(
        f"Decision call to waiter resumed, one at a time, {others:,} others waiting",
        "; decisions; p50|ms; p90|ms; p99|ms; max|ms; p50, × floor",
        [(name, len(whole), *spread(whole), times[name]) for name, whole in wholes.items()],
    )
    report.table(
        "Where that time goes",
        "; " + "; ".join(f"{part} {share}|ms" for part in PARTS for share in ("p50", "p99")),
        [(name, *chain(*(percentiles(part, 0.5, 0.99) for part in way))) for name, way in parts.items()],
    )
    goal = f"call to resumption, p50, {others:,} others waiting: at most 2.2 × raw floor"
    report.at_most(goal, 2.2, floor.median)
    report.at_most("time to resume under 1/50 of polling's", 1 / 50, polling.median)
    series = {part: [median(parts[name][n]) for name in parts] for n, part in enumerate(PARTS)}
    report.chart("From decision to resumption, p50 of each part", "stacked", "ms", list(parts), series)
    return report


LATENCY = Scenario(
    "latency",
    measure_latency,
    unit="others waiting",
    sizes=(2_000,),
    most=100_000,
    memory=(200_000_000, 6_000),
    embedded_too=True,
)


class LayerWaiter(PairedWaiter):
    """Hears of what Django decided by the channel layer, as its consumers would."""

    async def begin(self) -> None:
        await super().begin()
        if settings.REDIS_URL:
            layer = hints.make_layer()
            name = await layer.new_channel()
            await layer.group_add(baseline.channel(), name)
            self._hearing = asyncio.create_task(self._hear(layer, name))

    async def _hear(self, layer: Any, name: str) -> None:
        while True:
            self.futures.hear((await layer.receive(name))["id"])


class Callers(PairedDecider):
    """Decides for several callers, each with one decision at a time."""

    async def begin(self) -> None:
        await super().begin()
        self.ways |= {RAW: self._decide_raw, DJANGO: self._decide_in_django}
        self._layer = hints.make_layer()
        self._connections: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
        if connection.vendor == "postgresql":
            for _ in range(CONNECTIONS):
                opened = await psycopg.AsyncConnection.connect(**baseline.postgres_parameters())
                self._connections.put_nowait(opened)
        if settings.REDIS_URL:
            pool = redis.asyncio.BlockingConnectionPool
            connections = pool.from_url(settings.REDIS_URL, max_connections=CONNECTIONS, timeout=None)
            self._redis = redis.asyncio.Redis.from_pool(connections)

    async def write(self, way: str, ids: list[str]) -> int:
        """Decide requests that nobody waits for; returns the nanoseconds that all took."""
        started = monotonic_ns()
        if way == SAYSO_CALLERS:
            await self.decide(ids, SAYSO, WRITTEN_AT_ONCE, pause=0)
        elif way == SAYSO_BULK:
            await deciding.adecide_many(self.actor, [(id_, "approve") for id_ in ids])
        else:
            size = WRITTEN_AT_ONCE if way == RAW_SETS else len(ids)
            for start in range(0, len(ids), size):
                self.driver.decide_set(ids[start : start + size])
        return monotonic_ns() - started

    async def _decide_raw(self, id_: str) -> int:
        if connection.vendor == "postgresql":
            own = await self._connections.get()
            try:
                await own.execute(baseline.DECIDE_ONE, (id_, baseline.CONTENT, baseline.HASH))
            finally:
                self._connections.put_nowait(own)
        else:
            self.driver.decide(id_)
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


def count(contender: str, at_once: int, size: int) -> int:
    """Return how many decisions a block of this contender has."""
    return max(at_once, min(PER_CALLER * at_once, size, MOST.get(contender, size)))


def _add_block(found: Samples, key: tuple[str, int], calls: Calls, moments: Moments) -> None:
    """Add a block's decisions a second; each decision's milliseconds to its resumption, and on the wire."""
    first = min(called for called, _ in calls)
    resumed = [at for _, _, at in moments if at is not None]
    found["rate", *key].append(len(resumed) / ((max(resumed, default=first + 1) - first) / 1e9))
    for (called, committed), (heard, _, at) in zip(calls, moments, strict=True):
        if at is not None:
            found["resumed", *key].append(milliseconds(at - called))
            if heard is not None:
                found["wire", *key].append(milliseconds(heard - committed))


async def measure_rates(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure decisions a second, several at once, and in bulk.

    One process decides, another waits for each decision. 1, 8, 64 and 512 callers at once each make one
    decision at a time, up to N together; the clock runs from the first call to the last waiter's resumption.
    Beside it in each of five rounds, in changing order: raw psycopg, one statement and transaction for each
    decision over up to 64 connections, a Redis publish each, a future; and plain Django, an ORM update and
    create in a transaction each on Django's thread-sensitive thread, a message on the channel layer each, a
    future. These decide fewer, for they are slower; neither checks a permission, reads the row, or keeps a
    chain. Writing alone: 64 callers, and 1,000 decisions in one call, beside raw SQL that updates and inserts
    64 and 1,000 in one statement. Where there are servers, the same is measured once more on SQLite and the
    in-memory layer, in one process: there the raw floor has one connection and blocks its event loop, its
    commits are as durable as Sayso's, and no layer is between.
    """
    size, bulk = sizes[-1], min(sizes[-1], BULK)
    waiter = await env.start(LayerWaiter)
    decider = await env.start(Callers, beside=waiter)
    rounds = env.rounds(ROUNDS)
    paired = Paired(waiter, decider)
    written = rounds * (size + bulk)
    each = {name: rounds * sum(count(name, one, size) for one in AT_ONCE) + WARM_UP for name in CONTENDERS}
    await paired.open(each[SAYSO] + written, each[RAW] + each[DJANGO] + written)

    for contender in CONTENDERS:
        await paired.block(contender, WARM_UP, 8, pause=0)
    found = Samples()
    for number in env.steps(range(rounds)):
        for at_once in AT_ONCE:
            for contender in in_turns(CONTENDERS, number):
                block = await paired.block(contender, count(contender, at_once, size), at_once, pause=0)
                _add_block(found, (contender, at_once), *block)
        for way in in_turns(WRITING, number):
            some = size if way in (SAYSO_CALLERS, RAW_SETS) else bulk
            ids = paired.take(some, sayso=way in (SAYSO_CALLERS, SAYSO_BULK))
            found[way].append(some / (await decider.write(way, ids) / 1e9))
    check = await paired.check()
    return _report_rates(check, found, wired=env.stack.two_processes) if check.passed else Report(check)


def _report_rates(check: Check, found: Samples, *, wired: bool) -> Report:
    times = {one: found["wire", SAYSO, one] for one in AT_ONCE}
    wire = {one: percentiles(times[one], 0.5)[0] for one in AT_ONCE if times[one]}
    slower = wire[64] / wire[1] if wired and wire.get(64) and wire.get(1) else None
    rates = {name: [found.median(("rate", name, one)) for one in AT_ONCE] for name in CONTENDERS}

    def ratio(other: str, at_once: int) -> Ratio:
        return found.ratio(("rate", SAYSO, at_once), ("rate", other, at_once))

    def way(at_once: int) -> list[Cell]:
        shares = (percentiles(found["resumed", name, at_once], 0.5, 0.99) for name in CONTENDERS)
        return [at_once, *chain(*shares), wire.get(at_once)]

    report = Report(
        check, "Rates are the medians of the rounds; × is the median of the rounds' ratios, and their range."
    )
    report.table(
        "Decisions a second, first call to last waiter resumed",
        f"at once; {'|1/s; '.join(CONTENDERS)}|1/s; Sayso × raw; Sayso × Django",
        [
            (one, *(rates[name][n] for name in CONTENDERS), str(ratio(RAW, one)), str(ratio(DJANGO, one)))
            for n, one in enumerate(AT_ONCE)
        ],
    )
    shares = "; ".join(f"{name} {share}|ms" for name in CONTENDERS for share in ("p50", "p99"))
    report.table(
        "Each decision's way meanwhile, its call to its waiter resumed",
        f"at once; {shares}; Sayso on the wire p50|ms",
        [way(one) for one in AT_ONCE],
    )
    report.table(
        "Writing alone, nobody waits",
        "; decisions|1/s; beside; decisions|1/s; ×",
        [
            (own, found.median(own), raw, found.median(raw), str(found.ratio(own, raw)))
            for own, raw in (WRITING[:2], WRITING[2:])
        ],
    )
    report.at_least("one at a time: at least as many as Django one by one", 1, ratio(DJANGO, 1).median)
    report.at_least("64 at once, end to end: at least 12 × Django one by one", 12, ratio(DJANGO, 64).median)
    report.at_least("64 at once, end to end: at least 1.8 × raw, one by one", 1.8, ratio(RAW, 64).median)
    written = found.ratio(SAYSO_CALLERS, RAW_SETS).median
    report.at_least("writing alone, 64 callers: at least 1/4 of raw sets of 64", 1 / 4, written)
    report.at_most("time on the wire at 64 at most 2 × that at 1", 2, slower)
    ticks = [str(one) for one in AT_ONCE]
    report.chart("Decisions a second, end to end", "bars", "1/s", ticks, rates, across="decisions at once")
    return report


DECISIONS = Scenario(
    "decisions",
    measure_rates,
    unit="decisions in a block",
    sizes=(500,),
    most=100_000,
    memory=(300_000_000, 40_000),
    embedded_too=True,
)
