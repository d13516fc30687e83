"""What it costs to wait: CPU, wake-ups and memory while nothing is decided, at several sizes."""

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
from approvals.waiting.readings import OutcomeReader
from approvals.waiting.registry import Registry
from approvals.waiting.room import waiting_room
from orchestration.benchmark.crowd import PAUSE, Crowd, Decider, Waits
from orchestration.benchmark.figures import Ratio, in_turns, milliseconds, percentile
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.players import Part
from orchestration.benchmark.report import Cell, Chart, Check, Column, Goal, Report, Series, Table
from orchestration.benchmark.roles import Role
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage
from orchestration.benchmark.usage import Usage

ROUNDS = 3
POLL_EVERY = 0.2
SINGLES = 20
WARM_UP = 100

# Seconds to look at an idle process, and at one that polls; with many waits what happens is rarer, or slower.
USUAL_WINDOWS = (1.6, 0.6)
LONG_WINDOWS = (8.0, 4.0)
MANY = 50_000


class Polling(Role):
    """What Sayso replaces: each wait looks every 0.2 s whether its outcome has come, in a dictionary."""

    async def begin(self) -> None:
        self._usage = Usage()
        self._outcomes: dict[str, str] = {}

    async def end(self) -> None:
        await self.stop()

    async def start(self, ids: list[str]) -> None:
        self._waits = Waits(self._poll)
        await self._waits.begin(ids)
        await asyncio.sleep(POLL_EVERY)  # all have come to where they look

    async def idle(self, seconds: float) -> tuple[float, float]:
        return await self._usage.over(seconds)

    async def resume(self, ids: list[str]) -> list[float]:
        """Let these have an outcome, one after the other; milliseconds until each was resumed."""
        came = {}
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            self._outcomes[id_] = "approved"
            came[id_] = monotonic_ns()
        while len(self._waits.resumed) < len(ids):  # noqa: ASYNC110  those that poll tell nobody
            await asyncio.sleep(PAUSE)
        return [milliseconds(self._waits.resumed[id_] - moment) for id_, moment in came.items()]

    async def stop(self) -> None:
        await self._waits.cancel()
        self._outcomes.clear()

    async def _poll(self, id_: str) -> str:
        await asyncio.sleep(uniform(0, POLL_EVERY))  # noqa: S311  so that they are spread as usual
        return await poll(id_, self._outcomes)


async def poll(id_: str, outcomes: dict[str, str]) -> str:
    while id_ not in outcomes:  # noqa: ASYNC110  what Sayso replaces
        await asyncio.sleep(POLL_EVERY)
    return outcomes[id_]


class BareTasks(Role):
    """The floor: tasks, each on a future in a dictionary."""

    async def begin(self) -> None:
        self._futures: dict[str, asyncio.Future[str]] = {}
        self._waits = Waits(self._wait)

    async def join(self, ids: list[str]) -> float:
        gc.collect()
        return await self._waits.begin(ids)

    async def release(self) -> float:
        """Resume all; microseconds of the loop's thread that one took."""

        gc.collect()
        started = thread_time_ns()
        for future in self._futures.values():
            future.set_result("approved")
        await self._waits.over()
        took = (thread_time_ns() - started) / 1000 / len(self._waits)
        await self.begin()
        return took

    async def _wait(self, id_: str) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._futures[id_] = future
        return await future


class Scales(Role):
    """Weighs waits: bytes of Python's memory that one holds once it has settled, its task included."""

    async def begin(self) -> None:
        await waiting_room().start()
        self._futures: dict[str, asyncio.Future[str]] = {}

    async def end(self) -> None:
        await waiting_room().stop()

    async def weigh(self, contender: str, ids: list[str], closed: str) -> float:
        ways: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
            "Sayso": wait_for_outcome,
            "polling": self._poll,
            "bare task": self._wait,
        }
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(ways[contender](id_)) for id_ in ids]
        await asyncio.sleep(0)
        if contender == "Sayso":
            await wait_for_outcome(closed)  # looks come in order: all others have been looked at, too
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._futures.clear()
        return (after - before) / len(ids)

    async def read_again(self, ids: list[str]) -> float:
        """Seconds of CPU time that a full re-read takes with so many waits."""
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

    async def _poll(self, id_: str) -> str:
        return await poll(id_, {})

    async def _wait(self, id_: str) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._futures[id_] = future
        return await future


