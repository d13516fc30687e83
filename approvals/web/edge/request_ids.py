"""An id for each request and connection, on its log lines and in its response.

It comes from the `X-Request-ID` of a trusted proxy, or is new. Other clients' headers are ignored: they could
put the id of another request on their log lines. Spans continue the trace of the caller's `traceparent`.
"""

from __future__ import annotations

import re
import secrets

from approvals.process import telemetry
from approvals.web.edge.actors import is_proxy
from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send, header_lines

HEADER = b"x-request-id"
_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)


class RequestIds:
    """ASGI middleware that gives each request and connection its id."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        request_id = _id_from_proxy(scope) or secrets.token_hex(8)
        with telemetry.bind_ids(request_id=request_id), telemetry.continue_trace(scope["headers"]):
            await self._application(scope, receive, _add_header(request_id, send))


def _id_from_proxy(scope: Scope) -> str | None:
    peer = scope.get("client") or ("", 0)
    named = header_lines(scope, HEADER)
    if len(named) == 1 and _ID.fullmatch(named[0]) and is_proxy(peer[0]):
        return named[0]
    return None


def _add_header(request_id: str, send: Send) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (HEADER, request_id.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return tell
