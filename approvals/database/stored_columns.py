"""Columns as they are kept. Whoever gets past this code need not write what they are for: SQLite keeps
anything in any column, and reading it as a moment, an id or JSON would end a verification, or an export,
with an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection
from django.db.models import F, Field, Func, QuerySet

# At once, of rows, entries, and what belongs to them.
CHUNK = 2_000

# What it raises to read something as what it is not.
NO_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

# Reads what the driver gives, or raises one of NO_FORM.
Kind: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that nothing of Sayso has written, or equals."""

    kept: str

    def __str__(self) -> str:
        return self.kept


def kept(rows: QuerySet[Any], kinds: Mapping[str, Kind], *order: str) -> Iterator[tuple[Any, ...]]:
    """These columns of the rows, as they are kept, a piece at a time."""
    columns = {f"kept_{name.replace('__', '_')}": _AsKept(F(name)) for name in kinds}
    found: Iterator[tuple[Any, ...]] = (
        rows.annotate(**columns).order_by(*order).values_list(*columns).iterator(CHUNK)
    )
    return found


def convert(kinds: Mapping[str, Kind], values: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """What the columns say, and the names of those that say nothing of their kind: they have a Misfit."""
    found, misfits = {}, []
    for (name, kind), value in zip(kinds.items(), values, strict=True):
        try:
            found[name] = None if value is None else kind(value)
        except NO_FORM:
            found[name] = Misfit(repr(value)[:80])
            misfits.append(name)
    return found, misfits


def sort_key(request: Any) -> str:
    """Where the id of a request comes in the order of the database, whatever it is."""
    return request.hex if isinstance(request, UUID) else str(request)


@contextmanager
def replace_invalid_text() -> Iterator[None]:
    """Read texts that are not UTF-8, too, as such that nobody has written; SQLite would stop at them."""
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
    """SQLite has nought and one."""
    return value if type(value) is bool else {0: False, 1: True}[number(value)]


def as_id(value: Any) -> UUID:
    """SQLite has its digits."""
    found = value if isinstance(value, UUID) else UUID(text(value))
    if not isinstance(value, UUID) and found.hex != value:
        raise ValueError(value)
    return found


def moment(value: Any) -> datetime:
    """SQLite has a text in UTC that does not say so."""
    if isinstance(value, datetime):
        return value
    found = datetime.fromisoformat(text(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def json_value(value: Any) -> Any:
    return json.loads(text(value))


# The columns of an entry and of what stands beside it, and the kind of each.
ENTRY: Mapping[str, Kind] = {
    "request_id": as_id,
    "id": number,
    "sequence": number,
    "event": text,
    "outcome": text,
    "actor_id": number,
    "on_behalf_of_id": number,
    "channel": text,
    "token_id": as_id,
    "address": text,
    "user_agent": text,
    "allowed_by": text,
    "recorded_at": moment,
    "content_hash": text,
    "previous_hash": text,
    "hash": text,
    "canonical": text,
    "format": number,
    "shown__salt": text,
    "shown__content": text,
}


class _AsKept(Func):
    """A column that neither Django nor the driver converts."""

    template = "%(expressions)s"
    output_field: Field[Any, Any] = Field()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """The sign changes nothing; but only what is a column and no more has a type that is converted."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)
