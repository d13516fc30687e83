"""An installation's record as earlier versions have written it, one after the other on the same database.

`record.jsonl` has the rows, a line each, as SQLite kept them: what the versions with formats 1, 2 and 3 of
the trail recorded, each going on with what the one before had left pending. `record_4.jsonl` has what the
version with format 4 added to that. `trail.jsonl` and `trail.csv` are what the version with format 3
exported, `seal.pub` is the public half of the key that it sealed with. None of it is ever written again: what
it says was true when it was made.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models

from approvals.database.fields import JSONText
from tests.in_process import as_superuser

HERE = Path(__file__).parent
KEY = HERE / "seal.pub"
RECORDS = (HERE / "record.jsonl", HERE / "record_4.jsonl")
EXPORTS = (HERE / "trail.jsonl", HERE / "trail.csv")


def load() -> None:
    """Put the record into this database. Columns that are younger have their default."""
    by_table = {model._meta.db_table: model for model in apps.get_models()}
    for line in chain.from_iterable(file.read_text(encoding="utf-8").splitlines() for file in RECORDS):
        columns = json.loads(line)
        model = by_table[columns.pop("table")]
        if model._base_manager.filter(pk=columns.get("id")).exists():
            continue  # a group of this number is there
        model._base_manager.bulk_create([model(**_attributes(model, columns))])
    _count_on()


def _attributes(model: type[models.Model], columns: dict[str, Any]) -> dict[str, Any]:
    fields: list[Any] = [field for field in model._meta.concrete_fields if field.column in columns]
    return {field.attname: _value(field, columns[field.column]) for field in fields}


def _value(field: Any, kept: Any) -> Any:
    match field.target_field if field.is_relation else field:
        case _ if kept is None:
            return None
        case models.UUIDField():
            return UUID(kept)
        case models.DateTimeField():
            return datetime.fromisoformat(kept).replace(tzinfo=UTC)
        case models.BooleanField():
            return bool(kept)
        case JSONText():
            return json.loads(kept)
    return kept


def _count_on() -> None:
    """Let the database give out numbers behind those."""
    with as_superuser(), connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), apps.get_models()):
            cursor.execute(statement)
