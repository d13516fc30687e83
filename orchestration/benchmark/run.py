"""A run of the benchmark: one scenario after the other, each on a fresh database of its own installation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestration.benchmark import machine
from orchestration.benchmark.installation import Installation
from orchestration.benchmark.processes import Environment, Progress
from orchestration.benchmark.report import Report, Scenario

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scenario's report, at which sizes and how long it took, in seconds."""

    scenario: Scenario
    sizes: tuple[int, ...]
    seconds: float
    report: Report

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        return {
            "name": self.scenario.name,
            "summary": self.scenario.summary,
            "method": self.scenario.method,
            "size_counts": self.scenario.unit,
            "sizes": list(self.sizes),
            "seconds": round(self.seconds, 1),
            **self.report.as_json(judged=judged),
        }


@dataclass(slots=True, kw_only=True)
class Run:
    """What is measured on, and what has been found. `progress`: shows a bar of this name."""

    installation: Installation
    loop: str
    progress: Callable[[str], AbstractContextManager[Progress]]
    size: int | None
    rounds: int | None
    results: list[Result] = field(default_factory=list)
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _versions: Mapping[str, str] = field(default_factory=dict)
    _settings: Mapping[str, Any] = field(default_factory=dict)

    async def read_facts(self) -> None:
        """Ask the installation for its versions and settings."""
        with self.installation.fresh() as variables:
            async with self._environment(variables, lambda done, expected: None) as environment:
                facts = await environment.start(machine.Facts)
                self._versions, self._settings = await facts.versions(), await facts.settings()

    async def measure(self, scenario: Scenario) -> Result:
        sizes = scenario.sizes_up_to(self.size)
        started = time.monotonic()
        with self.installation.fresh() as variables, self.progress(scenario.name) as progress:
            async with self._environment(variables, progress) as environment:
                report = await scenario.run(environment, sizes)
        seconds = time.monotonic() - started
        self.results.append(Result(scenario=scenario, sizes=sizes, seconds=seconds, report=report))
        return self.results[-1]

    def as_json(self) -> dict[str, Any]:
        """Return the whole run, as docs/benchmark.schema.json describes it."""
        stack = self.installation.stack
        return {
            "format": FORMAT,
            "started_at": self._started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 1),
            "machine": machine.facts(),
            "versions": dict(self._versions),
            "stack": {
                "database": stack.engine,
                "database_server": stack.database,
                "channel_layer": "memory" if stack.layer == "embedded" else "redis",
                "channel_layer_server": stack.layer,
                "two_processes": stack.two_processes,
                "event_loop": self.loop,
            },
            "settings": dict(self._settings),
            "size": self.size,
            "rounds": self.rounds,
            "passed": all(result.report.check.passed for result in self.results),
            "scenarios": [result.as_json(judged=stack.two_processes) for result in self.results],
        }

    def _environment(self, variables: Mapping[str, str], progress: Progress) -> Environment:
        stack = self.installation.stack
        return Environment(stack, variables, loop=self.loop, progress=progress, rounds=self.rounds)


def require_room(chosen: Sequence[Scenario], size: int | None) -> None:
    """Raise TooBig where a scenario does not go that far, or this machine does not."""
    for scenario in chosen:
        most = scenario.sizes_up_to(size)[-1]
        if not scenario.least <= most <= scenario.most:
            raise machine.TooBig(
                f"{scenario.name} measures {scenario.least:,} to {scenario.most:,} {scenario.unit},"
                f" not {most:,}."
            )
        scenario.needs(most).require(f"{scenario.name}: {most:,} {scenario.unit}")
