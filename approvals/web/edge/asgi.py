"""The types of ASGI, for middleware and consumers.

Those of asgiref.typing are closed TypedDicts: they have neither the keys that middleware adds to a scope, nor
events without their optional members, so that nearly every use would need a cast.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Without its parameters: Django and channels declare theirs more narrowly.
Application: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
