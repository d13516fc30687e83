"""Parse what a person typed: JSON, and the answer that a request expects. The writer validates answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from approvals.domain.schemas import Choices, labels_of
from approvals.management.screen import Misuse

_SIMPLE_TYPES = {"string", "integer", "number", "boolean"}
# A property with no other keywords may be any JSON.
_OPEN_KEYWORDS = {"title", "description"}
_SIMPLE_KEYWORDS = _OPEN_KEYWORDS | {"type", "properties", "required", "additionalProperties", "$schema"}
_TRUE = {"y", "yes", "true"}
_FALSE = {"n", "no", "false"}


def parse_json(text: str, name: str) -> Any:
    """Parse the value of option `name`; `Misuse` says where the JSON is invalid, or which file is missing."""
    source = "in the command line"
    if text.startswith("@"):
        source = f"in {text[1:]}"
        text = _read_file(text[1:], name)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Misuse(
            f"{name} is not JSON: {error.msg}, line {error.lineno}, column {error.colno} {source}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise Misuse(f"{name} is not JSON: {error}") from error


def parse_json_object(text: str, name: str) -> dict[str, Any]:
    """Parse the value of option `name`, which must be a JSON object; `Misuse` otherwise."""
    value = parse_json(text, name)
    if not isinstance(value, dict):
        raise Misuse(f'{name} must be a JSON object, such as {{"directory": "/tmp"}}.')
    return value


def parse_answer(text: str, request: Mapping[str, Any]) -> Any:
    """Parse an answer given as one text, as commands take it."""
    if request["schema"] is not None:
        return _parse_structured(text, request["schema"])
    if request["choices"] is not None:
        values = {label: value for value, label in labels_of(request["choices"]).items()}
        text = values.get(text, text) if text not in values.values() else text
        return _parse_several(text) if request["multiple"] else text
    return text


def choice_numbers(choices: Choices) -> list[str]:
    """Return what to type for each choice, never the text or label of another one."""
    options = labels_of(choices)
    texts = [*options, *options.values()]
    numeric = any(text.strip().lstrip("#").isdigit() for text in texts)
    return [f"#{number}" if numeric else str(number) for number in range(1, len(options) + 1)]


def parse_choices(text: str, offered: Choices) -> list[str]:
    """Parse choices; ValueError if there are none such.

    Given as numbers and ranges of numbers, `all`, `none`, or the exact text or label of one.
    """
    options = labels_of(offered)
    choices = list(options)
    if text in options:
        return [text]
    if exact := [value for value, label in options.items() if label == text]:
        return exact
    if text.lower() in {"all", "none"}:
        return list(choices) if text.lower() == "all" else []
    places = {number: place for place, number in enumerate(choice_numbers(offered))}
    picked: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first not in places or (last or first) not in places:
            raise ValueError(f"There is no choice {part!r}.")
        picked.update(range(places[first], places[last or first] + 1))
    if not picked:
        raise ValueError("Pick from the list.")
    return [choices[place] for place in sorted(picked)]


def flat_properties(schema: Any) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the properties of a form that can be asked one by one; None if only JSON will do."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object" or set(schema) - _SIMPLE_KEYWORDS:
        return None
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    return properties if properties and all(map(_is_simple, properties.values())) else None


def _is_simple(rule: Any) -> bool:
    return isinstance(rule, Mapping) and (
        rule.get("type") in _SIMPLE_TYPES or _OPEN_KEYWORDS.issuperset(rule)
    )


def options_of(rule: Mapping[str, Any]) -> list[str] | None:
    """Return the texts of which a property must be one; None if it is free."""
    options = rule.get("enum") if rule.get("type") == "string" else None
    texts = isinstance(options, list) and options and all(isinstance(option, str) for option in options)
    return options if texts else None


def parse_property(text: str, rule: Mapping[str, Any]) -> Any:
    """Parse one property's value by the type in its rule; ValueError says what to type."""
    match rule.get("type"):
        case None:
            return _parse_json(text)
        case "string":
            return text
        case "boolean":
            if text.lower() not in _TRUE | _FALSE:
                raise ValueError("Type yes or no.")
            return text.lower() in _TRUE
        case kind:
            return _parse_number(text, str(kind))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('Type JSON: 812, true, "a text", {"name": 1}.') from None


def _parse_number(text: str, kind: str) -> int | float:
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError:
        raise ValueError(f"Type {'a whole number' if kind == 'integer' else 'a number'}.") from None


def _parse_structured(text: str, schema: Any) -> Any:
    if isinstance(schema, Mapping) and schema.get("type") == "string" and not text.startswith(("@", '"')):
        return text
    return parse_json(text, "TEXT")


def _parse_several(text: str) -> list[Any]:
    """Parse a JSON array; other text is one choice."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return value if isinstance(value, list) else [text]


def _read_file(path: str, name: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Misuse(f"{name}: cannot read {path!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Misuse(f"{name}: {path!r} is not UTF-8 text.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number.")
