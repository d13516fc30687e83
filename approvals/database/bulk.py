"""Read, insert, update and delete any number of rows by one statement whose text is always the same.

Django compiles each query anew, writes a CASE over all rows for each column that it updates, and calls every
field of every row that it inserts: that costs far more than a decision itself. Here statements are texts.
PostgreSQL gets the rows as one JSON document, SQLite runs one prepared statement row by row. Only for the
writer and for permissions: values are not validated here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from django.db import connection, models

from approvals.database.fields import JSONText
from approvals.database.pipeline import execute, execute_for_each

M = TypeVar("M", bound=models.Model)

# The values of a row by the names of its attributes, such as `vars` of an instance has.
Row: TypeAlias = Mapping[str, Any]


@cache
def table(model: type[models.Model]) -> str:
    """Return the quoted name of the model's table."""
    return connection.ops.quote_name(model._meta.db_table)


@cache
def column(model: type[models.Model], field: str) -> str:
    """Return the quoted name of a field's column; `pk` stands for the primary key."""
    named: Any = model._meta.pk if field == "pk" else model._meta.get_field(field)
    return connection.ops.quote_name(named.column)


class _Column(NamedTuple):
    attribute: str
    name: str
    type: str
    # Convert a value for writing, and back; None: no conversion is needed.
    prepared: Callable[[Any], Any] | None
    restored: Callable[[Any], Any] | None


def among(column: str) -> str:
    """Return the SQL condition that a column is one of some values; its one parameter comes from `values`."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)"
    return f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608  a column of our own


def values(wanted: Iterable[UUID | int]) -> str:
    """Return the parameter of `among`: the ids or numbers as the text of an array, or of JSON."""
    if connection.vendor == "postgresql":
        return f"{{{','.join([_text(each) if isinstance(each, UUID) else str(each) for each in wanted])}}}"
    return json.dumps([each.hex if isinstance(each, UUID) else each for each in wanted])


def as_uuid(value: Any) -> UUID:
    """Convert an id from a cursor; SQLite stores ids as text."""
    return value if isinstance(value, UUID) else UUID(value)


def read(model: type[M], ids: Iterable[Any]) -> Callable[[], list[M]]:
    """Request the rows with these ids; call the result to get them, in no order."""
    columns = _columns(model, connection.vendor)
    names = ", ".join(column.name for column in columns)
    key = column(model, "pk")
    found = execute(f"SELECT {names} FROM {table(model)} WHERE {among(key)}", [values(ids)])  # noqa: S608
    attributes = [column.attribute for column in columns]

    def rows() -> list[M]:
        by_column = [
            values if column.restored is None else map(column.restored, values)
            for column, values in zip(columns, zip(*found.rows(), strict=True), strict=False)
        ]
        return [model.from_db(connection.alias, attributes, row) for row in zip(*by_column, strict=True)]

    return rows


def insert(model: type[models.Model], rows: Sequence[Row]) -> None:
    """Insert the rows; leave out ids that the database generates."""
    if rows:
        columns = _columns(model, connection.vendor, without=_generated_key(model))
        names, table_ = _names(columns), table(model)
        if connection.vendor == "postgresql":
            execute(
                f"INSERT INTO {table_} ({names}) SELECT {_new(columns)} FROM {_records(columns)}",  # noqa: S608
                [_document(columns, rows)],
            )
        else:
            execute_for_each(
                f"INSERT INTO {table_} ({names}) VALUES ({_places(columns)})",  # noqa: S608
                _tuples(columns, rows),
            )


def insert_beside(
    model: type[models.Model],
    rows: Sequence[Row],
    *,
    link: str,
    other: type[models.Model],
    by: tuple[str, ...],
) -> None:
    """Insert rows that belong to rows of another table whose ids the database has generated.

    `link` is the field that holds that id; `by` names the fields of the other table that identify its row;
    their values are among those of `rows`.
    """
    if not rows:
        return
    known = _columns(other, connection.vendor, only=by)
    own = _columns(model, connection.vendor, without=link)
    link_name = _names(_columns(model, connection.vendor, only=(link,)))
    key = column(other, "pk")
    if connection.vendor == "postgresql":
        columns = (*own, *known)
        same = [f"other.{column.name} = new.c{at}" for at, column in enumerate(known, len(own))]
        # Repeated as a list, so that the index is used whatever length the planner assumes for the document.
        same.append(among(f"other.{known[0].name}"))
        execute(
            f"INSERT INTO {table(model)} ({_names(own)}, {link_name}) SELECT {_new(own)}, other.{key}"  # noqa: S608
            f" FROM {_records(columns)} JOIN {table(other)} other ON {' AND '.join(same)}",
            [_document(columns, rows), values(row[known[0].attribute] for row in rows)],
        )
    else:
        natural = " AND ".join(f"{column.name} = %s" for column in known)
        execute_for_each(
            f"INSERT INTO {table(model)} ({_names(own)}, {link_name}) VALUES ({_places(own)},"  # noqa: S608
            f" (SELECT {key} FROM {table(other)} WHERE {natural}))",
            _tuples((*own, *known), rows),
        )


def update(
    model: type[models.Model], rows: Sequence[Row], fields: tuple[str, ...], *, still: Any = None
) -> Callable[[], int]:
    """Update these fields of the rows; call the result to get how many rows were changed.

    With `still`, only rows whose first of these fields still has that value are changed.
    """
    if not rows:
        return int
    key, *changing = columns = _columns(model, connection.vendor, only=(_key(model).name, *fields))
    condition = "" if still is None else f" AND old.{changing[0].name} = %s"
    limit = [] if still is None else [still]
    if connection.vendor == "postgresql":
        assignments = ", ".join(f"{column.name} = new.c{at}" for at, column in enumerate(changing, 1))
        return execute(
            f"UPDATE {table(model)} AS old SET {assignments} FROM {_records(columns)}"  # noqa: S608
            f" WHERE old.{key.name} = new.c0 AND {among(f'old.{key.name}')}{condition}",
            [_document(columns, rows), values(row[key.attribute] for row in rows), *limit],
        ).count
    assignments = ", ".join(f"{column.name} = %s" for column in changing)
    return execute_for_each(
        f"UPDATE {table(model)} AS old SET {assignments} WHERE old.{key.name} = %s{condition}",  # noqa: S608
        _tuples((*changing, key), rows, *limit),
    ).count


def remove(model: type[models.Model], ids: Iterable[Any]) -> None:
    """Delete the rows with these ids."""
    execute(f"DELETE FROM {table(model)} WHERE {among(column(model, 'pk'))}", [values(ids)])  # noqa: S608


def end_assignments(model: type[models.Model], request_ids: Iterable[Any]) -> None:
    """Set `pending` to false in the assignments of these requests."""
    execute(
        f"UPDATE {table(model)} SET pending = %s WHERE {among('request_id')}",  # noqa: S608
        [False, values(request_ids)],
    )


@cache
def _columns(
    model: type[models.Model],
    vendor: str,
    *,
    only: tuple[str, ...] | None = None,
    without: str | None = None,
) -> tuple[_Column, ...]:
    named = [model._meta.get_field(name) for name in only] if only else model._meta.concrete_fields
    return tuple(_describe(field, vendor) for field in named if field.name != without)


def _key(model: type[models.Model]) -> Any:
    return model._meta.pk


def _generated_key(model: type[models.Model]) -> str | None:
    """Return the name of the primary key if the database generates it."""
    return _key(model).name if isinstance(_key(model), models.AutoField) else None


def _names(columns: Iterable[_Column]) -> str:
    return ", ".join(column.name for column in columns)


def _describe(field: Any, vendor: str) -> _Column:
    kind: str = field.cast_db_type(connection)
    return _Column(
        attribute=field.attname,
        name=connection.ops.quote_name(field.column),
        type="text" if kind.startswith("varchar") else kind,
        prepared=_preparation(field.target_field if field.is_relation else field, vendor),
        restored=_restoration(field.target_field if field.is_relation else field, vendor),
    )


def _preparation(field: Any, vendor: str) -> Callable[[Any], Any] | None:
    """Return the function that converts this field's values for JSON (PostgreSQL) or for SQLite."""
    if isinstance(field, JSONText):
        return field.get_prep_value
    if isinstance(field, models.UUIDField):
        return _text_or_none if vendor == "postgresql" else _hex
    if isinstance(field, models.DateTimeField):
        return _moment if vendor == "postgresql" else _moment_of_sqlite
    return None


