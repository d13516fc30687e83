"""Links made of addresses in the text and of images, which are never loaded.

Loading an image from elsewhere would tell its owner who reads what, and when.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

LONGEST_SHOWN = 200
"""Characters of an image's address that are shown."""

# A character and the scheme.
_LONGEST_BEFORE = 6
_BEFORE = re.compile(r"(?:^|[^a-z0-9.+-])(https?)$", re.IGNORECASE)
_ADDRESS = re.compile(r"://[^\s<>\"`\x00-\x20\x7f]+")
_CLOSING = {")": "(", "]": "[", "}": "{"}


def find_addresses(parser: MarkdownIt) -> None:
    """Make the parser find `http` and `https` addresses in the text."""
    parser.inline.ruler.before("newline", "address", _address)


def images_as_links(tokens: Sequence[Token]) -> Iterator[Token]:
    """Replace each image in the tokens of a line by a link with its description and its address."""
    depth = 0
    for token in tokens:
        depth += token.nesting if token.type in {"link_open", "link_close"} else 0
        if token.type != "image":
            yield token
            continue
        address = str(token.attrs["src"])
        words = Token("text", "", 0, content=_words(token, address))
        # A link can't stand within a link, and nobody opens an image that is its own address.
        yield from [words] if depth or address.startswith("data:") else _link(token, address, words)


def _words(image: Token, address: str) -> str:
    description = "".join(part.content or " " * (part.tag == "br") for part in image.children or ()).strip()
    shown = address if len(address) <= LONGEST_SHOWN else f"{address[:LONGEST_SHOWN]}…"
    return f"{description} ({shown})" if description else shown


def _link(image: Token, address: str, words: Token) -> list[Token]:
    attributes = {name: image.attrs[name] for name in ("title",) if name in image.attrs}
    opening = Token("link_open", "a", 1, attrs={"href": address, **attributes})
    return [opening, words, Token("link_close", "a", -1)]


def _address(state: StateInline, silent: bool) -> bool:
    if state.linkLevel > 0 or not state.src.startswith("://", state.pos):
        return False
    if not (scheme := _BEFORE.search(state.pending[-_LONGEST_BEFORE:])):
        return False
    found = _ADDRESS.match(state.src, state.pos, state.posMax)
    if not found:
        return False
    rest = _without_punctuation(found.group())
    address = scheme.group(1) + rest
    target = state.md.normalizeLink(address)
    if len(rest) <= len("://") or not state.md.validateLink(target):
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme.group(1))]
        state.push("link_open", "a", 1).attrs = {"href": target}
        state.push("text", "", 0).content = address
        state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True


def _without_punctuation(address: str) -> str:
    """Cut off what ends a sentence, or closes a bracket that was opened before the address."""
    end = len(address)
    surplus = {one: address.count(one) - address.count(opening) for one, opening in _CLOSING.items()}
    while end:
        last = address[end - 1]
        if surplus.get(last, 0) > 0:
            surplus[last] -= 1
        elif last not in ".,:;!?'*_~":
            break
        end -= 1
    return address[:end]