@dataclass(slots=True, kw_only=True)
class Found:
    """Of one contender at one size. CPU in % of a core, one figure a round."""

    cpu: list[float] = field(default_factory=list)
    wakeups: list[float] = field(default_factory=list)
    memory: float | None = None
    registering: float | None = None
    releasing: float | None = None
    reading_again: float | None = None

    def add(self, idle: tuple[float, float]) -> None:
        self.cpu.append(idle[0])
        self.wakeups.append(idle[1])


Findings = dict[tuple[str, int], Found]
NONE = ("Sayso", 0)


class _Play:
    """The parts, and what has been found."""

    def __init__(self, stage: Stage, sizes: Sequence[int]) -> None:
        self.stage = stage
        self.sizes = sizes
        self.rounds = stage.rounds(ROUNDS)
        self.windows = LONG_WINDOWS if sizes[-1] >= MANY else USUAL_WINDOWS
        self.found: Findings = {("bare task", size): Found() for size in sizes}
        self.found |= {("Sayso", size): Found() for size in (0, *sizes)}
        self.found |= {("polling", size): Found() for size in sizes}
        self.resuming: dict[str, list[float]] = {}

    async def cast(self) -> None:
        processes = (0, *self.sizes)
        self.polling = await self.stage.part(Polling)
        crowds = await asyncio.gather(*(self.stage.part(Crowd) for _ in processes))
        self.crowds: dict[int, Part[Crowd]] = dict(zip(processes, crowds, strict=True))
        self.decider = await self.stage.part(Decider, opposite=crowds[-1])
        self.stage.step()

    async def open(self) -> None:
        self.closed = await self.decider(Decider.open_closed)
        self.ids = {size: await self.decider(Decider.open, size) for size in self.sizes}
        self.stage.step()

    async def weigh(self) -> None:
        """In a process of its own, since weighing makes everything slow."""
        scales = await self.stage.part(Scales)
        most = self.ids[self.sizes[-1]]
        await scales(Scales.weigh, "Sayso", most[:WARM_UP], self.closed)
        for (contender, size), found in self.found.items():
            if size:
                ids = self.ids[size]
                found.memory = await scales(Scales.weigh, contender, ids, self.closed)
        for size, ids in self.ids.items():
            self.found["Sayso", size].reading_again = await scales(Scales.read_again, ids)
        await self.stage.dismiss(scales)
        self.stage.step()

    async def register(self) -> None:
        bare = await self.stage.part(BareTasks)
        for size, ids in self.ids.items():
            floor = self.found["bare task", size]
            floor.registering = await bare(BareTasks.join, ids)
            floor.releasing = await bare(BareTasks.release)
            self.found["Sayso", size].registering = await self.crowds[size](Crowd.join, ids)
        await self.stage.dismiss(bare)
        for crowd in self.crowds.values():
            await crowd(Crowd.settle, self.closed)
        self.stage.step()

    async def idle(self) -> None:
        for number in range(self.rounds):
            for contender in in_turns(["Sayso", "polling"], number):
                await (self._idle() if contender == "Sayso" else self._polled())
                self.stage.step()

    async def resume(self) -> None:
        """Decide one after the other at the largest size, then all."""
        size = self.sizes[-1]
        singles = self.ids[size][:SINGLES]
        committed = await self.decider(Decider.decide, singles)
        await asyncio.sleep(3 * PAUSE)
        resumed = await self.crowds[size](Crowd.resumed, singles)
        self.resuming["Sayso"] = [
            milliseconds(after - before)
            for before, after in zip(committed, resumed, strict=True)
            if after is not None
        ]
        await self.polling(Polling.start, self.ids[size])
        self.resuming["polling"] = await self.polling(Polling.resume, singles)
        await self.polling(Polling.stop)
        self.stage.step()
        for size, crowd in self._waiting():
            await crowd(Crowd.about_to_be_decided)
            pending = [id_ for id_ in self.ids[size] if id_ not in set(singles)]
            await self.decider(Decider.decide_all, pending)
            self.found["Sayso", size].releasing = await crowd(Crowd.released)
        self.stage.step()

    async def check(self) -> Check:
        check = Check(waits=0, resolved=0)
        for size, crowd in self._waiting():
            recorded = await self.decider(Decider.recorded, self.ids[size])
            check += Check.of(await crowd(Crowd.told), recorded)
        return check

    def _waiting(self) -> list[tuple[int, Part[Crowd]]]:
        return [(size, crowd) for size, crowd in self.crowds.items() if size]

    async def _idle(self) -> None:
        """All at once, so that what the machine does meanwhile concerns all alike."""
        window, _ = self.windows
        idle = await asyncio.gather(*(crowd(Crowd.idle, window) for crowd in self.crowds.values()))
        for size, figures in zip(self.crowds, idle, strict=True):
            self.found["Sayso", size].add(figures)

    async def _polled(self) -> None:
        _, window = self.windows
        for size, ids in self.ids.items():
            await self.polling(Polling.start, ids)
            self.found["polling", size].add(await self.polling(Polling.idle, window))
            await self.polling(Polling.stop)


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    play = _Play(stage, sizes)
    stage.expect(6 + 2 * play.rounds)
    await play.cast()
    await play.open()
    await play.weigh()
    await play.register()
    await play.idle()
    await play.resume()
    return _report(play, await play.check())


