"""Checks which pages may open WebSockets here: this site's own, and those of SAYSO_TRUSTED_ORIGINS.

A browser sends the user's cookies with the WebSocket of any page, so the page's origin decides. As Django
does for forms, origin and requested host must be equal, ports included: another port can be another user's
site.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from approvals.web.edge.asgi import Application, Receive, Scope, Send, header_lines


class OwnPagesOnly:
    """Accepts connections of this site's pages and denies those of others.

    Those without an origin are accepted if `programs` may connect, which send no cookies of a browser.
    """

    def __init__(self, application: Application, *, programs: bool) -> None:
        self._application = application
        self._programs = programs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = header_lines(scope, b"origin")
        allowed = is_own_page(origins, header_lines(scope, b"host")) or (self._programs and not origins)
        application: Application = self._application if allowed else WebsocketDenier()
        await application(scope, receive, send)


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
    return origin.netloc == host and validate_host(domain, _allowed_hosts())


def _allowed_hosts() -> Sequence[str]:
    """Return the hosts that this site goes by, as Django sees it."""
    return settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
