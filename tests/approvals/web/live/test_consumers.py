"""A live connection: what its client may do, and that nothing it does wrong costs anybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.web.edge.fair_shares import BURST, Share, of_accounts
from approvals.web.live import consumers, send_queue
from approvals.web.live.consumers import ACTS_AT_ONCE, InboxConsumer
from approvals.web.live.inbox import inbox_hub
from tests import factories
from tests.connections import Closed, Connection, session_of

pytestmark = pytest.mark.django_db

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


async def made(factory: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return await in_database(factory, *args, **fields)


async def trail(request: str) -> list[queries.TimelineEntry]:
    def read() -> list[queries.TimelineEntry]:
        return queries.history(queries.requests_by_id([request])[0])

    return await in_database(read)


async def answer_to(connection: Connection, ref: Any) -> dict[str, Any]:
    """The next frame that answers `ref`; events in between are only noted."""
    while (frame := await connection.next())["ref"] != ref:
        pass
    return frame


# What a client may do


async def test_a_decision_is_carried_out_and_its_outcome_returned() -> None:
    ada = await made(factories.user, "ada")
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say("decide", ref="a1", request_id=request, decision="approve", comment="Fine")
        accepted = await answer_to(connection, "a1")
    assert accepted["type"] == "decision_accepted"
    assert accepted["data"]["outcome"]["status"] == "approved"
    assert accepted["data"]["outcome"]["decided_by"] == "ada"
    entry = (await trail(request))[-1]
    assert (entry.event, entry.actor, entry.channel, entry.address) == (
        "decided",
        "ada",
        "websocket",
        "127.0.0.1",
    )


async def test_an_answer_is_carried_out() -> None:
    ada = await made(factories.user)
    request = await made(factories.clarification, choices=["a", "b"], multiple=True, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say("answer", ref=2, request_id=request, answer=["b"])
        assert (await answer_to(connection, 2))["data"]["outcome"]["answer"] == ["b"]


async def test_edited_arguments_are_kept() -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, arguments={"amount": "9"}, editable=True, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say(
            "decide", ref=1, request_id=request, decision="approve", arguments={"amount": "8"}
        )
        assert (await answer_to(connection, 1))["data"]["outcome"]["arguments"] == {"amount": "8"}


@pytest.mark.one_stack
async def test_a_ping_is_answered() -> None:
    async with await Connection.of(await made(factories.user)) as connection:
        await connection.opened()
        await connection.say("ping", ref="beat")
        assert await connection.next() == {"type": "pong", "ref": "beat", "data": {}}


async def test_who_comes_second_learns_who_was_first() -> None:
    ada, bob = await made(factories.user, "ada"), await made(factories.user)
    request = await made(factories.approval, assignees=[ada, bob])
    await deciding.adecide(factories.actor(ada), request, "reject")
    async with await Connection.of(bob) as connection:
        await connection.opened()
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        error = (await answer_to(connection, 1))["data"]
    assert error["code"] == "already_decided"
    assert error["outcome"]["decided_by"] == "ada"


@pytest.mark.parametrize("request_id", [UNKNOWN_ID, "1", "", "x" * 10_000, "\ud800", "a\0b"])
async def test_what_does_not_exist_is_unknown(request_id: str) -> None:
    async with await Connection.of(await made(factories.user)) as connection:
        await connection.opened()
        await connection.say("decide", ref=1, request_id=request_id, decision="approve")
        assert (await connection.next("error"))["data"]["code"] == "unknown_request"
        await connection.say("answer", ref=2, request_id=request_id, answer="x")
        assert (await connection.next("error"))["data"]["code"] == "unknown_request"


async def test_what_may_not_be_seen_is_unknown_too() -> None:
    stranger = await made(factories.user)
    request = await made(factories.approval, assignees=[await made(factories.user)])
    async with await Connection.of(stranger) as connection:
        assert await connection.opened() == {"requests": []}
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert (await connection.next("error"))["data"]["code"] == "unknown_request"


async def test_who_may_see_but_not_decide_is_told_so() -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, requester=ada, assignees=[await made(factories.user)])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert (await answer_to(connection, 1))["data"]["code"] == "not_permitted"
    assert (await trail(request))[-1].event == "refused"


@pytest.mark.one_stack
@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("decide", {"decision": "perhaps"}, "decision"),
        ("decide", {"decision": "approve", "comment": "a\0b"}, "comment"),
        ("decide", {"decision": "approve", "comment": "\ud800"}, "comment"),
        ("decide", {"decision": "approve", "arguments": {"a": 1}}, "arguments"),
        ("decide", {"decision": "approve", "arguments": {"wei": 1e18}}, "arguments.wei"),
    ],
)
async def test_what_breaks_a_rule_is_refused_with_its_field(
    kind: str, data: dict[str, Any], field: str
) -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say(kind, ref=1, request_id=request, **data)
        error = (await answer_to(connection, 1))["data"]
    assert (error["code"], error["field"]) == ("invalid", field)
    assert (await in_database(queries.requests_by_id, [request]))[0].status == "pending"


@pytest.mark.one_stack
async def test_an_answer_nested_too_deeply_is_refused() -> None:
    ada = await made(factories.user)
    request = await made(factories.clarification, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        deep = "[" * 500 + "]" * 500
        await connection.send(
            f'{{"type":"answer","ref":1,"data":{{"request_id":"{request}","answer":{deep}}}}}'
        )
        error = (await answer_to(connection, 1))["data"]
    assert error["code"] == "invalid"
    assert error["field"].startswith("answer")


async def test_a_decision_is_carried_out_though_its_client_has_left() -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.say("decide", ref=1, request_id=request, decision="approve")
    assert (await in_database(queries.requests_by_id, [request]))[0].status == "approved"


async def test_events_come_while_decisions_are_under_way() -> None:
    """Eight at most; the ninth is told to wait, and events are not held up."""
    ada = await made(factories.user)
    requests = [await made(factories.approval, assignees=[ada]) for _ in range(ACTS_AT_ONCE + 1)]
    async with await Connection.of(ada) as connection:
        await connection.opened()
        for number, request in enumerate(requests):
            await connection.say("decide", ref=number, request_id=request, decision="approve")
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < len(requests):
            frame = await connection.next()
            if frame["ref"] is not None:
                answers[frame["ref"]] = frame
        assert answers[ACTS_AT_ONCE]["data"]["code"] == "busy"
        accepted = [answers[number]["type"] for number in range(ACTS_AT_ONCE)]
        assert accepted == ["decision_accepted"] * ACTS_AT_ONCE
        await connection.say("decide", ref="again", request_id=requests[-1], decision="approve")
        assert (await answer_to(connection, "again"))["type"] == "decision_accepted"


@pytest.mark.one_stack
async def test_when_all_connections_together_do_much_the_next_decision_is_told_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits for the database's few threads is bounded; afterwards there is room again."""
    ada = await made(factories.user)
    one, other = [await made(factories.approval, assignees=[ada]) for _ in range(2)]
    monkeypatch.setattr(consumers, "ACTS_OF_ALL", 1)
    async with await Connection.of(ada) as first, await Connection.of(ada) as second:
        await first.opened()
        await second.opened()
        await first.say("decide", ref=1, request_id=one, decision="approve")
        await first.say("decide", ref=2, request_id=other, decision="approve")
        assert (await answer_to(first, 2))["data"]["code"] == "busy"
        while "decision_accepted" not in [frame["type"] for frame in first.frames]:
            await first.next()
        await second.say("decide", ref=3, request_id=other, decision="approve")
        assert (await answer_to(second, 3))["type"] == "decision_accepted"


