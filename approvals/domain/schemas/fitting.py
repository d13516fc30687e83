"""Is it a schema that Sayso takes, and does a value fit it?"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Any

from approvals.domain.payloads import FlawError, checked_json
from approvals.domain.schemas.dialects import Dialect, dialect_of
from approvals.domain.schemas.documents import BYTES_LIMIT, DEPTH_LIMIT, Document, check_work, read
from approvals.domain.schemas.evaluation import first_error
from approvals.domain.schemas.words import flaw_in
from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest


def check_schema(schema: object, field: str = "schema", *, stable: bool = True) -> dict[str, Any]:
    """A detached copy of a JSON Schema whose every use is safe and bounded.

    2020-12 unless `$schema` names another known draft. It must be valid against that draft's metaschema, at
    most 64 KiB and 32 levels deep, with patterns that RE2 can run and references to its own parts only.
    `stable` is that of `checked_json`.
    """
    checked = checked_json(schema, field, max_bytes=BYTES_LIMIT, max_depth=DEPTH_LIMIT, stable=stable)
    if not isinstance(checked, dict):
        raise FlawError("must be a JSON Schema, which is an object").as_error(field, InvalidRequest)
    try:
        _document(json.dumps(checked))
    except FlawError as flaw:
        raise flaw.as_error(field, InvalidRequest) from None
    return checked


def check_against(
    schema: object,
    value: object,
    field: str = "answer",
    error: type[ApprovalError] = InvalidAnswer,
    *,
    stable: bool = True,
) -> Any:
    """A detached copy of a value that fits the schema; `error` names the first spot that does not.

    Raises InvalidRequest where the schema itself would not pass `check_schema`; its own numbers need not be
    stable, for it may be on record from before they had to be. `stable` is about the value.
    """
    document = _document(json.dumps(check_schema(schema, stable=False)))
    checked = checked_json(value, field, stable=stable, error=error)
    try:
        failure = first_error(document, checked)
        if failure is not None:
            raise flaw_in(failure)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None
    return checked


@lru_cache(maxsize=32)
def _document(text: str) -> Document:
    """The same schema comes again with each answer; reading it is most of the work."""
    schema = json.loads(text)
    dialect = dialect_of(schema)
    document = read(schema, dialect)
    failure = first_error(_metaschema(dialect), schema)
    if failure is not None:
        raise flaw_in(failure)
    check_work(document)
    return document


@cache
def _metaschema(dialect: Dialect) -> Document:
    """What makes a schema valid is a schema too, and is evaluated under the same bounds."""
    return read(dialect.metaschema, dialect)
