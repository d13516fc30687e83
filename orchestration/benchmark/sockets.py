"""The least that the two ends of a live page can be: a WebSocket client, and a bare Channels consumer.

With this client (RFC 6455), thousands of sockets in one process don't slow the server down. It opens, takes
whole text frames, answers pings and says text. What a server of ours never sends, it refuses.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_FIN, _MASKED = 0x80, 0x80

# A frame's number of socket, moment (monotonic nanoseconds) and text.
Told = Callable[[int, int, bytes], None]

GROUP = "bare"
TO_ALL, TO_ONE = "all", "one"


class NotOpened(RuntimeError):
    """The server refused the connection, or closed it; says how."""


class Socket(asyncio.Protocol):
    """One connection. `opened` is done when the server has accepted it."""

    def __init__(self, number: int, request: bytes, told: Told) -> None:
        self.number = number
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._told = request, told
        self._buffer = b""
        self._transport: Any = None

    @classmethod
    async def open(cls, number: int, port: int, path: str, headers: Mapping[str, str], told: Told) -> Socket:
        request = opening(port, path, headers)
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(number, request, told), "127.0.0.1", port)
        await socket.opened
        return socket

    def say(self, text: str) -> None:
        self._transport.write(masked_frame(TEXT, text.encode()))

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done():
            self._read_answer()
        if self.opened.done() and self.opened.exception() is None:
            while frame := self._next_frame():
                self._handle(*frame)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(NotOpened(f"The server ended the connection: {error}"))

    def _read_answer(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        self._buffer = rest
        status = head.partition(b"\r\n")[0].decode(errors="replace")
        if " 101" in status:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(NotOpened(f"The server answered {status!r}"))

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the first frame that is there as a whole: its kind and payload."""
        if len(self._buffer) < 2:
            return None
        first, length = self._buffer[0], self._buffer[1]
        start = {126: 4, 127: 10}.get(length, 2)
        if len(self._buffer) < start:
            return None
        if start > 2:
            (length,) = struct.unpack_from("!H" if start == 4 else "!Q", self._buffer, 2)
        end = start + length
        if len(self._buffer) < end:
            return None
        payload, self._buffer = self._buffer[start:end], self._buffer[end:]
        if not first & _FIN:
            raise ValueError("a frame in parts")
        return first & 0x0F, payload

    def _handle(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            self._told(self.number, monotonic_ns(), payload)
        elif kind == PING:
            self._transport.write(masked_frame(PONG, payload))
        elif kind == CLOSE:
            self._transport.close()


def opening(port: int, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the request that asks for a WebSocket."""
    place = f"127.0.0.1:{port}"
    lines = {
        "Host": place,
        "Origin": f"http://{place}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def masked_frame(kind: int, payload: bytes) -> bytes:
    """Return a client's frame. Clients must mask; the mask is zero, which leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        head = bytes((_FIN | kind, _MASKED | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", _FIN | kind, _MASKED | 126, length)
    else:
        head = struct.pack("!BBQ", _FIN | kind, _MASKED | 127, length)
    return head + bytes(4) + payload


class BareConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Accepts, joins a group and passes text on: no session, no user, no origin, no database.

    A client's text that begins with "all" goes to every socket, any other back to its own, both by way of the
    channel layer.
    """

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

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
