"""The least that a WebSocket client can be (RFC 6455): thousands in one process don't slow the server down.

It opens, takes whole text frames, answers pings and says text. What a server of ours never sends, it refuses.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_FIN, _MASKED = 0x80, 0x80

# A frame's number of socket, moment (monotonic nanoseconds) and text.
Told = Callable[[int, int, bytes], None]


class NotOpened(RuntimeError):
    """The server refused the connection, or closed it; says how."""


class Socket(asyncio.Protocol):
    """One connection. `opened` is done when the server has accepted it."""

    def __init__(self, number: int, request: bytes, told: Told) -> None:
        self.number = number
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._told = told
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
        self._send(TEXT, text.encode())

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
                self._heed(*frame)

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
        """The first frame that is there as a whole."""
        if len(self._buffer) < 2:
            return None
        first, length = self._buffer[0], self._buffer[1]
        start = 2
        if length == 126 and len(self._buffer) >= 4:
            (length,), start = struct.unpack_from("!H", self._buffer, 2), 4
        elif length == 127 and len(self._buffer) >= 10:
            (length,), start = struct.unpack_from("!Q", self._buffer, 2), 10
        elif length >= 126:
            return None
        end = start + length
        if len(self._buffer) < end:
            return None
        payload, self._buffer = self._buffer[start:end], self._buffer[end:]
        if not first & _FIN:
            raise ValueError("a frame in parts")
        return first & 0x0F, payload

    def _heed(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            self._told(self.number, monotonic_ns(), payload)
        elif kind == PING:
            self._send(PONG, payload)
        elif kind == CLOSE:
            self._transport.close()

    def _send(self, kind: int, payload: bytes) -> None:
        self._transport.write(masked_frame(kind, payload))


def opening(port: int, path: str, headers: Mapping[str, str]) -> bytes:
    """The request that asks for a WebSocket."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Origin": f"http://127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def masked_frame(kind: int, payload: bytes) -> bytes:
    """A client's frame. Clients must mask; the mask is nought, which leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        head = bytes((_FIN | kind, _MASKED | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", _FIN | kind, _MASKED | 126, length)
    else:
        head = struct.pack("!BBQ", _FIN | kind, _MASKED | 127, length)
    return head + bytes(4) + payload
