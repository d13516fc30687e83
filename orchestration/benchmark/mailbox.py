"""A mail server in a process of a scenario: it takes everything, and notes what each message is about."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from orchestration.benchmark.processes import Remote

# The header by which all messages about a request belong together.
_ABOUT = re.compile(rb"^References: <request-([0-9a-f-]{36})@", re.IGNORECASE)


class Mailbox(Remote):
    """Takes mail on a port of the loopback (RFC 5321, without extensions)."""

    async def begin(self) -> None:
        self._about: Counter[str] = Counter()
        self._came = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=500)

    async def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    async def await_messages(self, count: int, patience: float) -> dict[str, int]:
        """Return how many messages came about each request, once they are `count`, or patience is over."""
        try:
            async with asyncio.timeout(patience), self._came:
                await self._came.wait_for(lambda: self._about.total() >= count)
        except TimeoutError:
            pass
        return dict(self._about)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        try:
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    await self._take(reader)
                writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
                if word == b"QUIT":
                    break
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        about = ""
        while (line := await reader.readline()) not in {b".\r\n", b""}:
            if found := _ABOUT.match(line):
                about = found.group(1).decode()
        async with self._came:
            self._about[about] += 1
            self._came.notify_all()
