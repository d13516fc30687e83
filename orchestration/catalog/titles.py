"""Titles of runs, which tell a run from its siblings. Without Django.

A title may name fields of the input: "Refund {order}". Where an orchestration has none, its runs are called
by its name and the first text or number of their input.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from string import Formatter
from typing import Any

from approvals.domain.masking import hide_headers
from orchestration.catalog.signatures import full_name

LIMIT = 200
# Characters of one value, so that a long one leaves room for what comes after it.
VALUE_LIMIT = 80


def check_title(title: str, function: Callable[..., Any]) -> None:
    """Raise ValueError unless the title is one line whose fields are parameters of the function."""
    if not isinstance(title, str) or len(title) > LIMIT or len(title.splitlines()) > 1:
        raise ValueError(f"title: one line of at most {LIMIT} characters, not {title!r}")
    try:
        parts = list(Formatter().parse(title))
    except ValueError as error:
        raise ValueError(f"title: {error} in {title!r}; braces that are no field are doubled") from None
    known = _defaults(function)
    for _, field, form, conversion in parts:
        if field is None:
            continue
        if form or conversion:
            raise ValueError(f"title: the field {field!r} takes no format and no conversion, in {title!r}")
        if field not in known:
            raise ValueError(
                f"title: {field!r} is not a field of {full_name(function)}; a title names fields of the"
                f" input, which are {', '.join(known) or 'none'}"
            )


def has_fields(title: str) -> bool:
    """Tell whether the title names a field, so that it differs between runs."""
    return any(field is not None for _, field, _, _ in Formatter().parse(title))


def format_title(title: str, label: str, function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return the title of a run with this input: one line, shortened to what a run's title may have.

    `title` is as registered; empty, it is `label` and the first text or number of the input.
    """
    values = _defaults(function) | hide_headers(dict(given))
    if title:
        text = "".join(
            literal + ("" if field is None else _show(values[field]))
            for literal, field, _, _ in Formatter().parse(title)
        )
    else:
        text = ": ".join([label, *_first(values)])
    return _shorten(text, LIMIT) or label


def _first(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the first value that is a text or a number, if there is one."""
    for value in values.values():
        if isinstance(value, str | int | float) and not isinstance(value, bool) and (text := _show(value)):
            yield text
            return


def _show(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return _shorten(text, VALUE_LIMIT)


def _shorten(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the fields of the input, in the function's order, each with its default; None without one."""
    _, *parameters = inspect.signature(function).parameters.values()
    return {
        each.name: None if each.default is each.empty else each.default
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
