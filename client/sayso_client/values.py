"""Python's values as JSON that people can read, and back: whole numbers of any size, Decimal, dates, models.

JSON as the server takes it (RFC 8785) has whole numbers up to 2⁵³-1. What it has not is sent as text; what
comes back, perhaps edited by a person, is made again what it was, by the value that was sent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sayso_client.errors import UnfitValue

SAFE = 2**53 - 1
# Below, a float may be taken for a whole number, which would not be safe.
_WHOLE_BELOW = 1e21

_FROM_TEXT: Mapping[type, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Decimal: Decimal,
    UUID: UUID,
}


def to_json(value: Any, path: str) -> Any:
    """Return the value as JSON; UnfitValue, naming the path, for what can't be shown to people."""
    match value:
        case Enum():
            return to_json(value.value, path)
        case None | bool() | str():
            return value
        case int() | float():
            return _number_to_json(value, path)
        case Decimal() | UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
    return _many_to_json(value, path)


def _number_to_json(value: float, path: str) -> Any:
    if isinstance(value, int):
        return int(value) if abs(value) <= SAFE else str(int(value))
    if not math.isfinite(value):
        raise UnfitValue(path, "is not a finite number")
    return repr(value) if SAFE < abs(value) < _WHOLE_BELOW else value


def _many_to_json(value: Any, path: str) -> Any:
    if _is_model(value):
        return {name: to_json(getattr(value, name), f"{path}.{name}") for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_json(getattr(value, one.name), f"{path}.{one.name}") for one in _fields(value)}
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise UnfitValue(path, f"has the name {name!r}, which is no text")
        return {name: to_json(one, f"{path}.{name}") for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [to_json(one, f"{path}[{number}]") for number, one in enumerate(value)]
    raise UnfitValue(
        path, f"is of {type(value).__name__}, which JSON has not: say it as text, numbers and lists"
    )


def like(sent: Any, told: Any, path: str) -> Any:
    """Return what the server told as the type that was sent; what was not sent, as JSON.

    UnfitValue, naming the path, where a person has changed it to what the type can't be made of.
    """
    if told is None or sent is None or isinstance(sent, bool):
        return told
    try:
        return _like(sent, told, path)
    except (ValueError, ArithmeticError, TypeError) as error:
        raise UnfitValue(path, f"can't be {type(sent).__name__}: {told!r}") from error


def _like(sent: Any, told: Any, path: str) -> Any:
    if isinstance(sent, Enum):
        return type(sent)(told)
    if isinstance(sent, str):
        return told
    if isinstance(sent, int):
        whole = int(told)
        if whole != told and not isinstance(told, str):
            raise ValueError
        return whole
    if isinstance(sent, float):
        return float(told)
    for kind, made in _FROM_TEXT.items():
        if isinstance(sent, kind):
            return made(str(told))
    return _many_like(sent, told, path)


def _many_like(sent: Any, told: Any, path: str) -> Any:
    if _is_model(sent):
        return type(sent).model_validate(told)
    if dataclasses.is_dataclass(sent):
        parts = {one.name: getattr(sent, one.name) for one in _fields(sent)}
        make: Any = type(sent)
        return make(**_members_like(parts, told, path))
    if isinstance(sent, Mapping):
        return _members_like(sent, told, path)
    items = [
        like(sent[min(number, len(sent) - 1)], one, f"{path}[{number}]") if sent else one
        for number, one in enumerate(told)
    ]
    return tuple(items) if isinstance(sent, tuple) else items


def _members_like(sent: Mapping[str, Any], told: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {name: like(sent.get(name), value, f"{path}.{name}") for name, value in told.items()}


def _fields(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(value)


def _is_model(value: Any) -> bool:
    """Whether it is a model of pydantic, which need not be installed."""
    return hasattr(type(value), "model_fields") and hasattr(type(value), "model_validate")
