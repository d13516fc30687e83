r"""Search texts for the patterns of schemas with RE2, in time linear in the text whatever the pattern.

JSON Schema writes patterns as JavaScript does. What producers of schemas use of that, and RE2 lacks, is
translated, without changing what the pattern matches:
- look-ahead right after `^` is one more pattern that the same text must match, or must not;
- pydantic's Decimal (to 2.13) and zod's durations look ahead further in: they are known by their text;
- `\u20AC`, and the Unicode properties of emoji.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import re2

from approvals.domain.characters import PICTOGRAPHS
from approvals.domain.payloads import FlawError

MEMORY_LIMIT = 2**21
"""Bytes for one pattern's program and automaton."""

SEARCH = 3
MOVES_PER_STEP = 150
"""RE2 moves at most text length x program size times; so many moves are a step of `evaluation`."""

_LOOK = {"(?=": True, "(?!": False}
_REPEATS = set("*+?{")

# pydantic's Decimal with `max_digits`, after its leading look-ahead: group 1 or 2 has the digits before the
# point, 3 those and one, 4 those behind it.
_DECIMAL = re.compile(
    r"\[\+-]\?0\*\(\?:\\d\{0,(\d+)}\|\(\?=\[\\d\.]\{1,(\d+)}0\*\$\)\\d(?:\*|\{0,\d+})\\\.\\d(?:\*|\{0,(\d+)})0\*\$?\)"
)
_DURATION = r"P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
_LINEAR_DURATION = r"^P(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?)?)$"

_REGIONAL = r"\x{1F1E6}-\x{1F1FF}"
_COMPONENTS = (
    rf"#*0-9\x{{200D}}\x{{20E3}}\x{{FE0F}}{_REGIONAL}"
    r"\x{1F3FB}-\x{1F3FF}\x{1F9B0}-\x{1F9B3}\x{E0020}-\x{E007F}"
)
_PROPERTIES = {
    r"\p{Extended_Pictographic}": "".join(
        "-".join(rf"\x{{{end}}}" for end in run.split("-")) for run in PICTOGRAPHS.split()
    ),
    r"\p{Emoji_Component}": _COMPONENTS,
    r"\p{Regional_Indicator}": _REGIONAL,
}

_TOKEN = re.compile(r"\\p\{\w+}|\\u\{([0-9A-Fa-f]+)}|\\u([0-9A-Fa-f]{4})|\\.|\(\?[=!]|.", re.DOTALL)


class Pattern:
    """One compiled pattern. Raises FlawError where it can't run in linear time.

    `size` counts RE2's instructions.
    """

    def __init__(self, text: str) -> None:
        searches = _translate(text)
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


class _Searches(NamedTuple):
    """What RE2 searches instead of a pattern: all of `wanted` must be found, and none of `unwanted`."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()


def _translate(pattern: str) -> _Searches:
    """Return the pattern as RE2 takes it; unchanged where nothing of it is known to need a change."""
    tokens = list(_tokens(pattern))
    if tokens[:1] != ["^"]:
        return _Searches(wanted=("".join(tokens),))
    rest = tokens[1:]
    found: dict[bool, list[str]] = {True: [], False: []}
    while rest and rest[0] in _LOOK and not _has_alternatives(rest):
        length = _length_of_group(rest)
        if not length or (rest[length:] and rest[length] in _REPEATS):
            break
        found[_LOOK[rest[0]]].append(f"^(?:{''.join(rest[1 : length - 1])})")
        rest = rest[length:]
    body = _known("".join(rest)) or _Searches(wanted=(f"^{''.join(rest)}",))
    return _Searches(wanted=(*found[True], *body.wanted), unwanted=(*found[False], *body.unwanted))


def _known(body: str) -> _Searches | None:
    """Translate what stands behind `^` where it is known as a whole."""
    if body == _DURATION:
        return _Searches(wanted=(_LINEAR_DURATION,), unwanted=("^P$|T$",))
    if decimal := _DECIMAL.fullmatch(body):
        whole, both, places = decimal.groups()
        behind = "*" if places is None else f"{{0,{places}}}"
        before = "*" if places is None else f"{{0,{whole}}}"
        return _Searches(
            wanted=(
                rf"^[+-]?0*(?:\d{{0,{whole}}}|\d{before}\.\d{behind}0*)$",
                rf"^[+-]?0*(?:\d*|[\d.]{{1,{both}}}0*)$",
            )
        )
    return None


def _tokens(pattern: str) -> Iterator[str]:
    """Yield the pattern's smallest parts in RE2's spelling; a class is one part."""
    within = ""
    for match in _TOKEN.finditer(pattern):
        part = match.group()
        code = match.group(1) or match.group(2)
        if code:
            part = rf"\x{{{code}}}"
        elif part in _PROPERTIES:
            part = _PROPERTIES[part] if within else f"[{_PROPERTIES[part]}]"
        if within:
            within += part
            if part == "]":
                yield within
                within = ""
        elif part == "[":
            within = part
        else:
            yield part
    if within:
        yield within


def _has_alternatives(tokens: list[str]) -> bool:
    """Tell whether a `|` stands outside of every group."""
    depth = 0
    for part in tokens:
        depth += _change_of_depth(part)
        if part == "|" and depth == 0:
            return True
    return False


def _change_of_depth(part: str) -> int:
    return (part == "(" or part in _LOOK) - (part == ")")


def _length_of_group(tokens: list[str]) -> int:
    """Count the parts of the group that the first one opens; 0 where nothing closes it."""
    depth = 0
    for index, part in enumerate(tokens):
        depth += _change_of_depth(part)
        if depth == 0:
            return index + 1
    return 0
