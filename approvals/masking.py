"""Mask secrets: what looks like one in the texts of errors, and headers that carry one where JSON is shown.

Texts of errors are masked before they are recorded. Shapes that are known are found, whatever surrounds them;
a secret that looks like any other word is not. Headers are masked on pages and in the terminal only: what is
on record, hashed, executed and told to programs is what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MASK = "•••"

# What is searched at most: texts are shown shorter.
LIMIT = 20_000

_NAME = (
    r"(?:password|passwd|pwd|passphrase|secret|credentials?|api[_-]?key|apikey|access[_-]?key|private[_-]?key"
    r"|signature|session_?id)[\w-]{0,32}"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_BARE = r"[^\s\"',;&)\]}]+"
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token"
_PEM = r"[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"

# Each with what stays of it.
_SHAPES = [
    (re.compile(rule, re.IGNORECASE if flags == "i" else 0), kept)
    for flags, rule, kept in (
        (
            "",
            rf"-----BEGIN {_PEM}[\s\S]*?(?:-----END {_PEM}|\Z)",
            MASK,
        ),
        # URLs: what stands before the @ of the host, also where a password was not encoded.
        ("", r"://[^\s/?#]*@", f"://{MASK}@"),
        ("", r"://[^\s/?#:@]*:(?!\d{1,5}(?:[/?#\s]|\Z))[^\s@]+@", f"://{MASK}@"),
        ("i", r"([?&](?:key|sig|code|auth)=)[^\s&#\"']+", rf"\1{MASK}"),
        # Headers, as lines or as members of a dictionary.
        ("i", rf"\b({_HEADER})(\\?[\"']\s*[:=]\s*\[?)(?:b?{_QUOTED})", rf"\1\2{MASK}"),
        ("i", rf"\b({_HEADER})(\s*[:=]\s*)[^\s\"'\[][^\r\n]*", rf"\1\2{MASK}"),
        ("i", r"\b(bearer\s+)(?!token\b|auth)[^\s\"',;]{4,}", rf"\1{MASK}"),
        ("i", r"\b((?:basic|digest|token)\s+)(?=[^\s\"',;]*[0-9=+/])[\w.~+/=-]{8,}", rf"\1{MASK}"),
        # Names and values.
        ("i", rf"({_NAME}\\?[\"']?\s*(?:[:=]|=>)\s*)(?:b?{_QUOTED})", rf"\1{MASK}"),
        ("i", rf"(token[\w-]{{0,32}}\\?[\"']?\s*(?:[:=]|=>)\s*)(?:b?{_QUOTED})", rf"\1{MASK}"),
        ("i", rf"({_NAME}=){_BARE}", rf"\1{MASK}"),
        ("i", rf"(token[\w-]{{0,32}}=){_BARE}", rf"\1{MASK}"),
        # After a colon there may be words: "password: is required".
        ("i", rf"({_NAME}:\s*)(?={_BARE}(?:\Z|[\r\n,;&)\]}}])|[^\s]*[0-9!@#$%^*+=~]){_BARE}", rf"\1{MASK}"),
        # What services give out.
        ("", r"\bsk-[\w-]{8,}", MASK),
        ("", r"\b[prs]k_(?:live|test)_\w{8,}", MASK),
        ("", r"\bwhsec_[\w+/=-]{8,}", MASK),
        ("", r"\bgh[a-z]_\w{8,}|\bgithub_pat_\w{8,}|\bglpat-[\w-]{8,}", MASK),
        ("", r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}", MASK),
        ("", r"\bxox[a-z]-[\w-]{6,}|\bxapp-[\w-]{6,}", MASK),
        ("", r"\bAIza[\w-]{20,}|\bya29\.[\w-]{8,}", MASK),
        ("", r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", MASK),
        ("", r"\b(?:npm|hf|sayso)_[\w-]{16,}|\bpypi-[\w-]{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}", MASK),
    )
]


def mask(text: str) -> str:
    """`text` with `•••` for each secret of a known shape. Of a long text the first 20,000 characters.

    >>> mask("connection to postgres://sayso:hunter2@db/ failed")
    'connection to postgres://•••@db/ failed'
    """
    text = text[:LIMIT]
    for shape, kept in _SHAPES:
        text = shape.sub(kept, text)
    return text


# Names that mean a header wherever they stand, in lower case and with hyphens.
HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
        "x-access-token",
        "x-csrf-token",
        "x-amz-security-token",
        "x-vault-token",
        "private-token",
    }
)
# And parts of names, within an object that is called headers.
_TELLING = re.compile(r"auth|cookie|token|secret|password|session|signature|credential|api-?key")


def hide_headers(value: Any) -> Any:
    """A copy of this JSON value with `•••` for each header that carries a secret."""
    return _replaced(value, lambda secret: MASK)


def hide_member(name: str, value: Any, *, of: str) -> Any:
    """The same for the member `name` of the object that is itself the member `of` of another."""
    return hide_headers({of: {name: value}})[of][name]


class HiddenHeaders:
    """A JSON value to be edited by a person: each hidden header has a mask of its own, and comes back."""

    def __init__(self, value: Any) -> None:
        self._secrets: dict[str, Any] = {}
        self.value = _replaced(value, self._hide)

    def restored(self, edited: Any) -> Any:
        """The edited value, with the header itself wherever its mask was left, or moved."""
        return _replaced(
            edited, lambda text: self._secrets.get(text, text) if isinstance(text, str) else text
        )

    def _hide(self, secret: Any) -> str:
        mask = f"{MASK} {len(self._secrets) + 1}"
        self._secrets[mask] = secret
        return mask


def _replaced(value: Any, instead: Callable[[Any], Any], *, among_headers: bool = False) -> Any:
    if isinstance(value, list):
        return [_replaced(each, instead, among_headers=among_headers) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: instead(inner)
        if inner not in (None, "") and _carries_a_secret(str(name), among_headers=among_headers)
        else _replaced(inner, instead, among_headers=str(name).lower() == "headers")
        for name, inner in value.items()
    }


def _carries_a_secret(name: str, *, among_headers: bool) -> bool:
    name = name.strip().lower().replace("_", "-")
    return name in HEADERS or (among_headers and _TELLING.search(name) is not None)
