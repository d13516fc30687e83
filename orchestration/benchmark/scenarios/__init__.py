"""The scenarios of the benchmark: each a declared object (`report.Scenario`) with a function that measures.

    async def measure(env: Environment, sizes: Sequence[int]) -> Report:
        waiter = await env.start(Waiter)                        # an object in a process of its own
        decider = await env.start(Decider, beside=waiter)       # in another, where the stack carries two
        for number, contender in env.turns(["Sayso", "floor"], env.rounds(5)):  # as many, or as --rounds says
            ids = await waiter.open(1000)                       # arguments and results are JSON
            ...
        report = Report(Check.of(told, recorded))
        report.table("Decisions", "; p50|ms", rows)
        report.at_most("p50 at most 2 × the floor", 2, ratio)
        return report

Rules that keep it honest: the baseline is measured in the same run, in turns with Sayso and at the same pace,
and the median of the rounds' ratios is reported with their range (`report.Ratio`); figures are taken from
outside (load.py), the product has no code for it; a process that did not wait compares each wait's outcome
with the record (`Check.of`). A default run takes some fifteen seconds.
"""

from __future__ import annotations

from functools import cache

from orchestration.benchmark.report import Scenario


@cache
def scenarios() -> dict[str, Scenario]:
    """Return all by name, in the order in which they run."""
    from orchestration.benchmark.scenarios import (
        abuse,
        deadlines,
        decisions,
        record,
        restart,
        telling,
        users,
        waiting,
    )

    every = (
        waiting.WAITING,
        decisions.LATENCY,
        decisions.DECISIONS,
        deadlines.DEADLINES,
        restart.RESTART,
        users.USERS,
        record.GROWTH,
        record.REPORT,
        abuse.ABUSE,
        telling.TELLING,
    )
    return {scenario.name: scenario for scenario in every}
