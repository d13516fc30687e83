"""The least that a live server with Channels is: a consumer that accepts, joins a group and passes text on.

No session, no user, no origin, no database. A client's text that begins with "all" goes to every socket, any
other back to its own, both by way of the channel layer.
"""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter

GROUP = "bare"
TO_ALL, TO_ONE = "all", "one"


class BareConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        text = text_data or ""
        event = {"type": "bare.event", "text": text}
        if text.startswith(TO_ALL):
            await self.channel_layer.group_send(GROUP, event)
        else:
            await self.channel_layer.send(self.channel_name, event)

    async def bare_event(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


def application() -> Any:
    return ProtocolTypeRouter({"websocket": BareConsumer.as_asgi()})
