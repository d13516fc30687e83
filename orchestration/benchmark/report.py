"""How a scenario is described, and what it reports: tables, charts, goals, and the check of its waits."""

from __future__ import annotations

import resource
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

from orchestration.benchmark.processes import Environment

Cell: TypeAlias = str | int | float | None
Kind: TypeAlias = Literal["lines", "bars", "stacked"]
Series: TypeAlias = Mapping[str, Sequence[float | None]]

# The share of the free memory that may be used, and the files that a process has open anyway.
_SHARE_OF_MEMORY = 0.8
_FILES_ANYWAY = 100


@dataclass(frozen=True, slots=True)
class Table:
    """Columns are separated by "; "; a column's unit follows its name: `round; p50|ms`."""

    title: str
    columns: str
    rows: Sequence[Sequence[Cell]]

    @property
    def headings(self) -> list[str]:
        return self.columns.replace("|", ", ").split("; ")

    def as_json(self) -> dict[str, Any]:
        parts = [column.partition("|") for column in self.columns.split("; ")]
        columns = [{"name": name, "unit": unit} for name, _, unit in parts]
        return {"title": self.title, "columns": columns, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture of `--plot`. A series has a value for each tick; `across` says what the ticks are."""

    title: str
    kind: Kind
    unit: str
    ticks: Sequence[str]
    series: Series
    across: str = ""
    logarithmic: bool = False

    def as_json(self) -> dict[str, Any]:
        series = [{"name": name, "values": values} for name, values in self.series.items()]
        return {**asdict(self), "series": series}


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit and the measured value; None: not measured. A value equal to the limit meets it."""

    text: str
    limit: float
    measured: float | None
    unit: str
    at_least: bool

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether each wait was resolved once, with the recorded outcome; the ids of those that were not."""

    waits: int = 0
    resolved: int = 0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @classmethod
    def of(cls, resumed: Iterable[Sequence[str]], recorded: Mapping[str, str]) -> Check:
        """Compare what each waiter received, (id, status), with the record, {id: status}.

        Every recorded id had one waiter. A record that is still pending means that its wait was lost.
        """
        told = list(resumed)
        times = Counter(id_ for id_, _ in told)
        return cls(
            waits=len(recorded),
            resolved=len(times),
            lost=tuple(id_ for id_, status in recorded.items() if id_ not in times or status == "pending"),
            doubled=tuple(id_ for id_, number in times.items() if number > 1),
            wrong=tuple(id_ for id_, status in told if recorded.get(id_) != status),
        )

    @property
    def passed(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __add__(self, other: Check) -> Check:
        """Return the check of both. No wait is in both."""
        return Check(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        )


class Report:
    """What a scenario has measured. Notes are what a reader needs to know about the figures."""

    def __init__(self, check: Check, *notes: str) -> None:
        self.check, self.notes = check, list(notes)
        self.tables: list[Table] = []
        self.goals: list[Goal] = []
        self.charts: list[Chart] = []

    def table(self, title: str, columns: str, rows: Iterable[Sequence[Cell]]) -> None:
        self.tables.append(Table(title, columns, list(rows)))

    def at_most(self, text: str, limit: float, measured: float | None, unit: str = "×") -> None:
        """Add a goal that a value up to the limit meets."""
        self.goals.append(Goal(text, limit, measured, unit, at_least=False))

    def at_least(self, text: str, limit: float, measured: float | None, unit: str = "×") -> None:
        """Add a goal that a value from the limit on meets."""
        self.goals.append(Goal(text, limit, measured, unit, at_least=True))

    def chart(
        self, title: str, kind: Kind, unit: str, ticks: Sequence[str], series: Series, **more: Any
    ) -> None:
        self.charts.append(Chart(title, kind, unit, ticks, series, **more))

    def include(self, other: Report, place: str) -> None:
        """Take in what was measured at another place, which its titles then name.

        Its goals are left out: a scenario's goals are for the stack that is measured first.
        """
        self.check += other.check
        self.tables += [replace(table, title=f"{table.title} ({place})") for table in other.tables]
        self.charts += [replace(chart, title=f"{chart.title} ({place})") for chart in other.charts]
        self.notes += [note for note in other.notes if note not in self.notes]

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        """Return it as JSON. `judged`: whether the goals are for this stack."""
        return {
            "tables": [table.as_json() for table in self.tables],
            "charts": [chart.as_json() for chart in self.charts],
            "goals": [{**asdict(goal), "met": goal.met if judged else None} for goal in self.goals],
            "check": {**asdict(self.check), "passed": self.check.passed},
            "notes": self.notes,
        }


class NotMeasurable(RuntimeError):
    """A package is missing, or a size is over the scenario's or this machine's limits."""


def free_memory() -> int | None:
    """Return the bytes that programs may still have; None where the system does not say."""
    free = read_line("/proc/meminfo", "MemAvailable")
    return int(free.split()[0]) * 1024 if free else None


def read_line(file: str, name: str) -> str:
    """Return the value of the first line `name: value`; "" where the system does not say."""
    with suppress(OSError):
        for line in Path(file).read_text().splitlines():
            found, _, value = line.partition(":")
            if found.strip() == name:
                return value.strip()
    return ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. The docstring of `measure` says in its first line what is measured, then how.

    `unit` is what a size counts; `sizes` are measured by default, smallest first. `--size N` measures N, and
    of several default sizes also those below N. `memory`: bytes at any size, and bytes for each of the size;
    `files`: how many of one process are open for each of the size. `package`: one of the extra
    `benchmark` that it needs. `embedded_too`: where there are servers, it is measured once more without, as
    somebody new runs Sayso. If the check fails, a report may be empty.
    """

    name: str
    measure: Callable[[Environment, Sequence[int]], Awaitable[Report]]
    _: KW_ONLY
    unit: str
    sizes: tuple[int, ...]
    least: int = 1
    most: int
    memory: tuple[int, int]
    files: int = 0
    package: str = ""
    embedded_too: bool = False

    @property
    def summary(self) -> str:
        line, _, _ = (self.measure.__doc__ or "").partition("\n")
        return line.removeprefix("Measure ").removesuffix(".")

    @property
    def method(self) -> str:
        return " ".join((self.measure.__doc__ or "").partition("\n")[2].split())

    def sizes_up_to(self, size: int | None) -> tuple[int, ...]:
        if size is None:
            return self.sizes
        smaller = [one for one in self.sizes if one < size] if len(self.sizes) > 1 else []
        return (*smaller, size)

    def require(self, size: int | None) -> None:
        """Raise NotMeasurable if this size, or the scenario itself, can't be measured on this machine."""
        if self.package and find_spec(self.package) is None:
            raise NotMeasurable(
                f"{self.name} needs {self.package}, which is not installed; it comes with the extra"
                " `benchmark`: python -m pip install -e '.[benchmark]'"
            )
        size = self.sizes_up_to(size)[-1]
        what, measured = f"{self.name}: {size:,} {self.unit}", f"{self.least:,} to {self.most:,} {self.unit}"
        if not self.least <= size <= self.most:
            raise NotMeasurable(f"{self.name} measures {measured}, not {size:,}.")
        needed, (_, files) = self.files * size + _FILES_ANYWAY, resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY and needed > files:
            raise NotMeasurable(
                f"{what} need {needed:,} open files, and this machine allows a process {files:,}."
                " Raise it with `ulimit -n`, or choose a smaller --size."
            )
        memory, free = self.memory[0] + self.memory[1] * size, free_memory()
        if free is not None and memory > free * _SHARE_OF_MEMORY:
            raise NotMeasurable(
                f"{what} need {memory / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free here."
                " Choose a smaller --size."
            )


def percentiles(samples: Sequence[float], *shares: float) -> list[float]:
    """Return for each share (0 to 1) the sample below which that share of them lies."""
    ordered = sorted(samples)
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]


def spread(samples: Sequence[float]) -> list[float]:
    """Return p50, p90, p99 and the maximum."""
    return percentiles(samples, 0.5, 0.9, 0.99, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the baseline's figure: the median of the rounds, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float], baseline: Sequence[float]) -> Ratio:
        """Compare each round's figure with the baseline's of the same round."""
        ratios = [one / other for one, other in zip(rounds, baseline, strict=True) if other]
        return cls(median=median(ratios), least=min(ratios), most=max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


class Samples(defaultdict[Any, list[float]]):
    """Figures of several contenders or sizes, under a key for each; one figure a round."""

    def __init__(self) -> None:
        super().__init__(list)

    def median(self, key: Any) -> float:
        return median(self[key])

    def ratio(self, key: Any, baseline: Any) -> Ratio:
        return Ratio.of(self[key], self[baseline])
