"""What a client has sent in full is carried out, even if it has left before its answer.

Django abandons a request whose client is gone, at any moment: before its view has begun, too. Then it would
depend on the server's load whether a decision that was sent is made. So Django is not told.
"""

from __future__ import annotations

import asyncio

from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send

# What these ask for, nobody needs any more.
ONLY_READ = {"GET", "HEAD", "OPTIONS"}


class IgnoreDisconnects:
    """ASGI middleware for HTTP: a client's leaving is not mentioned once it has sent all of its request."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ONLY_READ:
            receive = _UntilSent(receive).receive
        await self._application(scope, receive, send)


class _UntilSent:
    """What a client says up to the end of its request; nothing after that."""

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
