"""Convert values between Python and statements: what JSON and SQLite take, and what cursors return."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection, models

from approvals.database.fields import JSONText

Conversion: TypeAlias = Callable[[Any], Any]


def of_field(field: Any, vendor: str) -> tuple[Conversion | None, Conversion | None]:
    """Return what converts this field's values for JSON (PostgreSQL) or SQLite, and what a cursor returns.

    None where they need no conversion.
    """
    if isinstance(field, JSONText):
        return field.get_prep_value, as_json
    if hasattr(field, "from_db_value"):  # of a user model of the project's own
        return None, lambda value: field.from_db_value(value, None, connection)
    if vendor == "postgresql":
        return None, None  # the encoder writes ids and moments itself
    if isinstance(field, models.UUIDField):
        return _hex, _uuid
    if isinstance(field, models.DateTimeField):
        return _moment_of_sqlite, as_moment
    return None, None


def as_it_is(value: Any) -> Any:
    """Leave a value that needs no conversion."""
    return value


def as_uuid(value: Any) -> UUID:
    """Convert an id from a cursor; SQLite stores ids as text."""
    return value if isinstance(value, UUID) else UUID(value)


def as_json(value: str | None) -> Any:
    """Parse a column of JSON text."""
    return None if value is None else json.loads(value)


def as_moment(value: Any) -> datetime | None:
    """Convert a moment from a cursor; SQLite stores UTC without a time zone."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


# A batch writes the same ids and moments into several tables.


@lru_cache(maxsize=4096)
def as_text(value: UUID) -> str:
    """Write an id as PostgreSQL takes it."""
    return str(value)


@lru_cache(maxsize=4096)
def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


@lru_cache(maxsize=64)
def _moment_of_sqlite(value: datetime | None) -> str | None:
    return connection.ops.adapt_datetimefield_value(value)
