"""Executes what a client sent in full, even if it disconnects before the response.

Django cancels a request when its client disconnects, even before the view has started. Whether a decision
that was sent is made would then depend on the server's load, so disconnects are not passed on to Django.
"""

from __future__ import annotations

import asyncio

from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send

# Methods whose responses nobody needs after a disconnect.
ONLY_READ = {"GET", "HEAD", "OPTIONS"}


def ignore_disconnects(application: Application) -> Application:
    """Hide a disconnect from an HTTP application once it has received the whole request."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ONLY_READ:
            receive = _until_sent(receive)
        await application(scope, receive, send)

    return call


def _until_sent(receive: Receive) -> Receive:
    """Pass on a client's messages up to the end of its request, and none after it."""
    sent = False

    async def next_message() -> Message:
        nonlocal sent
        if sent:
            await asyncio.get_running_loop().create_future()
        message = await receive()
        sent = message["type"] == "http.request" and not message.get("more_body", False)
        return message

    return next_message
