"""Fault 14: a client that is gone before its answer; a server that is told to end while much is open."""

from __future__ import annotations

import asyncio
import json
import signal
import socket as sockets
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TypeAlias

import pytest
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from tests import factories
from tests.connections import closes
from tests.faults.clients import Program, Socket
from tests.faults.conftest import PATIENCE, Installation
from tests.processes import Server

pytestmark = pytest.mark.django_db

MANY = 20

Connection: TypeAlias = sockets.socket


async def test_a_decision_stands_though_its_client_left_right_after_sending_it(
    installation: Installation,
) -> None:
    """Fault 14. Whether it hung up or broke off: recorded once, and told to whoever waits."""
    (server,) = await installation.serve()
    bob = await in_database(_decider, server)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann = await installation.person("ann")
        asked = await ann.ask_many("Gone", MANY)
        for each in asked:
            waiting.create_task(ann.wait(each))
        await installation.until_waiting(server, MANY)
        for number, each in enumerate(asked):
            with connected(server) as connection:
                connection.sendall(decision(bob, each))
                if number % 2:
                    break_off(connection)
            installation.ledger.unanswered("bob", each, "approve")
    report = await installation.audited()
    assert (report.resolved, report.waits_told) == (MANY, MANY)


async def test_a_client_that_leaves_between_commit_and_answer_wakes_who_waits_once(
    installation: Installation,
) -> None:
    """Fault 14. What it leaves behind is on record already; the wake-up comes all the same."""
    (server,) = await installation.serve()
    bob = await in_database(_decider, server)
    eve = await in_database(Program, server, "read", user=await in_database(factories.reviewer, "eve"))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting, eve.socket() as watching:
        ann = await installation.person("ann")
        asked = await ann.ask("Gone")
        waiting.create_task(ann.wait(asked))
        await installation.until_waiting(server, 1)
        installation.arm("decided", "pause:1")
        with connected(server) as connection:
            connection.sendall(decision(bob, asked))
            await installation.until_hit("decided")
            assert await in_database(_status, asked) == Status.APPROVED
            break_off(connection)
        installation.ledger.unanswered("bob", asked, "approve")
        assert (await watching.until("request_closed"))["data"]["request"]["id"] == asked
        last = await ann.ask("The last one")
        assert await _until_opened(watching, last) == []
        await ann.wait(await _decided(bob, last))
    report = await installation.audited()
    assert (report.resolved, report.waits_told) == (2, 2)


@pytest.mark.one_stack
async def test_half_a_decision_is_none(installation: Installation) -> None:
    """Fault 14. The client is gone before all of it was sent: nothing happens, and others are served."""
    (server,) = await installation.serve()
    bob = await in_database(_decider, server)
    async with asyncio.timeout(PATIENCE):
        ann = await installation.person("ann")
        asked = await ann.ask("Half")
        whole = decision(bob, asked)
        for length in (10, len(whole) - 40, len(whole) - 1):
            with connected(server) as connection:
                connection.sendall(whole[:length])
        other = await _decided(bob, await ann.ask("Whole"))
        assert (await ann.wait(other))["status"] == Status.APPROVED
        assert await in_database(_status, asked) == Status.PENDING


async def test_a_server_that_is_told_to_end_does_so_and_its_successor_goes_on(
    installation: Installation,
) -> None:
    """Fault 14. Sockets, long polls, waits of runs, a half-sent request: none of them holds it up, and
    whoever asks again is told what happened meanwhile."""
    (server,) = await installation.serve()
    bob = await in_database(_decider, server)
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as open_here, asyncio.TaskGroup() as waiting:
        ann = await installation.person("ann")
        watching = [await open_here.enter_async_context(bob.socket()) for _ in range(5)]
        asked = await ann.ask_many("Meanwhile", MANY)
        runs = [await ann.start("faults-errand", questions=2) for _ in range(3)]
        first = [await ann.question_of(each) for each in runs]
        for each in asked:
            waiting.create_task(ann.wait(each))
        half = open_here.enter_context(connected(server))
        half.sendall(decision(bob, asked[0])[:-1])
        await installation.until_waiting(server, MANY + len(runs))
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 20) in {0, -signal.SIGTERM}
        assert {await each.closed() for each in watching} <= closes(1001) | closes(1012)
        for each in asked:
            await deciding.adecide(factories.actor(bob.user), each, "approve")
        owner = await in_database(User.objects.get, username="ann")
        await deciding.adecide(factories.actor(owner), first[0], "approve")
        successor = await installation.restart(server)
        for each in first[1:]:
            await ann.insist(each)
        for run_id, each in zip(runs, first, strict=True):
            await ann.insist(await ann.question_of(run_id, beyond=each))
        assert {(await ann.end_of(each))["status"] for each in runs} == {"completed"}
        assert successor.running
    report = await installation.audited()
    assert (report.waits_told, report.steps_repeated) == (MANY, 0)


@contextmanager
def connected(server: Server) -> Iterator[Connection]:
    """A connection, as no library keeps it: closed when we say so, with what was sent unanswered."""
    with sockets.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        yield connection


def break_off(connection: Connection) -> None:
    """Close it by a reset, as a process that is killed may."""
    connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def decision(program: Program, request_id: str) -> bytes:
    """The request by which this program approves, as it is sent."""
    body = json.dumps({"decision": "approve"})
    lines = [
        f"POST /api/v1/requests/{request_id}/decision HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in program.headers.items()),
    ]
    return "\r\n".join([*lines, "", body]).encode()


def _decider(server: Server) -> Program:
    return Program(server, "read", "decide", user=factories.reviewer("bob"))


async def _decided(program: Program, request_id: str) -> str:
    """The id of the request, which this program has approved."""
    async with program.client() as client:
        answer = await client.post(f"/requests/{request_id}/decision", json={"decision": "approve"})
        answer.raise_for_status()
    return request_id


def _status(request_id: str) -> str:
    status: str = HumanRequest.objects.get(pk=request_id).status
    return status


async def _until_opened(socket: Socket, request_id: str) -> list[str]:
    """What was said to be closed before this one was opened."""
    closed = []
    while request_id not in socket.shown:
        frame = await socket.next()
        if frame["type"] == "request_closed":
            closed.append(frame["data"]["request"]["id"])
    return closed