def _report(play: _Play, check: Check) -> Report:
    if not check.passed:
        return Report.failed(check)
    idle, polled = play.windows
    reread = approval_settings().full_reread_interval
    windows = f"CPU and wake-ups: medians of {play.rounds} windows of {idle:g} s (polling: {polled:g} s)."
    rarely = (
        f"All is re-read each {reread:g} s, which no window sees; its CPU time over that interval is counted"
        " in the goal of idle CPU."
    )
    return Report(
        tables=(_costs(play.found), _resuming(play)),
        goals=_goals(play),
        charts=(_cpu_chart(play),),
        check=check,
        notes=(windows, rarely),
    )


def _costs(found: Findings) -> Table:
    columns = (
        Column(name=""),
        Column(name="waits"),
        Column(name="CPU", unit="% of a core"),
        Column(name="above none", unit="% of a core"),
        Column(name="polling's CPU, ×"),
        Column(name="wake-ups", unit="1/s"),
        Column(name="memory a wait", unit="bytes"),
        Column(name="registering", unit="µs"),
        Column(name="releasing", unit="µs"),
        Column(name="re-reading all, CPU", unit="s"),
    )
    rows = tuple(_costs_row(found, *each) for each in found)
    return Table(title="Waiting while nothing is decided, one process", columns=columns, rows=rows)


def _costs_row(found: Findings, contender: str, size: int) -> tuple[Cell, ...]:
    one = found[contender, size]
    polls = found.get(("polling", size)) if contender == "Sayso" else None
    return (
        contender,
        size,
        median(one.cpu) if one.cpu else None,
        _above_none(found, size) if contender == "Sayso" and size else None,
        str(Ratio.of(polls.cpu, one.cpu)) if polls else None,
        median(one.wakeups) if one.wakeups else None,
        one.memory if one.memory is None else round(one.memory),
        one.registering,
        one.releasing,
        one.reading_again,
    )


