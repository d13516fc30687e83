"""Scheme and path prefix as a proxy reports them, if it is one of SAYSO_TRUSTED_PROXIES.

Anybody can write `X-Forwarded-Proto`, so it counts only if the peer itself is a trusted proxy;
`approvals.web.edge.actors` reads `X-Forwarded-For` by the same rule. Of several values in a header, the last
is the proxy's own.

The path prefix below which a proxy serves this installation is FORCE_SCRIPT_NAME, or else the trusted proxy's
`X-Forwarded-Prefix`, or else the `root_path` that the server was started with. Whether or not the proxy
removes the prefix from the path, the application gets the whole path, as ASGI requires.
"""

from __future__ import annotations

from django.conf import settings
from django.urls import set_script_prefix

from approvals import links
from approvals.web.edge.actors import is_proxy
from approvals.web.edge.asgi import Application, Receive, Scope, Send, header_lines

PROTOCOL, PREFIX = b"x-forwarded-proto", b"x-forwarded-prefix"
_SECURE = {"http": "https", "websocket": "wss"}
_PLAIN = {"http": "http", "websocket": "ws"}


class Forwarded:
    """ASGI middleware that sets scheme, path and script prefix to those that the client used."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _SECURE:
            scope = as_forwarded(scope)
            set_script_prefix(scope["root_path"])
        await self._application(scope, receive, send)


def as_forwarded(scope: Scope) -> Scope:
    """Return the scope of a request or connection as the client began it."""
    trusted = is_proxy((scope.get("client") or ("", 0))[0])
    prefix = _prefix(scope, trusted=trusted)
    scheme = _scheme(scope) if trusted else {}
    return {**scope, **scheme, "root_path": prefix, "path": _whole(scope["path"], prefix)}


def _scheme(scope: Scope) -> dict[str, str]:
    """Return the scheme to set; empty if the proxy reports none."""
    schemes = {"https": _SECURE, "http": _PLAIN}.get(_last(scope, PROTOCOL).lower())
    return {"scheme": schemes[scope["type"]]} if schemes else {}


def _prefix(scope: Scope, *, trusted: bool) -> str:
    """Return the path prefix without a slash at its end; empty if there is none."""
    forced: str | None = settings.FORCE_SCRIPT_NAME
    said = _last(scope, PREFIX) if trusted else ""
    prefix = (forced or said or scope.get("root_path", "")).rstrip("/")
    return prefix if links.is_prefix(prefix) else ""


def _whole(path: str, prefix: str) -> str:
    return path if path == prefix or path.startswith(f"{prefix}/") else f"{prefix}{path}"


def _last(scope: Scope, name: bytes) -> str:
    values = header_lines(scope, name)
    return ",".join(values).rpartition(",")[2].strip()
