"""Programs that ask for an outcome and wait for the answer, over ASGI: no server, no sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping, Sequence
from types import TracebackType
from typing import Any, Self

Message = MutableMapping[str, Any]


class Poll:
    """One request to an ASGI application: GET, or POST with `bodies`, the parts in which its body arrives.

    A context manager that goes away at its end.
    """

    def __init__(
        self,
        application: Any,
        path: str,
        *,
        secret: str | None = None,
        cookie: str = "",
        bodies: Sequence[bytes] = (),
    ) -> None:
        location, _, query = path.partition("?")
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        if secret is not None:
            headers.append((b"authorization", f"Bearer {secret}".encode()))
        if cookie:
            headers.append((b"cookie", f"sessionid={cookie}".encode()))
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        for number, body in enumerate(bodies or [b""], 1):
            self._said.put_nowait({"type": "http.request", "body": body, "more_body": number < len(bodies)})
        self.messages: list[Message] = []
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST" if bodies else "GET",
            "scheme": "http",
            "path": location,
            "raw_path": location.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": ["127.0.0.1", 50_000],
            "server": ["localhost", 80],
            "asgi": {"version": "3.0"},
        }
        self.running = asyncio.create_task(application(scope, self._said.get, self._send))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
        await asyncio.wait([self.running])

    def leave(self) -> None:
        """The client closes its connection."""
        self._said.put_nowait({"type": "http.disconnect"})

    async def answered(self) -> tuple[int, Any]:
        """The status and the JSON of the answer, once it is complete."""
        await self.running
        start, *parts = self.messages
        return start["status"], json.loads(b"".join(part["body"] for part in parts) or "null")

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
