"""Read, insert, update and delete any number of rows by one statement whose text is always the same.

Django compiles each query anew, writes a CASE over all rows for each column that it updates, and calls every
field of every row that it inserts: that costs far more than a decision itself. Here statements are texts.
PostgreSQL gets the rows as one JSON document, SQLite runs one prepared statement row by row. Only for the
writer, and for what is read at every decision or event: values are not validated here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import orjson
from django.db import DataError, connection, models
from django.db.models.base import ModelState

from approvals.database.conversions import Conversion, as_it_is, as_text, of_field
from approvals.database.pipeline import execute, execute_for_each

M = TypeVar("M", bound=models.Model)

# After how many rows an update has found of those that were locked, where it should have found all.
_CHANGED = " rows of those that were locked: the others have changed"

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
    prepared: Conversion | None
    restored: Conversion | None


def among(column: str) -> str:
    """Return the SQL condition that a column is one of some values; its one parameter comes from `values`."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)"
    return f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608  a column of our own


def values(wanted: Iterable[UUID | int | str]) -> str:
    """Return the parameter of `among`: the ids, numbers or texts as the text of an array, or of JSON."""
    if connection.vendor == "postgresql":
        return f"{{{','.join(map(_element, wanted))}}}"
    return json.dumps([each.hex if isinstance(each, UUID) else each for each in wanted])


def _element(value: UUID | int | str) -> str:
    """Return a value as PostgreSQL reads it in the text of an array."""
    if isinstance(value, UUID):
        return as_text(value)
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def key_conversion(model: type[models.Model]) -> Conversion:
    """Return what converts this model's ids from a cursor."""
    return of_field(_key(model), connection.vendor)[1] or as_it_is


def read(model: type[M], ids: Iterable[Any], *, lock: bool = False) -> Callable[[], list[M]]:
    """Request the rows with these ids; call the result to get them, in no order.

    With `lock`, they are locked in the order of their ids, and are what they are once that has succeeded
    (PostgreSQL's documentation, "Read Committed Isolation Level"); SQLite has locked everything already.
    The instances are made without Django's `__init__`, which costs more than the reading, and its signals.
    """
    found = execute(_reading(model, connection.vendor, lock=lock), [values(ids)])
    return lambda: instances(model, found.rows())


def instances(model: type[M], rows: Sequence[tuple[Any, ...]]) -> list[M]:
    """Make instances of rows that have all columns of the model, in their order."""
    selected = select(model)
    return [_instance(model, selected.attributes, row) for row in selected.restore(rows)]


