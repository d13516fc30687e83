"""Live connections as a browser has them: a session's cookie, frames, and the list that they add up to."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

# Not that of channels.testing: it patches away what closes database connections.
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth.models import User
from django.test import Client

from approvals.database.threads import in_database
from approvals.web.routing import websocket_urlpatterns
from tests.patience import patience

# No close was heard.
ABNORMAL = 1006
# No frame may have more, whatever requests hold.
LARGEST_FRAME = 300_000


def closes(code: int) -> set[int]:
    """What a client that still sends may see when the server closes with this code. Who does not let go soon
    is cut off, and what was never read of it makes the network forget what was on its way to it."""
    return {code, ABNORMAL}


class Closed(Exception):
    """The server has closed the connection."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def session_of(person: User) -> str:
    """The key of a new session in which this person is logged in."""
    client = Client()
    client.force_login(person)
    return str(client.session.session_key)


class Connection:
    """One WebSocket, to the application given or the inbox alone behind sessions. A context manager."""

    def __init__(
        self,
        session_key: str,
        path: str = "/ws/inbox/",
        *,
        application: Any = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        cookie = [(b"cookie", f"sessionid={session_key}".encode())] if session_key else []
        self.session_key = session_key
        self.requests: dict[str, dict[str, Any]] = {}
        self.partial = False
        self.looks_at: str | None = None
        self.frames: list[dict[str, Any]] = []
        scope = {
            "type": "websocket",
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "headers": [*cookie, *headers],
            "subprotocols": [],
            "client": ["127.0.0.1", 50_000],
        }
        application = application or SessionMiddlewareStack(URLRouter(websocket_urlpatterns))
        self._socket: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]  # has none

    @classmethod
    async def of(cls, person: User, path: str = "/ws/inbox/", *, application: Any = None) -> Connection:
        return cls(await in_database(session_of, person), path, application=application)

    async def __aenter__(self) -> Self:
        await self._socket.send_input({"type": "websocket.connect"})
        message = await self._socket.receive_output(patience())
        if message["type"] == "websocket.close":
            raise Closed(message.get("code", 1000))
        assert message["type"] == "websocket.accept"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._socket.future.done():
            await self._socket.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._socket.wait(patience())

    async def opened(self) -> dict[str, Any]:
        """Read hello and the whole snapshot; its requests."""
        await self.next("hello")
        await self.next("snapshot")
        while self.partial:
            await self.next()
        return {"requests": list(self.requests.values())}

    async def next(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of this kind if one is named. Raises Closed."""
        message = await self._socket.receive_output(patience())
        if message["type"] == "websocket.close":
            raise Closed(message["code"])
        assert len(message["text"].encode()) <= LARGEST_FRAME
        frame: dict[str, Any] = json.loads(message["text"])
        assert kind in (None, frame["type"]), frame
        self.frames.append(frame)
        self._note(frame)
        return frame

    async def look(self, request_id: str | None) -> None:
        """Say whose page is open: its events come, too, when it is in no list."""
        self.looks_at = request_id
        await self.say("look", request_id=request_id)

    async def say(self, kind: str, ref: Any = None, **data: Any) -> None:
        await self.send(json.dumps({"type": kind, "ref": ref, "data": data}))

    async def send(self, frame: str | bytes) -> None:
        key = "text" if isinstance(frame, str) else "bytes"
        await self._socket.send_input({"type": "websocket.receive", key: frame})

    async def until_closed(self) -> int:
        """Read and drop what still comes; the code of the close."""
        while True:
            try:
                await self.next()
            except Closed as closed:
                return closed.code

    def _note(self, frame: dict[str, Any]) -> None:
        """Do to the list what the protocol says a client does."""
        data = frame["data"]
        match frame["type"]:
            case "snapshot":
                there = self.requests if self.partial else {}
                told = {request["id"]: request for request in data["requests"]}
                assert not there.keys() & told.keys(), "told twice"
                self.requests, self.partial = there | told, data["more"]
            case "request_opened":
                assert data["request"]["id"] not in self.requests, "opened twice"
                self.requests[data["request"]["id"]] = data["request"]
            case "request_updated":
                if (told := data["request"]["id"]) in self.requests:
                    self.requests[told] = data["request"]
                else:
                    assert told == self.looks_at, "updated, but not there"
            case "request_closed":
                told = data["request"]["id"]
                assert self.requests.pop(told, None) or told == self.looks_at, "closed, but not there"
