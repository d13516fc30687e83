"""A long history within minutes: requests that are on record, put there again under other ids (PostgreSQL).

The writer needs minutes for what a year leaves. So here the database itself writes rows, in the benchmark's
own installation and nowhere else. They are as good as the writer's: each twin's trail is hashed anew over its
own id, and verification holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, models
from psycopg import sql

from approvals.database.fields import new_id
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, Response, ShownContent, UserAssignment
from orchestration.benchmark import raw

# Every request among the originals was opened and decided: two entries, the second closes it.
_PREPARE = """
    CREATE TEMP TABLE twin (old uuid, new uuid);
    CREATE TEMP TABLE entry_twin (
        old_entry bigint, new uuid, sequence integer, canonical text, previous_hash text, hash text
    )
"""
_TRAIL = """
    INSERT INTO entry_twin
    SELECT first.id, new, 1, own, '', encode(sha256(convert_to(own, 'UTF8')), 'hex')
    FROM twin JOIN {entry} first ON first.request_id = old AND first.sequence = 1,
        LATERAL (SELECT replace(first.canonical, old::text, new::text) AS own) hashed;
    ANALYZE twin, entry_twin;
    INSERT INTO entry_twin
    SELECT second.id, twin.new, 2, own, first.hash, encode(sha256(convert_to(own, 'UTF8')), 'hex')
    FROM twin JOIN entry_twin first ON first.new = twin.new
        JOIN {entry} second ON second.request_id = old AND second.sequence = 2,
        LATERAL (
            SELECT replace(
                replace(second.canonical, old::text, twin.new::text), second.previous_hash, first.hash
            ) AS own
        ) hashed
"""


def add_twins(originals: Sequence[UUID], count: int) -> None:
    """Put `count` twins of these requests on record, each of which was opened and decided and no more."""
    with psycopg.connect(**raw.postgres_parameters()) as session:
        session.execute(_PREPARE)
        with session.cursor().copy("COPY twin (old, new) FROM STDIN") as copy:
            for number in range(count):
                copy.write_row((originals[number % len(originals)], new_id()))
        session.execute(sql.SQL(_TRAIL).format(entry=_table(AuditEntry)))
        last = sql.SQL("JOIN entry_twin ON entry_twin.new = twin.new AND entry_twin.sequence = 2")
        _copy(session, HumanRequest, {"id": "twin.new", "trail_head": "entry_twin.hash"}, on="id", more=last)
        for model in (UserAssignment, GroupAssignment, Response):
            _copy(session, model, {"request_id": "twin.new"}, on="request_id")
        _copy_trail(session)


def _copy(
    session: psycopg.Connection[Any],
    model: type[models.Model],
    other: Mapping[str, str],
    *,
    on: str,
    more: sql.Composable = sql.SQL(""),  # noqa: B008  a constant
) -> None:
    """Rows of the originals again, with some columns of their own."""
    columns = _columns(model)
    taken = [sql.SQL(other[name]) if name in other else sql.Identifier("original", name) for name in columns]
    statement = "INSERT INTO {table} ({columns}) SELECT {taken} FROM twin JOIN {table} original"
    session.execute(
        sql.SQL(statement + " ON {on} = twin.old {more}").format(
            table=_table(model),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            taken=sql.SQL(", ").join(taken),
            on=sql.Identifier("original", on),
            more=more,
        )
    )


def _copy_trail(session: psycopg.Connection[Any]) -> None:
    own = {"request_id": "new", "canonical": "canonical", "previous_hash": "previous_hash", "hash": "hash"}
    columns = _columns(AuditEntry)
    taken = [
        sql.Identifier("entry_twin", own[name]) if name in own else sql.Identifier("original", name)
        for name in columns
    ]
    session.execute(
        sql.SQL(
            "INSERT INTO {entry} ({columns}) SELECT {taken}"
            " FROM entry_twin JOIN {entry} original ON original.id = old_entry"
        ).format(
            entry=_table(AuditEntry),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            taken=sql.SQL(", ").join(taken),
        )
    )
    session.execute(
        sql.SQL(
            "INSERT INTO {shown} (entry_id, salt, content) SELECT entry.id, original.salt, original.content"
            " FROM entry_twin JOIN {entry} entry"
            " ON entry.request_id = new AND entry.sequence = entry_twin.sequence"
            " JOIN {shown} original ON original.entry_id = old_entry"
        ).format(shown=_table(ShownContent), entry=_table(AuditEntry))
    )


def _columns(model: type[models.Model]) -> list[str]:
    """All but the ids that the database gives out."""
    fields: list[Any] = [*model._meta.concrete_fields]
    return [field.column for field in fields if not isinstance(field, models.AutoField)]


def _table(model: type[models.Model]) -> sql.Identifier:
    return sql.Identifier(model._meta.db_table)


def supported() -> bool:
    return connection.vendor == "postgresql"
