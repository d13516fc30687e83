"""Middleware that refuses too many requests before they cost anything: no thread, no query, no session.

`Throttled` is outermost and counts by address. Requests are counted by user where it is known who that is:
`spend` is called by the API's authentication, by every page, and for every frame of a connection. A long poll
counts as one request, however long it takes.

`FewAtOnce` is around Django, which takes a thread for each request: when the database hangs, a bounded number
of them hangs with it, a bounded number waits in line, and the rest is answered `busy` at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache, partial
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import get_script_prefix

from approvals.exceptions import ApprovalError, Busy, RateLimited, Unavailable
from approvals.process.loops import PerLoop
from approvals.web.edge import limits
from approvals.web.edge.actors import address_of_scope
from approvals.web.edge.asgi import Application, Receive, Scope, Send, own_path
from approvals.web.edge.fair_shares import note_visitor
from approvals.web.edge.long_polling import AGAIN
from approvals.web.edge.problems import problem_of
from approvals.web.live.protocol import encode, refusal
from approvals.web.live.send_queue import TOO_MUCH

# Requests inside Django: twice what the pool has connections for. And those that wait to be let in.
INSIDE, IN_LINE = 64, 1024
RETRY_AFTER = 2


class Throttled:
    """ASGI middleware: requests a second, and connections at once, from one address.

    Below `api` refusals are problems, elsewhere pages; on connections a frame, then the close code 4429.
    """

    def __init__(self, application: Application, *, api: str) -> None:
        self._application = application
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connects = scope["type"] == "websocket"
        try:
            charge_address(scope)
            await (self._connect if connects else self._application)(scope, receive, send)
        except RateLimited as error:  # also of an account whose requests wait in line
            if connects:
                await turn_away(error, receive, send)
            else:
                await respond(refusal_for(own_path(scope), error, self._api), send)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        sockets, network = limits.sockets(), limits.network_of(address_of_scope(scope))
        with sockets.one(network) as has_place:
            if not has_place and network is not None:
                most = f"{sockets.most} connections are open from this address, which is the most allowed."
                raise RateLimited(most)
            await self._application(scope, receive, send)


@dataclass(eq=False)
class FewAtOnce:
    """ASGI middleware around what takes a thread for each request. `spared` are paths that never wait."""

    application: Application
    _: KW_ONLY
    api: str
    inside: int = INSIDE
    in_line: int = IN_LINE
    spared: Collection[str] = ()

    def __post_init__(self) -> None:
        self._here = 0
        self._turns = PerLoop(partial(asyncio.Semaphore, self.inside))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if own_path(scope) in self.spared:
            await self.application(scope, receive, send)
        elif self._here >= self.inside + self.in_line:
            error = Busy("Too many requests are waiting. Nothing was recorded; try again in a moment.")
            await respond(refusal_for(own_path(scope), error, self.api), send)
        else:
            self._here += 1
            try:
                async with self._turns():
                    await self.application(scope, receive, send)
            finally:
                self._here -= 1


def spend(request: HttpRequest, user_id: int) -> None:
    """Count a request of this user; RateLimited if it is one too many."""
    note_visitor(request, user_id)
    if AGAIN not in getattr(request, "scope", {}):
        limits.of_users().charge(user_id, "You send too many requests")


def charge_address(scope: Scope) -> None:
    """Count a request of this address, if it is known; RateLimited if it is one too many."""
    if (network := limits.network_of(address_of_scope(scope))) is not None:
        limits.of_addresses().charge(network, "Too many requests from this address")


def refusal_for(path: str, error: ApprovalError, api: str) -> HttpResponse:
    """Return a problem for paths below `api`, else a page."""
    return problem_of(error) if path.startswith(api) else refusal_page(error)


def refusal_page(error: ApprovalError) -> HttpResponse:
    """Return a page that says why; it needs no session and no database."""
    template = next(name for kind, name in _PAGES if isinstance(error, kind))
    response = HttpResponse(
        _page(template, get_script_prefix()).replace(_DETAIL, error.detail),
        status=HTTPStatus.TOO_MANY_REQUESTS
        if isinstance(error, RateLimited)
        else HTTPStatus.SERVICE_UNAVAILABLE,
    )
    response["Retry-After"] = str(getattr(error, "retry_after", RETRY_AFTER))
    response["Cache-Control"] = "no-store"
    return response


async def respond(response: HttpResponse, send: Send) -> None:
    """Answer outside of Django."""
    headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


async def turn_away(error: ApprovalError, receive: Receive, send: Send) -> None:
    """Accept the socket, send the error and close it: browsers don't show why a handshake was refused."""
    if (await receive())["type"] == "websocket.connect":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": encode(refusal(error))})
        await send({"type": "websocket.close", "code": TOO_MUCH})


_PAGES: tuple[tuple[type[ApprovalError], str], ...] = (
    (RateLimited, "approvals/too_many.html"),
    (Unavailable, "approvals/unavailable.html"),
    (ApprovalError, "approvals/busy.html"),
)

# Stands in the templates where the detail belongs; they are rendered once for a path prefix.
_DETAIL = "{detail}"


@lru_cache(maxsize=16)
def _page(template: str, prefix: str) -> str:
    return render_to_string(template, {"detail": _DETAIL})
