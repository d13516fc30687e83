"""JSON whose `repr` is short: the library writes whole values into each error's message, needed or not.

Lists and dicts also carry their `weight`: how much work it is to compare them, in units of `evaluation`.
"""

from __future__ import annotations

from typing import Any

CHARACTERS_PER_UNIT = 100
CONTAINER = 4
"""What comparing a list or an object takes, beside comparing what is in it."""


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "<text>"


class Array(list[Any]):
    __slots__ = ("weight",)
    weight: int

    def __repr__(self) -> str:
        return "<list>"


class Object(dict[str, Any]):
    __slots__ = ("weight",)
    weight: int

    def __repr__(self) -> str:
        return "<object>"


def terse(value: Any) -> Any:
    """A copy of plain JSON, which is at most as deep as `checked_json` allows."""
    if isinstance(value, dict):
        members = Object((key, terse(child)) for key, child in value.items())
        members.weight = CONTAINER + sum(weight(key) + weight(child) for key, child in members.items())
        return members
    if isinstance(value, list):
        entries = Array(terse(child) for child in value)
        entries.weight = CONTAINER + sum(weight(child) for child in entries)
        return entries
    return Text(value) if isinstance(value, str) else value


def weight(value: Any) -> int:
    if isinstance(value, Array | Object):
        return value.weight
    return 1 + len(value) // CHARACTERS_PER_UNIT if isinstance(value, str) else 1
