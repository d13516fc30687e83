"""Details written by strangers, as HTML that is safe to put into a page. Pure: callers mark it safe.

CommonMark and tables. HTML in the text stays text, links give nothing away, and images become their
description: loading one from elsewhere would tell its owner who reads what, and when. An independent library
sanitises what the parser makes once more, against an allow-list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token

FORMATTED_LIMIT = 100_000
"""Characters; anything longer is shown as it was written, because formatting takes time."""

HEADINGS_BELOW = 2
"""The page's own headings are h1 and h2."""

_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_CELL_CLASSES = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}
_TAGS = {
    *("a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "strong", "ul"),
    *("h3", "h4", "h5", "h6"),
    *("table", "tbody", "td", "th", "thead", "tr"),
}


def rendered(text: str) -> str:
    """The text as sanitised HTML; cells of aligned columns have the class left, center or right."""
    if len(text) > FORMATTED_LIMIT:
        return f"<pre>{escape(text)}</pre>"
    parser = _parser()
    tokens = parser.parse(text)
    for token in tokens:
        _fit_into_the_page(token)
    return _sanitised(parser.renderer.render(tokens, parser.options, {}))


def _fit_into_the_page(token: Token) -> None:
    if token.type in {"heading_open", "heading_close"}:
        token.tag = f"h{min(int(token.tag[1:]) + HEADINGS_BELOW, 6)}"
    style = token.attrs.pop("style", None)
    if style in _CELL_CLASSES:
        # The content security policy allows no inline style.
        token.attrs["class"] = _CELL_CLASSES[str(style)]


def _sanitised(html: str) -> str:
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"td": set(_CELL_CLASSES.values()), "th": set(_CELL_CLASSES.values())},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    parser.add_render_rule("image", _described)
    # The parser compiles its rules at first use, in steps that another thread could see half done.
    parser.render("")
    return parser


def _described(
    renderer: RendererProtocol, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    return escape("".join(part.content for part in tokens[index].children or ()))
