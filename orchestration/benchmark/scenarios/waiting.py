"""What waiting costs: CPU, wake-ups and memory, and to begin and end a wait."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Coroutine, Mapping, Sequence
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
from orchestration.benchmark.baseline import POLL_EVERY, POLLING
from orchestration.benchmark.load import PAUSE, SAYSO, Decider, Waiter, Waits, milliseconds, usage
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Cell, Check, Report, Samples, Scenario, spread

TASK, EVENT = "task on a future", "task on an Event"

ROUNDS = 3
SINGLES = 20
WARM_UP = 100

# Seconds to look at an idle process, and at one that polls; with many waits what happens is rarer, or slower.
USUAL_WINDOWS = (1.6, 0.6)
LONG_WINDOWS = (8.0, 4.0)
MANY = 50_000


async def poll(id_: str, outcomes: Mapping[str, str]) -> str:
    while id_ not in outcomes:  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY)
    return outcomes[id_]


class Baselines(Remote):
    """Waits without Sayso: each polls a dictionary every 0.2 s, or is a task on a bare future or an Event."""

    async def begin(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.futures: dict[str, asyncio.Future[str]] = {}
        self.events: dict[str, asyncio.Event] = {}
        self._polling = Waits(self._poll_out_of_step)

    async def wait_on_future(self, id_: str) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.futures[id_] = future
        return await future

    async def wait_on_event(self, id_: str) -> str:
        event = self.events[id_] = asyncio.Event()
        await event.wait()
        return self.outcomes[id_]

    async def start_polling(self, ids: list[str]) -> None:
        self.outcomes.clear()
        await self._polling.begin(ids)
        await asyncio.sleep(POLL_EVERY)  # until each has looked once

    async def idle(self, seconds: float) -> tuple[float, float]:
        return await usage(seconds)

    async def resume(self, ids: list[str]) -> list[float]:
        """Set these outcomes one after the other; returns the milliseconds until each wait was resumed."""
        came = {}
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            self.outcomes[id_] = "approved"
            came[id_] = monotonic_ns()
        await self._polling.finish(ids)
        return [milliseconds(self._polling.resumed[id_] - moment) for id_, moment in came.items()]

    async def stop_polling(self) -> None:
        await self._polling.cancel()

    async def _poll_out_of_step(self, id_: str) -> str:
        await asyncio.sleep(uniform(0, POLL_EVERY))  # noqa: S311  spread as programs are
        return await poll(id_, self.outcomes)

    async def measure_tasks(self, contender: str, ids: list[str]) -> tuple[float, float]:
        """Return the microseconds of the loop's thread to begin such a wait, and to resume one."""
        waits = Waits(self.wait_on_future if contender == TASK else self.wait_on_event)
        gc.collect()
        beginning = await waits.begin(ids)
        gc.collect()
        started = thread_time_ns()
        if contender == TASK:
            for future in self.futures.values():
                future.set_result("approved")
        else:
            for id_, event in self.events.items():
                self.outcomes[id_] = "approved"
                event.set()
        await waits.finish()
        took = (thread_time_ns() - started) / 1000 / len(ids)
        self.forget()
        return beginning, took

    def forget(self) -> None:
        """Forget what the tasks waited on."""
        for waited_on in (self.outcomes, self.futures, self.events):
            waited_on.clear()


class Scales(Baselines):
    """Weighs waits, in a process of its own, since weighing makes everything slow."""

    async def begin(self) -> None:
        await super().begin()
        await waiting_room().start()

    async def weigh(self, contender: str, ids: list[str], closed: str) -> float:
        """Return the bytes of Python's memory that one wait holds once it has settled, its task included."""
        ways: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
            SAYSO: wait_for_outcome,
            POLLING: lambda id_: poll(id_, {}),
            TASK: self.wait_on_future,
            EVENT: self.wait_on_event,
        }
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(ways[contender](id_)) for id_ in ids]
        await asyncio.sleep(0)
        if contender == SAYSO:
            await wait_for_outcome(closed)  # rows are read in order, so all others have been read, too
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.forget()
        return (after - before) / len(ids)

    async def read_again(self, ids: list[str]) -> float:
        """Return the seconds of CPU time that a full re-read takes with so many waits."""
        waiters: Registry[Outcome | None] = Registry()
        registered = [(UUID(id_), waiters.register(UUID(id_))) for id_ in ids]
        outage, loop = Outage("database", DatabaseError), asyncio.get_running_loop()
        reader = OutcomeReader(waiters, outage, lambda _: None, loop)
        started = process_time()
        await reader.look_everywhere()
        took = process_time() - started
        for request_id, waiter in registered:
            waiters.deregister(waiter, request_id)
        return took


