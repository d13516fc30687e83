"""Shows hidden characters in the texts of pages by their code points.

`mark_response` sees each page as it leaves, so that no template, form or list of the admin can forget it.
Inputs, whose text people change and send back, are left as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby
from typing import Any

from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from approvals.domain.characters import has_hidden, hidden_runs

MOST_IN_TEXT = 100
MOST_IN_PAGE = 1_000
"""Marks; from then on each character is a STAND_IN: a page must not grow much larger than its texts."""

STAND_IN = "\u25af"
MOST_IN_RUN = 3
"""Different characters of one run that are marked one by one."""

# Where a page's texts are. Quotes are looked at in tags, since what is quoted may have any character.
_TAG = r"<[^<>\"']*(?:\"[^\"]*\"[^<>\"']*|'[^']*'[^<>\"']*)*>"
_PARTS = re.compile(
    rf"(?P<kept><!--.*?-->|<(script|style|textarea)\b.*?</\2\s*>)"
    rf"|(?P<unformatted>(?<=<title>)[^<]+|(?<=>)[^<]+(?=</option>))|(?P<tag>{_TAG})|(?P<text>[^<]+)",
    re.DOTALL | re.IGNORECASE,
)
_READ_ATTRIBUTES = re.compile(
    r"(?<=\s)((?:title|alt|label|placeholder|aria-label|summary)=)(\"[^\"]*\"|'[^']*')", re.IGNORECASE
)


def mark_response(response: Any) -> None:
    """Mark hidden characters in the response, if it is a page."""
    if not response.streaming and response.get("Content-Type", "").startswith("text/html"):
        html = response.content.decode(response.charset)
        if has_hidden(html):
            response.content = mark_page(html)


def visible(text: str) -> SafeString:
    """Return the text, escaped, with hidden characters marked."""
    marks = _Marks(MOST_IN_TEXT)
    return mark_safe(marks.place(conditional_escape(text), _as_html))  # noqa: S308 - escaped, then marked


def mark_page(html: str) -> str:
    """Return the page with the hidden characters of its texts, titles and labels marked."""
    marks = _Marks(MOST_IN_PAGE)

    def mark(part: re.Match[str]) -> str:
        whole = part.group()
        if part["kept"] or not has_hidden(whole):
            return whole
        if part["tag"]:
            return _READ_ATTRIBUTES.sub(lambda found: found[1] + marks.place(found[2], _as_text), whole)
        return marks.place(whole, _as_text if part["unformatted"] else _as_html)

    return _PARTS.sub(mark, html)


class _Marks:
    """The marks of one text or page; at most `left` more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def place(self, text: str, as_mark: Callable[[str, str], str]) -> str:
        pieces, end = [], 0
        for first, after in hidden_runs(text):
            pieces += [text[end:first], self._mark(text[first:after], as_mark)]
            end = after
        return "".join([*pieces, text[end:]])

    def _mark(self, run: str, as_mark: Callable[[str, str], str]) -> str:
        if self.left <= 0:
            return STAND_IN
        same = [(character, len(list(group))) for character, group in groupby(run)]
        self.left -= 1
        if len(same) > MOST_IN_RUN:
            codes = [_code(character) for character in dict.fromkeys(run)]
            more = ", …" if len(codes) > MOST_IN_RUN else ""
            return as_mark(f"{len(run):,} hidden characters", ", ".join(codes[:MOST_IN_RUN]) + more)
        return "".join(as_mark(_label(*each), _title(each[0])) for each in same)


def _label(character: str, times: int) -> str:
    return _code(character) if times == 1 else f"{_code(character)} × {times:,}"


def _title(character: str) -> str:
    return f"{_code(character)} {unicodedata.name(character, 'control character').lower()}"


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _as_html(label: str, title: str) -> str:
    return f'<span class="odd" title="{title}">{label}</span>'


def _as_text(label: str, title: str) -> str:
    return f"[{label}]"
