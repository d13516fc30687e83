"""Check schemas, and check values against them."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Any

from approvals.domain.payloads import FlawError, check_json
from approvals.domain.schemas.dialects import Dialect, dialect_of
from approvals.domain.schemas.documents import BYTES_LIMIT, DEPTH_LIMIT, Document, check_work, read_document
from approvals.domain.schemas.evaluation import Evaluation
from approvals.domain.schemas.messages import flaw_of
from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest


def check_schema(schema: object, field: str = "schema", *, stable: bool = True) -> dict[str, Any]:
    """Return a detached copy of a JSON Schema that is safe to use, whatever the values.

    2020-12 unless `$schema` names another known draft. It must be valid against that draft's metaschema, at
    most 64 KiB and 32 levels deep, with patterns that RE2 can run and references to its own parts only; else
    InvalidRequest names the spot. `stable` is that of `check_json`.
    """
    checked = check_json(schema, field, max_bytes=BYTES_LIMIT, max_depth=DEPTH_LIMIT, stable=stable)
    if not isinstance(checked, dict):
        raise FlawError("must be a JSON Schema, which is an object").as_error(field, InvalidRequest)
    try:
        _read_and_check(json.dumps(checked))
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
    """Return a detached copy of a value that fits the schema; else `error` names the first spot at fault.

    Raises InvalidRequest where the schema itself would not pass `check_schema`; its own numbers need not be
    stable, for it may be on record from before they had to be. `stable` is about the value.
    """
    document = _read_and_check(json.dumps(check_schema(schema, stable=False)))
    checked = check_json(value, field, stable=stable, error=error)
    try:
        failure = Evaluation(document).first_error(checked)
        if failure is not None:
            raise flaw_of(failure)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None
    return checked


@lru_cache(maxsize=32)
def _read_and_check(text: str) -> Document:
    """Return the schema ready for evaluation. Cached: the same schema comes again with each answer."""
    schema = json.loads(text)
    dialect = dialect_of(schema)
    document = read_document(schema, dialect)
    failure = Evaluation(_metaschema(dialect)).first_error(schema)
    if failure is not None:
        raise flaw_of(failure)
    check_work(document)
    return document


@cache
def _metaschema(dialect: Dialect) -> Document:
    """Return the draft's metaschema: a schema too, evaluated under the same bounds."""
    return read_document(dialect.metaschema, dialect)
