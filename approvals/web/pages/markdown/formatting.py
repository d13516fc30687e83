"""One text as HTML: CommonMark with tables; line breaks are kept, and addresses become links.

HTML in the text stays text. Another library sanitises the result again, against an allow-list. Beyond the
budget the text is shown unformatted, with a note.
"""

from __future__ import annotations

from functools import cache
from html import escape

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore, block, normalize, text_join
from markdown_it.token import Token

from approvals.web.pages.markdown.budget import Budget, Spending, SpentError, hold_to_budget
from approvals.web.pages.markdown.links import find_addresses, images_as_links

HEADINGS_BELOW = 2
"""The page's own headings are h1 and h2."""

TOO_LARGE = "The rest is shown unformatted, because the text is too long."
BUSY = "This is shown unformatted, because the server is busy."

_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_CELL_CLASSES = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}
_TAGS = {
    *("a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "strong", "ul"),
    *("h3", "h4", "h5", "h6"),
    *("table", "tbody", "td", "th", "thead", "tr"),
}
_BUDGET = Budget()


def format_text(text: str, budget: Budget = _BUDGET) -> str:
    """Format a text as sanitised HTML; cells of aligned columns have the class left, center or right."""
    if len(text) > budget.characters:
        return as_plain_text(text, TOO_LARGE)
    parser = _parser()
    spending = Spending(budget)
    state = StateCore(text, parser, spending.environment)
    normalize(state)
    whole = _parse(state, spending)
    text_join(state)
    for token in state.tokens:
        _adapt_to_page(token)
    html = _sanitise(parser.renderer.render(state.tokens, parser.options, state.env))
    return html if whole else html + as_plain_text(_rest(state), TOO_LARGE)


def as_plain_text(text: str, why: str) -> str:
    """Show the text unformatted, below a line that says why."""
    return f'<p class="small muted">{escape(why)}</p><pre>{escape(text)}</pre>'


def _parse(state: StateCore, spending: Spending) -> bool:
    """Fill the state with the tokens of whole blocks. Return False if the budget ended before the text."""
    within = True
    try:
        block(state)
    except SpentError:
        within = False
    # The content of blocks has a budget of its own.
    spending.tokens = 0
    complete = 0
    try:
        for index, token in enumerate(state.tokens):
            if token.type == "inline":
                token.children = []
                state.md.inline.parse(token.content, state.md, state.env, token.children)
            if token.level == 0 and token.nesting <= 0:
                complete = index + 1
    except SpentError:
        within = False
    del state.tokens[complete:]
    return within


def _rest(state: StateCore) -> str:
    """Return the text after the last block."""
    ends = (token.map[1] for token in reversed(state.tokens) if token.level == 0 and token.map)
    return "\n".join(state.src.split("\n")[next(ends, 0) :]).strip("\n")


def _adapt_to_page(token: Token) -> None:
    if token.type in {"heading_open", "heading_close"}:
        token.tag = f"h{min(int(token.tag[1:]) + HEADINGS_BELOW, 6)}"
    style = token.attrs.pop("style", None)
    if style in _CELL_CLASSES:
        # The content security policy allows no inline style.
        token.attrs["class"] = _CELL_CLASSES[str(style)]
    if token.children:
        token.children = list(images_as_links(token.children))


def _sanitise(html: str) -> str:
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
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True}).enable("table")
    hold_to_budget(parser)
    find_addresses(parser)
    # The parser compiles its rules at first use; another thread could see them half compiled.
    parser.render("", Spending(_BUDGET).environment)
    return parser