class Measurement:
    """The processes of one run, and what they measured: by (figure, contender, size)."""

    def __init__(self, env: Environment, sizes: Sequence[int]) -> None:
        self.env, self.sizes, self.most = env, sizes, sizes[-1]
        self.found = Samples()
        self.windows = LONG_WINDOWS if self.most >= MANY else USUAL_WINDOWS

    async def start(self) -> None:
        self.polling = await self.env.start(Baselines)
        sizes = (0, *self.sizes)
        started = await asyncio.gather(*(self.env.start(Waiter) for _ in sizes))
        self.waiters = dict(zip(sizes, started, strict=True))
        self.decider = await self.env.start(Decider, beside=started[-1])
        self.closed = await self.decider.open_closed()
        self.ids = {size: await self.decider.open(size) for size in self.sizes}

    async def weigh(self) -> None:
        scales = await self.env.start(Scales)
        await scales.weigh(SAYSO, self.ids[self.most][:WARM_UP], self.closed)
        for contender in (TASK, EVENT, SAYSO, POLLING):
            for size in self.sizes:
                weight = await scales.weigh(contender, self.ids[size], self.closed)
                self.found["memory", contender, size] = [weight]
                if contender == SAYSO:
                    self.found["re-reading", SAYSO, size] = [await scales.read_again(self.ids[size])]
        await self.env.stop(scales)

    async def register(self) -> None:
        """Begin all waits, beside those of tasks without Sayso."""
        tasks = await self.env.start(Baselines)
        for size in self.sizes:
            for contender in (TASK, EVENT):
                registering, releasing = await tasks.measure_tasks(contender, self.ids[size])
                self.found["registering", contender, size] = [registering]
                self.found["releasing", contender, size] = [releasing]
            self.found["registering", SAYSO, size] = [await self.waiters[size].wait(self.ids[size])]
        await self.env.stop(tasks)
        for waiter in self.waiters.values():
            await waiter.settle(self.closed)

    async def watch(self) -> None:
        """Take CPU and wake-ups of the processes while they are idle."""
        window, polling_window = self.windows
        for _, contender in self.env.turns([SAYSO, POLLING], self.env.rounds(ROUNDS)):
            if contender == SAYSO:  # all at once, so that what the machine does meanwhile concerns all alike
                idle = await asyncio.gather(*(waiter.idle(window) for waiter in self.waiters.values()))
                for size, usage_ in zip(self.waiters, idle, strict=True):
                    self._add_usage(SAYSO, size, usage_)
            else:
                for size in self.sizes:
                    await self.polling.start_polling(self.ids[size])
                    self._add_usage(POLLING, size, await self.polling.idle(polling_window))
                    await self.polling.stop_polling()

    def _add_usage(self, contender: str, size: int, idle: tuple[float, float]) -> None:
        for figure, value in zip(("CPU", "wake-ups"), idle, strict=True):
            self.found[figure, contender, size].append(value)

    async def resume(self) -> dict[str, list[float]]:
        """Decide some one at a time; the milliseconds from each outcome to its waiter resumed."""
        singles = self.ids[self.most][:SINGLES]
        calls = await self.decider.decide(singles)
        await asyncio.sleep(3 * PAUSE)
        pairs = zip(calls, await self.waiters[self.most].resumed(singles), strict=True)
        sayso = [milliseconds(at - committed) for (_, committed), at in pairs if at is not None]
        await self.polling.start_polling(self.ids[self.most])
        polling = await self.polling.resume(singles)
        await self.polling.stop_polling()
        return {SAYSO: sayso, POLLING: polling}

    async def release(self) -> Check:
        """Decide the rest, and check every wait."""
        told: list[tuple[str, str]] = []
        recorded: dict[str, str] = {}
        singles = set(self.ids[self.most][:SINGLES])
        for size, ids in self.ids.items():
            await self.waiters[size].start_clock()
            await self.decider.decide_all([id_ for id_ in ids if id_ not in singles])
            self.found["releasing", SAYSO, size] = [await self.waiters[size].released()]
            told += await self.waiters[size].told()
            recorded |= await self.decider.recorded(ids)
        return Check.of(told, recorded)


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure CPU, wake-ups and memory while nothing is decided.

    Each size waits (gate.wait_for_outcome) in a process of its own, beside one with no wait; beside them N
    tasks that look into a dictionary each 0.2 s, N tasks on a bare future each, and N on an asyncio.Event
    each. CPU is the process's, all threads and the channel layer's receiver included, over windows in which
    nothing is decided, after every row has been read; wake-ups are voluntary context switches. Three rounds
    in changing order; the idle processes are looked at in the same windows. What comes rarely may fall into
    any window or none, and does not grow with the waits: the re-check (each 2 s on the embedded stack, 30 s
    with Redis) and the channel layer's proof. Memory is what Python holds (tracemalloc, in another process)
    when all have settled, the task included. Registering and releasing are CPU time of the event loop's
    thread, task included; rows are read on other threads. Then 20 are decided one at a time (polling: get
    their entry), and all the rest in bulk, and each must be told what is on record.
    """
    run = Measurement(env, sizes)
    await run.start()
    await run.weigh()
    await run.register()
    await run.watch()
    resumed = await run.resume()
    check = await run.release()
    return _report(check, run, resumed) if check.passed else Report(check)


def _report(check: Check, run: Measurement, resumed: Mapping[str, list[float]]) -> Report:
    found, sizes, most, reread = run.found, run.sizes, run.most, approval_settings().full_reread_interval
    rounds, (window, polling_window) = len(found["CPU", SAYSO, 0]), run.windows
    sayso = {name: found[name, SAYSO, most][0] for name in ("registering", "releasing", "re-reading")}

    def above_none(size: int) -> float:
        """Return the CPU beyond that of the process with no wait, in the same windows."""
        pairs = zip(found["CPU", SAYSO, size], found["CPU", SAYSO, 0], strict=True)
        return median([one - other for one, other in pairs])

    def figure(name: str, contender: str, size: int) -> float | None:
        values = found.get((name, contender, size))
        return median(values) if values else None

    def row(contender: str, size: int) -> list[Cell]:
        above = compared = None
        if contender == SAYSO and size:
            above = above_none(size)
            compared = str(found.ratio(("CPU", POLLING, size), ("CPU", SAYSO, size)))
        memory = figure("memory", contender, size)
        names = ("registering", "releasing", "re-reading")
        return [
            *(contender, size, figure("CPU", contender, size), above, compared),
            *(figure("wake-ups", contender, size), None if memory is None else round(memory)),
            *(figure(name, contender, size) for name in names),
        ]

    contenders = {TASK: sizes, EVENT: sizes, SAYSO: (0, *sizes), POLLING: sizes}
    lines = {SAYSO: SAYSO, POLLING: "polling each 0.2 s"}
    report = Report(
        check,
        f"CPU and wake-ups: medians of {rounds} windows of {window:g} s (polling: {polling_window:g} s).",
        f"All is re-read each {reread:g} s, which no window sees; its CPU time over that interval is counted"
        " in the goal of idle CPU.",
    )
    report.table(
        "Waiting while nothing is decided, one process",
        "; waits; CPU|% of a core; above none|% of a core; polling's CPU, ×; wake-ups|1/s"
        "; memory a wait|bytes; registering|µs; releasing|µs; re-reading all, CPU|s",
        [row(contender, size) for contender, measured in contenders.items() for size in measured],
    )
    report.table(
        f"From an outcome on record to its waiter resumed, {most:,} waiting",
        "; decisions; p50|ms; p90|ms; p99|ms; max|ms",
        [(contender, len(times), *spread(times)) for contender, times in resumed.items()],
    )
    goal = f"idle CPU with {most:,} waits, re-reads included, above the same process with none"
    report.at_most(goal, 0.1, above_none(most) + sayso["re-reading"] / reread * 100, "% of a core")
    memory = found.ratio(("memory", SAYSO, most), ("memory", TASK, most))
    goal = "memory a wait, its task included: at most 2 × a task on a bare future"
    report.at_most(goal, 2, memory.median)
    report.at_most("registering a wait, beside the row", 30, sayso["registering"], "µs")
    report.at_most("releasing a wait, beside the row", 30, sayso["releasing"], "µs")
    cpu = found.ratio(("CPU", POLLING, most), ("CPU", SAYSO, most))
    report.at_least(f"CPU at least 100 × less than polling's, {most:,} waits", 100, cpu.median)
    sooner = median(resumed[SAYSO]) / median(resumed[POLLING])
    report.at_most("time from the record to the waiter under 1/50 of polling's", 1 / 50, sooner)
    ticks, more = [f"{size:,}" for size in sizes], {"across": "waits", "logarithmic": True}
    series = {lines[name]: [found.median(("CPU", name, size)) for size in sizes] for name in lines}
    report.chart("CPU while waiting", "lines", "% of a core", ticks, series, **more)
    return report


WAITING = Scenario(
    "waiting", measure, unit="waits", sizes=(100, 1_000, 10_000), most=100_000, memory=(700_000_000, 15_000)
)
