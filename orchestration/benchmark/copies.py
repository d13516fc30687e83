"""A long history within minutes: requests that are on record, put there again under other ids (PostgreSQL).

The writer needs minutes for what a year leaves. So here the database itself writes rows, in the benchmark's
own installation and nowhere else. They are as good as the writer's: each copy's trail is hashed anew over its
own id, and verification holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from django.db import models
from psycopg import sql

from approvals.database.fields import new_id
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, Response, ShownContent, UserAssignment
from orchestration.benchmark import baseline

# Every original was opened and decided: two entries, the second closes it.
_TRAIL = """
    INSERT INTO entry_copy
    SELECT first.id, new, 1, own, '', encode(sha256(convert_to(own, 'UTF8')), 'hex')
    FROM copied JOIN {entry} first ON first.request_id = old AND first.sequence = 1,
        LATERAL (SELECT replace(first.canonical, old::text, new::text) AS own) hashed;
    ANALYZE copied, entry_copy;
    INSERT INTO entry_copy
    SELECT second.id, copied.new, 2, own, first.hash, encode(sha256(convert_to(own, 'UTF8')), 'hex')
    FROM copied JOIN entry_copy first ON first.new = copied.new
        JOIN {entry} second ON second.request_id = old AND second.sequence = 2,
        LATERAL (
            SELECT replace(
                replace(second.canonical, old::text, copied.new::text), second.previous_hash, first.hash
            ) AS own
        ) hashed
"""
_SHOWN = """
    INSERT INTO {shown} (entry_id, salt, content) SELECT entry.id, original.salt, original.content
    FROM entry_copy JOIN {entry} entry
    ON entry.request_id = new AND entry.sequence = entry_copy.sequence
    JOIN {shown} original ON original.entry_id = old_entry
"""
_REQUESTS = "copied JOIN entry_copy ON entry_copy.new = copied.new AND entry_copy.sequence = 2"


def add_copies(originals: Sequence[UUID], count: int) -> None:
    """Put `count` copies of these requests on record, each of which was opened and decided and no more."""
    entry, shown = (sql.Identifier(model._meta.db_table) for model in (AuditEntry, ShownContent))
    with psycopg.connect(**baseline.postgres_parameters()) as session:
        session.execute(
            "CREATE TEMP TABLE copied (old uuid, new uuid); CREATE TEMP TABLE entry_copy (old_entry bigint,"
            " new uuid, sequence integer, canonical text, previous_hash text, hash text)"
        )
        with session.cursor().copy("COPY copied (old, new) FROM STDIN") as copy:
            for number in range(count):
                copy.write_row((originals[number % len(originals)], new_id()))
        session.execute(sql.SQL(_TRAIL).format(entry=entry))
        _copy(session, HumanRequest, _REQUESTS, "id = old", id="copied.new", trail_head="entry_copy.hash")
        for model in (UserAssignment, GroupAssignment, Response):
            _copy(session, model, "copied", "request_id = old", request_id="new")
        own = {name: f"entry_copy.{name}" for name in ("canonical", "previous_hash", "hash")}
        _copy(session, AuditEntry, "entry_copy", "id = old_entry", request_id="new", **own)
        session.execute(sql.SQL(_SHOWN).format(entry=entry, shown=shown))


def _copy(
    session: psycopg.Connection[Any],
    model: type[models.Model],
    source: LiteralString,
    on: LiteralString,
    **own: LiteralString,
) -> None:
    """Insert the originals' rows again, with some columns of their own, and without ids of the database."""
    fields: list[Any] = [*model._meta.concrete_fields]
    names = [field.column for field in fields if not isinstance(field, models.AutoField)]
    taken = [sql.SQL(own[name]) if name in own else sql.Identifier("original", name) for name in names]
    statement = sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {taken} FROM {source} JOIN {table} original ON original.{on}"
    )
    session.execute(
        statement.format(
            table=sql.Identifier(model._meta.db_table),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            taken=sql.SQL(", ").join(taken),
            source=sql.SQL(source),
            on=sql.SQL(on),
        )
    )