def _above_none(found: Findings, size: int) -> float:
    """Each round beside the process with none in the same window."""
    pairs = zip(found["Sayso", size].cpu, found[NONE].cpu, strict=True)
    return median([one - none for one, none in pairs])


def _resuming(play: _Play) -> Table:
    shares = (0.5, 0.9, 0.99)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (contender, len(times), *(percentile(times, share) for share in shares), max(times))
        for contender, times in play.resuming.items()
    )
    return Table(
        title=f"From an outcome on record to its waiter resumed, {play.sizes[-1]:,} waiting",
        columns=(
            Column(name=""),
            Column(name="decisions"),
            *(Column(name=name, unit="ms") for name in ("p50", "p90", "p99", "max")),
        ),
        rows=rows,
    )


def _goals(play: _Play) -> tuple[Goal, ...]:
    size = play.sizes[-1]
    waits, bare, polls = (play.found[contender, size] for contender in ("Sayso", "bare task", "polling"))
    again = (waits.reading_again or 0) / approval_settings().full_reread_interval * 100
    resuming = {contender: median(times) for contender, times in play.resuming.items()}
    return (
        Goal(
            text=f"idle CPU with {size:,} waits, re-reads included, above the same process with none",
            limit=0.1,
            measured=_above_none(play.found, size) + again,
            unit="% of a core",
        ),
        Goal(
            text="memory a wait, its task included: at most 2 × a task on a bare future",
            limit=2,
            measured=waits.memory / bare.memory if waits.memory and bare.memory else None,
        ),
        Goal(text="registering a wait, beside the row", limit=30, measured=waits.registering, unit="µs"),
        Goal(text="releasing a wait, beside the row", limit=30, measured=waits.releasing, unit="µs"),
        Goal(
            text=f"CPU at least 100 × less than polling's, {size:,} waits",
            limit=100,
            measured=Ratio.of(polls.cpu, waits.cpu).median,
            at_least=True,
        ),
        Goal(
            text="time from the record to the waiter under 1/50 of polling's",
            limit=1 / 50,
            measured=resuming["Sayso"] / resuming["polling"],
        ),
    )


def _cpu_chart(play: _Play) -> Chart:
    contenders = ("Sayso", "polling")
    return Chart(
        title="CPU while waiting",
        kind="lines",
        unit="% of a core",
        ticks=tuple(f"{size:,}" for size in play.sizes),
        across="waits",
        logarithmic=True,
        series=tuple(
            Series(
                name="polling each 0.2 s" if contender == "polling" else contender,
                values=tuple(median(play.found[contender, size].cpu) for size in play.sizes),
            )
            for contender in contenders
        ),
    )


SCENARIO = Scenario(
    name="waiting",
    summary="CPU, wake-ups and memory while nothing is decided",
    method=(
        "Each size waits (gate.wait_for_outcome) in a process of its own, beside one with no wait;"
        " beside them N tasks that look into a dictionary each 0.2 s, and N tasks on bare futures. CPU"
        " is the process's, all threads and the channel layer's receiver included, over windows in"
        " which nothing is decided, after every row has been looked at; wake-ups are voluntary context"
        " switches. Three rounds in changing order; the idle processes are looked at in the same"
        " windows. What comes rarely may fall into any window or none, and does not grow with the"
        " waits: the re-check (each 2 s on the embedded stack, 30 s with Redis) and the channel layer's"
        " proof. Memory is what Python holds (tracemalloc, in another process) when all have settled,"
        " the task included. Registering and releasing are CPU time of the event loop's thread, task"
        " included; rows are read on other threads. Then 20 are decided one at a time (polling: get"
        " their entry), and all the rest in bulk, and each must be told what is on record."
    ),
    unit="waits",
    sizes=(100, 1_000, 10_000),
    most=100_000,
    needs=lambda size: Needs(memory=700_000_000 + 15_000 * size),
    run=run,
)
