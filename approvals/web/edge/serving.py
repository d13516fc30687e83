"""Daphne's server, changed to wait for slow readers and to drop those that read nothing.

Daphne hands every frame to Twisted's transport at once, which keeps without bound what its client does not
take; and it pings only who is silent, so that a client which talks and never reads stays for ever. Here
`send` returns once the transport has room again, as with other servers, and `approvals.web.live.send_queue`
bounds what waits. Until then nothing is read from that client either: even a ping has an answer.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from daphne.server import Server as Daphne

from approvals.process import collector
from approvals.web.live.protocol import FRAME_LIMIT

# Seconds in which a client must have taken what was sent, 64 KiB and a frame at most.
PATIENCE = 60.0
# Seconds after which a thread that computes lets others go on: each query of theirs waits for that.
SWITCHING = 0.001


class TooSlow(ConnectionError):
    """The client has not read for so long that its connection was cut."""


class Server(Daphne):  # type: ignore[misc]  # daphne has no types
    """Daphne's server with a gate for the frames of each connection. Clients may send FRAME_LIMIT at most."""

    def __init__(self, *args: Any, patience: float = PATIENCE, **options: Any) -> None:
        limits = {"websocket_max_message_size": FRAME_LIMIT, "websocket_max_frame_size": FRAME_LIMIT}
        super().__init__(*args, **limits | options)
        self._patience = patience
        self._gates: dict[Any, _Gate] = {}

    def create_application(self, protocol: Any, scope: Any) -> Any:
        """Use the root path that the server was started with; daphne takes it from a client's header."""
        return super().create_application(protocol, {**scope, "root_path": self.root_path})

    def run(self) -> None:
        sys.setswitchinterval(SWITCHING)
        collector.tune()
        super().run()

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] == "websocket.accept":
            self._gates[protocol] = _Gate(protocol.transport)
        elif message["type"] == "websocket.send" and (gate := self._gates.get(protocol)):
            await self._until_open(gate, protocol)

    def protocol_disconnected(self, protocol: Any) -> None:
        super().protocol_disconnected(protocol)
        if gate := self._gates.pop(protocol, None):
            gate.stopProducing()

    async def _until_open(self, gate: _Gate, protocol: Any) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await gate.opened.wait()
        except TimeoutError:
            protocol.dropConnection(abort=True)
            raise TooSlow(f"The client has read nothing for {self._patience:g} s.") from None


class _Gate:
    """What Twisted calls a streaming producer: told when the transport's buffer is full, and when empty."""

    __slots__ = ("_transport", "opened")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.opened = asyncio.Event()
        self.opened.set()
        # In place of the HTTP channel that the connection has begun as.
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.opened.clear()
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.opened.set()
        self._transport.resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.opened.set()
