"""Sayso around a project's ASGI application.

What is below the path of Sayso's URLs gets its rules: throttling, turns, held answers, proxies, ids of
requests. Its sockets are answered here; everything else goes to the project's application as it came.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from channels.sessions import SessionMiddlewareStack
from django.core.handlers.asgi import ASGIHandler
from django.urls import path, re_path

from approvals.web.edge import mount
from approvals.web.edge.asgi import Application, Receive, Scope, Send, own_path
from approvals.web.edge.disconnects import ignore_disconnects
from approvals.web.edge.fair_shares import TakingTurns
from approvals.web.edge.lifespan import Lifespan
from approvals.web.edge.long_polling import FewPasses, HoldingAnswers
from approvals.web.edge.proxies import Forwarded, as_forwarded
from approvals.web.edge.request_ids import RequestIds
from approvals.web.edge.socket_origins import OwnPagesOnly
from approvals.web.edge.throttling import FewAtOnce, Throttled

# How the paths end of which answers may be held back, by method.
HELD = {"GET": ("/outcome", "/comments"), "POST": ("/outcomes",)}


class Wrapped:
    """ASGI application: what is below Sayso's path by its rules, all else as the project does it."""

    def __init__(self, project: Application, own: dict[str, Application], lifespan: Lifespan) -> None:
        self._root = mount.root()
        self._project = project
        self._own = {kind: Forwarded(RequestIds(application)) for kind, application in own.items()}
        self._lifespan = lifespan
        self._other_sockets: Application = WebsocketDenier.as_asgi() if is_django(project) else project

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application_for(scope)(scope, receive, send)

    def _application_for(self, scope: Scope) -> Application:
        kind = scope["type"]
        if kind == "lifespan":
            return self._lifespan
        if kind not in self._own:
            return self._project
        path = own_path(as_forwarded(scope))
        if kind == "websocket":
            return self._own[kind] if path.startswith(self._root + mount.SOCKETS) else self._other_sockets
        return self._own[kind] if path.startswith(self._root) else self._project


def wrap(
    project: Application,
    lifespan: Lifespan,
    *,
    page_sockets: Sequence[Any],
    program_sockets: Sequence[Any],
    spared: Collection[str] = (),
) -> Wrapped:
    """Make the application of a server.

    `page_sockets` are connections of browsers, with a session; `program_sockets` those of programs, with a
    token. `spared` are paths below ours that never wait in line.
    """
    root, api = mount.root(), mount.api_root()
    few = FewAtOnce(ignore_disconnects(project), api=api, spared=[f"{root}{each}" for each in spared])
    turns = TakingTurns(FewPasses(few), api=api)
    http = Throttled(HoldingAnswers(turns, endings=HELD), api=api)
    nowhere = re_path("", WebsocketDenier.as_asgi())
    of_pages = SessionMiddlewareStack(URLRouter([*_below(root, page_sockets), nowhere]))
    pages: Any = OwnPagesOnly(of_pages, programs=False)
    sockets = OwnPagesOnly(URLRouter([*_below(root, program_sockets), re_path("", pages)]), programs=True)
    lifespan.project = None if is_django(project) else project
    wrapped = Wrapped(project, {"http": http, "websocket": Throttled(sockets, api=api)}, lifespan)
    lifespan.start_with_reactor()
    return wrapped


def is_django(application: Application) -> bool:
    """Tell whether it is Django's own application, which knows HTTP only."""
    return isinstance(application, ASGIHandler)


def _below(root: str, sockets: Sequence[Any]) -> list[Any]:
    """Return the URL patterns of sockets as those of a project that includes ours at `root`."""
    return [path(f"{root[1:]}{each.pattern}", each.callback) for each in sockets]
