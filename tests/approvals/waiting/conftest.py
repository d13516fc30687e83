"""What the tests of waiting share: a room on the test's loop, and somebody in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from approvals.process import hints
from approvals.waiting.outages import keep_running
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.writer import closing_listeners
from tests.stacks import Stack


@pytest.fixture
async def room(stack: Stack) -> AsyncIterator[WaitingRoom]:
    """The process's room, on the test's loop; what this process decides, it hears of as of another's."""
    room = waiting_room()
    closing_listeners.detach(room.wake)
    await room.start()
    yield room
    await room.stop()


@pytest.fixture
async def other_process(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """The channel layer as another process has it. In memory there is only one; then it is shared."""
    layer = hints.make_layer()
    if stack.layer == "memory":
        monkeypatch.setattr(hints, "make_layer", lambda: layer)
    yield layer
    await layer.flush()


@pytest.fixture
def deaf_and_dumb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hint of this process is lost, in both directions."""
    monkeypatch.setattr(hints, "attach", lambda sink: None)
    monkeypatch.setattr(hints._sink, "value", lambda topic, ids: None)


@asynccontextmanager
async def running(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    """Long-lived work, kept running as the room does, and cancelled at the end."""
    task = asyncio.create_task(keep_running("work under test", work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
