"""What validation found, in the API's words: the field's path and the rule, for each field at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ninja.errors import ValidationError

from approvals.domain.lifecycle import Kind
from approvals.domain.payloads import spot

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field here",
    "string_type": "must be text",
    "string_unicode": "contains a lone surrogate, which is not Unicode text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "literal_error": "must be one of: {expected}",
    "string_too_long": "must have at most {max_length:,} {characters}",
    "string_too_short": "must have at least {min_length:,} {characters}",
    "too_long": "must have at most {max_length:,} {entries}",
    "too_short": "must have at least {min_length:,} {entries}",
    "greater_than_equal": "must be at least {ge:,.15g}",
    "less_than_equal": "must be at most {le:,.15g}",
    "value_error": "{error}",
}


_MANY = {"characters": "characters", "entries": "entries"}

# What a schema that is one of two may be: pydantic tells each attempt, we the field.
_ALTERNATIVES = ("bool", "dict[str,any]")


def errors_of(error: ValidationError) -> list[tuple[str, str]]:
    """Each field at fault once, with its first rule."""
    found: dict[str, str] = {}
    for one in error.errors:
        field, message = field_error(one)
        found.setdefault(field, message)
    return list(found.items())


def field_error(error: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field at fault and the rule that it breaks, from one of pydantic's errors."""
    source, *steps = error["loc"]
    if error["type"].startswith("union_tag"):
        return _of_tag(error)
    steps = _without_tags(steps[1:] if source == "body" else steps)
    if not steps:
        return "", "A body is required." if error["type"] == "missing" else "The body is a JSON object."
    if steps[-1] in _ALTERNATIVES and error["type"] != "extra_forbidden":
        return _describe(steps[:-1], "must be true, false or a JSON object")
    return _describe(steps, _rule(error))


def _describe(steps: Sequence[Any], rule: str) -> tuple[str, str]:
    field = spot("", steps).removeprefix(".")
    return field, f"{field} {rule}."


def _of_tag(error: Mapping[str, Any]) -> tuple[str, str]:
    """Describe an error of the field that tells the kinds of bodies apart."""
    context = error["ctx"]
    field = str(context["discriminator"]).strip("'")
    if error["type"] == "union_tag_not_found":
        return field, f"{field} is required."
    return field, f"{field} must be one of: {context['expected_tags']}."


def _without_tags(steps: Sequence[Any]) -> Sequence[Any]:
    """Return the path without the kind of body that was tried, and without how choices were given."""
    if len(steps) > 1 and steps[0] in set(Kind):
        steps = steps[1:]
    if len(steps) > 1 and steps[0] == "choices" and steps[1] in ("listed", "labelled"):
        return [steps[0], *steps[2:]]
    return steps


def _rule(error: Mapping[str, Any]) -> str:
    rule, context = _WORDS.get(error["type"], "is invalid: {}"), error.get("ctx", {})
    one = 1 in (context.get("min_length"), context.get("max_length"))
    units = {"characters": "character", "entries": "entry"} if one else _MANY
    return rule.format(error["msg"], **units, **context)
