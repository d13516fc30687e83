"""The two ends of a live page at their least: a WebSocket client, and a bare Channels consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Origin
from websockets.uri import parse_uri

# Called with a socket's number, the moment (monotonic nanoseconds) and text of each frame.
Told = Callable[[int, int, bytes], None]

GROUP = "bare"
TO_ALL, TO_ONE = "all", "one"


class NotOpened(RuntimeError):
    """The server refused the connection, or closed it; says how."""


class Socket(asyncio.Protocol):
    """One connection without a task of its own: thousands in one process don't slow the server down."""

    def __init__(self, number: int, protocol: ClientProtocol, headers: Mapping[str, str], told: Told) -> None:
        self.number = number
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol, self._headers, self._told = protocol, headers, told
        self._transport: Any = None

    @classmethod
    async def open(cls, number: int, port: int, path: str, headers: Mapping[str, str], told: Told) -> Socket:
        """Return the connection once the server has accepted it; NotOpened if it does not."""
        place = f"127.0.0.1:{port}"
        origin = Origin(f"http://{place}")
        protocol = ClientProtocol(parse_uri(f"ws://{place}{path}"), origin=origin, max_size=None)
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(
            lambda: cls(number, protocol, headers, told), "127.0.0.1", port
        )
        await socket.opened
        return socket

    def say(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._send()

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        request = self._protocol.connect()
        request.headers.update(self._headers)
        self._protocol.send_request(request)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._read_answer()
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._told(self.number, monotonic_ns(), bytes(event.data))
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(NotOpened(f"The server ended the connection: {error}"))

    def _read_answer(self) -> None:
        if refusal := self._protocol.handshake_exc:
            self.opened.set_exception(NotOpened(f"The server answered: {refusal}"))
        else:
            self.opened.set_result(None)

    def _send(self) -> None:
        """Send what the protocol has ready: requests, text, and answers to pings and to a close."""
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()


class BareConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Joins a group, accepts and passes text on: no session, no user, no origin, no database.

    A client's text that begins with "all" goes to every socket, any other back to its own, both by way of the
    channel layer.
    """

    groups = (GROUP,)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        text = text_data or ""
        event = {"type": "bare.event", "text": text}
        if text.startswith(TO_ALL):
            await self.channel_layer.group_send(GROUP, event)
        else:
            await self.channel_layer.send(self.channel_name, event)

    async def bare_event(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


def bare_application() -> Any:
    return ProtocolTypeRouter({"websocket": BareConsumer.as_asgi()})
