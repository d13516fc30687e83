"""Whose client is gone is carried out, if it was sent in full."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from approvals.web.edge.asgi import Receive, Scope, Send
from approvals.web.edge.disconnects import ignore_disconnects

FIRST = {"type": "http.request", "body": b"{", "more_body": True}
LAST = {"type": "http.request", "body": b"}", "more_body": False}
GONE = {"type": "http.disconnect"}


class Listener:
    """An application that listens to the end, and what it has heard."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.listens = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.heard or self.heard[-1] != GONE:
            if self.heard and self.heard[-1] == LAST:
                self.listens.set()
            self.heard.append(await receive())


async def said(method: str, *messages: MutableMapping[str, Any]) -> list[Any]:
    """What an application hears of these messages until no more come."""
    waiting: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    for message in messages:
        waiting.put_nowait(message)
    listener = Listener()

    async def send(message: MutableMapping[str, Any]) -> None:
        """Nothing is answered."""

    running = asyncio.create_task(
        ignore_disconnects(listener)({"type": "http", "method": method}, waiting.get, send)
    )
    listening = asyncio.create_task(listener.listens.wait())
    await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
    for task in (running, listening):
        task.cancel()
    await asyncio.wait([running, listening])
    return listener.heard


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_client_that_leaves_after_its_request_is_not_missed(method: str) -> None:
    assert await said(method, FIRST, LAST, GONE) == [FIRST, LAST]


async def test_half_a_request_is_abandoned() -> None:
    assert await said("POST", FIRST, GONE) == [FIRST, GONE]


async def test_what_only_reads_is_abandoned() -> None:
    assert await said("GET", LAST, GONE) == [LAST, GONE]
