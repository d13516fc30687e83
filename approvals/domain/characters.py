"""Characters that are not seen, or turn the reading direction: which they are, and where they belong. Pure.

A text can look like another, or like nothing, by characters of no width, fillers that look blank, and marks
that reorder what is read. Of these only joiners and variation selectors have a place in what people write:
within emoji, and in scripts whose letters take another form beside them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

# Unicode 15.1, emoji-data.txt: first and last code point of each run.
PICTOGRAPHS = (
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

_UNSEEN = (
    # Controls but for tab, line feed and what may stand before that.
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    # Of no width: hyphens, joiners, fillers, variation selectors, tags, marks of direction, format controls.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U00013430-\U00013455\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    # Blank, though no white space that people type.
    "\u1680\u2000-\u2006\u2008\u200a\u205f\u2800\U0001d159"
)
_RUN = re.compile(rf"(?:[{_UNSEEN}]|\r(?!\n))+")
_IGNORED = re.compile(rf"[\s{_UNSEEN}]+")

_PICTOGRAPH = "".join("-".join(chr(int(end, 16)) for end in run.split("-")) for run in PICTOGRAPHS.split())
_JOINED_BEFORE = rf"[{_PICTOGRAPH}\U0001f3fb-\U0001f3ff]"
# Letters that take another form beside a joiner: Arabic, Syriac, N'Ko, Mandaic, Mongolian, Adlam, Rohingya.
_CURSIVE = (
    "\u0620-\u065f\u066e-\u06d3\u06d5-\u06dc\u06df-\u06e8\u06ea-\u06ef\u06fa-\u06ff\u0700-\u074f\u0750-\u077f"
    "\u07c0-\u07f5\u0840-\u085b\u0860-\u086a\u0870-\u088e\u08a0-\u08e1\u08e3-\u08ff\u1820-\u18aa"
    "\U00010d00-\U00010d27\U0001e900-\U0001e94b"
)
# Signs that silence a vowel; a joiner beside one chooses how consonants of Indic scripts are joined.
_VIRAMAS = (
    "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0f84\u1039\u103a\u1714\u1734"
    "\u17d2\u1a60\u1b44\u1baa\u1bab\u1bf2\u1bf3\ua806\ua8c4\ua953\ua9c0\uaaf6\uabed"
)
_INDIC = (
    "\u0900-\u0dff\u1000-\u109f\u1780-\u17dd\u1a20-\u1a7c\u1b00-\u1bff\ua800-\ua82c\ua880-\ua8c5\ua980-\ua9c0"
)
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

# Each begins with the character before the run, and ends with the one after it, where that matters. The first
# that fits counts.
_IN_PLACE = re.compile(
    "|".join(
        (
            rf"{_JOINED_BEFORE}\ufe0f?\u200d[{_PICTOGRAPH}]",
            rf"[{_PICTOGRAPH}][\ufe0e\ufe0f]",
            "[0-9#*]\ufe0f\u20e3",
            "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f",
            rf"[{_CURSIVE}][\u200c\u200d][{_CURSIVE}]",
            rf"[{_CURSIVE}]\u200d",
            rf"[{_VIRAMAS}][\u200c\u200d]",
            rf"[{_INDIC}][\u200c\u200d][{_VIRAMAS}]",
            "[\u1820-\u18aa][\u180b-\u180f]",
            rf"[{_IDEOGRAPHS}][\ufe00-\ufe02\U000e0100-\U000e01ef]",
        )
    )
)


def hidden_runs(text: str) -> Iterator[tuple[int, int]]:
    """Where runs of characters stand that hide or turn something: first, and after last."""
    for run in _RUN.finditer(text):
        first, after = run.span()
        if not _is_in_place(text, first, after):
            yield first, after


def has_hidden(text: str) -> bool:
    return next(hidden_runs(text), None) is not None


def skeleton(text: str) -> str:
    """Return what tells texts apart: no white space, no invisible characters, no forms of the same (NFKC).

    Empty: nothing is to be seen of the text. Takes time as the text is long: what a normal form as a whole
    takes grows with the square of the marks in a row, and holds up every thread.
    """
    if text.isascii() and text.isidentifier():
        return text
    seen = _IGNORED.sub("", "".join(map(_decompose, text)))
    return seen if seen.isascii() else "".join(_in_order(seen))


@lru_cache(maxsize=4096)
def _decompose(character: str) -> str:
    return unicodedata.normalize("NFKD", character)


def _in_order(decomposed: str) -> Iterator[str]:
    """With the marks on each letter in the order that normal forms have."""
    for _, run in groupby(decomposed, lambda character: unicodedata.combining(character) > 0):
        yield from sorted(run, key=unicodedata.combining)


def _is_in_place(text: str, first: int, after: int) -> bool:
    if first == 0:
        return False
    found = _IN_PLACE.match(text, first - 1)
    # What is found may end with the character after the run, never within it.
    return found is not None and found.end() >= after