@pytest.mark.one_stack
async def test_what_a_user_says_counts_on_all_connections_together(settings: Settings) -> None:
    settings.SAYSO_RATE_LIMIT = 0.0001  # one, and the next in hours
    ada, bob = await made(factories.user), await made(factories.user)
    async with (
        await Connection.of(ada) as one,
        await Connection.of(ada) as two,
        await Connection.of(bob) as his,
    ):
        for connection in (one, two, his):
            await connection.opened()
        for connection, kind in ((one, "pong"), (two, "error"), (one, "error"), (his, "pong")):
            await connection.say("ping", ref=1)
            frame = await connection.next(kind)
            assert kind == "pong" or frame["data"]["code"] == "rate_limited"


@pytest.mark.one_stack
async def test_who_has_used_much_goes_one_at_a_time_on_connections_too() -> None:
    """An act on a connection waits for the account's others, by whatever way; nobody else's does."""
    ada, bob = await made(factories.user), await made(factories.user)
    hers, his = [await made(factories.approval, assignees=[user]) for user in (ada, bob)]
    async with await Connection.of(ada) as slow, await Connection.of(bob) as quick:
        await slow.opened()
        await quick.opened()
        share = of_accounts().of(ada.pk)
        share.charge(2 * BURST)
        share._rested = 0.0
        async with share.turn():
            await slow.say("decide", ref=1, request_id=hers, decision="approve")
            await quick.say("decide", ref=2, request_id=his, decision="approve")
            assert (await answer_to(quick, 2))["type"] == "decision_accepted"
            assert "decision_accepted" not in [frame["type"] for frame in slow.frames]
        assert (await answer_to(slow, 1))["type"] == "decision_accepted"


