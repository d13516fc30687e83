"""Live connections to a real server: its limits, its shutdown, and what other processes do."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from approvals.database import in_database
from tests import factories
from tests.conftest import Serve
from tests.connections import ABNORMAL, closes, session_of
from tests.patience import patience
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shared_server")]


@asynccontextmanager
async def browser(server: Server, person: User, **headers: str) -> AsyncIterator[ClientConnection]:
    """A connection with this person's cookie, from the site's own page; read up to its snapshot."""
    cookie = {"Cookie": f"sessionid={await in_database(session_of, person)}"}
    sent = {"Origin": server.url, **cookie, **headers}
    async with connect(
        f"{server.websocket_url}/ws/inbox/", additional_headers=sent, max_size=None, proxy=None
    ) as connection:
        assert (await heard(connection))["type"] == "hello"
        assert (await heard(connection))["type"] == "snapshot"
        yield connection


async def heard(connection: ClientConnection, kind: str | None = None) -> dict[str, Any]:
    """The next frame, or the next one of this kind."""
    async with asyncio.timeout(patience()):
        while True:
            frame: dict[str, Any] = json.loads(await connection.recv())
            if kind in (None, frame["type"]):
                return frame


async def closed(connection: ClientConnection) -> int:
    async with asyncio.timeout(patience()):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else ABNORMAL


async def say(connection: ClientConnection, kind: str, ref: Any, **data: Any) -> None:
    await connection.send(json.dumps({"type": kind, "ref": ref, "data": data}))


@pytest.mark.every_stack
async def test_what_another_process_opens_appears_and_can_be_decided(server: Server) -> None:
    """With either layer: by the hint, or by the re-check where the layer does not cross processes."""
    ada = await in_database(factories.user, "ada")
    async with browser(server, ada) as connection:
        request = await in_database(factories.approval, assignees=[ada])
        opened = await heard(connection, "request_opened")
        assert opened["data"]["request"]["id"] == request
        await say(connection, "decide", 1, request_id=request, decision="approve")
        accepted = await heard(connection, "decision_accepted")
        assert accepted["ref"] == 1
        assert accepted["data"]["outcome"]["decided_by"] == "ada"


@pytest.mark.one_stack
async def test_frames_that_are_too_large_end_only_their_own_connection(server: Server) -> None:
    ada, mallory = await in_database(factories.user), await in_database(factories.user)
    async with browser(server, ada) as connection:
        async with browser(server, mallory) as abusing:
            with suppress(ConnectionClosed):
                await abusing.send("x" * 2_097_152)
            assert await closed(abusing) in closes(1009)
        async with browser(server, mallory) as abusing:
            with suppress(ConnectionClosed):
                for _ in range(11):
                    await abusing.send(b"\x00")
            assert await closed(abusing) in closes(4400)
        async with browser(server, mallory) as flooding:
            with suppress(ConnectionClosed):
                for number in range(500):
                    await say(flooding, "ping", number)
            assert await closed(flooding) in closes(4429)
        await say(connection, "ping", "still here")
        assert (await heard(connection, "pong"))["ref"] == "still here"


@pytest.mark.one_stack
@pytest.mark.parametrize("origin", ["null", "https://evil.example", ""])
async def test_pages_of_other_sites_get_no_connection(server: Server, origin: str) -> None:
    ada = await in_database(factories.user)
    with pytest.raises(InvalidStatus):
        async with browser(server, ada, Origin=origin):
            pass


@pytest.mark.one_stack
async def test_a_server_that_is_told_to_stop_does_so_with_connections_open(serve: Serve) -> None:
    server = await asyncio.to_thread(serve)
    ada = await in_database(factories.user)
    async with browser(server, ada) as connection:
        server.signal(signal.SIGTERM)
        assert await closed(connection) in closes(1001) | closes(1012)
        await asyncio.to_thread(server.wait, 20)
    with await asyncio.to_thread(server.again) as successor:
        async with browser(successor, ada):
            pass
