"""Fault 11: one socket of a real server says what no client should. Only that socket suffers.

While it does, another one is served: it decides a request for every abuse.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from approvals.database.threads import in_database
from approvals.models import AuditEntry, HumanRequest, Response
from tests import factories
from tests.connections import ABNORMAL, closes
from tests.faults.clients import Person, Socket
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shared_server")]

Abuse: TypeAlias = Callable[[Socket], Awaitable[None]]

MIB = 1_048_576

# What ends a connection: the server's own word, or WebSocket's for what it can't even read.
MALFORMED, FLOODING = 4400, 4429
PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009


class Desk:
    """An innocent person at the same server, with much to decide."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def decides(self) -> None:
        """Decides the next request, is told the outcome, and sees it leave the list."""
        request = min(self._socket.shown)
        accepted = await self._socket.decide(request)
        assert accepted["type"] == "decision_accepted", accepted
        assert accepted["data"]["outcome"]["status"] == "approved"
        while request in self._socket.shown:
            await self._socket.next()


@asynccontextmanager
async def desk(server: Server) -> AsyncIterator[Desk]:
    person = await in_database(lambda: Person(server, factories.user()))
    for _ in range(20):
        await in_database(factories.approval, assignees=[person.user])
    async with person.socket() as socket:
        yield Desk(socket)


@pytest.mark.one_stack
async def test_frames_that_are_no_messages_end_their_own_socket_alone(server: Server) -> None:
    """Fault 11. Malformed, binary and deeply nested: answered with an error each, and closed in the end."""
    async with desk(server) as innocent:
        for name, frame in NO_MESSAGES.items():
            async with _mallory(server) as abusing:
                await _repeatedly(abusing, [frame] * 11)
                await innocent.decides()
                refusals = await _is_closed(abusing, name, "invalid", MALFORMED)
                assert (name, refusals <= {"invalid"}) == (name, True)


@pytest.mark.one_stack
async def test_frames_of_two_mebibytes_end_their_own_socket_alone(server: Server) -> None:
    """Fault 11. Whole or in a thousand fragments, text or binary: never taken in."""
    before = psutil.Process(server.pid).memory_info().rss
    async with desk(server) as innocent:
        for name, abuse in GIANTS.items():
            async with _mallory(server) as abusing:
                await _as_far_as_it_goes(abuse(abusing))
                await innocent.decides()
                assert (name, await abusing.closed() in closes(TOO_BIG)) == (name, True)
    assert psutil.Process(server.pid).memory_info().rss - before < 64 * MIB


@pytest.mark.one_stack
async def test_frames_that_break_the_protocol_end_their_own_socket_alone(server: Server) -> None:
    """Fault 11. Text that is none, commands that there are not, bytes at random."""
    async with desk(server) as innocent:
        for name, (raw, code) in BROKEN.items():
            async with _mallory(server) as abusing:
                abusing.raw.transport.write(raw)
                await innocent.decides()
                assert (name, await abusing.closed() in closes(code)) == (name, True)


@pytest.mark.one_stack
async def test_a_flood_ends_its_own_socket_alone(server: Server) -> None:
    """Fault 11. Slowed with an error first; whoever does not stop is closed."""
    async with desk(server) as innocent:
        for name, frame in FLOODS.items():
            async with _mallory(server) as flooding:
                await _repeatedly(flooding, [frame] * 3000)
                await innocent.decides()
                await _is_closed(flooding, name, "rate_limited", FLOODING)


@pytest.mark.one_stack
async def test_an_answer_nested_too_deeply_is_refused_and_the_socket_goes_on(server: Server) -> None:
    """Fault 11. What can be read, but must not be kept, is an error like any other."""
    mallory = await in_database(lambda: Person(server, factories.user()))
    question = await in_database(factories.clarification, assignees=[mallory.user])
    async with mallory.socket() as socket:
        for depth in (100, 900, 960, 990):
            await socket.raw.send(_answering(_nested(depth), question))
            refused = await socket.next("error")
            assert (depth, refused["data"]["code"]) == (depth, "invalid")
        await socket.raw.send(_answering('"4711"', question))
        accepted = await socket.until("decision_accepted")
        assert accepted["data"]["outcome"]["answer"] == "4711"


@pytest.mark.one_stack
async def test_many_abuse_it_at_once_and_others_are_served(server: Server) -> None:
    """Fault 11. Forty sockets with all of that together; each pays for itself."""
    async with desk(server) as innocent:
        abusing = asyncio.gather(*(_abuse(server, number) for number in range(40)))
        for _ in range(10):
            await innocent.decides()
        await abusing
        await innocent.decides()


async def test_decisions_amid_a_flood_are_made_once(server: Server) -> None:
    """Fault 11. What was sent before the close is decided or was refused; nothing is half done."""
    mallory = await in_database(lambda: Person(server, factories.user()))
    async with desk(server) as innocent, mallory.socket() as flooding:
        request = await in_database(factories.approval, assignees=[mallory.user])
        frame = json.dumps(
            {"type": "decide", "ref": 1, "data": {"request_id": request, "decision": "approve"}}
        )
        await _repeatedly(flooding, [frame] * 500)
        await innocent.decides()
        assert await flooding.closed() in closes(FLOODING)
    recorded = await in_database(_recorded, request)
    assert recorded == ("approved", 1, 1)


