"""Between Daphne and the applications: who sends waits for who reads, within limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from approvals.web.edge.serving import Server, TooSlow

ACCEPT: dict[str, Any] = {"type": "websocket.accept"}
SEND: dict[str, Any] = {"type": "websocket.send", "text": "news"}


class Transport:
    """Twisted's, as far as gates know it: tells its producer when to pause, and can stop to read."""

    def __init__(self) -> None:
        self.producer: Any = self  # what an HTTP connection has registered before
        self.reads = True

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        assert self.producer is None
        assert streaming
        self.producer = producer

    def pauseProducing(self) -> None:  # noqa: N802
        self.reads = False

    def resumeProducing(self) -> None:  # noqa: N802
        self.reads = True


class Protocol:
    """One connection: what was sent, and whether it was dropped."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.sent: list[Any] = []
        self.dropped = False

    def handle_reply(self, message: Any) -> None:
        self.sent.append(message)

    def dropConnection(self, abort: bool) -> None:  # noqa: N802
        self.dropped = abort


async def opened(server: Server) -> Protocol:
    protocol = Protocol()
    server.connections = {protocol: {}}
    await server.handle_reply(protocol, ACCEPT)
    return protocol


async def test_sending_waits_until_there_is_room_again() -> None:
    """Meanwhile nothing is read from a client that does not read."""
    server = Server(application=None, endpoints=["none"])
    protocol = await opened(server)
    await server.handle_reply(protocol, SEND)
    protocol.transport.producer.pauseProducing()
    sending = asyncio.create_task(server.handle_reply(protocol, SEND))
    await asyncio.sleep(0)
    assert not sending.done()
    assert not protocol.transport.reads
    protocol.transport.producer.resumeProducing()
    await sending
    assert protocol.transport.reads
    assert protocol.sent == [ACCEPT, SEND, SEND]


async def test_who_reads_nothing_is_dropped_in_the_end() -> None:
    server = Server(application=None, endpoints=["none"], patience=0.01)
    protocol = await opened(server)
    protocol.transport.producer.pauseProducing()
    with pytest.raises(TooSlow):
        await server.handle_reply(protocol, SEND)
    assert protocol.dropped


async def test_nobody_waits_for_a_connection_that_is_gone() -> None:
    server = Server(application=None, endpoints=["none"])
    protocol = await opened(server)
    protocol.transport.producer.pauseProducing()
    sending = asyncio.create_task(server.handle_reply(protocol, SEND))
    await asyncio.sleep(0)
    server.protocol_disconnected(protocol)
    await sending
    await server.handle_reply(protocol, SEND)
    assert protocol.sent == [ACCEPT, SEND]
