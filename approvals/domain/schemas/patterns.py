"""Patterns that strangers write, run by RE2: linear in the text, whatever the pattern; never by `re`."""

from __future__ import annotations

from typing import Any

import re2

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.linear import linear

MEMORY_LIMIT = 2**21
"""Bytes for one pattern's program and automaton."""

SEARCH = 3
STEPS_PER_UNIT = 150
"""RE2 takes at most text length x program size steps; so many of them take a unit, see `evaluation`."""


class Pattern:
    """One compiled pattern; `found_in` searches, as JSON Schema wants, and is not anchored."""

    def __init__(self, text: str) -> None:
        rewritten = linear(text)
        self._wanted = [_compiled(part) for part in rewritten.wanted]
        self._unwanted = [_compiled(part) for part in rewritten.unwanted]
        parts = [*self._wanted, *self._unwanted]
        self.size: int = sum(max(part.programsize, part.reverseprogramsize) for part in parts)

    def price(self, text: str) -> int:
        return SEARCH + len(text) * self.size // STEPS_PER_UNIT

    def found_in(self, text: str) -> bool:
        found = all(part.search(text) is not None for part in self._wanted)
        return found and not any(part.search(text) is not None for part in self._unwanted)


def _compiled(text: str) -> Any:
    try:
        return re2.compile(text, _options())
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise FlawError(
            f"is no pattern that runs in linear time ({reason}): RE2 has no back-references, and look-ahead "
            "is known right after ^ only"
        ) from None


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = MEMORY_LIMIT
    options.log_errors = False
    # Groups that nobody reads would keep RE2 from its fastest engine.
    options.never_capture = True
    return options