@pytest.mark.one_stack
async def test_what_checking_an_answer_takes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []
    monkeypatch.setattr(Share, "charge", lambda _, seconds: counted.append(seconds))
    ada = await made(factories.user)
    schema = {"type": "array", "items": {"anyOf": [{"const": number} for number in range(100)]}}
    request = await made(factories.clarification, schema=schema, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        for ref, answer in enumerate([[0], [99] * 300]):
            await connection.say("answer", ref=ref, request_id=UNKNOWN_ID, answer=answer)
            await answer_to(connection, ref)
        await connection.say("answer", ref=9, request_id=request, answer=[99] * 300)
        assert (await answer_to(connection, 9))["type"] == "decision_accepted"
    assert len(counted) == 3
    assert counted[2] > 2 * max(counted[:2])


@pytest.mark.one_stack
async def test_a_user_may_have_so_many_connections(settings: Settings) -> None:
    """One more is told why; when one is given up, there is room again."""
    settings.SAYSO_SOCKETS_PER_USER = 1
    ada, bob = await made(factories.user), await made(factories.user)
    async with await Connection.of(ada) as first:
        await first.opened()
        async with await Connection.of(ada) as second:
            assert (await second.next("error"))["data"]["code"] == "rate_limited"
            assert await second.until_closed() == 4429
        async with await Connection.of(bob) as his:
            await his.opened()
    async with await Connection.of(ada) as third:
        await third.opened()


# Sessions and users that change while a connection is open


def log_out(ada: User, session_key: str) -> None:
    client = Client()
    client.cookies["sessionid"] = session_key
    client.logout()


def expire(ada: User, session_key: str) -> None:
    Session.objects.filter(pk=session_key).update(expire_date=timezone.now() - timedelta(seconds=1))


def change_password(ada: User, session_key: str) -> None:
    ada.set_password("another")
    ada.save()


def deactivate(ada: User, session_key: str) -> None:
    ada.is_active = False
    ada.save()


ENDS = [log_out, expire, change_password, deactivate]


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_that_is_over_decides_nothing(end: Callable[[User, str], None]) -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(end, ada, connection.session_key)
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert await connection.until_closed() == 4401
    refusals = [frame["data"]["code"] for frame in connection.frames if frame["type"] == "error"]
    assert refusals in ([], ["unauthenticated"])  # none: an event found it out first
    assert (await in_database(queries.requests_by_id, [request]))[0].status == "pending"


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_that_is_over_gets_no_event(end: Callable[[User, str], None]) -> None:
    """What would have been told closes the connection instead."""
    ada = await made(factories.user, may=("view_humanrequest",))
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(end, ada, connection.session_key)
        await made(factories.approval)
        with pytest.raises(Closed) as closed:
            await connection.next()
        assert closed.value.code == 4401


@pytest.mark.parametrize("end", ENDS)
async def test_a_session_that_is_over_is_found_out_by_the_regular_check(
    end: Callable[[User, str], None],
) -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(end, ada, connection.session_key)
        inbox_hub().check_everybody()
        assert await connection.until_closed() == 4401


async def test_only_the_session_that_is_over_is_closed() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as gone, await Connection.of(ada) as other:
        await gone.opened()
        await other.opened()
        await in_database(log_out, ada, gone.session_key)
        await made(factories.approval, assignees=[ada])
        await other.next("request_opened")
        assert await gone.until_closed() == 4401


async def test_permission_that_was_taken_away_decides_nothing() -> None:
    ada = await made(factories.reviewer)
    request = await made(factories.approval, requester=ada)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(ada.user_permissions.clear)
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert (await answer_to(connection, 1))["data"]["code"] == "not_permitted"


async def test_permission_that_was_taken_away_gets_no_event() -> None:
    ada = await made(factories.reviewer)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(ada.user_permissions.clear)
        await made(factories.approval, "Not for her eyes")
        for_her = await made(factories.approval, assignees=[ada])
        while for_her not in connection.requests:
            frame = await connection.next()
            assert "Not for her eyes" not in json.dumps(frame)


# Who is let in


@pytest.mark.one_stack
@pytest.mark.parametrize("session_key", ["", "short", "x" * 32, "\\", "a" * 5000])
async def test_without_a_session_the_connection_is_closed(session_key: str) -> None:
    """Accepted first: a browser learns the code of a close only from an open connection."""
    async with Connection(session_key) as connection:
        with pytest.raises(Closed) as closed:
            await connection.next()
        assert closed.value.code == 4401


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_a_session_key_that_can_be_none_closes_its_own_connection_only() -> None:
    """PostgreSQL takes no text with a NUL, which a cookie can hold."""
    ada = await in_database(factories.user)
    async with await Connection.of(ada) as hers, Connection('"\\000 is no key"') as connection:
        assert await connection.until_closed() == 4401
        await hers.opened()
        await in_database(factories.approval, assignees=[ada])
        await hers.next("request_opened")


@pytest.mark.one_stack
async def test_an_anonymous_session_is_closed() -> None:
    def anonymous() -> str:
        session = Client().session
        session["visited"] = True
        session.save()
        return str(session.session_key)

    async with Connection(await in_database(anonymous)) as connection:
        assert await connection.until_closed() == 4401


@pytest.mark.one_stack
@pytest.mark.filterwarnings("ignore:No directory at")  # WhiteNoise, where nothing was collected
@pytest.mark.parametrize(
    "origin",
    [None, b"null", b"", b"https://evil.example", b"http://localhost.evil.example", b"http://localhost:1"],
)
async def test_foreign_null_and_missing_origins_are_refused(origin: bytes | None) -> None:
    from config.asgi import application

    key = await in_database(session_of, await made(factories.user))
    headers = ((b"host", b"localhost:8000"), *([(b"origin", origin)] if origin is not None else []))
    with pytest.raises(Closed):
        async with Connection(key, application=application, headers=headers):
            pass


@pytest.mark.one_stack
@pytest.mark.filterwarnings("ignore:No directory at")
async def test_the_sites_own_pages_are_let_in() -> None:
    from config.asgi import application

    key = await in_database(session_of, await made(factories.user))
    headers = ((b"host", b"localhost:8000"), (b"origin", b"http://localhost:8000"))
    async with Connection(key, application=application, headers=headers) as connection:
        await connection.opened()


# What hurts only its own connection

HOSTILE = [
    "",
    "{",
    "nonsense",
    b"\x00\xff",
    "[" * 100_000,
    '{"type":' * 50_000,
    '{"type": "ping", "ref": ' + "[" * 900 + "]" * 900 + "}",
    '{"type": "decide", "data": {}}',
    '{"type": "__init__", "data": {}}',
    '{"type": "websocket.disconnect"}',
]


@pytest.mark.one_stack
@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: repr(frame[:20]))
async def test_a_malformed_frame_is_answered_with_an_error(frame: str | bytes) -> None:
    async with await Connection.of(await made(factories.user)) as connection:
        await connection.opened()
        await connection.send(frame)
        assert (await connection.next("error"))["data"]["code"] == "invalid"
        await connection.say("ping", ref=1)
        assert (await connection.next("pong"))["ref"] == 1


