"""What PostgreSQL and SQLite say differently: moments as numbers, and percentiles.

Percentiles are those of PostgreSQL's `percentile_cont`: of n sorted values, the one at p × (n - 1), and
between two of them as far as that is. SQLite has no such function; window functions find the two values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from django.db import connection

from approvals.reports.figures import PERCENTILES

Times = tuple[float, ...]


class Dialect(Protocol):
    def seconds(self, column: str, since: datetime) -> str:
        """Seconds from a moment to a column's."""
        ...

    def between(self, first: str, second: str) -> str:
        """Seconds from one column to another, exact to the microsecond."""
        ...

    def slot(self, column: str, origin: datetime, width: int) -> str:
        """In which stretch of so many seconds a column's moment is, counted from 0 at `origin`."""
        ...

    def percentiles(self, part: str, seconds: str, facts: str) -> str:
        """A statement over a table expression; `times` reads its rows."""
        ...

    def times(self, row: Sequence[Any]) -> Times:
        """The percentiles in a row of that statement, after its part."""
        ...


class PostgreSQL:
    def seconds(self, column: str, since: datetime) -> str:
        return f"(date_part('epoch', {column}) - {since.timestamp()!r})"

    def between(self, first: str, second: str) -> str:
        return f"date_part('epoch', {second} - {first})"

    def slot(self, column: str, origin: datetime, width: int) -> str:
        return f"floor({self.seconds(column, origin)} / {width})::integer"

    def percentiles(self, part: str, seconds: str, facts: str) -> str:
        shares = ", ".join(str(percent / 100) for percent in PERCENTILES.values())
        return (
            f"SELECT {part}, percentile_cont(ARRAY[{shares}]) WITHIN GROUP (ORDER BY {seconds})"  # noqa: S608
            f" FROM {facts} GROUP BY 1"
        )

    def times(self, row: Sequence[Any]) -> Times:
        return tuple(row[0])


class SQLite:
    """Its moments are texts, of which its functions read milliseconds only: the rest is read as a number."""

    def seconds(self, column: str, since: datetime) -> str:
        whole, rest = int(since.timestamp()), since.microsecond / 1e6
        return f"({_whole(column)} - {whole} + ({_rest(column)} - {rest!r}))"

    def between(self, first: str, second: str) -> str:
        return f"({_whole(second)} - {_whole(first)} + ({_rest(second)} - {_rest(first)}))"

    def slot(self, column: str, origin: datetime, width: int) -> str:
        return f"(({_whole(column)} - {int(origin.timestamp())}) / {width})"

    def percentiles(self, part: str, seconds: str, facts: str) -> str:
        found = ", ".join(_two_values(percent) for percent in PERCENTILES.values())
        return (
            f"WITH timed AS (SELECT {part} AS part, {seconds} AS seconds FROM {facts}),"  # noqa: S608
            " ranked AS (SELECT part, seconds,"
            " row_number() OVER (PARTITION BY part ORDER BY seconds) - 1 AS place,"
            " count(*) OVER (PARTITION BY part) - 1 AS last FROM timed)"
            f" SELECT part, max(last), {found} FROM ranked GROUP BY part"
        )

    def times(self, row: Sequence[Any]) -> Times:
        return tuple(_between_two(row[0], row[1:]))


def dialect() -> Dialect:
    return PostgreSQL() if connection.vendor == "postgresql" else SQLite()


def _whole(column: str) -> str:
    return f"CAST(strftime('%%s', substr({column}, 1, 19)) AS INTEGER)"


def _rest(column: str) -> str:
    return f"CAST('0' || substr({column}, 20) AS REAL)"


def _two_values(percent: int) -> str:
    """Whole numbers only: which values they are must not hang on a rounding."""
    places = (f"last * {percent} / 100", f"(last * {percent} + 99) / 100")
    return ", ".join(f"max(CASE WHEN place = {place} THEN seconds END)" for place in places)


def _between_two(last: int, values: Sequence[float]) -> Iterator[float]:
    for percent, low, high in zip(PERCENTILES.values(), values[::2], values[1::2], strict=True):
        yield low + (high - low) * (last * percent % 100) / 100
