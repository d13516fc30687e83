"""Many people with a live page open: what each costs, and how soon they see what concerns them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from orchestration.benchmark.audience import SHOWN, Asker, Host, Visitors, key
from orchestration.benchmark.bare import TO_ALL, TO_ONE
from orchestration.benchmark.figures import Ratio, in_turns, milliseconds
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.players import Part
from orchestration.benchmark.report import Cell, Check, Column, Goal, Report, Table
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.serving import BARE, PRODUCT
from orchestration.benchmark.stage import Stage

ROUNDS = 5
EVENTS_A_ROUND = 5
# One user's events, while one and while all have joined.
EVENTS = 20
# So many of each where events are slow.
FEW = 2
PAUSE = 0.02
SETTLING = 1.0
IDLE = 4.0
GOAL = 5_000

NAMES = {PRODUCT: "Sayso", BARE: "bare consumer"}


@dataclass(slots=True)
class Found:
    """What one kind of server was measured to need."""

    joined: float = 0.0
    memory: float = 0.0
    idle: float = 0.0
    alone: float = 0.0
    among_all: float = 0.0
    to_one: list[float] = field(default_factory=list)
    to_all: list[float] = field(default_factory=list)


class _Scene:
    """The players, and the events so far."""

    def __init__(
        self, host: Part[Host], visitors: Part[Visitors], asker: Part[Asker], *, people: int, events: int
    ) -> None:
        self.host, self.visitors, self.asker = host, visitors, asker
        self.people = people
        self.events = events
        self.asked: list[str] = []
        self._came = {PRODUCT: 0, BARE: 0}
        self._draw = random.Random(people)  # noqa: S311  the same people each time

    async def to_one(self, kind: str, number: int) -> float:
        """Milliseconds from an event for one person to that person's frame."""
        if kind == PRODUCT:
            called, id_ = await self.asker(Asker.ask_one, number)
            self.asked.append(id_)
        else:
            called = await self.visitors(Visitors.say, number, TO_ONE + _FILLING)
        return await self._until_it_came(kind, called, 1)

    async def to_all(self, kind: str) -> float:
        """Milliseconds from an event for everybody to the last frame of it."""
        if kind == PRODUCT:
            called, id_ = await self.asker(Asker.ask_all)
            self.asked.append(id_)
        else:
            called = await self.visitors(Visitors.say, 0, TO_ALL + _FILLING)
        return await self._until_it_came(kind, called, self.people)

    async def cpu_of_one(self, kind: str, joined: int, idle: float) -> float:
        """CPU milliseconds that the server spends on one user's event, beyond its `idle` share of a core."""
        _, before = await self.host(Host.usage, kind)
        started = asyncio.get_running_loop().time()
        for _ in range(self.events):
            await asyncio.sleep(PAUSE)
            await self.to_one(kind, self._draw.randrange(joined))
        took = asyncio.get_running_loop().time() - started
        _, after = await self.host(Host.usage, kind)
        return max(after - before - idle * took, 0.0) / self.events * 1000

    def somebody(self) -> int:
        return self._draw.randrange(self.people)

    async def memory(self, kind: str) -> int:
        memory, _ = await self.host(Host.usage, kind)
        return memory

    async def idle(self) -> dict[str, float]:
        """The share of a core that each server uses while nothing happens, both at the same time."""
        before = {kind: (await self.host(Host.usage, kind))[1] for kind in NAMES}
        await asyncio.sleep(IDLE)
        return {kind: ((await self.host(Host.usage, kind))[1] - before[kind]) / IDLE for kind in NAMES}

    async def _until_it_came(self, kind: str, called: int, frames: int) -> float:
        self._came[kind] += frames
        return milliseconds(await self.visitors(Visitors.last_event, kind, self._came[kind]) - called)


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (people,) = sizes
    slow = not stage.stack.two_processes  # there, each event takes as long as the re-check's interval
    turns = stage.rounds(FEW if slow else ROUNDS)
    stage.expect(6 + turns)
    host, visitors, asker = await stage.part(Host), await stage.part(Visitors), await stage.part(Asker)
    scene = _Scene(host, visitors, asker, people=people, events=FEW if slow else EVENTS)
    cookies = {PRODUCT: await asker(Asker.invite, people), BARE: [""] * people}
    ports = {kind: await host(Host.serve, kind) for kind in NAMES}
    found = {kind: Found() for kind in NAMES}
    stage.step()
    for kind in NAMES:
        await visitors(Visitors.join, kind, ports[kind], cookies[kind][:1])
        for _ in range(scene.events):  # warms up
            await scene.to_one(kind, 0)
    idle = await scene.idle()
    for kind, it in found.items():
        it.alone = await scene.cpu_of_one(kind, 1, idle[kind])
    stage.step()
    for kind, it in found.items():
        before = await scene.memory(kind)
        it.joined = await visitors(Visitors.join, kind, ports[kind], cookies[kind][1:])
        await asyncio.sleep(SETTLING)
        it.memory = (await scene.memory(kind) - before) / (people - 1)
        stage.step()
    for kind, share in (await scene.idle()).items():
        found[kind].idle = share
    stage.step()
    for kind, it in found.items():
        it.among_all = await scene.cpu_of_one(kind, people, it.idle)
    stage.step()
    for number in range(turns):
        for kind in in_turns(list(NAMES), number):
            ones = [await scene.to_one(kind, scene.somebody()) for _ in range(1 if slow else EVENTS_A_ROUND)]
            found[kind].to_one.append(median(ones))
            found[kind].to_all.append(await scene.to_all(kind))
        stage.step()
    await asyncio.sleep(SETTLING)
    return await _report(scene, found)