class Selection(NamedTuple):
    """Columns of a model: their `names` for a SELECT, and what makes values of the rows that it returns."""

    attributes: tuple[str, ...]
    names: tuple[str, ...]
    conversions: tuple[Conversion | None, ...]

    def restore(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Convert the values of these columns; what a row has after them stays as it is."""
        if not rows:
            return iter(())
        by_column = [
            values if convert is None else map(convert, values)
            for convert, values in zip_longest(self.conversions, zip(*rows, strict=True))
        ]
        return zip(*by_column, strict=True)


def select(model: type[models.Model], *fields: str) -> Selection:
    """Select these fields of the model, or all."""
    return _selection(model, connection.vendor, fields or None)


@cache
def _selection(model: type[models.Model], vendor: str, fields: tuple[str, ...] | None) -> Selection:
    columns = _columns(model, vendor, only=fields)
    return Selection(
        attributes=tuple(column.attribute for column in columns),
        names=tuple(column.name for column in columns),
        conversions=tuple(column.restored for column in columns),
    )


def insert(model: type[models.Model], rows: Sequence[Row]) -> None:
    """Insert the rows; leave out ids that the database generates."""
    if rows:
        _write(_inserting(model, connection.vendor), rows)


def insert_pairs(
    model: type[models.Model],
    beside: type[models.Model],
    rows: Sequence[Row],
    *,
    link: str,
    by: tuple[str, ...],
) -> None:
    """Insert rows whose ids the database generates, and beside each a row of another table that names it.

    `rows` have the values of both. `link` is the field of `beside` that holds that id; `by` names the fields
    that identify a row of `model`.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        _write(_inserting_pairs(model, beside, link, by), rows)
    else:
        insert(model, rows)
        _write(_inserting_beside(beside, model, link, by), rows)


def update(
    model: type[models.Model], rows: Sequence[Row], fields: tuple[str, ...], *, still: Any = None
) -> None:
    """Update these fields of the rows, all of which are there; else the statement fails with DataError.

    With `still`, it also fails where the first of these fields does not have that value any more.
    """
    if not rows:
        return
    key = _key(model).attname
    limit = [] if still is None else [still]
    statement = _updating(model, connection.vendor, fields, conditional=still is not None)
    if connection.vendor == "postgresql":  # the statement itself counts
        _write(statement, rows, *limit, len(rows), listed=lambda: values(row[key] for row in rows))
    elif (changed := _write(statement, rows, *limit)) != len(rows):
        raise DataError(f"{changed}{_CHANGED}")


def remove(model: type[models.Model], ids: Iterable[Any]) -> None:
    """Delete the rows with these ids."""
    execute(f"DELETE FROM {table(model)} WHERE {among(column(model, 'pk'))}", [values(ids)])  # noqa: S608


def set_field(
    model: type[models.Model], field: str, value: Any, *, by: str, ids: Iterable[UUID | int | str]
) -> None:
    """Set this field to a value in all rows whose field `by` is one of these ids."""
    (changed,) = _columns(model, connection.vendor, only=(field,))
    prepared = value if changed.prepared is None else changed.prepared(value)
    execute(
        f"UPDATE {table(model)} SET {changed.name} = %s WHERE {among(column(model, by))}",  # noqa: S608
        [prepared, values(ids)],
    )


@cache
def _columns(
    model: type[models.Model], vendor: str, *, only: tuple[str, ...] | None = None, without: str | None = None
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
    prepared, restored = of_field(field.target_field if field.is_relation else field, vendor)
    return _Column(
        attribute=field.attname,
        name=connection.ops.quote_name(field.column),
        type="text" if kind.startswith("varchar") else kind,
        prepared=prepared,
        restored=restored,
    )


def _by_row(columns: Sequence[_Column], rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """Convert the values of each row for writing."""
    by_column = []
    for column in columns:
        attribute = column.attribute
        as_they_are = [row[attribute] for row in rows]
        by_column.append(as_they_are if column.prepared is None else map(column.prepared, as_they_are))
    return zip(*by_column, strict=True)


class _Statement(NamedTuple):
    """The text of a statement that writes rows, and the columns that it takes of each."""

    text: str
    columns: tuple[_Column, ...]


def _write(
    statement: _Statement, rows: Sequence[Row], *more: Any, listed: Callable[[], str] | None = None
) -> int | None:
    """Send the rows, on PostgreSQL with their keys as a list; on SQLite, return how many it has changed."""
    if connection.vendor == "postgresql":
        keys = [] if listed is None else [listed()]
        execute(statement.text, [_document(statement.columns, rows), *keys, *more])
        return None
    return execute_for_each(statement.text, [(*values, *more) for values in _by_row(statement.columns, rows)])


def _document(columns: Sequence[_Column], rows: Sequence[Row]) -> str:
    """Return the rows as the JSON text that `_records` reads."""
    names = [f"c{at}" for at in range(len(columns))]
    return orjson.dumps([dict(zip(names, values, strict=True)) for values in _by_row(columns, rows)]).decode()


# The texts of the statements are made once: making them takes longer than running them. PostgreSQL's take one
# JSON document of all rows, SQLite's the values of one row.


@cache
def _reading(model: type[models.Model], vendor: str, *, lock: bool) -> str:
    key = column(model, "pk")
    locking = f" ORDER BY {key} FOR UPDATE" if lock and vendor == "postgresql" else ""
    return f"SELECT {_names(_columns(model, vendor))} FROM {table(model)} WHERE {among(key)}{locking}"  # noqa: S608


@cache
def _inserting(model: type[models.Model], vendor: str) -> _Statement:
    columns = _columns(model, vendor, without=_generated_key(model))
    into = f"INSERT INTO {table(model)} ({_names(columns)})"
    if vendor == "postgresql":
        return _Statement(f"{into} SELECT {_new(columns)} FROM {_records(columns)}", columns)  # noqa: S608
    return _Statement(f"{into} VALUES ({_places(columns)})", columns)


@cache
def _inserting_pairs(
    model: type[models.Model], beside: type[models.Model], link: str, by: tuple[str, ...]
) -> _Statement:
    """PostgreSQL's: both tables take their rows from one document."""
    first = _columns(model, "postgresql", without=_generated_key(model))
    second = _columns(beside, "postgresql", without=link)
    columns = (*first, *second)
    places = {each.name: f"new.c{at}" for at, each in enumerate(columns)}
    identified = _names(_columns(model, "postgresql", only=by))
    same = " AND ".join(
        f"row.{each.name} = {places[each.name]}" for each in _columns(model, "postgresql", only=by)
    )
    text = (
        f"WITH new AS (SELECT * FROM {_records(columns)}),"  # noqa: S608
        f" row AS (INSERT INTO {table(model)} ({_names(first)})"
        f" SELECT {', '.join(places[each.name] for each in first)} FROM new"
        f" RETURNING {column(model, 'pk')} AS key, {identified})"
        f" INSERT INTO {table(beside)} ({_names(second)}, {column(beside, link)})"
        f" SELECT {', '.join(places[each.name] for each in second)}, row.key FROM new JOIN row ON {same}"
    )
    return _Statement(text, columns)


@cache
def _inserting_beside(
    model: type[models.Model], other: type[models.Model], link: str, by: tuple[str, ...]
) -> _Statement:
    """SQLite's: the row of the other table, which is there already, is looked up."""
    own, known = _columns(model, "sqlite", without=link), _columns(other, "sqlite", only=by)
    natural = " AND ".join(f"{each.name} = %s" for each in known)
    found = f"SELECT {column(other, 'pk')} FROM {table(other)} WHERE {natural}"  # noqa: S608
    into = f"INSERT INTO {table(model)} ({_names(own)}, {column(model, link)})"
    return _Statement(f"{into} VALUES ({_places(own)}, ({found}))", (*own, *known))


@cache
def _updating(
    model: type[models.Model], vendor: str, fields: tuple[str, ...], *, conditional: bool
) -> _Statement:
    key, *changing = _columns(model, vendor, only=(_key(model).name, *fields))
    condition = f" AND old.{changing[0].name} = %s" if conditional else ""
    changed = f"UPDATE {table(model)} AS old SET"
    if vendor != "postgresql":
        assignments = ", ".join(f"{each.name} = %s" for each in changing)
        text = f"{changed} {assignments} WHERE old.{key.name} = %s{condition}"
        return _Statement(text, (*changing, key))
    columns = (key, *changing)
    assignments = ", ".join(f"{each.name} = new.c{at}" for at, each in enumerate(changing, 1))
    chosen = f"old.{key.name} = new.c0 AND {among(f'old.{key.name}')}{condition}"
    # Fails in the database, so that no COMMIT in the same message is carried out. The text is not constant:
    # PostgreSQL would try to convert it beforehand.
    every_one = f"CASE count(*) WHEN %s THEN 0 ELSE CAST(count(*) || '{_CHANGED}' AS integer) END"
    text = f"{changed} {assignments} FROM {_records(columns)} WHERE {chosen} RETURNING 1"
    return _Statement(f"WITH changed AS ({text}) SELECT {every_one} FROM changed", columns)  # noqa: S608


def _instance(model: type[M], attributes: Sequence[str], values: Iterable[Any]) -> M:
    made = model.__new__(model)
    made.__dict__.update(zip(attributes, values, strict=True))
    made._state = ModelState()
    made._state.adding, made._state.db = False, connection.alias
    return made


def _records(columns: Sequence[_Column]) -> str:
    described = ", ".join(f"c{at} {column.type}" for at, column in enumerate(columns))
    return f"json_to_recordset(%s::json) AS new ({described})"


def _new(columns: Sequence[_Column]) -> str:
    return ", ".join(f"new.c{at}" for at in range(len(columns)))


def _places(columns: Sequence[_Column]) -> str:
    return ", ".join(["%s"] * len(columns))
