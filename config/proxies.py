"""What a proxy says about a request that it passes on: believed if it is one of SAYSO_TRUSTED_PROXIES.

Anybody can write `X-Forwarded-Proto`. So it counts only from the very machine that connects here, and only if
that is a trusted proxy; `approvals.web.actors` reads `X-Forwarded-For` by the same rule. A header with
several values was added to on its way: the last one is the proxy's own.
"""

from __future__ import annotations

from approvals.web.actors import is_proxy
from config.origins import Application, Receive, Scope, Send

PROTOCOL = b"x-forwarded-proto"
_SECURE = {"http": "https", "websocket": "wss"}
_PLAIN = {"http": "http", "websocket": "ws"}


class Forwarded:
    """ASGI middleware: the scope says how the client came to the proxy, where that is known."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _SECURE and is_proxy((scope.get("client") or ("", 0))[0]):
            scope = {**scope, **_told(scope)}
        await self._application(scope, receive, send)


def _told(scope: Scope) -> dict[str, str]:
    protocol = _last(scope, PROTOCOL).lower()
    if protocol not in {"http", "https"}:
        return {}
    schemes = _SECURE if protocol == "https" else _PLAIN
    return {"scheme": schemes[scope["type"]]}


def _last(scope: Scope, name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(values).rpartition(",")[2].strip()