@pytest.mark.one_stack
async def test_a_frame_of_two_mebibytes_is_refused() -> None:
    async with await Connection.of(await made(factories.user)) as connection:
        await connection.opened()
        await connection.send(json.dumps({"type": "ping", "ref": "x" * 2_097_152, "data": {}}))
        assert (await connection.next("error"))["data"]["code"] == "invalid"


@pytest.mark.one_stack
async def test_abuse_closes_its_own_connection_and_no_other() -> None:
    ada, mallory = await made(factories.user), await made(factories.user)
    async with await Connection.of(mallory) as abusing, await Connection.of(ada) as connection:
        await abusing.opened()
        await connection.opened()
        for _ in range(11):
            await abusing.send("nonsense")
        assert await abusing.until_closed() == 4400
        await made(factories.approval, assignees=[ada])
        await connection.next("request_opened")
        await connection.say("ping", ref=1)
        await connection.next("pong")


@pytest.mark.one_stack
async def test_flooding_is_slowed_and_then_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "FRAMES_A_SECOND", 0.001)
    ada, mallory = await made(factories.user), await made(factories.user)
    async with await Connection.of(mallory) as flooding, await Connection.of(ada) as connection:
        await flooding.opened()
        await connection.opened()
        for number in range(1000):
            await flooding.say("ping", ref=number)
        assert await flooding.until_closed() == 4429
        kinds = [frame["data"].get("code", frame["type"]) for frame in flooding.frames]
        assert kinds.count("pong") == consumers.FRAMES_AT_ONCE
        assert kinds.count("rate_limited") == 21
        await connection.say("ping", ref=1)
        await connection.next("pong")


