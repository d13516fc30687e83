"""The types of ASGI, for middleware and consumers, and what a scope says before Django has seen it.

Those of asgiref.typing are closed TypedDicts: they have neither the keys that middleware adds to a scope, nor
events without their optional members, so that nearly every use would need a cast.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Without its parameters: Django and channels declare theirs more narrowly.
Application: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


def own_path(scope: Mapping[str, Any]) -> str:
    """Return the path without the prefix below which a proxy serves this installation."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def header_lines(scope: Mapping[str, Any], name: bytes) -> list[str]:
    """Return the lines of a header, of which a proxy may have added some; `name` is in lower case."""
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name]
