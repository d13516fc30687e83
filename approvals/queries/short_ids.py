"""Ids shortened to their first characters, as people type them."""

from __future__ import annotations

import re
from uuid import UUID

# Fewer characters are a typing error rather than an id.
SHORTEST = 4
DIGITS = 32

_HEX = re.compile(r"[0-9a-f]{1,32}")


class TooShort(ValueError):
    """The text has fewer than SHORTEST digits of an id."""


def range_of(text: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begin with this text, upper case and hyphens aside.

    A whole id is both. None if no id begins so; TooShort if it has fewer than SHORTEST digits.
    """
    digits = text.strip().replace("-", "").lower()
    if digits and not _HEX.fullmatch(digits):
        return None
    if len(digits) < SHORTEST:
        raise TooShort
    return UUID(digits.ljust(DIGITS, "0")), UUID(digits.ljust(DIGITS, "f"))
