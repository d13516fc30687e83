"""Mask what looks like a secret in the texts of errors: they are recorded and shown, and nobody meant to.

Shapes that are known are found, whatever surrounds them; a secret that looks like any other word is not.
"""

from __future__ import annotations

import re

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
