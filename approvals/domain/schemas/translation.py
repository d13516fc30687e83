r"""Translate patterns that need more than RE2 has, without changing what they match.

JSON Schema writes patterns as JavaScript does. What producers of schemas use of that, and RE2 lacks:
- look-ahead right after `^` is one more pattern that the same text must match, or must not;
- pydantic's Decimal (to 2.13) and zod's durations look ahead further in: they are known by their text;
- `\u20AC`, and the Unicode properties of emoji.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from approvals.domain.characters import PICTOGRAPHS

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """What RE2 searches instead of a pattern: all of `wanted` must be found, and none of `unwanted`."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()


def translate(pattern: str) -> Searches:
    """Return the pattern as RE2 takes it; unchanged where nothing of it is known to need a change."""
    tokens = list(_tokens(pattern))
    if tokens[:1] != ["^"]:
        return Searches(wanted=("".join(tokens),))
    rest = tokens[1:]
    found: dict[bool, list[str]] = {True: [], False: []}
    while rest and rest[0] in _LOOK and not _has_alternatives(rest):
        length = _length_of_group(rest)
        if not length or (rest[length:] and rest[length] in _REPEATS):
            break
        found[_LOOK[rest[0]]].append(f"^(?:{''.join(rest[1 : length - 1])})")
        rest = rest[length:]
    body = _known("".join(rest)) or Searches(wanted=(f"^{''.join(rest)}",))
    return Searches(wanted=(*found[True], *body.wanted), unwanted=(*found[False], *body.unwanted))


def _known(body: str) -> Searches | None:
    """Translate what stands behind `^` where it is known as a whole."""
    if body == _DURATION:
        return Searches(wanted=(_LINEAR_DURATION,), unwanted=("^P$|T$",))
    if decimal := _DECIMAL.fullmatch(body):
        whole, both, places = decimal.groups()
        behind = "*" if places is None else f"{{0,{places}}}"
        before = "*" if places is None else f"{{0,{whole}}}"
        return Searches(
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
