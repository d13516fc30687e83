"""A run of the benchmark: one scenario after the other, each on a fresh database of its own installation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestration.benchmark import machine
from orchestration.benchmark.facts import Witness
from orchestration.benchmark.installation import Installation, Stack
from orchestration.benchmark.report import Report
from orchestration.benchmark.scenarios import Scenario
from orchestration.benchmark.stage import Progress, Stage

FORMAT = 1

Bar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
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
    """What is measured on, and what has been found."""

    installation: Installation
    loop: str
    bar: Bar
    size: int | None
    rounds: int | None
    findings: list[Finding] = field(default_factory=list)
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _versions: Mapping[str, str] = field(default_factory=dict)
    _settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stack(self) -> Stack:
        return self.installation.stack

    async def look_around(self) -> None:
        """Ask the installation what it is made of."""
        with self.installation.fresh() as environment:
            async with self._stage(environment, _silent) as stage:
                witness = await stage.part(Witness)
                self._versions = machine.versions() | await witness(Witness.versions)
                self._settings = await witness(Witness.settings)

    async def measure(self, scenario: Scenario) -> Finding:
        sizes = scenario.sizes_up_to(self.size)
        started = time.monotonic()
        with self.installation.fresh() as environment, self.bar(scenario.name) as progress:
            async with self._stage(environment, progress) as stage:
                report = await scenario.run(stage, sizes)
        seconds = time.monotonic() - started
        finding = Finding(scenario=scenario, sizes=sizes, seconds=seconds, report=report)
        self.findings.append(finding)
        return finding

    def as_json(self) -> dict[str, Any]:
        """The whole run, as docs/performance.md describes it."""
        judged = self.stack.two_processes
        return {
            "format": FORMAT,
            "started_at": self._started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 1),
            "machine": machine.facts(),
            "versions": dict(self._versions),
            "stack": {
                "database": self.stack.engine,
                "database_server": self.stack.database,
                "channel_layer": "memory" if self.stack.layer == "embedded" else "redis",
                "channel_layer_server": self.stack.layer,
                "two_processes": self.stack.two_processes,
                "event_loop": self.loop,
            },
            "settings": dict(self._settings),
            "size": self.size,
            "rounds": self.rounds,
            "passed": all(finding.report.check.passed for finding in self.findings),
            "scenarios": [finding.as_json(judged=judged) for finding in self.findings],
        }

    def _stage(self, environment: Mapping[str, str], progress: Progress) -> Stage:
        return Stage(self.stack, environment, loop=self.loop, progress=progress, rounds=self.rounds)


def require_room(chosen: Sequence[Scenario], size: int | None) -> None:
    """TooBig where a scenario does not go that far, or this machine does not."""
    for scenario in chosen:
        most = scenario.sizes_up_to(size)[-1]
        if not scenario.least <= most <= scenario.most:
            raise machine.TooBig(
                f"{scenario.name} measures {scenario.least:,} to {scenario.most:,} {scenario.unit},"
                f" not {most:,}."
            )
        scenario.needs(most).require(f"{scenario.name}: {most:,} {scenario.unit}")


def _silent(done: int, expected: int) -> None:
    """Nobody watches."""


def failures(findings: Sequence[Finding]) -> Iterator[Finding]:
    return (finding for finding in findings if not finding.report.check.passed)
