"""How a scenario is described, and what it reports: tables, charts, goals, and the check of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Literal, TypeAlias

from orchestration.benchmark.machine import Needs
from orchestration.benchmark.processes import Environment

Cell: TypeAlias = str | int | float | None
Rows: TypeAlias = Sequence[Sequence[Cell]]
Series: TypeAlias = Mapping[str, Sequence[float | None]]

FAILED = "It failed its check, so no figures are told."


@dataclass(frozen=True, slots=True)
class Table:
    """Columns have "; " between them, a unit is written after its column's name: `round; p50|ms`."""

    title: str
    columns: str
    rows: Rows = ()

    @property
    def headings(self) -> list[str]:
        return self.columns.replace("|", ", ").split("; ")

    def as_json(self) -> dict[str, Any]:
        parts = [column.partition("|") for column in self.columns.split("; ")]
        columns = [{"name": name, "unit": unit} for name, _, unit in parts]
        return {"title": self.title, "columns": columns, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One picture of `--plot`. `across` says what the ticks are; a series has a value for each of them."""

    title: str
    kind: Literal["lines", "bars", "stacked"]
    unit: str
    across: str = ""
    logarithmic: bool = False
    ticks: Sequence[str] = ()
    series: Series = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        series = [{"name": name, "values": values} for name, values in self.series.items()]
        return {**asdict(self), "series": series}


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit and what was measured of it. What equals the limit meets it."""

    text: str
    limit: float
    unit: str = "×"
    at_least: bool = False
    measured: float | None = None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Was every wait resolved once, with the recorded outcome? Ids of those that were not."""

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

    def __add__(self, other: Check) -> Check:
        mine, others = asdict(self), asdict(other)
        return Check(**{name: mine[name] + others[name] for name in mine})

    @property
    def passed(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that one scenario has found. `notes`: what a reader must know to read it rightly."""

    check: Check
    tables: Sequence[Table] = ()
    goals: Sequence[Goal] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        """`judged`: whether this stack is the one that the goals are for."""
        return {
            "tables": [table.as_json() for table in self.tables],
            "charts": [chart.as_json() for chart in self.charts],
            "goals": [{**asdict(goal), "met": goal.met if judged else None} for goal in self.goals],
            "check": {**asdict(self.check), "passed": self.check.passed},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a scenario has measured, in the order in which it declares its tables, goals and charts.

    `tables` are rows, `goals` the measured values (None: not measured), `charts` ticks and series. A scenario
    that failed its check may leave all of them out.
    """

    check: Check
    tables: Sequence[Rows] = ()
    goals: Sequence[float | None] = ()
    charts: Sequence[tuple[Sequence[str], Series]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario. The docstring of `measure` says in its first line what is measured, then how.

    `unit` is what a size counts; `sizes` are those measured by default, smallest first; `--size N` measures
    N, and where there are several by default also those below N. Titles and goals may have `{size}` and
    `{least}` in them: the largest and the smallest size measured.
    """

    name: str
    unit: str
    sizes: tuple[int, ...]
    most: int
    least: int = 1
    needs: Callable[[int], Needs] = lambda _: Needs()
    measure: Callable[[Environment, Sequence[int]], Awaitable[Findings]]
    tables: tuple[Table, ...] = ()
    goals: tuple[Goal, ...] = ()
    charts: tuple[Chart, ...] = ()

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

    async def run(self, environment: Environment, sizes: Sequence[int]) -> Report:
        """Measure at these sizes."""
        found = await self.measure(environment, sizes)
        if not found.check.passed and not found.tables:
            return Report(check=found.check, notes=(FAILED,))
        values = {"size": sizes[-1], "least": sizes[0]}
        tables, goals = zip(self.tables, found.tables, strict=True), zip(self.goals, found.goals, strict=True)
        charts = zip(self.charts, found.charts, strict=True)
        return Report(
            check=found.check,
            tables=[replace(it, title=it.title.format(**values), rows=rows) for it, rows in tables],
            goals=[replace(it, text=it.text.format(**values), measured=value) for it, value in goals],
            charts=[replace(it, ticks=ticks, series=series) for it, (ticks, series) in charts],
            notes=found.notes,
        )


def percentiles(samples: Sequence[float], *shares: float) -> list[float]:
    """Return for each share (0 to 1) the sample below which so many lie; the nearest one that there is."""
    ordered = sorted(samples)
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]


def spread(samples: Sequence[float]) -> list[float]:
    """Return p50, p90, p99 and the largest."""
    return [*percentiles(samples, 0.5, 0.9, 0.99), max(samples)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the other's figure: the median of the rounds, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float], others: Sequence[float]) -> Ratio:
        """Compare each round's figure with the other's of the same round."""
        ratios = [one / other for one, other in zip(rounds, others, strict=True) if other]
        return cls(median=median(ratios), least=min(ratios), most=max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"
