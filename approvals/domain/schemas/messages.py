"""Say in words for people which rule of a schema a value breaks, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jsonschema.exceptions import ValidationError

from approvals.domain.payloads import FlawError, shorten

RULE_LIMIT = 200
VALUE_LIMIT = 60

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}

_FORMATS = {
    "date": "a date such as 2026-01-31",
    "date-time": "a time such as 2026-01-31T09:30:00Z",
    "time": "a time of day such as 09:30:00Z",
    "email": "an e-mail address",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "an absolute URI",
    "uuid": "a UUID",
}


def flaw_of(error: ValidationError) -> FlawError:
    """Return the path and the rule of a failure's most telling part, cut to a readable length."""
    error = _most_telling(error)
    path = list(error.absolute_path)
    if error.validator == "required":
        path.append(_missing(error))
    return FlawError(shorten(_rule(error), RULE_LIMIT), path)


def abbreviate(value: Any) -> str:
    """Write a value as JSON, short enough for a sentence."""
    text = shorten(value, VALUE_LIMIT) if isinstance(value, str) else value
    return shorten(json.dumps(text, ensure_ascii=False), VALUE_LIMIT + 3)


def _most_telling(error: ValidationError) -> ValidationError:
    """Return the failure of the alternative that came closest, where there is exactly one, else the whole."""
    while error.context:
        deepest = max(len(branch.relative_path) for branch in error.context)
        closest = [branch for branch in error.context if len(branch.relative_path) == deepest]
        if len(closest) > 1 and deepest == 0:
            closest = [branch for branch in closest if branch.validator not in {"type", "const", "enum"}]
        if len(closest) != 1:
            return error
        error = closest[0]
    return error


def _rule(error: ValidationError) -> str:
    """Say what is expected. Keywords that are not listed below bring a sentence of their own."""
    words = _RULES.get(str(error.validator))
    return words(error.validator_value, error) if words else error.message


def _type(expected: Any, _: ValidationError) -> str:
    names = [expected] if isinstance(expected, str) else expected
    return f"must be {_either([_TYPES.get(name, name) for name in names])}"


def _bound(words: str, exclusive_words: str, exclusive: str) -> Callable[[Any, ValidationError], str]:
    """Word a bound that, up to draft 4, a flag beside it makes exclusive."""

    def rule(limit: Any, error: ValidationError) -> str:
        strict = isinstance(error.schema, dict) and error.schema.get(exclusive) is True
        return f"must be {exclusive_words if strict else words} {limit}"

    return rule


def _amount(words: str, unit: str) -> Callable[[Any, ValidationError], str]:
    def rule(limit: Any, _: ValidationError) -> str:
        one, many = unit.split("/")
        return f"must have {words} {limit} {one if limit == 1 else many}"

    return rule


def _alternatives(_: Any, error: ValidationError) -> str:
    if not error.context:
        return error.message
    return " or ".join(dict.fromkeys(_rule(branch) for branch in error.context))


_RULES: dict[str, Callable[[Any, ValidationError], str]] = {
    "type": _type,
    "enum": lambda expected, _: f"must be one of {', '.join(map(abbreviate, expected[:20]))}",
    "const": lambda expected, _: f"must be {abbreviate(expected)}",
    "required": lambda _, __: "is missing",
    "format": lambda name, _: f"must be {_FORMATS.get(name, name)}",
    "pattern": lambda pattern, _: f"must match the pattern {shorten(pattern, 120)}",
    "minimum": _bound("at least", "more than", "exclusiveMinimum"),
    "maximum": _bound("at most", "less than", "exclusiveMaximum"),
    "exclusiveMinimum": lambda limit, _: f"must be more than {limit}",
    "exclusiveMaximum": lambda limit, _: f"must be less than {limit}",
    "multipleOf": lambda step, _: f"must be a multiple of {step}",
    "minLength": _amount("at least", "character/characters"),
    "maxLength": _amount("at most", "character/characters"),
    "minItems": _amount("at least", "entry/entries"),
    "maxItems": _amount("at most", "entry/entries"),
    "minProperties": _amount("at least", "property/properties"),
    "maxProperties": _amount("at most", "property/properties"),
    "uniqueItems": lambda _, __: "must not have equal entries",
    "contains": lambda _, __: "lacks an entry of the kind it must contain",
    "minContains": _amount("at least", "entry/entries of the kind it must contain"),
    "maxContains": _amount("at most", "entry/entries of the kind it may contain"),
    "items": lambda _, __: "has more entries than are allowed",
    "additionalItems": lambda _, __: "has more entries than are allowed",
    "not": lambda excluded, _: "is a value that is ruled out" if excluded else "is not allowed here",
    "anyOf": _alternatives,
    "oneOf": _alternatives,
}


def _missing(error: ValidationError) -> str:
    names: Any = error.validator_value
    present: Any = error.instance
    return next(str(name) for name in names if name not in present)


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