async def _report(scene: _Scene, found: dict[str, Found]) -> Report:
    expected = await scene.asker(Asker.expected, scene.asked)
    came = await scene.visitors(Visitors.events, PRODUCT, len(expected))
    told = [(key(id_, number), SHOWN) for number, _, id_ in came]
    strangers = sum(name not in expected for name, _ in told)
    sayso, bare = found[PRODUCT], found[BARE]
    memory = sayso.memory / bare.memory if bare.memory > 0 else None
    return Report(
        tables=(_table(scene.people, found),),
        goals=(
            Goal(
                text=f"{GOAL:,} sockets on one process",
                limit=GOAL,
                measured=float(scene.people) if scene.people >= GOAL else None,
                unit="sockets",
                at_least=True,
            ),
            Goal(
                text="an event for one user costs that user's sockets only: frames that others were sent",
                limit=0,
                measured=float(strangers),
                unit="frames",
            ),
            Goal(text="memory of an idle socket at most 1.5 × a bare consumer's", limit=1.5, measured=memory),
        ),
        check=Check.of(told, expected),
        notes=(
            "Here a wait is a person's for a frame: each was sent what the record says concerns her, once.",
            (
                "The bare consumer's event goes through its layer alone; Sayso's is put on record by another"
                " process, and read, with session and rights of whom it concerns, before anyone is told."
            ),
        ),
    )


def _table(people: int, found: dict[str, Found]) -> Table:
    columns = [Column(name=""), Column(name="unit"), *(Column(name=name) for name in NAMES.values())]
    sayso, bare = found[PRODUCT], found[BARE]
    rows: list[tuple[Cell, ...]] = []

    def row(what: str, unit: str, one: float, other: float) -> None:
        rows.append((what, unit, one, other, one / other if other > 0 else None))

    row("memory of an idle socket", "KiB", sayso.memory / 1024, bare.memory / 1024)
    row("CPU while all are idle", "% of a core", sayso.idle * 100, bare.idle * 100)
    row("until all are joined", "s", sayso.joined, bare.joined)
    one, all_ = Ratio.of(sayso.to_one, bare.to_one), Ratio.of(sayso.to_all, bare.to_all)
    rows.append(("event for one user", "ms", median(sayso.to_one), median(bare.to_one), one.median))
    rows.append(("event for all, the last", "ms", median(sayso.to_all), median(bare.to_all), all_.median))
    row("CPU of an event for one, 1 joined", "ms", sayso.alone, bare.alone)
    row("CPU of an event for one, all joined", "ms", sayso.among_all, bare.among_all)
    return Table(
        title=f"{people:,} people with a socket each, one server process",
        columns=(*columns, Column(name="×")),
        rows=tuple(rows),
    )


# As long as what Sayso sends.
_FILLING = " " + "x" * 700

SCENARIO = Scenario(
    name="users",
    summary="live pages of many people on one server process",
    method=(
        "Two server processes, daphne as `manage.py serve` runs it: Sayso's whole application, and a bare"
        " Channels consumer that accepts and joins a group. A third process has N sockets open to each,"
        " for Sayso those of N people with a session each; its client does as little as a WebSocket client"
        " can. A fourth puts requests on record: for one person, or for a group that everybody is in."
        " Memory (resident) is the server's growth from the second socket to the last, divided; idle CPU"
        " is both servers' over the same four seconds. Times are from the call that asks to the frame, the"
        " last one for all; five rounds in turns with the bare consumer, whose event is a text that it"
        " sends on through the channel layer. CPU of an event: twenty for people drawn by lot, less what"
        " the server uses anyway. On a stack of one process, Sayso finds what another process asked by its"
        " re-check, every two seconds; there events are few."
    ),
    unit="people",
    sizes=(200,),
    least=10,
    most=5_000,
    needs=lambda size: Needs(files=2 * size, memory=400_000_000 + 200_000 * size),
    run=run,
)