# What is sent


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _answering(answer: str, request_id: str = "x") -> str:
    return f'{{"type":"answer","ref":1,"data":{{"request_id":"{request_id}","answer":{answer}}}}}'


NO_MESSAGES: dict[str, str | bytes] = {
    "no JSON": "{",
    "nothing": "",
    "no object": "[]",
    "no such message": '{"type":"close","ref":1,"data":{}}',
    "a handler's name": '{"type":"websocket.disconnect","data":{}}',
    "unknown fields": '{"type":"ping","ref":1,"data":{"more":1}}',
    "no number": '{"type":"ping","ref":NaN,"data":{}}',
    "a number without end": '{"type":"ping","ref":' + "9" * 5000 + ',"data":{}}',
    "half a character": '{"type":"\\ud800","ref":1,"data":{}}',
    "binary": b"\x00\x01",
    "nested beyond reading": _nested(100_000),
    "an answer nested beyond reading": _answering(_nested(100_000)),
    "objects nested beyond reading": '{"a":' * 50_000,
}


async def _whole(socket: Socket, of: str | bytes) -> None:
    await socket.raw.send(of)


async def _fragmented(socket: Socket) -> None:
    """Each fragment is small; together they are not."""

    async def parts() -> AsyncIterator[str]:
        for _ in range(2048):
            yield "x" * 1024

    await socket.raw.send(parts())


GIANTS: dict[str, Abuse] = {
    "text": lambda socket: _whole(socket, "x" * 2 * MIB),
    "binary": lambda socket: _whole(socket, b"\0" * 2 * MIB),
    "fragments": _fragmented,
}

BROKEN: dict[str, tuple[bytes, int]] = {
    "text that is no text": (Frame(Opcode.TEXT, b"\xff\xfe\xfd").serialize(mask=True), INVALID_TEXT),
    "unmasked": (Frame(Opcode.TEXT, b"{}").serialize(mask=False), PROTOCOL_ERROR),
    "a reserved command": (b"\x83\x80\x00\x00\x00\x00", PROTOCOL_ERROR),
    "a long ping": (b"\x89\xfe\x01\x00" + b"\0" * 260, PROTOCOL_ERROR),
    "the rest of nothing": (Frame(Opcode.CONT, b"x").serialize(mask=True), PROTOCOL_ERROR),
    "noise": (b"\xf7" + os.urandom(4096), PROTOCOL_ERROR),
}

FLOODS: dict[str, str | bytes] = {
    "pings": '{"type":"ping","ref":1,"data":{}}',
    "decisions on what is not there": (
        '{"type":"decide","ref":1,"data":{"request_id":"0198c8f2-0000-7000-8000-000000000000",'
        '"decision":"approve"}}'
    ),
}


@asynccontextmanager
async def _mallory(server: Server) -> AsyncIterator[Socket]:
    """Somebody else, with every right to be there."""
    person = await in_database(lambda: Person(server, factories.user()))
    async with person.socket() as socket:
        yield socket


async def _abuse(server: Server, number: int) -> None:
    async with _mallory(server) as abusing:
        frames = [*NO_MESSAGES.values(), *FLOODS.values()]
        await _repeatedly(abusing, [frames[(number + turn) % len(frames)] for turn in range(300)])
        assert await abusing.closed() in closes(MALFORMED) | closes(FLOODING)


async def _repeatedly(socket: Socket, frames: Iterable[str | bytes]) -> None:
    async def send() -> None:
        for frame in frames:
            await socket.raw.send(frame)

    await _as_far_as_it_goes(send())


async def _as_far_as_it_goes(sending: Awaitable[None]) -> None:
    """The server may close the socket in the middle of it."""
    with suppress(ConnectionClosed):
        await sending


async def _is_closed(socket: Socket, name: str, refusal: str, code: int) -> set[str]:
    """It was refused with this, and closed with that, as far as this client got to hear it; all refusals."""
    refusals, closed = await _refusals(socket), await socket.closed()
    assert (name, closed in closes(code)) == (name, True)
    assert (name, refusal in refusals or closed == ABNORMAL) == (name, True)
    return refusals


async def _refusals(socket: Socket) -> set[str]:
    """The codes of all errors that came before the close."""
    codes = set()
    with suppress(ConnectionClosed):
        while True:
            frame = await socket.next()
            if frame["type"] == "error":
                codes.add(frame["data"]["code"])
    return codes


def _recorded(request_id: str) -> tuple[str, int, int]:
    """Its status, and how many responses and closing entries it has."""
    entries = AuditEntry.objects.filter(request_id=request_id).exclude(outcome="")
    responses = Response.objects.filter(request_id=request_id)
    return HumanRequest.objects.get(pk=request_id).status, responses.count(), entries.count()
