"""Resolvers of origins: the app that requests come from names its origins and finds requests by them.

A request's `origin` is `{kind, id, url}` and opaque here. For each kind an app may register a resolver, in
`AppConfig.ready`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, QuerySet, Subquery


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Finds and names origins of one kind, inside a query over requests.

    `word` is what people call what has the name: "orchestration".
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
    permissions: tuple[str, ...]
    """The permissions to see, and to change, all origins."""
    table: Callable[[], QuerySet[Any, Any]]
    """All origins: `origin`, the id as requests have it, and `name`; for joins with many requests."""


_resolvers: dict[str, Resolver] = {}


def register(kind: str, resolver: Resolver) -> None:
    """Use this resolver for origins of this kind."""
    _resolvers[kind] = resolver


def resolvers() -> dict[str, Resolver]:
    """Return all resolvers by the kind of origin."""
    return dict(_resolvers)
