"""Mask secrets: what looks like one in the texts of errors, and headers that carry one where JSON is shown.

Texts of errors are masked before they are recorded. Shapes that are known are found, whatever surrounds them;
a secret that looks like any other word is not. Headers are masked on pages and in the terminal only: what is
on record, hashed, executed and told to programs is what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MASK = "•••"

# What is searched at most: texts are shown shorter.
LIMIT = 20_000

_NAME = (
    r"(?:password|passwd|pwd|passphrase|secret|credentials?|api[_-]?key|apikey|(?:access|account)[_-]?key|private[_-]?key"
    r"|signature|session_?id)[\w-]{0,32}"
)
_QUOTED = r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
_BARE = r"[^\s\"',;&)\]}]+"
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token"
_PEM = r"[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"

# Each with what stays of it.
_SHAPES = [
    (re.compile(rule, re.IGNORECASE if flags == "i" else 0), kept)
    for flags, rule, kept in (
        ("", rf"-----BEGIN {_PEM}[\s\S]*?(?:-----END {_PEM}|\Z)", MASK),
        # URLs: what stands before the @ of the host, also where a password was not encoded.
        ("", r"://[^\s/?#]*@", f"://{MASK}@"),
        ("", r"://[^\s/?#:@]*:(?!\d{1,5}(?:[/?#\s]|\Z))[^\s@]+@", f"://{MASK}@"),
        ("i", r"([?&](?:key|sig|code|auth)=)[^\s&#\"']+", rf"\1{MASK}"),
        # Headers, as lines or as members of a dictionary.
        ("i", rf"\b({_HEADER})(\\?[\"']\s*[:=,]\s*\[?)b?{_QUOTED}", rf"\1\2{MASK}"),
        ("i", rf"\b({_HEADER})(\s*[:=]\s*)[^\s\"'\[][^\r\n]*", rf"\1\2{MASK}"),
        ("i", r"\b(bearer\s+)(?!token\b|auth)[^\s\"',;]{4,}", rf"\1{MASK}"),
        ("i", r"\b((?:basic|digest|token)\s+)(?=[^\s\"',;]*[0-9=+/])[\w.~+/=-]{8,}", rf"\1{MASK}"),
        # Names and values.
        ("i", rf"({_NAME}\\?[\"']?\s*(?:[:=]|=>)\s*)b?{_QUOTED}", rf"\1{MASK}"),
        ("i", rf"(token[\w-]{{0,32}}\\?[\"']?\s*(?:[:=]|=>)\s*)b?{_QUOTED}", rf"\1{MASK}"),
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
        ("", r"(\bhooks\.slack\.com/\w+/)[\w/-]{8,}", rf"\1{MASK}"),
        ("", r"(?<!\d)\d{6,12}:AA[\w-]{20,}", MASK),
        ("", r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", MASK),
        ("", r"\b(?:npm|hf|sayso|dop_v1)_[\w-]{16,}|\bpypi-[\w-]{16,}|\bSG\.[\w-]{16,}\.[\w-]{16,}", MASK),
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
# And parts of names, within what is called headers, as `request_headers` is.
_TELLING = re.compile(r"auth|cookie|token|secret|password|session|signature|credential|api-?key")
_HEADER_NAME = re.compile(r"[\w-]+")
# One header as it is sent.
_LINE = re.compile(r"^([\w-]+)(:[ \t]*)(\S[^\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a JSON value something stands: in a member that is called headers, within a secret."""

    among_headers: bool = False
    is_secret: bool = False

    def within(self, around: dict[str, Any] | list[Any], key: str | int) -> Place:
        """Return the place of one member of the object or list that stands here.

        Headers may be an object, or a list of pairs, or of objects with `name` or `key`, and `value`.
        """
        if self.is_secret:
            return self
        if isinstance(around, list):
            named = around[0] if len(around) == 2 and key == 1 else None
            return Place(among_headers=self.among_headers, is_secret=self._is_telling(named))
        named = around.get("name", around.get("key")) if key == "value" else None
        secret = self._is_telling(named) or _carries_a_secret(str(key), among_headers=self.among_headers)
        return Place(among_headers=str(key).lower().endswith("headers"), is_secret=secret)

    def _is_telling(self, name: Any) -> bool:
        is_name = self.among_headers and isinstance(name, str) and _HEADER_NAME.fullmatch(name)
        return bool(is_name) and _carries_a_secret(name, among_headers=True)


_ANYWHERE = Place()


def hide_headers(value: Any, place: Place = _ANYWHERE) -> Any:
    """Copy the JSON value that stands at `place`, with `•••` for each header that carries a secret."""
    return _replace(value, lambda secret: MASK, place)


class HiddenHeaders:
    """A JSON value to be edited by a person: each hidden header has a mask of its own, and comes back."""

    def __init__(self, value: Any) -> None:
        self._secrets: dict[str, Any] = {}
        self.value = _replace(value, self._hide)

    def restore(self, edited: Any) -> Any:
        """Return the edited value, with the header itself wherever its mask was left, or moved."""
        return _replace(edited, lambda text: self._secrets.get(text, text) if isinstance(text, str) else text)

    def _hide(self, secret: Any) -> str:
        mask = f"{MASK} {len(self._secrets) + 1}"
        self._secrets[mask] = secret
        return mask


def _replace(value: Any, instead: Callable[[Any], Any], place: Place = _ANYWHERE) -> Any:
    if place.is_secret:
        return value if value in (None, "") else instead(value)
    if isinstance(value, list):
        return [_replace(each, instead, place.within(value, index)) for index, each in enumerate(value)]
    if isinstance(value, dict):
        return {name: _replace(inner, instead, place.within(value, name)) for name, inner in value.items()}
    if place.among_headers and isinstance(value, str):
        return _LINE.sub(lambda line: _replace_line(line, instead), value)
    return value


def _replace_line(line: re.Match[str], instead: Callable[[Any], Any]) -> str:
    if not _carries_a_secret(line[1], among_headers=True):
        return line[0]
    return f"{line[1]}{line[2]}{instead(line[3])}"


def _carries_a_secret(name: str, *, among_headers: bool) -> bool:
    name = name.strip().lower().replace("_", "-")
    return name in HEADERS or (among_headers and _TELLING.search(name) is not None)
