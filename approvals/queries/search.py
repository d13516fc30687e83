"""What a search in lists of requests asks for: words, and `requester:` or `orchestration:` with a name.

Each word is in the title, the key, the requester's name or the arguments. A name need only begin so. Names,
and words that belong together, may be quoted. Any other word with a colon is just a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import and_
from typing import TypeAlias

from django.db.models import Case, F, Q, TextField, When
from django.db.models.lookups import IContains, IRegex, IStartsWith, LessThanOrEqual

from approvals.queries import origin_resolvers
from approvals.queries.account_names import name_field
from approvals.queries.large_columns import SMALL, Octets

REQUESTER = "requester"

_PART = re.compile(r'(?:(?P<operator>\w+):)?"(?P<quoted>[^"]*)"?|(?P<plain>\S+)')
# What stands between all names and values in the JSON of arguments: it is not looked for there.
_PUNCTUATION = re.compile(r'[\s{}\[\]:,"\\]+')
# Arguments with such a member are not searched: they may have secrets, which pages hide (`hide_headers`).
_HIDES = r'(headers|authorization|cookie|api[-_]key|token)[^"]*":'
# As many bytes as a list reads.
_SMALL = LessThanOrEqual(Octets("arguments"), SMALL)
_ARGUMENTS = Case(When(_SMALL, then=F("arguments")), output_field=TextField(null=True))

Operators: TypeAlias = Mapping[str, Callable[[str], Q]]


def search_condition(text: str) -> Q:
    """Return the condition that a request has all that this search asks for."""
    return reduce(and_, _conditions(text, _operators()), Q())


def _operators() -> Operators:
    """Return the condition of each operator: that the requester, or what asked, has a name that begins so."""
    of_origins = {
        resolver.word: lambda name, named=resolver.name: Q(IStartsWith(named(), name))
        for resolver in origin_resolvers.resolvers().values()
    }
    return {REQUESTER: lambda name: Q(**{f"{name_field('requester')}__istartswith": name}), **of_origins}


def _conditions(text: str, operators: Operators) -> Iterator[Q]:
    for part in _PART.finditer(text):
        operator, value = part["operator"], part["quoted"]
        if value is None and ":" in part["plain"]:
            operator, value = part["plain"].split(":", 1)
        known = operators.get((operator or "").lower())
        word = part["plain"] or (value if operator is None else f"{operator}:{value}")
        # A name or phrase without text is still being typed.
        if known and value:
            yield known(value)
        elif word and not known:
            yield _has_word(word)


def _has_word(word: str) -> Q:
    requester = Q(**{f"{name_field('requester')}__icontains": word})
    elsewhere = Q(title__icontains=word) | Q(key__icontains=word) | requester
    if _PUNCTUATION.fullmatch(word):
        return elsewhere
    return elsewhere | Q(IContains(_ARGUMENTS, _as_in_json(word))) & ~Q(IRegex(_ARGUMENTS, _HIDES))


def _as_in_json(word: str) -> str:
    """Return the word as it stands within the text of a JSON value."""
    return json.dumps(word, ensure_ascii=False)[1:-1]
