"""The benchmark's own WebSocket client, against a server that others have written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from orchestration.benchmark.sockets import NotOpened, Socket


class Heard:
    """What the client was told."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    def __call__(self, number: int, moment: int, frame: bytes) -> None:
        self.frames.put_nowait((number, frame))


async def echo(connection: ServerConnection) -> None:
    if connection.request and connection.request.path == "/ping":
        await (await connection.ping())
        await connection.send("ponged")
    async for message in connection:
        await connection.send(message)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    if request.headers.get("Cookie") == "sessionid=bad":
        return connection.respond(HTTPStatus.FORBIDDEN, "No.")
    return None


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve(echo, "127.0.0.1", 0, process_request=refuse, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@pytest.mark.parametrize("length", [0, 5, 125, 126, 65_535, 65_536])
async def test_text_of_any_length_goes_there_and_back(port: int, length: int) -> None:
    heard = Heard()
    socket = await Socket.open(3, port, "/", {}, heard)
    socket.say("x" * length)
    socket.say("next")
    assert await heard.frames.get() == (3, b"x" * length)
    assert await heard.frames.get() == (3, b"next")
    socket.close()


async def test_a_ping_is_answered(port: int) -> None:
    heard = Heard()
    socket = await Socket.open(0, port, "/ping", {}, heard)
    assert await heard.frames.get() == (0, b"ponged")
    socket.close()


async def test_a_refusal_says_so(port: int) -> None:
    with pytest.raises(NotOpened, match="403"):
        await Socket.open(0, port, "/", {"Cookie": "sessionid=bad"}, Heard())
