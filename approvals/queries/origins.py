"""What asked. Here an origin is opaque; the app that it comes from says what it is called, and finds by it.

A request's `origin` is `{kind, id, url}`. For each kind an app may register a resolver, in `AppConfig.ready`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, QuerySet, Subquery


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """What can be told of requests with origins of one kind, inside a query over requests.

    `word` is what people call the thing that has a name: "orchestration".
    """

    word: str
    names: Callable[[], list[str]]
    """Names to choose from; requests may have others."""
    name: Callable[[], Subquery]
    """The name of each request's origin, as a column; NULL where it has none of this kind."""
    named: Callable[[str], Exists]
    """The condition that a request's origin has this name."""
    there: Callable[[], Exists]
    """The condition that a request's origin exists."""
    table: Callable[[], QuerySet[Any, Any]]
    """All of them: `origin`, the id as requests have it, and `name`; to be joined with many requests."""


_resolvers: dict[str, Resolver] = {}


def register(kind: str, resolver: Resolver) -> None:
    _resolvers[kind] = resolver


def resolvers() -> dict[str, Resolver]:
    """All, by the kind of origin that they know."""
    return dict(_resolvers)
