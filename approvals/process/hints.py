"""The hint: "look again at these ids". Sent after a commit, never a verdict, never needed for correctness.

Where a waiting room runs in this process it takes the hint from here at once and passes it on to other
processes by its own sender. Elsewhere the hint is sent from here, and waited for `hint_timeout` at most.
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

from channels import DEFAULT_CHANNEL_LAYER
from channels.layers import InMemoryChannelLayer, channel_layers

from approvals.conf import approval_settings
from approvals.process import forks, telemetry

log = logging.getLogger(__name__)

GROUP = "sayso.hints"
MESSAGE = "sayso.hint"
IDS_A_MESSAGE = 1000

Sink: TypeAlias = Callable[[str, Sequence[UUID]], None]

_sink: Sink | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """One message on the channel layer. `sender` is a nonce: a process ignores its own hints."""

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
        """ValueError for anything that is not exactly a hint."""
        match message:
            case {"type": "sayso.hint", "topic": str(topic), "ids": [*ids], "sender": str(sender), **others}:
                if others or len(ids) > IDS_A_MESSAGE:
                    raise ValueError("unknown fields or too many ids")
                return cls(topic=topic, ids=tuple(UUID(_text(each)) for each in ids), sender=sender)
        raise ValueError("not a hint")


def send(topic: str, ids: Iterable[UUID | str]) -> None:
    """Tell every process to look again. Call it after the commit, from any thread.

    Never raises: a hint that can't be sent is logged and dropped, the re-check finds what it was about.
    """
    try:
        wanted = [each if isinstance(each, UUID) else UUID(each) for each in ids]
        if not wanted:
            return
        if _sink is not None:
            _sink(topic, wanted)
        else:
            _send_from_here(topic, wanted)
    except Exception:
        log.exception("hint dropped topic=%s", topic)


def attach(sink: Sink) -> None:
    """Have hints of this process go to `sink`, which must not block and must take calls from any thread."""
    global _sink  # noqa: PLW0603
    _sink = sink


def detach(sink: Sink) -> None:
    """Send from here again, unless another sink has come since."""
    global _sink  # noqa: PLW0603
    if _sink == sink:
        _sink = None


def _forget() -> None:
    """The parent's sink would wake the parent's loop."""
    global _sink  # noqa: PLW0603
    _sink = None


forks.register(_forget)


def hints_for(topic: str, ids: Iterable[UUID], sender: str) -> Iterator[Hint]:
    """As many hints as it takes to name these ids."""
    rest = iter(ids)
    while some := tuple(islice(rest, IDS_A_MESSAGE)):
        yield Hint(topic=topic, ids=some, sender=sender)


def make_layer() -> Any:
    """A channel layer for hints alone, so that renewing its connections disturbs no socket."""
    return channel_layers.make_backend(DEFAULT_CHANNEL_LAYER)


async def deliver(layer: Any, hint: Hint) -> None:
    """Put one hint on the layer, within `hint_timeout` or TimeoutError."""
    async with asyncio.timeout(approval_settings().hint_timeout):
        await layer.group_send(GROUP, hint.to_wire())


def _send_from_here(topic: str, ids: Sequence[UUID]) -> None:
    """Send from a thread with a loop of its own: neither a caller's loop nor a hung socket matters then."""
    layer = make_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return  # It does not leave this process, and nobody here listens.
    thread = Thread(target=_deliver_all, args=(layer, topic, ids), name="sayso-hint", daemon=True)
    thread.start()
    if not _is_on_a_loop():
        # Not beyond the limit, even where closing the connection or resolving the name hangs.
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("an id is no text")  # noqa: TRY004
    return value
