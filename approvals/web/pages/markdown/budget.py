"""Limits for formatting one text. Work is counted, so a text is cut at the same place on every machine.

Rules in front of the parser's own count each block and each token of a line. Processor time is bounded as
well, in case a single token is far more expensive than expected.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_inline import StateInline

_SPENDING = "spending"
_TOKENS_BETWEEN_CLOCK_READS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits. `tokens` counts for blocks and again for their content; `seconds` are processor time."""

    characters: int = 100_000
    cells: int = 5_000
    tokens: int = 12_000
    seconds: float = 0.5


class SpentError(Exception):
    """The budget is spent: formatting ends here."""


@dataclass(slots=True)
class Spending:
    """What one rendering has used of its budget. The parser passes its environment to the rules."""

    budget: Budget
    tokens: int = 0
    cells: int = 0
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = time.thread_time() + self.budget.seconds

    @property
    def environment(self) -> dict[str, Spending]:
        return {_SPENDING: self}

    def count_token(self) -> None:
        self.tokens += 1
        if self.tokens > self.budget.tokens:
            raise SpentError
        if self.tokens % _TOKENS_BETWEEN_CLOCK_READS == 0 and time.thread_time() > self.until:
            raise SpentError

    def count_cells(self, number: int) -> None:
        self.cells += number
        if self.cells > self.budget.cells:
            raise SpentError


def hold_to_budget(parser: MarkdownIt) -> None:
    """Make the parser raise SpentError when the spending in its environment exceeds the budget."""
    alternatives = ["paragraph", "reference"]
    parser.block.ruler.at("table", _table, {"alt": alternatives})
    parser.block.ruler.before("table", "budget", _count_block, {"alt": [*alternatives, "blockquote", "list"]})
    parser.inline.ruler.before("text", "budget", _count_inline)


def _count_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    state.env[_SPENDING].count_token()
    return False


def _count_inline(state: StateInline, silent: bool) -> bool:
    state.env[_SPENDING].count_token()
    return False


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Count the cells of a table before any of them is made."""
    if not silent and table(state, start, end, True):
        state.env[_SPENDING].count_cells(_most_cells(state, start, end))
    return table(state, start, end, silent)


def _most_cells(state: StateBlock, start: int, end: int) -> int:
    """Estimate a table's cells: all rows get as many as the first, and an empty line ends the table."""
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    last = next((line for line in range(start, end) if state.isEmpty(line)), end)
    return columns * (last - start)
