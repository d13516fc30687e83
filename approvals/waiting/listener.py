"""The listener receives other processes' hints from the channel layer; the sender sends this process's.

A hint can be lost without an error: Redis restarts, the group is emptied, a receiver inside the layer dies.
So the listener checks at its start and then regularly that it hears, by a message to itself. If it does not,
or on any error, it starts again on new connections; once it hears, it reports that hints may have been
missed. It never cancels a `receive` to check the time: on the pub/sub layer that destroys the channel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

from approvals.conf import approval_settings
from approvals.process import hints, telemetry
from approvals.process.hints import Hint
from approvals.waiting.outages import Outage, describe
from approvals.waiting.set_queue import SetQueue

T = TypeVar("T")

HEARTBEAT = ""

log = logging.getLogger(__name__)


class Listener:
    """Runs on the room's loop and calls `heard` with other processes' hints.

    `lost` is called when it stops hearing, `renewed` when it hears (again) and may have missed some.
    """

    def __init__(
        self,
        sender: str,
        heard: Callable[[str, Sequence[UUID]], None],
        lost: Callable[[], None],
        renewed: Callable[[], None],
    ) -> None:
        self._sender = sender
        self._heard = heard
        self._lost = lost
        self._renewed = renewed
        self._outage = Outage("channel layer, listening", Exception)
        self._echo = asyncio.Event()
        self._began = False
        self.heard_at: float | None = None
        """When it last heard its own message (monotonic clock); None while it does not listen."""

    async def run(self) -> None:
        """Listen until something fails; raises Away."""
        layer = hints.make_layer()
        try:
            with self._outage.watch():
                channel = await _within_limit(_subscribe(layer))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._receive(layer, channel))
                    tasks.create_task(self._prove_hearing(layer, channel))
        finally:
            if self.heard_at is not None:
                self.heard_at = None
                self._lost()
            await _close(layer)

    async def _receive(self, layer: Any, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            if isinstance(message, dict) and message.get("sender") == self._sender:
                self._echo.set()  # our own: not parsed, it may name many ids
                continue
            try:
                hint = Hint.from_wire(message)
            except ValueError as error:
                log.warning("malformed hint ignored error=%s", error)
                continue
            if hint.topic != HEARTBEAT:
                self._heard(hint.topic, hint.ids)

    async def _prove_hearing(self, layer: Any, channel: str) -> None:
        await self._hear_myself(layer)
        self._outage.end()
        if self._began:
            telemetry.reconnects.inc()
        self._began = True
        self._renewed()
        while True:
            settings = approval_settings()
            await asyncio.sleep(min(settings.recheck_interval, settings.hearing_interval))
            await _within_limit(layer.group_add(hints.GROUP, channel))
            await self._hear_myself(layer)

    async def _hear_myself(self, layer: Any) -> None:
        self._echo.clear()
        await hints.deliver(layer, Hint(topic=HEARTBEAT, ids=(), sender=self._sender))
        await _within_limit(self._echo.wait())
        self.heard_at = monotonic()


class Sender:
    """Sends this process's hints to the others, collected into few messages. Call `put` from any thread."""

    def __init__(self, sender: str, loop: asyncio.AbstractEventLoop) -> None:
        self._sender = sender
        self._outgoing: SetQueue[tuple[str, UUID]] = SetQueue(loop)
        self._dropped = 0

    def put(self, topic: str, ids: Sequence[UUID]) -> None:
        self._outgoing.put((topic, each) for each in ids)

    async def run(self) -> None:
        layer = hints.make_layer()
        try:
            while True:
                await self._send(layer, await self._outgoing.take(hints.IDS_A_MESSAGE))
        finally:
            if rest := self._outgoing.drop():
                await self._send(layer, rest)
            await _close(layer)

    async def _send(self, layer: Any, outgoing: Sequence[tuple[str, UUID]]) -> None:
        by_topic: dict[str, list[UUID]] = {}
        for topic, each in outgoing:
            by_topic.setdefault(topic, []).append(each)
        try:
            for topic, ids in by_topic.items():
                for hint in hints.hints_for(topic, ids, self._sender):
                    await hints.deliver(layer, hint)
        except Exception as error:  # noqa: BLE001  Layers raise what they like.
            # Each further message would take as long, and the re-check finds the changes anyway.
            self._drop(len(outgoing) + len(self._outgoing.drop()), error)
            await _close(layer)
        else:
            telemetry.hints.labels("sent").inc(len(outgoing))
            self._note_sent()

    def _drop(self, number: int, error: Exception) -> None:
        telemetry.hints.labels("dropped").inc(number)
        if not self._dropped:
            log.warning(
                "hints dropped ids=%d error=%s; not logged again until one is sent", number, describe(error)
            )
        self._dropped += number

    def _note_sent(self) -> None:
        if self._dropped:
            log.info("hints sent again dropped=%d", self._dropped)
        self._dropped = 0


async def _subscribe(layer: Any) -> str:
    channel: str = await layer.new_channel()
    await layer.group_add(hints.GROUP, channel)
    return channel


async def _close(layer: Any) -> None:
    """Release the layer's connections, also while the server hangs."""
    # In a task of its own, because `flush` of the pub/sub layer swallows cancellations.
    flushing = asyncio.create_task(layer.flush())
    _, late = await asyncio.wait([flushing], timeout=approval_settings().hint_timeout)
    if late:
        flushing.cancel()
    elif error := flushing.exception():
        log.debug("closing a channel layer failed error=%s", describe(error))


async def _within_limit(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(approval_settings().hint_timeout):
        return await awaitable
