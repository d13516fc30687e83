"""The outbox of one connection: frames that wait to be sent, bounded and in order; who sends does not wait.

Servers with back-pressure (uvicorn) make `send` wait for a slow reader; then frames gather here. Events are
refused once too much waits: the hub reads the rows again when the outbox is empty, so a slow reader costs a
bounded amount of memory and misses nothing. Where a frame can't be sent the connection is closed: the client
connects again, instead of trusting a connection that is mute. An idle connection has no task.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import suppress

from approvals.web.edge.asgi import Message, Send

logger = logging.getLogger(__name__)

# Events are refused once so much waits, and where they are too many to wait together.
FRAMES = 256
CHARACTERS = 262_144
TOGETHER = 1_048_576
# Answers to the client's own messages; where more wait, the client does not read, and is closed.
ANSWERS = 512

# The client is too slow or sends too much; the last error says which.
TOO_MUCH = 4429
# Something failed here; the client should connect again.
FAILED = 1011


class Outbox:
    """Belongs to one event loop, like the connection it serves. `closing`: nothing more will be sent."""

    __slots__ = ("_drained", "_queue", "_send", "_waiting", "_writer", "closing")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: list[Message] = []
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None
        self._drained: list[Callable[[], None]] = []
        self.closing = False

    def accept(self) -> None:
        self._put({"type": "websocket.accept"})

    def tell(self, *frames: str) -> bool:
        """Send events, all or none. False: too much waits; read the rows again `when_drained`."""
        if self.closing:
            return True
        if len(self._queue) >= FRAMES or self._waiting >= CHARACTERS or sum(map(len, frames)) > TOGETHER:
            return False
        for frame in frames:
            self._put({"type": "websocket.send", "text": frame})
        return True

    def answer(self, frame: str) -> None:
        if len(self._queue) >= FRAMES + ANSWERS:
            self.close(TOO_MUCH)
        if not self.closing:
            self._put({"type": "websocket.send", "text": frame})

    def close(self, code: int) -> None:
        """Send what waits, then close."""
        if not self.closing:
            self._put({"type": "websocket.close", "code": code})
            self.closing = True

    def discard(self) -> None:
        """Forget what waits, once the connection is gone."""
        self.closing = True
        self._queue.clear()
        self._drained.clear()
        if self._writer:
            self._writer.cancel()

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call back once nothing waits any more; at the loop's next turn if nothing waits now."""
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
            self.closing = True
            self._queue.clear()
            # It may still be open.
            with suppress(Exception):
                await self._send({"type": "websocket.close", "code": FAILED})
        finally:
            self._writer = None
        drained, self._drained = self._drained, []
        for call in drained:
            call()
