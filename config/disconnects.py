"""Executes what a client sent in full, even if it disconnects before the response.

Django cancels a request when its client disconnects, even before the view has started. Whether a decision
that was sent is made would then depend on the server's load, so disconnects are not passed on to Django.
"""

from __future__ import annotations

import asyncio

from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send

# Methods whose responses nobody needs after a disconnect.
ONLY_READ = {"GET", "HEAD", "OPTIONS"}


class IgnoreDisconnects:
    """ASGI middleware for HTTP that hides a disconnect once the whole request was received."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ONLY_READ:
            receive = _UntilSent(receive).receive
        await self._application(scope, receive, send)


class _UntilSent:
    """Passes on a client's messages up to the end of its request, and none after it."""

    __slots__ = ("_receive", "_sent")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._sent = False

    async def receive(self) -> Message:
        if self._sent:
            await asyncio.get_running_loop().create_future()
        message = await self._receive()
        self._sent = message["type"] == "http.request" and not message.get("more_body", False)
        return message
