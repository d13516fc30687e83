"""What it costs to wait."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import uniform
from statistics import median
from time import monotonic_ns, process_time, thread_time_ns
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.conf import approval_settings
from approvals.domain.lifecycle import Outcome
from approvals.gate import wait_for_outcome
from approvals.waiting.outages import Outage
from approvals.waiting.outcome_reads import OutcomeReader
from approvals.waiting.registry import Registry
from approvals.waiting.waiting_room import waiting_room
from orchestration.benchmark.load import PAUSE, Decider, Waiter, Waits, milliseconds, usage
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Cell, Chart, Check, Findings, Goal, Ratio, Scenario, Table, spread

SAYSO, POLLING, TASK = "Sayso", "polling", "bare task"

ROUNDS = 3
POLL_EVERY = 0.2
SINGLES = 20
WARM_UP = 100

# Seconds to look at an idle process, and at one that polls; with many waits what happens is rarer, or slower.
USUAL_WINDOWS = (1.6, 0.6)
LONG_WINDOWS = (8.0, 4.0)
MANY = 50_000


async def poll(id_: str, outcomes: dict[str, str]) -> str:
    while id_ not in outcomes:  # noqa: ASYNC110  what Sayso replaces
        await asyncio.sleep(POLL_EVERY)
    return outcomes[id_]


class Polling(Remote):
    """What Sayso replaces: each wait looks every 0.2 s whether its outcome has come, in a dictionary."""

    async def start(self, ids: list[str]) -> None:
        self._outcomes: dict[str, str] = {}
        self._waits = Waits(self._poll)
        await self._waits.begin(ids)
        await asyncio.sleep(POLL_EVERY)  # all have come to where they look

    async def idle(self, seconds: float) -> tuple[float, float]:
        return await usage(seconds)

    async def resume(self, ids: list[str]) -> list[float]:
        """Let these have an outcome, one after the other; milliseconds until each was resumed."""
        came = {}
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            self._outcomes[id_] = "approved"
            came[id_] = monotonic_ns()
        await self._waits.finish(ids)
        return [milliseconds(self._waits.resumed[id_] - moment) for id_, moment in came.items()]

    async def stop(self) -> None:
        await self._waits.cancel()

    async def _poll(self, id_: str) -> str:
        await asyncio.sleep(uniform(0, POLL_EVERY))  # noqa: S311  so that they are spread as usual
        return await poll(id_, self._outcomes)


class BareTasks(Remote):
    """The floor: tasks, each on a future in a dictionary."""

    async def begin(self) -> None:
        self.futures: dict[str, asyncio.Future[str]] = {}
        self._waits = Waits(self.wait)

    async def wait(self, id_: str) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.futures[id_] = future
        return await future

    async def measure(self, ids: list[str]) -> tuple[float, float]:
        """Return the microseconds of the loop's thread that it took to begin a wait, and to resume one."""
        gc.collect()
        beginning = await self._waits.begin(ids)
        gc.collect()
        started = thread_time_ns()
        for future in self.futures.values():
            future.set_result("approved")
        await self._waits.finish()
        resuming = (thread_time_ns() - started) / 1000 / len(ids)
        await self.begin()
        return beginning, resuming


class Scales(BareTasks):
    """Weighs waits: bytes of Python's memory that one holds once it has settled, its task included."""

    async def begin(self) -> None:
        await super().begin()
        await waiting_room().start()

    async def end(self) -> None:
        await waiting_room().stop()

    async def weigh(self, contender: str, ids: list[str], closed: str) -> float:
        ways: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
            SAYSO: wait_for_outcome,
            POLLING: lambda id_: poll(id_, {}),
            TASK: self.wait,
        }
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(ways[contender](id_)) for id_ in ids]
        await asyncio.sleep(0)
        if contender == SAYSO:
            await wait_for_outcome(closed)  # looks come in order: all others have been looked at, too
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.futures.clear()
        return (after - before) / len(ids)

    async def read_again(self, ids: list[str]) -> float:
        """Return the seconds of CPU time that a full re-read takes with so many waits."""
        waiters: Registry[Outcome | None] = Registry()
        registered = [(UUID(id_), waiters.register(UUID(id_))) for id_ in ids]
        looks = OutcomeReader(
            waiters, Outage("database", DatabaseError), lambda _: None, asyncio.get_running_loop()
        )
        started = process_time()
        await looks.look_everywhere()
        took = process_time() - started
        for request_id, waiter in registered:
            waiters.deregister(request_id, waiter)
        return took


