"""A small real reverse proxy that serves an installation below a path prefix, sockets included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.processes import free_port

HEAD_END = b"\r\n\r\n"
STRAY = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class ReverseProxy:
    """`strips`: the prefix is taken off and told by X-Forwarded-Prefix; else the path is passed on whole.

    `strays` are the paths that were asked for outside of the prefix: nobody serves them.
    """

    def __init__(self, upstream: int, prefix: str, *, strips: bool) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        self.strays: list[str] = []
        self._upstream = upstream
        self._prefix = prefix
        self._strips = strips

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which has one request, or becomes a socket."""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(HEAD_END)
        method, target, version = head.split(b"\r\n", 1)[0].decode().split(" ")
        if target.startswith(f"{self._prefix}/"):
            passed_on = target.removeprefix(self._prefix) if self._strips else target
            await self._pass_on(reader, writer, f"{method} {passed_on} {version}", head)
        else:
            self.strays.append(target)
            writer.write(STRAY)
            await writer.drain()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str, head: bytes
    ) -> None:
        headers = head.decode("latin-1").split("\r\n")[1:-2]
        if not any(header.lower().startswith("upgrade:") for header in headers):
            headers = [each for each in headers if not each.lower().startswith("connection:")]
            headers.append("Connection: close")
        if self._strips:
            headers.append(f"X-Forwarded-Prefix: {self._prefix}")
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        back.write("\r\n".join([line, *headers]).encode("latin-1") + HEAD_END)
        sending = asyncio.create_task(_pipe(reader, back))
        try:
            await _pipe(there, writer)
        finally:
            sending.cancel()
            back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def reverse_proxy(upstream: int, prefix: str, *, strips: bool) -> AsyncIterator[ReverseProxy]:
    proxy = ReverseProxy(upstream, prefix, strips=strips)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", proxy.port)
    try:
        yield proxy
    finally:
        listening.close()
        left = list(connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
