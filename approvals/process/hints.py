"""Hints: messages that say which ids have changed. Sent after a commit, never needed for correctness.

A waiting room that runs in this process takes hints from here at once and passes them on to other processes.
Without one the hint is sent from here, and the caller waits for `hint_timeout` at most.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Thread
from typing import Any, TypeAlias
from uuid import UUID

from channels.layers import InMemoryChannelLayer, channel_layers

from approvals.conf import approval_settings
from approvals.process import forks, telemetry

log = logging.getLogger(__name__)

GROUP = "sayso.hints"
MESSAGE = "sayso.hint"
IDS_A_MESSAGE = 1000

Sink: TypeAlias = Callable[[str, Sequence[UUID]], None]

# Forgotten in a forked child: it would wake the parent's event loop.
_sink: forks.Slot[Sink] = forks.Slot()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """One message on the channel layer. `sender` is a nonce, by which a process ignores its own hints."""

    topic: str
    ids: tuple[UUID, ...]
    sender: str

    def to_wire(self) -> dict[str, Any]:
        return {
            "type": MESSAGE,
            "topic": self.topic,
            "ids": [str(each) for each in self.ids],
            "sender": self.sender,
        }

    @classmethod
    def from_wire(cls, message: object) -> Hint:
        """Parse a message; ValueError for anything that is not exactly a hint."""
        match message:
            case {"type": "sayso.hint", "topic": str(topic), "ids": [*ids], "sender": str(sender), **others}:
                if others or len(ids) > IDS_A_MESSAGE or not all(isinstance(each, str) for each in ids):
                    raise ValueError("unknown fields, too many ids, or one that is no text")
                return cls(topic=topic, ids=tuple(map(UUID, ids)), sender=sender)
        raise ValueError("not a hint")


def send(topic: str, ids: Iterable[UUID | str]) -> None:
    """Tell every process which ids have changed. Call it after the commit, from any thread.

    Never raises: a hint that can't be sent is logged and dropped; the re-check finds the change.
    """
    try:
        wanted = [each if isinstance(each, UUID) else UUID(each) for each in ids]
        if not wanted:
            return
        if _sink.value is not None:
            _sink.value(topic, wanted)
        else:
            _send_from_here(topic, wanted)
    except Exception:
        log.exception("hint dropped topic=%s", topic)


def attach(sink: Sink) -> None:
    """Pass this process's hints to `sink`, which must not block and is called from any thread."""
    _sink.value = sink


def detach(sink: Sink) -> None:
    """Stop passing hints to `sink`, unless another one has replaced it."""
    if _sink.value == sink:
        _sink.value = None


def hints_for(topic: str, ids: Iterable[UUID], sender: str) -> Iterator[Hint]:
    """Split the ids into as many hints as needed."""
    rest = iter(ids)
    while some := tuple(islice(rest, IDS_A_MESSAGE)):
        yield Hint(topic=topic, ids=some, sender=sender)


def make_layer() -> Any:
    """Make a channel layer for hints only, so that renewing its connections disturbs no socket."""
    return channel_layers.make_backend(approval_settings().channel_layer)


async def deliver(layer: Any, hint: Hint) -> None:
    """Send one hint; TimeoutError after `hint_timeout` seconds."""
    async with asyncio.timeout(approval_settings().hint_timeout):
        await layer.group_send(GROUP, hint.to_wire())


def _send_from_here(topic: str, ids: Sequence[UUID]) -> None:
    """Send from a thread with its own event loop, so that a hung socket blocks no caller's loop."""
    layer = make_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return  # it reaches this process only, where nobody listens
    thread = Thread(target=_deliver_all, args=(layer, topic, ids), name="sayso-hint", daemon=True)
    thread.start()
    if not _is_on_a_loop():
        # At most this long, even where closing the connection or resolving the name hangs.
        thread.join(approval_settings().hint_timeout)


def _deliver_all(layer: Any, topic: str, ids: Sequence[UUID]) -> None:
    try:
        asyncio.run(_deliver_within_limit(layer, topic, ids))
        telemetry.hints.labels("sent").inc(len(ids))
    except Exception as error:  # noqa: BLE001  Layers raise what they like.
        telemetry.hints.labels("dropped").inc(len(ids))
        log.warning("hint dropped topic=%s ids=%d error=%s %s", topic, len(ids), type(error).__name__, error)


async def _deliver_within_limit(layer: Any, topic: str, ids: Sequence[UUID]) -> None:
    async with asyncio.timeout(approval_settings().hint_timeout):
        for hint in hints_for(topic, ids, secrets.token_hex(8)):
            await layer.group_send(GROUP, hint.to_wire())


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
