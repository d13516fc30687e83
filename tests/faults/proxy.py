"""A proxy before Redis or PostgreSQL: tests cut, freeze and refuse its connections, and drop, double and
reorder messages.

Messages are those that Redis pushes to subscribers: whatever becomes of one, nobody waits for an answer to
it, so the proxy need not invent any. All other bytes pass as they are, in order.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.patience import patience

# What becomes of a message: the messages that are passed on instead.
Rule = Callable[[bytes], Sequence[bytes]]

MESSAGES = (b"*3\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n")
# A listener's message to itself, which has no topic (msgpack).
HEARTBEAT = b"\xa5topic\xa0"
CHUNK = 65_536


class Proxy:
    """Listens at `url` in a thread of its own while the context lasts. Its methods may be called anywhere."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._rule: Rule | None = None
        self._refuses = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._port: Future[int] = Future()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._port.result(patience())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def url(self) -> str:
        user = f"{self._target.username}@" if self._target.username else ""
        return urlunsplit(self._target._replace(netloc=f"{user}127.0.0.1:{self._port.result()}"))

    def obey(self, rule: Rule | None) -> None:
        """From now on do this with the messages to subscribers; None: pass them on."""
        self._rule = rule

    def freeze(self) -> None:
        """Connections stay, and may be made; nothing passes in either direction."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def thaw(self) -> None:
        """What was held back passes now."""
        self._loop.call_soon_threadsafe(self._passing.set)

    def cut(self) -> None:
        """Break all connections."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def refuse(self) -> None:
        """Break all connections, and each new one at once."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    # In its thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._end.wait()
        server.close()
        self._abort_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if self._refuses:
                return
            there = await asyncio.open_connection(self._target.hostname, self._target.port)
            self._connections.add(there[1])
            try:
                await self._join((reader, writer), there)
            finally:
                self._abort(there[1])
        except OSError:
            pass  # the server is away: so is the proxy
        finally:
            self._abort(writer)

    async def _join(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on both ways until either side ends."""
        ways = [
            asyncio.create_task(self._pass_on(here[0], there[1], _Bytes())),
            asyncio.create_task(self._pass_on(there[0], here[1], _Messages(self._ruled))),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: _Bytes
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._passing.wait()
                writer.write(stream.passed(data))
                await writer.drain()

    def _ruled(self, message: bytes) -> Sequence[bytes]:
        return [message] if self._rule is None else self._rule(message)

    def _abort_all(self) -> None:
        for writer in list(self._connections):
            self._abort(writer)

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        self._connections.discard(writer)
        writer.transport.abort()


class _Bytes:
    """A stream that passes as it is."""

    def passed(self, data: bytes) -> bytes:
        return data


class _Messages(_Bytes):
    """What a Redis says (RESP 2 or 3), frame by frame. PostgreSQL's bytes look like no frame, and pass."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._rest = b""
        self._speaks_redis = True

    def passed(self, data: bytes) -> bytes:
        if not self._speaks_redis:
            return data
        self._rest += data
        passed: list[bytes] = []
        try:
            while (end := _end_of_frame(self._rest, 0)) is not None:
                frame, self._rest = self._rest[:end], self._rest[end:]
                passed += self._rule(frame) if frame.startswith(MESSAGES) else [frame]
        except ValueError:
            self._speaks_redis = False
            passed.append(self._rest)
            self._rest = b""
        return b"".join(passed)


def _end_of_frame(data: bytes, start: int) -> int | None:
    """Where the frame that starts here ends; None: it is not whole yet. ValueError: it is none."""
    if start < len(data) and data[start : start + 1] not in b"+-:,_#($=!*~>%":
        raise ValueError("no frame")
    end = data.find(b"\r\n", start)
    if end < 0:
        return None
    kind, end = data[start : start + 1], end + 2
    if kind in b"+-:,_#(":
        return end
    size = int(data[start + 1 : end - 2])
    if kind in b"$=!":
        whole = end + size + 2 if size >= 0 else end
        return whole if whole <= len(data) else None
    for _ in range(size * 2 if kind == b"%" else size):
        following = _end_of_frame(data, end)
        if following is None:
            return None
        end = following
    return end


# --- Rules ---


def nothing_passes(message: bytes) -> Sequence[bytes]:
    """Every message is dropped."""
    return []


def no_hint_passes(message: bytes) -> Sequence[bytes]:
    """Every hint is dropped, while each listener hears itself and believes that it hears all."""
    return [message] if HEARTBEAT in message else []


class Scramble:
    """Drops, doubles, triples and holds back hints at random; what is held back comes later, out of order."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._held: list[bytes] = []

    def __call__(self, message: bytes) -> Sequence[bytes]:
        if HEARTBEAT in message:
            return [message]
        match self._dice.randrange(5):
            case 0:
                return []
            case 1:
                self._held.append(message)
                return []
            case 2:
                held, self._held = self._held, []
                return [message, *reversed(held), message]
        return [message] * self._dice.randint(1, 3)
