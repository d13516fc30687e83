"""SQL that differs between PostgreSQL and SQLite: moments as numbers, and percentiles.

Percentiles are those of PostgreSQL's `percentile_cont`: of n sorted values, the one at p × (n - 1),
interpolated between two of them. SQLite has no such function; window functions find the two values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from approvals.reports.figures import DECIDED, ENDS, PERCENTILES

Times = tuple[float, ...]
Params = Sequence[Any]

ALL = object()
"""The key of all parts together."""

_DECIDED = ", ".join(f"'{status}'" for status in DECIDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closings:
    """The closed requests of one part: how many had each outcome, and percentiles of the time to decision."""

    ends: Counter[str] = field(default_factory=Counter)
    times: Times = ()


class PostgreSQL:
    def begin(self) -> None:
        """Let the report's snapshot sort a million times in memory; on disk that takes half as long again."""
        fetch("SELECT set_config('work_mem', '64MB', true)", ())

    def seconds(self, column: str, since: datetime) -> str:
        """Return SQL for the seconds from a moment to a column's."""
        return f"(date_part('epoch', {column}) - {since.timestamp()!r})"

    def slot(self, column: str, origin: datetime, width: int) -> str:
        """Return SQL for the number of a column's slot; slots of `width` seconds count from 0 at `origin`."""
        return f"floor({self.seconds(column, origin)} / {width})::integer"

    def closings(self, part: str, facts: str, params: Params, *, of_all: bool) -> dict[Any, Closings]:
        """Count by part and, with `of_all`, for `ALL`. `facts` is a query of status, opened_at, closed_at."""
        sets = "(part), ()" if of_all else "(part)"
        counts = ", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in ENDS)
        shares = ", ".join(str(percent / 100) for percent in PERCENTILES.values())
        found = fetch(
            f"SELECT GROUPING(part), part, {counts}, percentile_cont(ARRAY[{shares}])"  # noqa: S608
            f" WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status IN ({_DECIDED}))"
            f" FROM (SELECT {part} AS part, status, date_part('epoch', closed_at - opened_at) AS seconds"
            f" FROM ({facts}) facts) closed GROUP BY GROUPING SETS ({sets})",
            params,
        )
        return {
            ALL if is_all else each: Closings(
                ends=Counter(dict(zip(ENDS, ends, strict=True))), times=tuple(times or ())
            )
            for is_all, each, *ends, times in found
        }


class SQLite:
    """Reads microseconds as a number: SQLite stores moments as text and reads only milliseconds of it."""

    def begin(self) -> None: ...

    def seconds(self, column: str, since: datetime) -> str:
        whole, rest = int(since.timestamp()), since.microsecond / 1e6
        return f"({_whole(column)} - {whole} + ({_rest(column)} - {rest!r}))"

    def slot(self, column: str, origin: datetime, width: int) -> str:
        return f"(({_whole(column)} - {int(origin.timestamp())}) / {width})"

    def closings(self, part: str, facts: str, params: Params, *, of_all: bool) -> dict[Any, Closings]:
        made: defaultdict[Any, Counter[str]] = defaultdict(Counter)
        for each, status, count in fetch(
            f"SELECT {part}, status, count(*) FROM ({facts}) facts GROUP BY 1, 2",  # noqa: S608
            params,
        ):
            made[each][status] += count
            if of_all:
                made[ALL][status] += count
        times = self._times(part, facts, params)
        if of_all:
            times[ALL] = self._times("NULL", facts, params).get(None, ())
        return {each: Closings(ends=ends, times=times.get(each, ())) for each, ends in made.items()}

    def _times(self, part: str, facts: str, params: Params) -> dict[Any, Times]:
        seconds = (
            f"{_whole('closed_at')} - {_whole('opened_at')} + ({_rest('closed_at')} - {_rest('opened_at')})"
        )
        values = ", ".join(_two_values(percent) for percent in PERCENTILES.values())
        found = fetch(
            f"WITH timed AS (SELECT {part} AS part, {seconds} AS seconds FROM ({facts}) facts"  # noqa: S608
            f" WHERE status IN ({_DECIDED})),"
            " ranked AS (SELECT part, seconds,"
            " row_number() OVER (PARTITION BY part ORDER BY seconds) - 1 AS place,"
            " count(*) OVER (PARTITION BY part) - 1 AS last FROM timed)"
            f" SELECT part, max(last), {values} FROM ranked GROUP BY part",
            params,
        )
        return {part: tuple(_between_two(last, values)) for part, last, *values in found}


def dialect() -> PostgreSQL | SQLite:
    return PostgreSQL() if connection.vendor == "postgresql" else SQLite()


def fetch(statement: str, params: Params) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def _whole(column: str) -> str:
    return f"CAST(strftime('%%s', substr({column}, 1, 19)) AS INTEGER)"


def _rest(column: str) -> str:
    return f"CAST('0' || substr({column}, 20) AS REAL)"


def _two_values(percent: int) -> str:
    """Return SQL for the two values around a percentile, in whole numbers to avoid rounding errors."""
    places = (f"last * {percent} / 100", f"(last * {percent} + 99) / 100")
    return ", ".join(f"max(CASE WHEN place = {place} THEN seconds END)" for place in places)


def _between_two(last: int, values: Sequence[float]) -> Iterator[float]:
    for percent, low, high in zip(PERCENTILES.values(), values[::2], values[1::2], strict=True):
        yield low + (high - low) * (last * percent % 100) / 100
