"""The arguments of a request that matter most, short enough for its one line in a list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeAlias

from approvals.domain.masking import hide_headers
from approvals.domain.payloads import shorten
from approvals.models import HumanRequest
from approvals.queries.request_rows import RequestRow

Row: TypeAlias = HumanRequest | RequestRow

# How many are shown where the asker named none, and how many characters of each.
FIRST = 2
TEXT_LIMIT = 40


def highlights_of(row: Row) -> list[tuple[str, str]]:
    """Return name and text of the arguments that `highlight` names, else of the first two.

    Texts are as they are, anything else is compact JSON, each cut at 40 characters; headers that carry a
    secret are hidden. Empty where the request has no arguments, or they are too large to be read for a list.
    Reads nothing: rows come with their arguments, or from `large_columns.defer_large`.
    """
    arguments = _arguments_of(row)
    names = row.highlight or list(islice(arguments, FIRST))
    chosen = {name: arguments[name] for name in names if name in arguments}
    return [(shorten(name, TEXT_LIMIT), _text_of(value)) for name, value in hide_headers(chosen).items()]


def _arguments_of(row: Row) -> Mapping[str, Any]:
    read = vars(row)
    return read.get("arguments", read.get("small_arguments")) or {}


def _text_of(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return shorten(text, TEXT_LIMIT)
