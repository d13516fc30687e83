"""How long others wait for a server while one account does its worst, beside the same without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from statistics import median

from orchestration.benchmark.abuse import DEEDS, Abuser, Colleagues
from orchestration.benchmark.audience import Host
from orchestration.benchmark.figures import Ratio, in_turns, percentile
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.report import Cell, Check, Column, Goal, Report, Table
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.serving import PRODUCT
from orchestration.benchmark.stage import Stage

ROUNDS = 5
TIMES = 10
LIMIT = 2.0
ALONE, BESIDE = "alone", "beside it"
# Seconds until what the account has begun is under way, and until it is over.
BEGINNING = ENDING = 1.0
# What a server allows unless it is told otherwise; of one address it allows more than one account may use.
LIMITS = {"SAYSO_RATE_LIMIT": "100"}


async def run(stage: Stage, sizes: Sequence[int]) -> Report:
    (at_once,) = sizes
    rounds = stage.rounds(ROUNDS)
    stage.expect(1 + 2 * rounds)
    host = await stage.part(Host, settings=LIMITS)
    colleagues, abuser = await stage.part(Colleagues), await stage.part(Abuser)
    port = await host(Host.serve, PRODUCT)
    await colleagues(Colleagues.arrive, port, TIMES)
    await abuser(Abuser.arrive, port)
    await colleagues(Colleagues.work, 2)  # warms up
    before, _ = await host(Host.usage, PRODUCT)
    stage.step()
    found: dict[str, dict[str, list[list[float]]]] = {
        kind: {deed: [] for deed in DEEDS} for kind in (ALONE, BESIDE)
    }
    for number in range(rounds):
        for kind in in_turns([ALONE, BESIDE], number):
            if kind == BESIDE:
                await abuser(Abuser.abuse, at_once)
                await asyncio.sleep(BEGINNING)
            for deed, took in (await colleagues(Colleagues.work, TIMES)).items():
                found[kind][deed].append(took)
            if kind == BESIDE:
                await abuser(Abuser.cease)
                await asyncio.sleep(ENDING)
            stage.step()
    after, _ = await host(Host.usage, PRODUCT)
    told, recorded = await colleagues(Colleagues.told), await colleagues(Colleagues.recorded)
    answers = await abuser(Abuser.answers)
    return _report(at_once, found, Check.of(told, recorded), answers, after - before)


def _report(
    at_once: int,
    found: dict[str, dict[str, list[list[float]]]],
    check: Check,
    answers: dict[str, int],
    gained: int,
) -> Report:
    rows: list[tuple[Cell, ...]] = []
    ratios: list[float] = []
    for deed in DEEDS:
        alone, beside = found[ALONE][deed], found[BESIDE][deed]
        ratio = Ratio.of([median(each) for each in beside], [median(each) for each in alone])
        ratios.append(ratio.median)
        every, all_beside = list(chain(*alone)), list(chain(*beside))
        rows.append(
            (
                deed,
                median(every),
                percentile(every, 0.95),
                median(all_beside),
                percentile(all_beside, 0.95),
                str(ratio),
            )
        )
    said = ", ".join(f"{count} × {status}" for status, count in sorted(answers.items()))
    return Report(
        tables=(
            Table(
                title=f"What others do while one account has {at_once} requests under way",
                columns=(
                    Column(name=""),
                    Column(name="p50 alone", unit="ms"),
                    Column(name="p95 alone", unit="ms"),
                    Column(name="p50 beside it", unit="ms"),
                    Column(name="p95 beside it", unit="ms"),
                    Column(name="×"),
                ),
                rows=tuple(rows),
            ),
        ),
        goals=(
            Goal(
                text="others' latency beside an account that does its worst, by whatever is slowest",
                limit=LIMIT,
                measured=max(ratios),
            ),
        ),
        check=check,
        notes=(
            "Here a wait is a decision that was acknowledged.",
            f"The account was answered: {said}. The server's memory grew by {gained / 2**20:.0f} MiB.",
        ),
    )


SCENARIO = Scenario(
    name="abuse",
    summary="others' latency while one account does its worst",
    method=(
        "One server process, daphne as `manage.py serve` runs it, with the limits for one account that it has"
        " unless told otherwise. A second process has the session and the token of a reviewer, and reads the"
        " inbox, a request, a list and decides, one after the other with 20 ms between. A third has an"
        " account in no group, and N requests under way at any moment, without a pause: requests of 900 kB,"
        " tables of 100 kB that are looked at as soon as they are asked, schemas with costly answers, its own"
        " inbox and lists. Rounds with and without it in turns; the ratio is of a round's medians, with the"
        " range of the rounds."
    ),
    unit="requests at once",
    sizes=(30,),
    most=500,
    needs=lambda size: Needs(files=2 * size, memory=800_000_000),
    run=run,
)
