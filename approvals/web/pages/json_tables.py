"""JSON values as HTML for people: objects as tables, lists as lists, long texts folded."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from approvals.domain.masking import hide_headers
from approvals.web.edge.hidden_characters import visible

MOST_VALUES = 400
DEEPEST = 5
LONG_TEXT = 240
MANY_LINES = 6
LONGEST_WORD = 24
MANY_ITEMS = 12


def as_html(value: Any) -> SafeString:
    """Show any JSON value as HTML; the values of headers that carry secrets are hidden."""
    return _Rendering().value(hide_headers(value), 0)


def is_shown_whole(value: Any) -> bool:
    """Tell whether `as_html` leaves nothing out: of this value, nor of a part of it that is shown alone."""
    found, left = [value], MOST_VALUES
    while found and left >= 0:
        inner = found.pop()
        left -= 1
        if isinstance(inner, dict | list):
            found.extend(inner.values() if isinstance(inner, dict) else inner)
    return left >= 0


def pretty(value: Any) -> str:
    """Write a value as indented JSON; the values of headers that carry secrets are hidden."""
    return json.dumps(hide_headers(value), ensure_ascii=False, indent=2)


class _Rendering:
    """One rendering; `left` bounds how much of a huge value becomes HTML."""

    def __init__(self) -> None:
        self.left = MOST_VALUES

    def value(self, value: Any, depth: int) -> SafeString:
        self.left -= 1
        if isinstance(value, str):
            return _text(value)
        if not isinstance(value, dict | list):
            return format_html("<code>{}</code>", json.dumps(value))
        if not value:
            return format_html('<span class="muted">{}</span>', "(no entries)")
        if depth >= DEEPEST or self.left <= 0:
            return _fold("More, as JSON", format_html("<pre>{}</pre>", visible(pretty(value))))
        return self._table(value, depth) if isinstance(value, dict) else self._list(value, depth)

    def _table(self, value: dict[str, Any], depth: int) -> SafeString:
        rows = [
            (_text_class("name", key), visible(key), self.value(inner, depth + 1))
            for key, inner in self._affordable(value.items())
        ]
        body = format_html_join("", '<tr><th scope="row" class="{}">{}</th><td>{}</td></tr>', rows)
        return format_html(
            '<table class="values"><tbody>{}{}</tbody></table>', body, _rest(value, rows, row=True)
        )

    def _list(self, value: list[Any], depth: int) -> SafeString:
        items = [(self.value(inner, depth + 1),) for inner in self._affordable(value)]
        body = format_html("<ul>{}{}</ul>", format_html_join("", "<li>{}</li>", items), _rest(value, items))
        return _fold(f"{len(value)} entries", body) if len(value) > MANY_ITEMS else body

    def _affordable(self, inner: Any) -> list[Any]:
        return list(inner)[: max(self.left, 1)]


def _text(text: str) -> SafeString:
    if not text:
        return format_html('<span class="muted">{}</span>', "(empty text)")
    whole = format_html('<span class="{}" dir="auto">{}</span>', _text_class("text", text), visible(text))
    if len(text) <= LONG_TEXT and text.count("\n") < MANY_LINES:
        return whole
    start = text[:80].splitlines()[0] if text[:80].splitlines() else ""
    return _fold(f"{start}… ({len(text):,} characters)", whole)


def _text_class(kind: str, text: str) -> str:
    """Return the CSS class of a text: `long` lets words break that are too long for narrow screens."""
    return f"{kind} long" if any(len(word) > LONGEST_WORD for word in text.split()) else kind


def _fold(summary: str, body: SafeString) -> SafeString:
    return format_html('<details class="fold"><summary>{}</summary>{}</details>', visible(summary), body)


def _rest(value: Any, rendered: list[Any], *, row: bool = False) -> SafeString:
    missing = len(value) - len(rendered)
    if not missing:
        return SafeString()
    around = '<tr><td colspan="2" class="muted">{}</td></tr>' if row else '<li class="muted">{}</li>'
    return format_html(around, f"… and {missing:,} more, in the raw JSON")
