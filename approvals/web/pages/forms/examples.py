"""What is shown beside a field for JSON: an example, and the schema that the value must fit."""

from __future__ import annotations

import json
from typing import Any

from approvals.web.pages.forms.schema_reader import ANNOTATIONS, NoFieldError, Rules, Schema

DEEPEST = 4
MOST_PROPERTIES = 30
LONGEST = 8_000

_EXAMPLES: dict[str, Any] = {"string": "text", "integer": 0, "number": 0, "boolean": False, "null": None}


def example_of(rules: Rules, schema: Any) -> str:
    """Write an example value as JSON; empty if the schema does not say what the value looks like."""
    example = _example(rules, schema, DEEPEST)
    return "" if example in (None, {}, []) else _shorten(json.dumps(example, ensure_ascii=False, indent=2))


def schema_text(rules: Rules, schema: Any) -> str:
    """Write the schema as JSON, with the definitions that it refers to; empty if it sets no rules."""
    if schema is True or (isinstance(schema, dict) and schema.keys() <= ANNOTATIONS):
        return ""
    found: dict[str, Any] = {}
    _collect(rules, schema, found)
    whole = {"schema": schema, "with": found} if found else schema
    return _shorten(json.dumps(whole, ensure_ascii=False, indent=2))


def _example(rules: Rules, schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth == 0:
        return None
    if "$ref" in schema:
        return _example(rules, _target(rules, schema["$ref"]), depth - 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return _example(rules, schema[keyword][0], depth)
    return _example_of_type(rules, schema, depth)


def _example_of_type(rules: Rules, schema: Schema, depth: int) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array":
        items = schema.get("prefixItems", schema.get("items"))
        each = items if isinstance(items, list) else [items]
        examples = [_example(rules, item, depth - 1) for item in each]
        return [example for example in examples if example is not None]
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        if isinstance(properties, dict) and properties:
            named = list(properties.items())[:MOST_PROPERTIES]
            return {key: _example(rules, inner, depth - 1) for key, inner in named}
        inner = _example(rules, schema.get("additionalProperties"), depth - 1)
        return {} if inner is None else {"name": inner}
    return _EXAMPLES.get(str(kind))


def _collect(rules: Rules, schema: Any, found: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for one in schema:
            _collect(rules, one, found)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in found and reference != "#":
            found[reference] = _target(rules, reference)
            _collect(rules, found[reference], found)
        for one in schema.values():
            _collect(rules, one, found)


def _target(rules: Rules, reference: Any) -> Any:
    try:
        return rules.target(reference)
    except NoFieldError:
        return True


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n…"
