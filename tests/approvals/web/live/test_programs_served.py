"""Programs at real servers: held answers and live inboxes, decided and revoked from other processes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from approvals import deciding
from approvals.conf import approval_settings
from approvals.database.threads import in_database
from approvals.web.edge import tokens
from tests import factories
from tests.conftest import Serve
from tests.connections import ABNORMAL
from tests.patience import patience
from tests.processes import Server

pytestmark = pytest.mark.django_db

MANY = 300


class Program:
    """A user's token, and how it is shown to servers."""

    def __init__(self, *scopes: str) -> None:
        self.user = factories.user()
        token, secret = tokens.issue(self.user.pk, "agent", scopes)
        self.token_id: UUID = token.pk
        self.headers = {"Authorization": f"Bearer {secret}"}

    def client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(headers=self.headers, timeout=120, limits=limits, trust_env=False)

    @asynccontextmanager
    async def inbox(self, server: Server) -> AsyncIterator[ClientConnection]:
        address = f"{server.websocket_url}/ws/api/inbox/"
        async with connect(address, additional_headers=self.headers, proxy=None) as connection:
            assert (await heard(connection))["type"] == "hello"
            assert (await heard(connection))["type"] == "snapshot"
            yield connection


async def heard(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(patience()):
        frame: dict[str, Any] = json.loads(await connection.recv())
        return frame


async def closed(connection: ClientConnection) -> int:
    async with asyncio.timeout(patience()):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else ABNORMAL


def outcome_at(server: Server, request_id: str) -> str:
    return f"{server.url}/api/v1/requests/{request_id}/outcome"


async def test_what_another_process_decides_ends_a_wait(server: Server) -> None:
    """With either layer: by the hint, or by the re-check where the layer does not cross processes."""
    program = await in_database(Program, "ask")
    request = await in_database(factories.approval, requester=program.user)
    by = await in_database(factories.reviewer)
    async with program.client() as client:
        waiting = asyncio.create_task(client.get(outcome_at(server, request), params={"wait": 60}))
        # The same program's next question is answered after the first pass of the one before.
        assert (await client.get(outcome_at(server, request))).status_code == 202
        await deciding.adecide(factories.actor(by), request, "approve")
        answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")


async def test_a_token_revoked_in_another_process_ends_its_waits_and_sockets(server: Server) -> None:
    program = await in_database(Program, "ask", "read")
    request = await in_database(factories.approval, requester=program.user)
    async with program.client() as client, program.inbox(server) as connection:
        waiting = asyncio.create_task(client.get(outcome_at(server, request), params={"wait": 60}))
        assert (await client.get(outcome_at(server, request))).status_code == 202
        await in_database(tokens.revoke, program.token_id, None)
        assert await closed(connection) == 4401
        answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.one_stack
async def test_a_server_that_is_told_to_stop_does_so_with_waits_held(server: Server) -> None:
    """Whoever asks its successor again gets the outcome."""
    program = await in_database(Program, "ask")
    request = await in_database(factories.approval, requester=program.user)
    by = await in_database(factories.reviewer)
    async with program.client() as client:
        waiting = asyncio.create_task(client.get(outcome_at(server, request), params={"wait": 60}))
        assert (await client.get(outcome_at(server, request))).status_code == 202
        server.signal(signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            await waiting
        await asyncio.to_thread(server.wait, 20)
        await deciding.adecide(factories.actor(by), request, "approve")
        with await asyncio.to_thread(server.again) as successor:
            answer = await client.get(outcome_at(successor, request), params={"wait": 60})
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")


@pytest.mark.stacks("postgresql-redis")
async def test_waits_at_two_servers_end_with_a_decision_made_at_one(serve: Serve) -> None:
    one, other = await asyncio.to_thread(serve), await asyncio.to_thread(serve)
    program = await in_database(Program, "ask", "decide")
    decider = await in_database(Program, "decide")
    request = await in_database(factories.approval, requester=program.user, assignees=[decider.user])
    async with program.client() as client, decider.client() as deciding_client:
        waiting = [
            asyncio.create_task(client.get(outcome_at(server, request), params={"wait": 60}))
            for server in (one, other)
        ]
        for server in (one, other):
            assert (await client.get(outcome_at(server, request))).status_code == 202
        decided = await deciding_client.post(
            f"{other.url}/api/v1/requests/{request}/decision", json={"decision": "reject"}
        )
        assert decided.status_code == 200
        answers = await asyncio.gather(*waiting)
    assert [(each.status_code, each.json()["status"]) for each in answers] == [(200, "rejected")] * 2


@pytest.mark.stacks("postgresql-redis")
async def test_hundreds_of_connections_are_held_by_one_server(server: Server) -> None:
    """While they wait it has few threads and serves others; then each gets the outcome."""
    program = await in_database(Program, "ask")
    request = await in_database(factories.approval, requester=program.user)
    by = await in_database(factories.reviewer)
    process = psutil.Process(server.pid)
    idle = process.num_threads()
    async with program.client() as client:
        waiting = [Sent(client, outcome_at(server, request)) for _ in range(MANY)]
        await asyncio.gather(*(each.sent.wait() for each in waiting))
        async with program.client() as other:
            # Turns are taken in order: this one's is after all of theirs.
            assert (await other.get(outcome_at(server, request))).status_code == 202
        assert not any(each.answer.done() for each in waiting)
        passing = 2 * approval_settings().database_threads  # with those that end a pass's thread
        assert process.num_threads() <= idle + passing + approval_settings().database_threads
        await deciding.adecide(factories.actor(by), request, "approve")
        answers = await asyncio.gather(*(each.answer for each in waiting))
    assert {(each.status_code, each.json()["status"]) for each in answers} == {(200, "approved")}


class Sent:
    """A request that waits, and whether all of it has left."""

    def __init__(self, client: httpx.AsyncClient, address: str) -> None:
        self.sent = asyncio.Event()
        asking = client.get(address, params={"wait": 60}, extensions={"trace": self._trace})
        self.answer = asyncio.create_task(asking)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "http11.send_request_body.complete":
            self.sent.set()
