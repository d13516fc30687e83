"""From the decision's call to the waiter's resumption, one at a time, across two processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic_ns

from approvals import deciding
from orchestration.benchmark import raw
from orchestration.benchmark.decider import Decider
from orchestration.benchmark.figures import Ratio, in_turns, milliseconds, percentile
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.players import Part
from orchestration.benchmark.report import Cell, Chart, Check, Column, Goal, Report, Series, Table
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Stage
from orchestration.benchmark.waiter import ComparedWaiter

ROUNDS = 8
DECISIONS = {"Sayso": 40, "raw floor": 40, "polling": 15}
WARM_UP = 20
PAUSE = 0.01
POLL_EVERY = 0.2

PARTS = ("commit", "publish", "read", "resume")


class WaitingSide(ComparedWaiter):
    """Waits in a third way, too: by asking again and again."""

    async def begin(self) -> None:
        await super().begin()
        self._store = raw.store()

    async def end(self) -> None:
        self._store.close()
        await super().end()

    async def poll(self, ids: list[str]) -> None:
        for id_ in ids:
            self.others[id_] = asyncio.create_task(self._poll(id_))
        await asyncio.sleep(0)

    async def _poll(self, id_: str) -> None:
        while self._store.statuses([id_])[id_] == "pending":  # noqa: ASYNC110  what Sayso replaces
            await asyncio.sleep(POLL_EVERY)
        self.resume_otherwise(id_)


class DecidingSide(Decider):
    """One at a time, with a pause before each; tells when each was called, and committed."""

    async def decide(self, ids: list[str]) -> list[tuple[int, int]]:
        calls = {}
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            calls[id_] = monotonic_ns()
            await deciding.adecide(self.actor, id_, "approve")
        return [(called, self.commits[id_]) for id_, called in calls.items()]

    async def decide_raw(self, ids: list[str], publish: bool) -> list[tuple[int, int]]:
        moments = []
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            called = monotonic_ns()
            self.store.decide(id_)
            moments.append((called, monotonic_ns()))
            if publish:
                self.publish(id_)
        return moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The moments of one decision, in nanoseconds."""

    called: int
    committed: int
    heard: int
    read: int
    resumed: int

    @property
    def whole(self) -> float:
        return milliseconds(self.resumed - self.called)

    def part(self, name: str) -> float:
        steps = (self.called, self.committed, self.heard, self.read, self.resumed)
        start = PARTS.index(name)
        return milliseconds(steps[start + 1] - steps[start])


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (others,) = sizes
    waiting = await stage.part(WaitingSide)
    deciding_side = await stage.part(DecidingSide, opposite=waiting)
    number_of_rounds = stage.rounds(ROUNDS)
    stage.expect(2 + number_of_rounds * len(DECISIONS))
    await waiting(WaitingSide.wait, await waiting(WaitingSide.open, others))
    stage.step()
    blocks = _Blocks(
        waiting,
        deciding_side,
        ids=await waiting(WaitingSide.open, WARM_UP + number_of_rounds * DECISIONS["Sayso"]),
        raw_ids=await deciding_side(
            DecidingSide.prepare,
            2 * WARM_UP + number_of_rounds * (DECISIONS["raw floor"] + DECISIONS["polling"]),
        ),
    )
    for contender in ("Sayso", "raw floor"):
        await blocks.block(contender, WARM_UP)
    stage.step()
    rounds: dict[str, list[list[Way]]] = {contender: [] for contender in DECISIONS}
    for number in range(number_of_rounds):
        for contender in in_turns(list(DECISIONS), number):
            rounds[contender].append(await blocks.block(contender, DECISIONS[contender]))
            stage.step()
    return _report(others, rounds, await blocks.check())


class _Blocks:
    """A contender's decisions in one go, and which ids have been decided so far."""

    def __init__(
        self, waiting: Part[WaitingSide], decider: Part[DecidingSide], *, ids: list[str], raw_ids: list[str]
    ) -> None:
        self._waiting = waiting
        self._decider = decider
        self._left, self._raw_left = ids, raw_ids
        self._decided: list[str] = []
        self._raw_decided: list[str] = []

    async def block(self, contender: str, count: int) -> list[Way]:
        if contender == "Sayso":
            ids, self._left = self._left[:count], self._left[count:]
            self._decided += ids
            await self._waiting(WaitingSide.wait, ids)
            calls = await self._decider(DecidingSide.decide, ids)
        else:
            ids, self._raw_left = self._raw_left[:count], self._raw_left[count:]
            self._raw_decided += ids
            polled = contender == "polling"
            await self._waiting(WaitingSide.poll if polled else WaitingSide.wait_raw, ids)
            calls = await self._decider(DecidingSide.decide_raw, ids, publish=not polled)
        moments = await self._waiting(WaitingSide.moments, ids)
        pairs = zip(calls, moments, strict=True)
        ways = (_way(call, moment) for call, moment in pairs)
        return [way for way in ways if way is not None]

    async def check(self) -> Check:
        told = await self._waiting(WaitingSide.told, self._decided)
        recorded = await self._decider(DecidingSide.recorded, self._decided)
        raw_told = await self._waiting(WaitingSide.told_otherwise)
        raw_recorded = await self._decider(DecidingSide.recorded_raw, self._raw_decided)
        return Check.of(told, recorded) + Check.of(raw_told, raw_recorded)


