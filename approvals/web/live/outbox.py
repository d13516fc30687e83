"""What one connection is still to be sent: bounded, in order, never waited for by who sends.

Servers with back-pressure (uvicorn) make `send` wait for a slow reader; then frames gather here. News are
refused once too much waits: whoever sends them reads the rows again when this is drained, so a slow reader
costs a bounded amount of memory and misses nothing. Where a frame can't be sent the connection is closed: the
client connects again, instead of trusting one that is mute. An idle connection has no task.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import suppress

from approvals.web.edge.asgi import Message, Send

logger = logging.getLogger(__name__)

# News are refused once so much waits, and where they are too many to wait together.
FRAMES = 256
CHARACTERS = 262_144
TOGETHER = 1_048_576
# Answers to the client's own messages: one that asks this much without reading is closed.
ANSWERS = 512

# Too slow, or too much asked; what was said last says which.
TOO_MUCH = 4429
# Something failed here; connecting again is right.
FAILED = 1011


class Outbox:
    """Belongs to one event loop, like the connection it serves."""

    __slots__ = ("_closing", "_drained", "_queue", "_send", "_waiting", "_writer")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: list[Message] = []
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None
        self._drained: list[Callable[[], None]] = []
        self._closing = False

    @property
    def closing(self) -> bool:
        """Nothing more will be sent."""
        return self._closing

    def accept(self) -> None:
        self._put({"type": "websocket.accept"})

    def tell(self, *frames: str) -> bool:
        """Send news, all or none. False: too much waits; ask `when_drained`, then read again."""
        if self._closing:
            return True
        if len(self._queue) >= FRAMES or self._waiting >= CHARACTERS or sum(map(len, frames)) > TOGETHER:
            return False
        for frame in frames:
            self._put({"type": "websocket.send", "text": frame})
        return True

    def answer(self, frame: str) -> None:
        """Send the answer to something that the client has asked."""
        if len(self._queue) >= FRAMES + ANSWERS:
            self.close(TOO_MUCH)
        if not self._closing:
            self._put({"type": "websocket.send", "text": frame})

    def close(self, code: int) -> None:
        """Send what waits, then close."""
        if not self._closing:
            self._put({"type": "websocket.close", "code": code})
            self._closing = True

    def discard(self) -> None:
        """The connection is gone: forget what waits."""
        self._closing = True
        self._queue.clear()
        self._drained.clear()
        if self._writer:
            self._writer.cancel()

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call back once nothing waits any more; at the next turn of the loop if nothing waits now."""
        self._drained.append(call)
        if self._writer is None:
            self._start()

    def _put(self, message: Message) -> None:
        self._queue.append(message)
        self._waiting += len(message.get("text", ""))
        if self._writer is None:
            self._start()

    def _start(self) -> None:
        self._writer = asyncio.get_running_loop().create_task(self._write(), context=contextvars.Context())

    async def _write(self) -> None:
        try:
            while self._queue:
                message = self._queue.pop(0)
                self._waiting -= len(message.get("text", ""))
                await self._send(message)
        except Exception as error:  # noqa: BLE001 - servers raise what they like once the client is gone
            logger.info("socket_gone error=%r", error)
            self._closing = True
            self._queue.clear()
            await self._end()
        finally:
            self._writer = None
        drained, self._drained = self._drained, []
        for call in drained:
            call()

    async def _end(self) -> None:
        """Close a connection that could not be sent something: it may not be gone."""
        with suppress(Exception):
            await self._send({"type": "websocket.close", "code": FAILED})
