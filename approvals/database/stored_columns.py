"""Read columns exactly as they are stored, also where their values are of the wrong type.

Someone who writes to the database directly can put anything into a column of SQLite. Reading that as a
moment, an id or JSON would end a verification or an export with an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection, models
from django.db.models import F, Field, Func, QuerySet

from approvals.database.fields import JSONText

# Rows that are read at once.
CHUNK = 2_000

# What conversions raise for a value of the wrong type.
NO_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

# Converts a value from the driver, or raises one of NO_FORM.
Kind: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A stored value of the wrong type; equal to no value that Sayso writes."""

    value: str

    def __str__(self) -> str:
        return self.value


def iterate_stored(rows: QuerySet[Any], kinds: Mapping[str, Kind], *order: str) -> Iterator[tuple[Any, ...]]:
    """Iterate over these columns of the rows, unconverted, in chunks."""
    columns = {f"kept_{name.replace('__', '_')}": _AsKept(F(name)) for name in kinds}
    found: Iterator[tuple[Any, ...]] = (
        rows.annotate(**columns).order_by(*order).values_list(*columns).iterator(CHUNK)
    )
    return found


def convert(kinds: Mapping[str, Kind], values: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Convert the columns; also return the names of those of the wrong type, whose value is a Misfit."""
    found, misfits = {}, []
    for (name, kind), value in zip(kinds.items(), values, strict=True):
        try:
            found[name] = None if value is None else kind(value)
        except NO_FORM:
            found[name] = Misfit(repr(value)[:80])
            misfits.append(name)
    return found, misfits


def sort_key(request: Any) -> str:
    """Return the key by which the database orders ids of requests, also malformed ones."""
    return request.hex if isinstance(request, UUID) else str(request)


@contextmanager
def replace_invalid_text() -> Iterator[None]:
    """Read text that is not UTF-8 with replacement characters; SQLite would raise an error."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    session: Any = connection.connection
    before = session.text_factory
    session.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        yield
    finally:
        session.text_factory = before


def number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(value)
    return value


def text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(value)
    return value


def truth(value: Any) -> bool:
    """Convert a boolean; SQLite stores it as 0 or 1."""
    return value if type(value) is bool else {0: False, 1: True}[number(value)]


def as_id(value: Any) -> UUID:
    """Convert an id; SQLite stores its hexadecimal digits."""
    found = value if isinstance(value, UUID) else UUID(text(value))
    if not isinstance(value, UUID) and found.hex != value:
        raise ValueError(value)
    return found


def moment(value: Any) -> datetime:
    """Convert a moment; SQLite stores text in UTC without a time zone."""
    if isinstance(value, datetime):
        return value
    found = datetime.fromisoformat(text(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def json_value(value: Any) -> Any:
    return json.loads(text(value))


# The kinds of columns by their model's fields; others are text.
_KINDS: tuple[tuple[type[Any], Kind], ...] = (
    (JSONText, json_value),
    (models.IntegerField, number),
    (models.BooleanField, truth),
    (models.UUIDField, as_id),
    (models.DateTimeField, moment),
)


def kinds_of(model: type[models.Model], first: str, *, but: Collection[str] = ()) -> dict[str, Kind]:
    """Return the model's columns with their kinds, this one first, without those in `but`."""
    columns = {field.attname: _kind_of(field) for field in model._meta.concrete_fields}
    return {first: columns[first], **{name: kind for name, kind in columns.items() if name not in but}}


def _kind_of(field: Any) -> Kind:
    stored = field.target_field if field.is_relation else field
    return next((kind for type_, kind in _KINDS if isinstance(stored, type_)), text)


class _AsKept(Func):
    """A column whose values neither Django nor the driver converts."""

    template = "%(expressions)s"
    output_field: Field[Any, Any] = Field()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Add a plus sign: SQLite's driver converts plain columns only, not expressions."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)
