"""JSON values with a short `repr`, for the library writes whole values into each error's message.

Lists and dicts also carry their `weight`: how much work it is to compare them, in steps of `evaluation`.
"""

from __future__ import annotations

from typing import Any

CHARACTERS_PER_STEP = 100
CONTAINER = 4
"""Steps to compare a list or an object, beside those for what is in it."""


class Text(str):
    """A text whose `repr` is short."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<text>"


class Array(list[Any]):
    """A list whose `repr` is short."""

    __slots__ = ("weight",)
    weight: int

    def __repr__(self) -> str:
        return "<list>"


class Object(dict[str, Any]):
    """An object whose `repr` is short."""

    __slots__ = ("weight",)
    weight: int

    def __repr__(self) -> str:
        return "<object>"


def prepare(value: Any) -> Any:
    """Return a copy of plain JSON, at most as deep as `check_json` allows, made of the classes above."""
    if isinstance(value, dict):
        members = Object((key, prepare(child)) for key, child in value.items())
        members.weight = CONTAINER + sum(weight(key) + weight(child) for key, child in members.items())
        return members
    if isinstance(value, list):
        entries = Array(prepare(child) for child in value)
        entries.weight = CONTAINER + sum(weight(child) for child in entries)
        return entries
    return Text(value) if isinstance(value, str) else value


def weight(value: Any) -> int:
    """Return the steps that comparing a prepared value takes."""
    if isinstance(value, Array | Object):
        return value.weight
    return 1 + len(value) // CHARACTERS_PER_STEP if isinstance(value, str) else 1
