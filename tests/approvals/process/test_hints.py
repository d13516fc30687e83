"""The hint: ids only, JSON primitives only; it never raises and never holds anybody up."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import channel_layers
from channels_redis.serializers import registry

from approvals.process import hints
from approvals.process.hints import IDS_A_MESSAGE, Hint
from tests.patience import patience
from tests.servers import RedisServer
from tests.stacks import Stack

# What a hint may take where nobody in this process waits.
LIMIT = 2.0


def test_a_hint_survives_the_wire() -> None:
    """Nothing but primitives: what msgpack gives back is the hint again."""
    hint = Hint(topic="requests", ids=(uuid4(), uuid4()), sender="me")
    serializer = registry.get_serializer("msgpack")
    assert Hint.from_wire(serializer.deserialize(serializer.serialize(hint.to_wire()))) == hint


@pytest.mark.parametrize(
    "message",
    [
        None,
        "sayso.hint",
        {},
        {"type": "sayso.hint"},
        {"type": "inbox.event", "topic": "requests", "ids": [], "sender": "x"},
        {"type": "sayso.hint", "topic": 7, "ids": [], "sender": "x"},
        {"type": "sayso.hint", "topic": "requests", "ids": "abc", "sender": "x"},
        {"type": "sayso.hint", "topic": "requests", "ids": ["abc"], "sender": "x"},
        {"type": "sayso.hint", "topic": "requests", "ids": [7], "sender": "x"},
        {"type": "sayso.hint", "topic": "requests", "ids": [], "sender": "x", "verdict": "approve"},
        {"type": "sayso.hint", "topic": "requests", "ids": [str(uuid4())] * 1001, "sender": "x"},
    ],
)
def test_what_is_not_exactly_a_hint_is_refused(message: object) -> None:
    with pytest.raises(ValueError):
        Hint.from_wire(message)


def test_a_message_names_a_thousand_ids_at_most() -> None:
    ids = [uuid4() for _ in range(2 * IDS_A_MESSAGE + 1)]
    messages = list(hints.hints_for("requests", ids, "me"))
    assert [len(each.ids) for each in messages] == [IDS_A_MESSAGE, IDS_A_MESSAGE, 1]
    assert [each_id for each in messages for each_id in each.ids] == ids


def test_hints_go_to_the_sink_while_there_is_one() -> None:
    taken: list[tuple[str, Sequence[UUID]]] = []

    def sink(topic: str, ids: Sequence[UUID]) -> None:
        taken.append((topic, ids))

    first, second = uuid4(), uuid4()
    hints.attach(sink)
    hints.send("requests", [first, str(second)])
    hints.send("requests", [])
    hints.detach(sink)
    hints.send("requests", [uuid4()])
    assert taken == [("requests", [first, second])]


def test_detaching_an_old_sink_leaves_the_new_one() -> None:
    taken: list[str] = []

    def old(topic: str, ids: Sequence[UUID]) -> None:
        taken.append("old")

    def new(topic: str, ids: Sequence[UUID]) -> None:
        taken.append("new")

    hints.attach(old)
    hints.attach(new)
    hints.detach(old)
    hints.send("requests", [uuid4()])
    hints.detach(new)
    assert taken == ["new"]


def test_a_sink_that_fails_fails_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """The decision is committed by then."""

    def broken(topic: str, ids: Sequence[UUID]) -> None:
        raise RuntimeError("broken sink")

    hints.attach(broken)
    hints.send("requests", [uuid4()])
    hints.detach(broken)
    assert "hint dropped topic=requests" in caplog.text


@pytest.mark.stacks("sqlite-memory", "sqlite-redis")
def test_in_memory_there_is_nobody_to_tell(stack: Stack) -> None:
    """That layer does not leave the process: no thread and no loop are made for it, as for Redis they are."""
    with threads_started() as started:
        hints.send("requests", [uuid4()])
    assert started == (["sayso-hint"] if stack.layer == "redis" else [])


@contextmanager
def threads_started() -> Iterator[list[str]]:
    """The names of the threads that are started meanwhile: each new one calls what profiles it."""
    started: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        started.append(threading.current_thread().name)
        sys.setprofile(None)  # once is enough

    threading.setprofile(note)
    try:
        yield started
    finally:
        threading.setprofile(None)
        join_senders()


@pytest.mark.stacks("sqlite-redis")
async def test_without_a_room_the_hint_is_sent_from_here(private_redis: RedisServer) -> None:
    layer, channel = await listening()
    ids = [uuid4() for _ in range(3)]
    await in_thread(hints.send, "runs", ids)
    received = Hint.from_wire(await layer.receive(channel))
    assert (received.topic, list(received.ids)) == ("runs", ids)
    await layer.flush()


@pytest.mark.stacks("sqlite-redis")
async def test_a_hint_sent_on_an_event_loop_is_not_waited_for(private_redis: RedisServer) -> None:
    layer, channel = await listening()
    request_id = uuid4()
    hints.send("requests", [request_id])
    assert Hint.from_wire(await layer.receive(channel)).ids == (request_id,)
    await layer.flush()


@pytest.mark.alone
@pytest.mark.stacks("sqlite-redis")
def test_a_frozen_redis_holds_nobody_up_for_long(
    private_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    private_redis.freeze()
    started = time.monotonic()
    hints.send("requests", [uuid4()])
    assert time.monotonic() - started < LIMIT + patience(1.5)
    join_senders()
    private_redis.thaw()
    assert "hint dropped topic=requests ids=1" in caplog.text


@pytest.mark.alone
@pytest.mark.stacks("sqlite-redis")
async def test_a_frozen_redis_does_not_block_an_event_loop(private_redis: RedisServer) -> None:
    private_redis.freeze()
    started = time.monotonic()
    hints.send("requests", [uuid4()])
    assert time.monotonic() - started < LIMIT, "it was waited for"
    private_redis.thaw()
    await in_thread(join_senders)


@pytest.mark.stacks("sqlite-redis")
def test_a_hint_without_redis_is_dropped_with_one_line(
    private_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    private_redis.stop()
    hints.send("requests", [uuid4(), uuid4()])
    join_senders()
    dropped = [record for record in caplog.records if record.name == "approvals.process.hints"]
    assert [record.levelno for record in dropped] == [logging.WARNING]
    assert "hint dropped topic=requests ids=2" in dropped[0].getMessage()


async def listening() -> tuple[Any, str]:
    layer = channel_layers.make_backend("default")
    channel = await layer.new_channel()
    await layer.group_add(hints.GROUP, channel)
    return layer, channel


async def in_thread(function: Any, *args: object) -> None:
    with ThreadPoolExecutor(1) as thread:
        await asyncio.wrap_future(thread.submit(function, *args))


def join_senders() -> None:
    for thread in threading.enumerate():
        if thread.name == "sayso-hint":
            thread.join()