@dataclass(slots=True)
class Found:
    """Of one contender at one size. CPU in % of a core and wake-ups a second, one figure a round."""

    cpu: list[float] = field(default_factory=list)
    wakeups: list[float] = field(default_factory=list)
    memory: float | None = None
    registering: float | None = None
    releasing: float | None = None
    reading_again: float | None = None

    def add(self, idle: tuple[float, float]) -> None:
        self.cpu.append(idle[0])
        self.wakeups.append(idle[1])

    def above(self, none: Found) -> float:
        """Return the CPU beyond that of the process with no wait, in the same windows."""
        return median([one - other for one, other in zip(self.cpu, none.cpu, strict=True)])


async def measure(env: Environment, sizes: Sequence[int]) -> Findings:
    """Measure CPU, wake-ups and memory while nothing is decided.

    Each size waits (gate.wait_for_outcome) in a process of its own, beside one with no wait; beside them N
    tasks that look into a dictionary each 0.2 s, and N tasks on bare futures. CPU is the process's, all
    threads and the channel layer's receiver included, over windows in which nothing is decided, after every
    row has been looked at; wake-ups are voluntary context switches. Three rounds in changing order; the idle
    processes are looked at in the same windows. What comes rarely may fall into any window or none, and does
    not grow with the waits: the re-check (each 2 s on the embedded stack, 30 s with Redis) and the channel
    layer's proof. Memory is what Python holds (tracemalloc, in another process) when all have settled, the
    task included. Registering and releasing are CPU time of the event loop's thread, task included; rows are
    read on other threads. Then 20 are decided one at a time (polling: get their entry), and all the rest in
    bulk, and each must be told what is on record.
    """
    rounds = env.rounds(ROUNDS)
    window, polling_window = LONG_WINDOWS if sizes[-1] >= MANY else USUAL_WINDOWS
    found = {(TASK, size): Found() for size in sizes}
    found |= {(SAYSO, size): Found() for size in (0, *sizes)}
    found |= {(POLLING, size): Found() for size in sizes}
    polling = await env.start(Polling)
    started = await asyncio.gather(*(env.start(Waiter) for _ in (0, *sizes)))
    waiters = dict(zip((0, *sizes), started, strict=True))
    decider = await env.start(Decider, beside=started[-1])
    closed = await decider.open_closed()
    ids = {size: await decider.open(size) for size in sizes}

    scales = await env.start(Scales)  # a process of its own, since weighing makes everything slow
    await scales.weigh(SAYSO, ids[sizes[-1]][:WARM_UP], closed)
    for (contender, size), one in found.items():
        if size:
            one.memory = await scales.weigh(contender, ids[size], closed)
            if contender == SAYSO:
                one.reading_again = await scales.read_again(ids[size])
    await env.stop(scales)

    tasks = await env.start(BareTasks)
    for size in sizes:
        floor = found[TASK, size]
        floor.registering, floor.releasing = await tasks.measure(ids[size])
        found[SAYSO, size].registering = await waiters[size].wait(ids[size])
    await env.stop(tasks)
    for waiter in started:
        await waiter.settle(closed)

    for _, contender in env.turns([SAYSO, POLLING], rounds):
        if contender == SAYSO:  # all at once, so that what the machine does meanwhile concerns all alike
            for size, idle in zip(
                waiters, await asyncio.gather(*(w.idle(window) for w in started)), strict=True
            ):
                found[SAYSO, size].add(idle)
        else:
            for size in sizes:
                await polling.start(ids[size])
                found[POLLING, size].add(await polling.idle(polling_window))
                await polling.stop()

    singles = ids[sizes[-1]][:SINGLES]
    calls = await decider.decide(singles)
    await asyncio.sleep(3 * PAUSE)
    resumed = await started[-1].resumed(singles)
    pairs = zip(calls, resumed, strict=True)
    resuming = {SAYSO: [milliseconds(at - committed) for (_, committed), at in pairs if at is not None]}
    await polling.start(ids[sizes[-1]])
    resuming[POLLING] = await polling.resume(singles)
    await polling.stop()
    check = Check()
    for size in sizes:
        await waiters[size].start_clock()
        await decider.decide_all([id_ for id_ in ids[size] if id_ not in set(singles)])
        found[SAYSO, size].releasing = await waiters[size].released()
        check += Check.of(await waiters[size].told(), await decider.recorded(ids[size]))
    if not check.passed:
        return Findings(check=check)

    reread = approval_settings().full_reread_interval
    most, bare, polled = (found[contender, sizes[-1]] for contender in (SAYSO, TASK, POLLING))
    medians = {contender: median(times) for contender, times in resuming.items()}
    return Findings(
        tables=[
            [_row(found, *each) for each in found],
            [(contender, len(times), *spread(times)) for contender, times in resuming.items()],
        ],
        goals=[
            most.above(found[SAYSO, 0]) + (most.reading_again or 0) / reread * 100,
            (most.memory or 0) / bare.memory if bare.memory else None,
            most.registering,
            most.releasing,
            Ratio.of(polled.cpu, most.cpu).median,
            medians[SAYSO] / medians[POLLING],
        ],
        charts=[
            (
                [f"{size:,}" for size in sizes],
                {
                    name: [median(found[contender, size].cpu) for size in sizes]
                    for contender, name in {SAYSO: SAYSO, POLLING: "polling each 0.2 s"}.items()
                },
            )
        ],
        check=check,
        notes=(
            f"CPU and wake-ups: medians of {rounds} windows of {window:g} s (polling: {polling_window:g} s).",
            (
                f"All is re-read each {reread:g} s, which no window sees; its CPU time over that interval is"
                " counted in the goal of idle CPU."
            ),
        ),
    )


