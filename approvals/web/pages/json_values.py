"""Facts about JSON values that Python's own types blur. Pure."""

from __future__ import annotations

from typing import Any, NoReturn, TypeGuard


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""Stands for no value at all, where None is JSON's null."""


def same(one: Any, other: Any) -> bool:
    """Compare two JSON values; unlike in Python, true does not equal 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is a JSON number; unlike in Python, true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, where JSON is read."""
    raise ValueError(f"{name} is no number")
