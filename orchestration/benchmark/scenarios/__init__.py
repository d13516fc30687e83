"""The scenarios of the benchmark, one module each.

A scenario is a coroutine that casts roles, has them do things, and reports:

    class Asker(Role):                           # lives in a player: a process with Django and an event loop
        async def open(self, count: int) -> list[str]:
            return [str(id_) for id_ in await in_database(records.open_requests, count)]

    async def run(stage: Stage, sizes: Sequence[int]) -> Report:
        asker = await stage.part(Asker)                            # a process of its own
        decider = await stage.part(Decider, opposite=asker)        # another, where the stack carries two
        rounds = stage.rounds(5)                                   # as many, or as --rounds says
        stage.expect(1 + rounds)                                   # steps of the progress bar
        ids = await asker(Asker.open, 1000)                        # arguments and results are JSON
        stage.step()
        ...
        return Report(tables=…, goals=…, check=Check.of(resumed, recorded), charts=…, notes=…)

    SCENARIO = Scenario(name="…", summary="…", method="…", unit="waits", sizes=(100, 1000), most=100_000,
                        needs=lambda size: Needs(…), run=run)

and is named in `_MODULES` below. Rules that keep it honest: the baseline is measured in the same run, in
turns with Sayso (figures.py), paced alike, and the median of the rounds' ratios is reported with their range;
figures are taken from outside (stopwatch.py), the product has no code for it; each wait's outcome is held
against the record by the player that did not wait (`Check.of`). A default run takes some fifteen seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from orchestration.benchmark.machine import Needs
from orchestration.benchmark.report import Report
from orchestration.benchmark.stage import Stage

# In the order in which they run.
_MODULES = ("waiting", "latency", "decisions", "deadlines", "restart", "users", "growth", "reports", "abuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`sizes`: those measured by default, smallest first. `--size N` measures N, and where there are several
    by default also those below N."""

    name: str
    summary: str
    method: str
    """How it measures, beside what, and what that leaves out; for --help and the JSON."""
    unit: str
    """What a size counts."""
    sizes: tuple[int, ...]
    most: int
    least: int = 1
    run: Callable[[Stage, Sequence[int]], Awaitable[Report]]
    needs: Callable[[int], Needs] = Needs.nothing

    def sizes_up_to(self, size: int | None) -> tuple[int, ...]:
        if size is None:
            return self.sizes
        smaller = [one for one in self.sizes if one < size] if len(self.sizes) > 1 else []
        return (*smaller, size)


@cache
def scenarios() -> dict[str, Scenario]:
    """By name, in the order in which they run."""
    found = [import_module(f"{__name__}.{module}").SCENARIO for module in _MODULES]
    return {scenario.name: scenario for scenario in found}