def _row(found: dict[tuple[str, int], Found], contender: str, size: int) -> tuple[Cell, ...]:
    one, polled = found[contender, size], found.get((POLLING, size))
    sayso = contender == SAYSO
    return (
        contender,
        size,
        median(one.cpu) if one.cpu else None,
        one.above(found[SAYSO, 0]) if sayso and size else None,
        str(Ratio.of(polled.cpu, one.cpu)) if sayso and polled else None,
        median(one.wakeups) if one.wakeups else None,
        None if one.memory is None else round(one.memory),
        one.registering,
        one.releasing,
        one.reading_again,
    )


WAITING = Scenario(
    name="waiting",
    unit="waits",
    sizes=(100, 1_000, 10_000),
    most=100_000,
    needs=lambda size: Needs(memory=700_000_000 + 15_000 * size),
    measure=measure,
    tables=(
        Table(
            "Waiting while nothing is decided, one process",
            "; waits; CPU|% of a core; above none|% of a core; polling's CPU, ×; wake-ups|1/s"
            "; memory a wait|bytes; registering|µs; releasing|µs; re-reading all, CPU|s",
        ),
        Table(
            "From an outcome on record to its waiter resumed, {size:,} waiting",
            "; decisions; p50|ms; p90|ms; p99|ms; max|ms",
        ),
    ),
    goals=(
        Goal(
            "idle CPU with {size:,} waits, re-reads included, above the same process with none",
            0.1,
            "% of a core",
        ),
        Goal("memory a wait, its task included: at most 2 × a task on a bare future", 2),
        Goal("registering a wait, beside the row", 30, "µs"),
        Goal("releasing a wait, beside the row", 30, "µs"),
        Goal("CPU at least 100 × less than polling's, {size:,} waits", 100, at_least=True),
        Goal("time from the record to the waiter under 1/50 of polling's", 1 / 50),
    ),
    charts=(
        Chart(title="CPU while waiting", kind="lines", unit="% of a core", across="waits", logarithmic=True),
    ),
)
