"""What a scenario has found: tables, charts, goals, and its check of itself. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`unit` is "" for words and plain numbers, else as a reader writes it: "ms", "1/s", "% of a core"."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One picture of `--plot`: every series has one value for each of `ticks`."""

    title: str
    kind: Literal["lines", "bars", "stacked"]
    unit: str
    ticks: tuple[str, ...]
    series: tuple[Series, ...]
    across: str = ""
    """What the ticks are."""
    logarithmic: bool = False
    """For lines: bars would start nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A promise and what was measured of it. The limit is kept by what does not pass it."""

    text: str
    limit: float
    measured: float | None
    unit: str = "×"
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Was every wait resolved once, with the recorded outcome? Ids of those that were not."""

    waits: int
    resolved: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @classmethod
    def of(cls, resumed: Iterable[Sequence[str]], recorded: Mapping[str, str]) -> Check:
        """Hold what waiters were told, (id, status), against what is on record: {id: status}.

        Every recorded id had one waiter. A record that is still pending means that its wait was lost.
        """
        told = list(resumed)
        times = Counter(id_ for id_, _ in told)
        lost = [id_ for id_, status in recorded.items() if id_ not in times or status == "pending"]
        wrong = [id_ for id_, status in told if recorded.get(id_) != status]
        return cls(
            waits=len(recorded),
            resolved=len(times),
            lost=tuple(lost),
            doubled=tuple(id_ for id_, number in times.items() if number > 1),
            wrong=tuple(wrong),
        )

    def __add__(self, other: Check) -> Check:
        return Check(
            waits=self.waits + other.waits,
            resolved=self.resolved + other.resolved,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            wrong=self.wrong + other.wrong,
        )

    @property
    def passed(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that one scenario has to say. `notes`: what a reader must know to read it rightly."""

    tables: tuple[Table, ...]
    check: Check
    goals: tuple[Goal, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def failed(cls, check: Check) -> Report:
        """Of a run that lost or doubled something: its figures would say nothing."""
        return cls(tables=(), check=check, notes=("It failed its check, so no figures are told.",))

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        """`judged`: whether this stack is the one that the goals are for."""
        goals = [{**asdict(goal), "met": goal.met if judged else None} for goal in self.goals]
        return {**asdict(self), "goals": goals, "check": {**asdict(self.check), "passed": self.check.passed}}
