"""Names and options that nobody could tell apart, or see at all: refused when a request is opened. Pure.

Two texts look alike where they differ only in invisible characters, white space or normal form (NFKC).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from approvals.domain.characters import skeleton
from approvals.domain.payloads import FlawError, shorten
from approvals.exceptions import InvalidRequest

Path: TypeAlias = list[str | int]


def check_names(value: Any, field: str) -> None:
    """Refuse names of one object, anywhere in this checked JSON, that look alike or are invisible."""
    for path, one in _containers(value):
        if isinstance(one, dict):
            check_distinct([([*path, name], name) for name in one], field)


def check_offers(schema: Any, field: str) -> None:
    """Refuse a checked schema whose properties, or whose options anywhere, look alike or are invisible."""
    for path, one in _containers(schema):
        if isinstance(one, list):
            continue
        if isinstance(properties := one.get("properties"), Mapping):
            check_distinct([([*path, "properties", name], name) for name in properties], field)
        for offers in _offers(one):
            check_distinct(
                [([*path, *within], text) for within, text in offers if isinstance(text, str)], field
            )


def check_distinct(texts: Iterable[tuple[Path, str]], field: str) -> None:
    """Refuse texts that look alike or are invisible, naming the second one. Empty ones hide nothing."""
    known: dict[str, str] = {}
    for path, text in texts:
        seen = skeleton(text)
        if text and not seen:
            raise FlawError("has no character that can be seen", path).as_error(field, InvalidRequest)
        if (other := known.setdefault(seen, text)) != text:
            rule = f"looks like {json.dumps(shorten(other))}: it must differ in more than what can't be seen"
            raise FlawError(rule, path).as_error(field, InvalidRequest)


def _offers(schema: dict[str, Any]) -> Iterator[list[tuple[Path, Any]]]:
    """Yield the options of one schema that stand side by side: an `enum`, and alternatives with `const`."""
    if isinstance(options := schema.get("enum"), list):
        yield [(["enum", index], option) for index, option in enumerate(options)]
    for keyword in ("oneOf", "anyOf"):
        branches = schema.get(keyword)
        if not isinstance(branches, list):
            continue
        fixed = [(at, one) for at, one in enumerate(branches) if isinstance(one, dict) and "const" in one]
        for name in ("const", "title"):
            yield [([keyword, at, name], one.get(name)) for at, one in fixed]


def _containers(value: Any) -> Iterator[tuple[Path, Any]]:
    """Each object and list in checked JSON, with the path to it."""
    stack: list[tuple[Path, Any]] = [([], value)]
    while stack:
        path, one = stack.pop()
        if not isinstance(one, dict | list):
            continue
        yield path, one
        members = one.items() if isinstance(one, dict) else enumerate(one)
        stack += [([*path, key], inner) for key, inner in members if isinstance(inner, dict | list)]
