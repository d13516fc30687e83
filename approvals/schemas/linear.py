"""Patterns that need more than RE2 has, rewritten for it without changing what they match.

JSON Schema writes patterns as JavaScript does. What producers of schemas use of that, and RE2 lacks:
- look-ahead right after `^` is one more pattern that the same text must match, or must not;
- pydantic's Decimal (to 2.13) and zod's durations look ahead further in: they are known by their text;
- `\\u20AC`, and the Unicode properties of emoji.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
# Unicode 15.1, emoji-data.txt: first and last code point of each run.
_PICTOGRAPHS = (
    "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab"
    " 25b6 25c0 25fb-25fe 2600-2604 260e 2611 2614-2615 2618 261d 2620 2622-2623 2626 262a 262e-262f"
    " 2638-263a 2640 2642 2648-2653 265f-2660 2663 2665-2666 2668 267b 267e-267f 2692-2697 2699 269b-269c"
    " 26a0-26a1 26a7 26aa-26ab 26b0-26b1 26bd-26be 26c4-26c5 26c8 26ce-26cf 26d1 26d3-26d4 26e9-26ea"
    " 26f0-26f5 26f7-26fa 26fd 2702 2705 2708-270d 270f 2712 2714 2716 271d 2721 2728 2733-2734 2744 2747"
    " 274c 274e 2753-2755 2757 2763-2764 2795-2797 27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55"
    " 3030 303d 3297 3299 1f004 1f02c-1f02f 1f094-1f09f 1f0af-1f0b0 1f0c0 1f0cf-1f0d0 1f0f6-1f0ff"
    " 1f170-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1ae-1f1e5 1f201-1f20f 1f21a 1f22f 1f232-1f23a"
    " 1f23c-1f23f 1f249-1f25f 1f266-1f321 1f324-1f393 1f396-1f397 1f399-1f39b 1f39e-1f3f0 1f3f3-1f3f5"
    " 1f3f7-1f3fa 1f400-1f4fd 1f4ff-1f53d 1f549-1f54e 1f550-1f567 1f56f-1f570 1f573-1f57a 1f587"
    " 1f58a-1f58d 1f590 1f595-1f596 1f5a4-1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3"
    " 1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa-1f64f 1f680-1f6c5 1f6cb-1f6d2 1f6d5-1f6e5 1f6e9"
    " 1f6eb-1f6f0 1f6f3-1f6ff 1f7da-1f7ff 1f80c-1f80f 1f848-1f84f 1f85a-1f85f 1f888-1f88f 1f8ae-1f8af"
    " 1f8bc-1f8bf 1f8c2-1f8cf 1f8d9-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1f9ff 1fa58-1fa5f 1fa6e-1faff"
    " 1fc00-1fffd"
)
_PROPERTIES = {
    r"\p{Extended_Pictographic}": "".join(
        "-".join(rf"\x{{{end}}}" for end in run.split("-")) for run in _PICTOGRAPHS.split()
    ),
    r"\p{Emoji_Component}": _COMPONENTS,
    r"\p{Regional_Indicator}": _REGIONAL,
}

_TOKEN = re.compile(r"\\p\{\w+}|\\u\{([0-9A-Fa-f]+)}|\\u([0-9A-Fa-f]{4})|\\.|\(\?[=!]|.", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A text matches where RE2 finds all of `wanted` in it and none of `unwanted`."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()


def linear(pattern: str) -> Linear:
    """The pattern as RE2 takes it; unchanged where nothing of it is known to need a change."""
    tokens = list(_tokens(pattern))
    wanted: list[str] = []
    unwanted: list[str] = []
    rest = tokens[1:] if tokens[:1] == ["^"] else []
    if not _has_alternatives(rest):
        while rest and rest[0] in _LOOK:
            length = _length_of_group(rest)
            if not length or (rest[length:] and rest[length] in _REPEATS):
                break
            inner = "".join(rest[1 : length - 1])
            (wanted if _LOOK[rest[0]] else unwanted).append(f"^(?:{inner})")
            rest = rest[length:]
    if not wanted and not unwanted:
        known = _known("".join(rest)) if rest else None
        return known or Linear(wanted=("".join(tokens),))
    body = _known("".join(rest)) or Linear(wanted=(f"^{''.join(rest)}",))
    return Linear(wanted=(*wanted, *body.wanted), unwanted=(*unwanted, *body.unwanted))


def _known(body: str) -> Linear | None:
    """What stands behind `^` in patterns that are known as a whole."""
    if body == _DURATION:
        return Linear(wanted=(_LINEAR_DURATION,), unwanted=("^P$|T$",))
    if decimal := _DECIMAL.fullmatch(body):
        whole, both, places = decimal.groups()
        behind = "*" if places is None else f"{{0,{places}}}"
        before = "*" if places is None else f"{{0,{whole}}}"
        return Linear(
            wanted=(
                rf"^[+-]?0*(?:\d{{0,{whole}}}|\d{before}\.\d{behind}0*)$",
                rf"^[+-]?0*(?:\d*|[\d.]{{1,{both}}}0*)$",
            )
        )
    return None


def _tokens(pattern: str) -> Iterator[str]:
    """The pattern's smallest parts, with what is JavaScript's own in RE2's words; a class is one part."""
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
    """Whether a `|` stands outside of every group."""
    depth = 0
    for part in tokens:
        depth += _opened(part)
        if part == "|" and depth == 0:
            return True
    return False


def _opened(part: str) -> int:
    return (part == "(" or part in _LOOK) - (part == ")")


def _length_of_group(tokens: list[str]) -> int:
    """How many parts the group takes that the first one opens; 0 where nothing closes it."""
    depth = 0
    for index, part in enumerate(tokens):
        depth += _opened(part)
        if depth == 0:
            return index + 1
    return 0
