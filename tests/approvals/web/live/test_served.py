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

from approvals.database.threads import in_database
from approvals.web.edge import tokens
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
        await taken_up(connection)
        yield connection


async def taken_up(connection: ClientConnection) -> None:
    """Read hello and the whole snapshot."""
    assert (await heard(connection))["type"] == "hello"
    while (await heard(connection, "snapshot"))["data"]["more"]:
        pass


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


@pytest.mark.parametrize(
    ("count", "terms"),
    [(200, {"details": "x" * 6000}), (1, {"arguments": {"text": "x" * 900_000}})],
    ids=["many", "one that is large"],
)
async def test_however_much_waits_the_connection_speaks_and_listens(
    server: Server, count: int, terms: dict[str, Any]
) -> None:
    """More than the mebibyte that a message may have at daphne, to pages and to programs."""
    ada = await in_database(factories.user)

    def ask() -> list[str]:
        return [factories.approval(assignees=[ada], **terms) for _ in range(count)]

    requests = await in_database(ask)
    _, secret = await in_database(tokens.issue, ada.pk, "agent", ["read", "decide"])
    program = {"Authorization": f"Bearer {secret}"}
    async with (
        browser(server, ada) as page,
        connect(f"{server.websocket_url}/ws/api/inbox/", additional_headers=program, proxy=None) as listening,
    ):
        await taken_up(listening)
        await say(page, "decide", 1, request_id=requests[-1], decision="approve")
        told = {frame["type"]: frame for frame in (await heard(page), await heard(page))}
        assert told["decision_accepted"]["ref"] == 1
        assert told["request_closed"]["data"]["outcome"]["status"] == "approved"
        await heard(listening, "request_closed")
        for connection in (page, listening):
            await say(connection, "ping", "still here")
            assert (await heard(connection, "pong"))["ref"] == "still here"


async def test_a_frame_may_be_as_large_as_what_a_request_may_carry(server: Server) -> None:
    ada = await in_database(factories.user)
    question = await in_database(factories.clarification, assignees=[ada])
    async with browser(server, ada) as connection:
        await say(connection, "answer", 1, request_id=question, answer="x" * 1_048_574)
        outcome = (await heard(connection, "decision_accepted"))["data"]["outcome"]
        assert (outcome["status"], outcome["summary"]) == ("answered", True)


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