@pytest.mark.one_stack
async def test_large_frames_cost_more_of_the_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "FRAMES_A_SECOND", 0.001)
    async with await Connection.of(await made(factories.user)) as connection:
        await connection.opened()
        large = json.dumps({"type": "ping", "ref": 1, "data": {"padding": "x" * 1_000_000}})
        codes = []
        for _ in range(5):
            await connection.send(large)
            codes.append((await connection.next("error"))["data"]["code"])
    assert codes[:3] == ["invalid"] * 3
    assert "rate_limited" in codes


class SlowReader:
    """A connection whose client reads nothing until it is told to."""

    def __init__(self, session_key: str) -> None:
        self.consumer = InboxConsumer()
        self.reads = asyncio.Event()
        self.arrived = asyncio.Event()
        self.frames: list[dict[str, Any]] = []
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._scope = {"type": "websocket", "session": Session(session_key=session_key), "headers": []}

    async def run(self) -> None:
        self.said.put_nowait({"type": "websocket.connect"})
        await self.consumer(self._scope, self.said.get, self._send)

    async def _send(self, message: Any) -> None:
        if "text" in message:
            frame = json.loads(message["text"])
            if frame["type"] == "request_opened":
                await self.reads.wait()
            self.frames.append(frame)
        self.arrived.set()

    async def frame(self, kind: str) -> dict[str, Any]:
        """Wait until a frame of this kind arrives."""
        while not (found := [frame for frame in self.frames if frame["type"] == kind]):
            self.arrived.clear()
            await self.arrived.wait()
        return found[-1]


@pytest.mark.one_stack
async def test_a_slow_reader_costs_little_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """News beyond the bound are dropped; once it reads again it gets a snapshot instead."""
    monkeypatch.setattr(send_queue, "FRAMES", 3)
    ada = await made(factories.user)
    slow = SlowReader(await in_database(session_of, ada))
    running = asyncio.create_task(slow.run())
    await slow.frame("snapshot")
    async with await Connection.of(ada) as witness:
        await witness.opened()
        for _ in range(12):
            await made(factories.approval, assignees=[ada])
            await witness.next("request_opened")
        inbox_hub().check_everybody()
        assert len(slow.consumer.outbox._queue) <= 3
        slow.frames.clear()
        slow.reads.set()
        snapshot = await slow.frame("snapshot")
        assert {request["id"] for request in snapshot["data"]["requests"]} == set(witness.requests)
    slow.said.put_nowait({"type": "websocket.disconnect"})
    await running


@pytest.mark.one_stack
async def test_a_client_that_asks_without_reading_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_queue, "FRAMES", 3)
    monkeypatch.setattr(send_queue, "ANSWERS", 5)
    ada = await made(factories.user)
    slow = SlowReader(await in_database(session_of, ada))
    running = asyncio.create_task(slow.run())
    await slow.frame("snapshot")
    async with await Connection.of(ada) as witness:
        await witness.opened()
        await made(factories.approval, assignees=[ada])
        await witness.next("request_opened")
        for number in range(20):
            slow.said.put_nowait(
                {"type": "websocket.receive", "text": json.dumps({"type": "ping", "ref": number})}
            )
        slow.said.put_nowait({"type": "websocket.disconnect"})
        await running
    assert slow.consumer.outbox.closing
    assert [frame for frame in slow.frames if frame["type"] == "pong"] == []


async def test_a_connection_that_can_not_be_sent_something_is_closed() -> None:
    """Otherwise its client would take it for live, and what it decides there would be lost."""
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        if message.get("text") == "too large":
            raise ValueError("exceeds the payload limit")
        said.append(message)

    box = send_queue.Outbox(send)
    box.accept()
    box.tell("news")
    box.tell("too large", "more")
    drained = asyncio.Event()
    box.when_drained(drained.set)
    await drained.wait()
    assert box.closing
    assert [message.get("text", message["type"]) for message in said] == [
        "websocket.accept",
        "news",
        "websocket.close",
    ]
    assert said[-1]["code"] == 1011


async def test_nothing_is_said_of_a_connection_that_is_gone() -> None:
    async def send(message: Any) -> None:
        raise ConnectionError("the client is gone")

    box = send_queue.Outbox(send)
    box.tell("news")
    drained = asyncio.Event()
    box.when_drained(drained.set)
    await drained.wait()
    assert box.closing
