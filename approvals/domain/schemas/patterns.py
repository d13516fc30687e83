"""Search texts for the patterns of schemas with RE2, in time linear in the text whatever the pattern."""

from __future__ import annotations

from typing import Any

import re2

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.translation import translate

MEMORY_LIMIT = 2**21
"""Bytes for one pattern's program and automaton."""

SEARCH = 3
MOVES_PER_STEP = 150
"""RE2 moves at most text length x program size times; so many moves are a step of `evaluation`."""


class Pattern:
    """One compiled pattern. Raises FlawError where it can't run in linear time.

    `size` counts RE2's instructions.
    """

    def __init__(self, text: str) -> None:
        searches = translate(text)
        self._wanted = [_compile(part) for part in searches.wanted]
        self._unwanted = [_compile(part) for part in searches.unwanted]
        parts = [*self._wanted, *self._unwanted]
        self.size: int = sum(max(part.programsize, part.reverseprogramsize) for part in parts)

    def price(self, text: str) -> int:
        """Return the maximum cost of searching the text, in evaluation steps."""
        return SEARCH + len(text) * self.size // MOVES_PER_STEP

    def found_in(self, text: str) -> bool:
        """Tell whether the pattern matches anywhere in the text."""
        found = all(part.search(text) is not None for part in self._wanted)
        return found and not any(part.search(text) is not None for part in self._unwanted)


def _compile(text: str) -> Any:
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
