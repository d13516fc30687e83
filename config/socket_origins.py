"""Checks which pages may open WebSockets here: this site's own, and those of SAYSO_TRUSTED_ORIGINS.

A browser sends the user's cookies with the WebSocket of any page, so the page's origin decides. As Django
does for forms, origin and requested host must be equal, ports included: another port can be another user's
site.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from approvals.web.edge.asgi import Application, Receive, Scope, Send, header_lines


class OwnPagesOnly:
    """Accepts connections of this site's pages; denies others, and those without an origin."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = is_own_page(header_lines(scope, b"origin"), header_lines(scope, b"host"))
        application: Application = self._application if allowed else WebsocketDenier()
        await application(scope, receive, send)


class NoForeignPages(OwnPagesOnly):
    """Accepts also connections without an origin: programs, which send no cookies of a browser."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if header_lines(scope, b"origin"):
            await super().__call__(scope, receive, send)
        else:
            await self._application(scope, receive, send)


def is_own_page(origins: list[str], hosts: list[str]) -> bool:
    """Tell whether the headers `Origin` and `Host` name the same site, or the origin is trusted."""
    if len(origins) != 1 or len(hosts) > 1:
        return False
    try:
        origin = urlsplit(origins[0].lower())
    except ValueError:
        return False
    if origin.scheme not in {"http", "https"} or not origin.netloc:
        return False
    return _is_trusted(origin) or _is_here(origin, hosts[0].lower() if hosts else origin.netloc)


def _is_trusted(origin: SplitResult) -> bool:
    trusted = (urlsplit(each.lower()) for each in settings.CSRF_TRUSTED_ORIGINS)
    return any(
        each.scheme == origin.scheme and is_same_domain(origin.netloc, each.netloc.removeprefix("*"))
        for each in trusted
    )


def _is_here(origin: SplitResult, host: str) -> bool:
    if settings.SESSION_COOKIE_SECURE and origin.scheme != "https":
        return False
    domain, _ = split_domain_port(host)
    return origin.netloc == host and validate_host(domain, settings.ALLOWED_HOSTS)
