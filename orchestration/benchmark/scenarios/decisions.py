"""Decisions a second, end to end, at several at once; and writing alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
from orchestration.benchmark import orm, raw
from orchestration.benchmark.decider import Decider
from orchestration.benchmark.figures import Ratio, in_turns, milliseconds, percentile
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.players import Part
from orchestration.benchmark.report import Cell, Chart, Check, Column, Goal, Report, Series, Table
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage
from orchestration.benchmark.waiter import ComparedWaiter

ROUNDS = 5
AT_ONCE = (1, 8, 64, 512)
WRITTEN_AT_ONCE = 64
BULK = 1_000
WARM_UP = 64

SAYSO, RAW, DJANGO = "Sayso", "raw, one by one", "Django, one by one"
# The slower a contender, the fewer decisions show its rate.
MOST = {RAW: 400, DJANGO: 200}
PER_CALLER = 40

# A server with its defaults takes a hundred connections.
CONNECTIONS = 64


class WaitingSide(ComparedWaiter):
    """Hears of what Django decided by the channel layer, as its consumers would."""

    async def begin(self) -> None:
        await super().begin()
        self._hearing: asyncio.Task[None] | None = None
        if settings.REDIS_URL:
            layer = hints.make_layer()
            name = await layer.new_channel()
            await layer.group_add(raw.channel(), name)
            self._hearing = asyncio.create_task(self._hear(layer, name))

    async def end(self) -> None:
        if self._hearing:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        await super().end()

    async def _hear(self, layer: Any, name: str) -> None:
        while True:
            message = await layer.receive(name)
            self.raw.hear(message["id"])


class DecidingSide(Decider):
    """Several callers, each with one decision at a time; tells when each was called, and committed."""

    async def begin(self) -> None:
        await super().begin()
        self._layer = hints.make_layer()
        self._connections: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
        self._ending = AsyncExitStack()
        if connection.vendor == "postgresql":
            for _ in range(CONNECTIONS):
                opened = await psycopg.AsyncConnection.connect(**raw.postgres_parameters())
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

    async def decide(self, ids: list[str], at_once: int) -> list[tuple[int, int]]:
        calls = await _callers(ids, at_once, self._decide)
        return [(called, self.commits[id_]) for id_, (called, _) in zip(ids, calls, strict=True)]

    async def decide_raw(self, ids: list[str], at_once: int) -> list[tuple[int, int]]:
        raw_deed = self._decide_in_postgres if connection.vendor == "postgresql" else self._decide_in_sqlite
        return await _callers(ids, at_once, raw_deed)

    async def decide_in_django(self, ids: list[str], at_once: int) -> list[tuple[int, int]]:
        return await _callers(ids, at_once, self._decide_in_django)

    async def write_bulk(self, ids: list[str]) -> tuple[int, int]:
        """All in one call: when it was called, and answered."""
        called = monotonic_ns()
        await deciding.adecide_many(self.actor, [(id_, "approve") for id_ in ids])
        return called, monotonic_ns()

    async def write(self, ids: list[str], at_once: int) -> tuple[int, int]:
        called = monotonic_ns()
        await _callers(ids, at_once, self._decide)
        return called, monotonic_ns()

    async def write_raw_sets(self, ids: list[str], size: int) -> tuple[int, int]:
        """Set after set, each in a statement and a transaction of its own."""
        called = monotonic_ns()
        for start in range(0, len(ids), size):
            self.store.decide_set(ids[start : start + size])
        return called, monotonic_ns()

    async def _decide(self, id_: str) -> int:
        await deciding.adecide(self.actor, id_, "approve")
        return monotonic_ns()

    async def _decide_in_postgres(self, id_: str) -> int:
        own = await self._connections.get()
        try:
            await own.execute(raw.POSTGRES_DECIDE_ONE, raw.decide_arguments(id_))
        finally:
            self._connections.put_nowait(own)
        committed = monotonic_ns()
        await self._publish_raw(id_)
        return committed

    async def _decide_in_sqlite(self, id_: str) -> int:
        self.store.decide(id_)
        committed = monotonic_ns()
        await self._publish_raw(id_)
        return committed

    async def _publish_raw(self, id_: str) -> None:
        if settings.REDIS_URL:
            await self._redis.publish(raw.channel(), id_)
        else:
            self.publish(id_)

    async def _decide_in_django(self, id_: str) -> int:
        await sync_to_async(orm.decide)(id_)
        committed = monotonic_ns()
        if settings.REDIS_URL:
            await self._layer.group_send(raw.channel(), {"type": "decided", "id": id_})
        else:  # the in-memory layer would drop what comes too fast
            self.publish(id_)
        return committed


async def _callers(
    ids: list[str], at_once: int, deed: Callable[[str], Awaitable[int]]
) -> list[tuple[int, int]]:
    """Have `at_once` callers do it to all ids; when each was called and committed, in the ids' order."""
    moments: dict[str, tuple[int, int]] = {}
    rest: Iterator[str] = iter(ids)

    async def caller() -> None:
        for id_ in rest:
            called = monotonic_ns()
            moments[id_] = called, await deed(id_)

    async with asyncio.TaskGroup() as callers:
        for _ in range(at_once):
            callers.create_task(caller())
    return [moments[id_] for id_ in ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A contender's decisions in one go: how many a second, and each one's milliseconds."""

    rate: float
    resumed_after: list[float]
    on_the_wire: list[float]


@dataclass(slots=True)
class _Found:
    end_to_end: dict[tuple[str, int], list[Block]] = field(default_factory=dict)
    writing: dict[str, list[float]] = field(default_factory=dict)


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (size,) = sizes
    waiting = await stage.part(WaitingSide)
    decider = await stage.part(DecidingSide, opposite=waiting)
    rounds = stage.rounds(ROUNDS)
    stage.expect(1 + rounds * (3 * len(AT_ONCE) + 4))
    sayso = 2 * WARM_UP + rounds * (sum(_count(SAYSO, one, size) for one in AT_ONCE) + size + min(size, BULK))
    others = 4 * WARM_UP + rounds * (
        sum(_count(each, one, size) for each in (RAW, DJANGO) for one in AT_ONCE) + size + min(size, BULK)
    )
    blocks = _Blocks(
        waiting,
        decider,
        ids=await waiting(WaitingSide.open, sayso),
        raw_ids=await decider(DecidingSide.prepare, others),
    )
    for contender in (SAYSO, RAW, DJANGO):
        await blocks.end_to_end(contender, WARM_UP, 8)
    stage.step()
    found = _Found()
    for number in range(rounds):
        for at_once in AT_ONCE:
            for contender in in_turns((SAYSO, RAW, DJANGO), number):
                block = await blocks.end_to_end(contender, _count(contender, at_once, size), at_once)
                found.end_to_end.setdefault((contender, at_once), []).append(block)
                stage.step()
        for way in in_turns(_WAYS, number):
            found.writing.setdefault(way, []).append(await blocks.writing(way, size))
            stage.step()
    return _report(found, await blocks.check(), two_processes=stage.stack.two_processes)


def _count(contender: str, at_once: int, size: int) -> int:
    most = min(size, MOST.get(contender, size))
    return max(at_once, min(PER_CALLER * at_once, most))


SAYSO_CALLERS, RAW_SETS = f"Sayso, {WRITTEN_AT_ONCE} callers", f"raw, sets of {WRITTEN_AT_ONCE}"
SAYSO_BULK, RAW_BULK = "Sayso, bulk", "raw, one set"
_WAYS = (SAYSO_CALLERS, RAW_SETS, SAYSO_BULK, RAW_BULK)


class _Blocks:
    """The blocks that are measured, and which ids have been decided so far."""

    def __init__(
        self, waiting: Part[WaitingSide], decider: Part[DecidingSide], *, ids: list[str], raw_ids: list[str]
    ) -> None:
        self._waiting = waiting
        self._decider = decider
        self._left = {True: ids, False: raw_ids}
        self._waited: dict[bool, list[str]] = {True: [], False: []}

    async def end_to_end(self, contender: str, count: int, at_once: int) -> Block:
        by_sayso = contender == SAYSO
        ids = self._take(count, by_sayso)
        self._waited[by_sayso] += ids
        await self._waiting(WaitingSide.wait if by_sayso else WaitingSide.wait_raw, ids)
        deeds = {
            SAYSO: DecidingSide.decide,
            RAW: DecidingSide.decide_raw,
            DJANGO: DecidingSide.decide_in_django,
        }
        calls = await self._decider(deeds[contender], ids, at_once)
        moments = await self._waiting(WaitingSide.moments, ids)
        return _block(calls, moments)

    async def writing(self, way: str, size: int) -> float:
        """Decisions a second that nobody waits for."""
        count = size if way in (SAYSO_CALLERS, RAW_SETS) else min(size, BULK)
        ids = self._take(count, way in (SAYSO_CALLERS, SAYSO_BULK))
        if way == SAYSO_CALLERS:
            called, answered = await self._decider(DecidingSide.write, ids, WRITTEN_AT_ONCE)
        elif way == SAYSO_BULK:
            called, answered = await self._decider(DecidingSide.write_bulk, ids)
        else:
            one_set = WRITTEN_AT_ONCE if way == RAW_SETS else count
            called, answered = await self._decider(DecidingSide.write_raw_sets, ids, one_set)
        return _rate(count, answered - called)

    async def check(self) -> Check:
        told = await self._waiting(WaitingSide.told, self._waited[True])
        recorded = await self._decider(DecidingSide.recorded, self._waited[True])
        told_otherwise = await self._waiting(WaitingSide.told_otherwise)
        recorded_raw = await self._decider(DecidingSide.recorded_raw, self._waited[False])
        return Check.of(told, recorded) + Check.of(told_otherwise, recorded_raw)

    def _take(self, count: int, by_sayso: bool) -> list[str]:
        left = self._left[by_sayso]
        if len(left) < count:
            raise RuntimeError("fewer requests were opened than are decided")
        taken, self._left[by_sayso] = left[:count], left[count:]
        return taken


def _block(calls: list[tuple[int, int]], moments: list[tuple[int | None, int | None, int | None]]) -> Block:
    resumed = [
        (called, committed, heard, resumed)
        for (called, committed), (heard, _, resumed) in zip(calls, moments, strict=True)
        if resumed is not None
    ]
    first = min(called for called, _ in calls)
    last = max((one[-1] for one in resumed), default=first + 1)
    return Block(
        rate=_rate(len(resumed), last - first),
        resumed_after=[milliseconds(at - called) for called, _, _, at in resumed],
        on_the_wire=[milliseconds(heard - done) for _, done, heard, _ in resumed if heard is not None],
    )


def _rate(count: int, nanoseconds: int) -> float:
    return count / (nanoseconds / 1e9)


def _report(found: _Found, check: Check, *, two_processes: bool) -> Report:
    return Report(
        tables=(_rates_table(found), _times_table(found), _writing_table(found)),
        goals=_goals(found, two_processes=two_processes),
        charts=(_chart(found),),
        check=check,
        notes=(
            "Rates are the medians of the rounds; × is the median of the rounds' ratios, and their range.",
        ),
    )


def _rates_table(found: _Found) -> Table:
    contenders = (SAYSO, RAW, DJANGO)
    rows: list[tuple[Cell, ...]] = []
    for at_once in AT_ONCE:
        ratios = [str(_ratio(found, at_once, other)) for other in (RAW, DJANGO)]
        rows.append((at_once, *(median(_rates(found, each, at_once)) for each in contenders), *ratios))
    return Table(
        title="Decisions a second, first call to last waiter resumed",
        columns=(
            Column(name="at once"),
            *(Column(name=each, unit="1/s") for each in contenders),
            Column(name="Sayso × raw"),
            Column(name="Sayso × Django"),
        ),
        rows=tuple(rows),
    )


def _times_table(found: _Found) -> Table:
    contenders = (SAYSO, RAW, DJANGO)
    rows: list[tuple[Cell, ...]] = []
    for at_once in AT_ONCE:
        times = [_all(found, each, at_once, "resumed_after") for each in contenders]
        wire = _all(found, SAYSO, at_once, "on_the_wire")
        shares = [percentile(one, share) for one in times for share in (0.5, 0.99)]
        rows.append((at_once, *shares, percentile(wire, 0.5) if wire else None))
    return Table(
        title="Each decision's way meanwhile, its call to its waiter resumed",
        columns=(
            Column(name="at once"),
            *(Column(name=f"{each} {share}", unit="ms") for each in contenders for share in ("p50", "p99")),
            Column(name="Sayso on the wire p50", unit="ms"),
        ),
        rows=tuple(rows),
    )


def _writing_table(found: _Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for own, floor in ((SAYSO_CALLERS, RAW_SETS), (SAYSO_BULK, RAW_BULK)):
        ratio = Ratio.of(found.writing[own], found.writing[floor])
        rows.append((own, median(found.writing[own]), floor, median(found.writing[floor]), str(ratio)))
    return Table(
        title="Writing alone, nobody waits",
        columns=(
            Column(name=""),
            Column(name="decisions", unit="1/s"),
            Column(name="beside"),
            Column(name="decisions", unit="1/s"),
            Column(name="×"),
        ),
        rows=tuple(rows),
    )


def _goals(found: _Found, *, two_processes: bool) -> tuple[Goal, ...]:
    wire = {one: _all(found, SAYSO, one, "on_the_wire") for one in (1, 64)}
    slower = (
        percentile(wire[64], 0.5) / percentile(wire[1], 0.5) if two_processes and all(wire.values()) else None
    )
    return (
        Goal(
            text="64 at once, end to end: at least 10 × Django one by one",
            limit=10,
            measured=_ratio(found, 64, DJANGO).median,
            at_least=True,
        ),
        Goal(
            text="64 at once, end to end: at least 4 × raw psycopg one by one",
            limit=4,
            measured=_ratio(found, 64, RAW).median,
            at_least=True,
        ),
        Goal(
            text="writing alone: at least 1/3 of raw batched SQL",
            limit=1 / 3,
            measured=Ratio.of(found.writing[SAYSO_CALLERS], found.writing[RAW_SETS]).median,
            at_least=True,
        ),
        Goal(text="time on the wire at 64 at most 2 × that at 1", limit=2, measured=slower),
    )


def _chart(found: _Found) -> Chart:
    return Chart(
        title="Decisions a second, end to end",
        kind="bars",
        unit="1/s",
        ticks=tuple(str(one) for one in AT_ONCE),
        across="decisions at once",
        series=tuple(
            Series(name=each, values=tuple(median(_rates(found, each, one)) for one in AT_ONCE))
            for each in (SAYSO, RAW, DJANGO)
        ),
    )


def _rates(found: _Found, contender: str, at_once: int) -> list[float]:
    return [block.rate for block in found.end_to_end[contender, at_once]]


def _ratio(found: _Found, at_once: int, other: str) -> Ratio:
    return Ratio.of(_rates(found, SAYSO, at_once), _rates(found, other, at_once))


def _all(found: _Found, contender: str, at_once: int, name: str) -> list[float]:
    return [each for block in found.end_to_end[contender, at_once] for each in getattr(block, name)]


SCENARIO = Scenario(
    name="decisions",
    summary="decisions a second, several at once, and in bulk",
    method=(
        "One process decides, another waits for each decision. 1, 8, 64 and 512 callers at once each make"
        " one decision at a time, up to N together; the clock runs from the first call to the last waiter's"
        " resumption. Beside it in each of five rounds, in changing order: raw psycopg, one statement and"
        " transaction for each decision over up to 64 connections, a Redis publish each, a future; and plain"
        " Django, an ORM update and create in a transaction each on Django's thread-sensitive thread, a"
        " message on the channel layer each, a future. These decide fewer, for they are slower; neither"
        " checks a permission, reads the row, or keeps a chain. Writing alone: 64 callers, and 1,000"
        " decisions in one call, beside raw SQL that updates and inserts 64 and 1,000 in one statement. On"
        " SQLite the raw floor has one connection and blocks its event loop, and no layer is between."
    ),
    unit="decisions in a block",
    sizes=(500,),
    most=100_000,
    needs=lambda size: Needs(files=100, memory=300_000_000 + 40_000 * size),
    run=run,
)
