"""What was told outside of the database, and what an audit finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.faults.storm.errands import Errand, Question
from tests.faults.storm.letters import Letter

Note: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was told outside of the database, beside the ledger's notes."""

    notes: Sequence[Note]
    errands: Mapping[str, Errand]
    """By the id of the run that was started for it."""
    programs: Mapping[str, str]
    """Request ids, by key."""
    cancelled: Collection[str]
    resumed: Collection[str] = ()
    asleep: Mapping[tuple[str, str], Collection[float]] = field(default_factory=dict)
    """When each sleep was to end, by run and key, whenever somebody looked."""
    newest: Mapping[str, int] = field(default_factory=dict)
    """Which version of the orchestration each process knew, by its id."""
    questions: Mapping[str, Question] = field(default_factory=dict)
    """By title; what the installation asks by itself is not among them."""
    letters: Sequence[Letter] = ()
    """What the mail server has taken, in order."""
    broken: Sequence[tuple[float, float]] = ()
    """From when to when anything was."""
    deserted: Sequence[tuple[float, float]] = ()
    """From when until when a dead process's runs may have been nobody's."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """Counts, and what is wrong; nothing is exactly when the storm has done no harm."""

    problems: list[str] = field(default_factory=list)
    doubled: int = 0
    repeated_as_allowed: int = 0
    repeated_as_told: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    sleeps: int = 0
    seen_asleep: int = 0
    waits_left: int = 0
    latest_deadline: float = 0.0
    latest_to_wake: float = 0.0
    longest_wait: float = 0.0

    def double(self, text: str) -> None:
        self.doubled += 1
        self.problems.append(f"doubled: {text}")


def unexplained(due: float, done: float, obstacles: Iterable[tuple[float, float]]) -> float:
    """Seconds from when it was due, or the last obstacle in between was over, until it was done."""
    since = due
    for began, over in obstacles:
        if began <= done and over >= due:
            since = max(since, min(over, done))
    return max(0.0, done - since)