def _way(calls: tuple[int, int], moments: tuple[int | None, int | None, int | None]) -> Way | None:
    """None where the wait was lost."""
    (called, committed), (heard, read, resumed) = calls, moments
    if resumed is None:
        return None
    # What a contender or a stack leaves out takes no time: nothing is published within one process, and only
    # Sayso reads the row.
    heard = committed if heard is None else max(heard, committed)
    read = heard if read is None else max(read, heard)
    return Way(called=called, committed=committed, heard=heard, read=read, resumed=resumed)


def _report(others: int, rounds: dict[str, list[list[Way]]], check: Check) -> Report:
    if not check.passed:
        return Report.failed(check)
    ratio, polled = (
        Ratio.of(_medians(rounds["Sayso"]), _medians(rounds[other])) for other in ("raw floor", "polling")
    )
    return Report(
        tables=(_whole_table(others, rounds, ratio), _parts_table(rounds)),
        goals=(
            Goal(
                text=f"call to resumption, p50, {others:,} others waiting: at most 2 × raw floor",
                limit=2,
                measured=ratio.median,
            ),
            Goal(text="time to resume under 1/50 of polling's", limit=1 / 50, measured=polled.median),
        ),
        charts=(_split_chart(rounds),),
        check=check,
        notes=(
            "A floor within one process has no wire: there its publish is a turn of the event loop.",
            "Percentiles are over all rounds. Ratios are of one round's medians: their median and range.",
        ),
    )


def _whole_table(others: int, rounds: dict[str, list[list[Way]]], ratio: Ratio) -> Table:
    times = [Column(name=name, unit="ms") for name in ("p50", "p90", "p99", "max")]
    rows: list[tuple[Cell, ...]] = []
    for contender, blocks in rounds.items():
        wholes = [way.whole for block in blocks for way in block]
        beside = {"Sayso": str(ratio), "raw floor": "1"}.get(
            contender, f"{Ratio.of(_medians(blocks), _medians(rounds['raw floor'])).median:.0f}"
        )
        shares = [percentile(wholes, share) for share in (0.5, 0.9, 0.99)]
        rows.append((contender, len(wholes), *shares, max(wholes), beside))
    return Table(
        title=f"Decision call to waiter resumed, one at a time, {others:,} others waiting",
        columns=(Column(name=""), Column(name="decisions"), *times, Column(name="p50, × floor")),
        rows=tuple(rows),
    )


def _parts_table(rounds: dict[str, list[list[Way]]]) -> Table:
    columns = [Column(name=f"{part} {share}", unit="ms") for part in PARTS for share in ("p50", "p99")]
    rows = []
    for contender in ("Sayso", "raw floor"):
        ways = [way for block in rounds[contender] for way in block]
        cells = [
            percentile([way.part(part) for way in ways], share) for part in PARTS for share in (0.5, 0.99)
        ]
        rows.append((contender, *cells))
    return Table(title="Where that time goes", columns=(Column(name=""), *columns), rows=tuple(rows))


def _split_chart(rounds: dict[str, list[list[Way]]]) -> Chart:
    contenders = ("Sayso", "raw floor")
    return Chart(
        title="From decision to resumption, p50 of each part",
        kind="stacked",
        unit="ms",
        ticks=contenders,
        series=tuple(
            Series(
                name=part,
                values=tuple(
                    median([way.part(part) for block in rounds[contender] for way in block])
                    for contender in contenders
                ),
            )
            for part in PARTS
        ),
    )


def _medians(blocks: list[list[Way]]) -> list[float]:
    return [median([way.whole for way in block]) for block in blocks]


SCENARIO = Scenario(
    name="latency",
    summary="decision call to waiter resumed, while others wait",
    method=(
        "One process decides (deciding.adecide, as a socket does), another waits (gate.wait_for_outcome),"
        " while N others wait there, too. Eight rounds; in each, in changing order: 40 decisions by Sayso, 40"
        " by the raw floor (one psycopg statement that updates a row and inserts one, its commit, a Redis"
        " publish, a future in a dictionary), 15 found by a loop that asks the database each 0.2 s. All are"
        " paced alike: 10 ms between an answer and the next call. The floor's database call blocks its event"
        " loop, which no server could do; its tables are small, without constraints but one. The N others"
        " wait for nothing that is decided meanwhile; they do not poll."
    ),
    unit="others waiting",
    sizes=(2_000,),
    most=100_000,
    needs=lambda size: Needs(memory=200_000_000 + 6_000 * size),
    run=run,
)
