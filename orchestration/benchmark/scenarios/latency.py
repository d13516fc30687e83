"""How soon a decision reaches its waiter, one at a time, across two processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from time import monotonic_ns

from orchestration.benchmark.load import PAUSE, milliseconds
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.paired import POLLING, SAYSO, Calls, Moments, Paired, PairedDecider, PairedWaiter
from orchestration.benchmark.processes import Environment
from orchestration.benchmark.report import Chart, Findings, Goal, Ratio, Scenario, Table, percentiles, spread

FLOOR = "raw floor"
ROUNDS = 8
DECIDED = {SAYSO: 40, FLOOR: 40, POLLING: 15}
WARM_UP = 20
PARTS = ("commit", "publish", "read", "resume")


class OneByOne(PairedDecider):
    """Decides one at a time in the baseline's tables, paced as Sayso's decisions are."""

    async def decide_on_floor(self, ids: list[str]) -> Calls:
        return await self._decide_rows(ids, self.publish)

    async def decide_for_polling(self, ids: list[str]) -> Calls:
        return await self._decide_rows(ids, lambda _: None)

    async def _decide_rows(self, ids: list[str], publish: Callable[[str], object]) -> Calls:
        calls = []
        for id_ in ids:
            await asyncio.sleep(PAUSE)
            called = monotonic_ns()
            self.store.decide(id_)
            calls.append((called, monotonic_ns()))
            publish(id_)
        return calls


async def measure(env: Environment, sizes: Sequence[int]) -> Findings:
    """Measure decision call to waiter resumed, while others wait.

    One process decides (deciding.adecide, as a socket does), another waits (gate.wait_for_outcome), while N
    others wait there, too. Eight rounds; in each, in changing order: 40 decisions by Sayso, 40 by the raw
    floor (one psycopg statement that updates a row and inserts one, its commit, a Redis publish, a future in
    a dictionary), 15 found by a loop that asks the database each 0.2 s. All are paced alike: 10 ms between an
    answer and the next call. The floor's database call blocks its event loop, which no server could do; its
    tables are small, without constraints but one. The N others wait for nothing that is decided meanwhile;
    they do not poll.
    """
    (others,) = sizes
    waiter = await env.start(PairedWaiter)
    decider = await env.start(OneByOne, beside=waiter)
    decide = {SAYSO: decider.decide, FLOOR: decider.decide_on_floor, POLLING: decider.decide_for_polling}
    rounds = env.rounds(ROUNDS)
    await waiter.wait(await waiter.open(others))
    paired = Paired(waiter, decider)
    await paired.open(
        WARM_UP + rounds * DECIDED[SAYSO], WARM_UP + rounds * (DECIDED[FLOOR] + DECIDED[POLLING])
    )
    for contender in (SAYSO, FLOOR):
        await paired.block(contender, WARM_UP, decide[contender])
    blocks: dict[str, list[list[list[float]]]] = {contender: [] for contender in DECIDED}
    for _, contender in env.turns(list(DECIDED), rounds):
        block = await paired.block(contender, DECIDED[contender], decide[contender])
        blocks[contender].append(split(*block))
    check = await paired.check()
    if not check.passed:
        return Findings(check=check)

    medians = {name: [median(map(sum, block)) for block in of_one] for name, of_one in blocks.items()}
    ratios = {name: Ratio.of(medians[name], medians[FLOOR]) for name in DECIDED}
    times = {SAYSO: str(ratios[SAYSO]), FLOOR: "1", POLLING: f"{ratios[POLLING].median:.0f}"}
    every = {name: [parts for block in of_one for parts in block] for name, of_one in blocks.items()}
    wholes = {name: [sum(parts) for parts in ways] for name, ways in every.items()}
    parts = {name: list(zip(*every[name], strict=True)) for name in (SAYSO, FLOOR)}
    return Findings(
        tables=[
            [(name, len(whole), *spread(whole), times[name]) for name, whole in wholes.items()],
            [
                (name, *(share for part in of_one for share in percentiles(part, 0.5, 0.99)))
                for name, of_one in parts.items()
            ],
        ],
        goals=[ratios[SAYSO].median, Ratio.of(medians[SAYSO], medians[POLLING]).median],
        charts=[
            (list(parts), {part: [median(parts[name][n]) for name in parts] for n, part in enumerate(PARTS)})
        ],
        check=check,
        notes=(
            "A floor within one process has no wire: there its publish is a turn of the event loop.",
            "Percentiles are over all rounds. Ratios are of one round's medians: their median and range.",
        ),
    )


def split(calls: Calls, moments: Moments) -> list[list[float]]:
    """Return the milliseconds of each of PARTS, for every decision whose wait was not lost.

    What a contender or a stack leaves out takes no time: nothing is published within one process, and only
    Sayso reads the row.
    """
    ways = []
    for (called, committed), (heard, read, resumed) in zip(calls, moments, strict=True):
        if resumed is not None:
            came = max(heard or 0, committed)
            way = (called, committed, came, max(read or 0, came), resumed)
            ways.append([milliseconds(after - before) for before, after in pairwise(way)])
    return ways


LATENCY = Scenario(
    name="latency",
    unit="others waiting",
    sizes=(2_000,),
    most=100_000,
    needs=lambda size: Needs(memory=200_000_000 + 6_000 * size),
    measure=measure,
    tables=(
        Table(
            "Decision call to waiter resumed, one at a time, {size:,} others waiting",
            "; decisions; p50|ms; p90|ms; p99|ms; max|ms; p50, × floor",
        ),
        Table(
            "Where that time goes",
            "; " + "; ".join(f"{part} {share}|ms" for part in PARTS for share in ("p50", "p99")),
        ),
    ),
    goals=(
        Goal("call to resumption, p50, {size:,} others waiting: at most 2 × raw floor", 2),
        Goal("time to resume under 1/50 of polling's", 1 / 50),
    ),
    charts=(Chart(title="From decision to resumption, p50 of each part", kind="stacked", unit="ms"),),
)