def _restoration(field: Any, vendor: str) -> Callable[[Any], Any] | None:
    """Return the function that converts what a cursor returns to this field's values."""
    if isinstance(field, JSONText):
        return as_json
    if vendor == "postgresql":
        return None
    if isinstance(field, models.UUIDField):
        return _uuid
    return as_moment if isinstance(field, models.DateTimeField) else None


def as_json(value: str | None) -> Any:
    """Parse a column of JSON text."""
    return None if value is None else json.loads(value)


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def as_moment(value: Any) -> datetime | None:
    """Convert a moment from a cursor; SQLite stores UTC without a time zone."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


# A batch writes the same ids and moments into several tables.


@lru_cache(maxsize=4096)
def _text(value: UUID) -> str:
    return str(value)


def _text_or_none(value: UUID | None) -> str | None:
    return None if value is None else _text(value)


@lru_cache(maxsize=4096)
def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


@lru_cache(maxsize=64)
def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


@lru_cache(maxsize=64)
def _moment_of_sqlite(value: datetime | None) -> str | None:
    return connection.ops.adapt_datetimefield_value(value)


def _by_row(columns: Sequence[_Column], rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """Convert the values of each row for writing."""
    by_column = []
    for column in columns:
        attribute = column.attribute
        as_they_are = [row[attribute] for row in rows]
        by_column.append(as_they_are if column.prepared is None else map(column.prepared, as_they_are))
    return zip(*by_column, strict=True)


# PostgreSQL


def _document(columns: Sequence[_Column], rows: Sequence[Row]) -> str:
    names = [f"c{at}" for at in range(len(columns))]
    return _encode([dict(zip(names, values, strict=True)) for values in _by_row(columns, rows)])


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _records(columns: Sequence[_Column]) -> str:
    described = ", ".join(f"c{at} {column.type}" for at, column in enumerate(columns))
    return f"json_to_recordset(%s::json) AS new ({described})"


def _new(columns: Sequence[_Column]) -> str:
    return ", ".join(f"new.c{at}" for at in range(len(columns)))


# SQLite


def _tuples(columns: Sequence[_Column], rows: Sequence[Row], *more: Any) -> list[tuple[Any, ...]]:
    return [(*values, *more) for values in _by_row(columns, rows)]


def _places(columns: Sequence[_Column]) -> str:
    return ", ".join(["%s"] * len(columns))
