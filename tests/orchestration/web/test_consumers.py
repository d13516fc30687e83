"""A live run: who watches it is told the run, all that was said in order, and its end; nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth.models import Permission, User

from approvals.database.threads import in_database
from approvals.process import hints
from approvals.web.live import send_queue
from approvals.web.live.inbox import inbox_hub
from orchestration import Run, models, orchestration, queries
from orchestration.runtime import Runtime
from orchestration.web import run_reads
from orchestration.web.routing import websocket_urlpatterns
from orchestration.web.run_hub import run_hub
from orchestration.web.run_list_hub import run_list_hub
from tests import factories
from tests.connections import Closed, Connection
from tests.marks import both_databases
from tests.orchestration import watching

routes = SessionMiddlewareStack(URLRouter(websocket_urlpatterns))


async def watch(person: User, run_id: UUID) -> Connection:
    return await Connection.of(person, f"/ws/runs/{run_id}/", application=routes)


async def until_finished(connection: Connection) -> list[dict[str, Any]]:
    while not connection.frames or connection.frames[-1]["type"] != "run_finished":
        await connection.next()
    return connection.frames


def said(frames: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    told = [frame for frame in frames if frame["type"].startswith("agent_message")]
    return [(frame["type"], frame["data"]["agent"], frame["data"]["text"]) for frame in told]


def heard(frames: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What a client makes of the messages: chunks add up, a whole message ends what they began."""
    messages: list[tuple[str, str]] = []
    speaking: dict[str, int] = {}
    for kind, agent, text in said(frames):
        if kind == "agent_message_chunk":
            if agent not in speaking:
                speaking[agent] = len(messages)
                messages.append((agent, ""))
            messages[speaking[agent]] = (agent, messages[speaking[agent]][1] + text)
        elif agent in speaking:
            assert text.startswith(messages[speaking[agent]][1])
            messages[speaking.pop(agent)] = (agent, text)
        else:
            messages.append((agent, text))
    return messages


class Gate:
    """Holds a run at a point until a test lets it go on."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        await self.opened.wait()


gates: dict[str, Gate] = {}


@pytest.fixture
async def gate() -> Gate:
    gates["live"] = Gate()
    return gates["live"]


@orchestration("live_refund")
async def refund(run: Run) -> str:
    await run.say("payments", "Looking into it")
    await run.approve("Refund 12.00")
    await run.say("payments", "Refunded")
    return "done"


@orchestration("live_speech")
async def speech(run: Run) -> str:
    async with run.speaking("writer") as write:
        await write("Once upon ")
        await gates["live"].passed()
        await write("a time")
    return "told"


@orchestration("live_chatter")
async def chatter(run: Run, *, count: int) -> None:
    for number in range(count):
        await run.say("chatter", str(number))


async def test_a_run_from_start_to_end(runtime: Runtime, owner: User) -> None:
    """Hello, snapshot, the run, what was said; the request it asks, decided here; the rest, and its end."""
    run_id = await runtime.manager.astart("live_refund", {}, owner)
    request = await watching.asked(run_id)
    async with await watch(owner, run_id) as connection:
        assert (await connection.next("hello"))["data"]["user"] == "olga"
        snapshot = await connection.next("snapshot")
        assert [each["id"] for each in snapshot["data"]["requests"]] == [request["id"]]
        status = await connection.next("run_status")
        assert status["data"]["run"]["id"] == str(run_id)
        message = (await connection.next("agent_message"))["data"]
        assert (message.pop("id") > 0, message) == (True, {"agent": "payments", "text": "Looking into it"})
        await connection.say("decide", ref=1, request_id=request["id"], decision="approve")
        frames = await until_finished(connection)
        end = frames[-1]["data"]["run"]
        # Of runs and of requests two hubs tell, each in its own time.
        while not {"decision_accepted", "request_closed"} <= {frame["type"] for frame in frames}:
            await connection.next()
    assert heard(frames) == [("payments", "Looking into it"), ("payments", "Refunded")]
    assert (end["status"], end["result"]) == ("completed", "done")


@both_databases
async def test_only_the_runs_own_requests_are_shown(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_refund", {}, owner)
    request = await watching.asked(run_id)
    await in_database(factories.approval, "Another matter", assignees=[owner])
    async with await watch(owner, run_id) as connection:
        await connection.opened()
        assert list(connection.requests) == [request["id"]]
        await in_database(factories.approval, "And another", assignees=[owner])
        await connection.say("decide", ref=1, request_id=request["id"], decision="approve")
        frames = await until_finished(connection)
    assert "request_opened" not in {frame["type"] for frame in frames}


@both_databases
async def test_a_finished_run_is_told_whole(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_chatter", {"count": 3}, owner)
    await watching.finished(run_id)
    async with await watch(owner, run_id) as connection:
        frames = await until_finished(connection)
    kinds = [frame["type"] for frame in frames]
    assert kinds == ["hello", "snapshot", "run_status", *["agent_message"] * 3, "run_finished"]


@both_databases
async def test_who_has_read_the_beginning_hears_the_rest(runtime: Runtime, owner: User) -> None:
    """A page that shows the last messages of a long run asks for those alone."""
    run_id = await runtime.manager.astart("live_chatter", {"count": 5}, owner)
    await watching.finished(run_id)
    ids = [message.pk for message in await in_database(queries.messages_of, run_id)]
    for after, count in ((ids[2], 2), (ids[4], 0), (0, 5), ("x", 5), ("9" * 30, 5)):
        path = f"/ws/runs/{run_id}/?after={after}"
        async with await Connection.of(owner, path, application=routes) as connection:
            frames = await until_finished(connection)
        assert [frame["data"]["id"] for frame in frames if frame["type"] == "agent_message"] == ids[-count:][
            :count
        ]


@orchestration("live_steps")
async def steps(run: Run) -> None:
    await run.step("look", str)
    await gates["live"].passed()
    await run.step("look again", str)
    await gates["later"].passed()


@both_databases
async def test_what_is_recorded_is_told_although_the_run_is_as_it_was(
    runtime: Runtime, owner: User, gate: Gate
) -> None:
    """For pages that show its steps."""
    gates["later"] = Gate()
    run_id = await runtime.manager.astart("live_steps", {}, owner)
    await watching.until_recorded(lambda: bool(queries.run_by_id(run_id).recorded_at))
    async with await watch(owner, run_id) as connection:
        while not connection.frames or connection.frames[-1]["type"] != "run_status":
            await connection.next()
        gate.opened.set()
        while connection.frames[-1]["type"] != "run_recorded":
            await connection.next()
        gates["later"].opened.set()
        await until_finished(connection)


async def test_a_message_grows_in_chunks_and_ends_whole(runtime: Runtime, owner: User, gate: Gate) -> None:
    run_id = await runtime.manager.astart("live_speech", {}, owner)
    async with await watch(owner, run_id) as connection:
        await connection.opened()
        while not said(connection.frames):
            await connection.next()
        gate.opened.set()
        frames = await until_finished(connection)
    assert said(frames)[0] == ("agent_message_chunk", "writer", "Once upon ")
    assert said(frames)[-1] == ("agent_message", "writer", "Once upon a time")
    assert heard(frames) == [("writer", "Once upon a time")]


@both_databases
async def test_who_comes_in_the_middle_hears_what_was_said_so_far(
    runtime: Runtime, owner: User, gate: Gate
) -> None:
    run_id = await runtime.manager.astart("live_speech", {}, owner)
    async with await watch(owner, run_id) as first:
        while not said(first.frames):
            await first.next()
        async with await watch(owner, run_id) as second:
            while not said(second.frames):
                await second.next()
            gate.opened.set()
            assert heard(await until_finished(second)) == heard(await until_finished(first))
            assert said(second.frames)[0] == ("agent_message_chunk", "writer", "Once upon ")


@both_databases
async def test_a_long_run_is_told_in_order_and_whole(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several readings, each a bounded piece, whoever else is served in between."""
    monkeypatch.setattr(run_reads, "MESSAGES_AT_ONCE", 4)
    run_id = await runtime.manager.astart("live_chatter", {"count": 18}, owner)
    async with await watch(owner, run_id) as early:
        await watching.finished(run_id)
        async with await watch(owner, run_id) as late:
            expected = [("chatter", str(number)) for number in range(18)]
            assert heard(await until_finished(late)) == expected
            assert heard(await until_finished(early)) == expected


@orchestration("live_epic")
async def epic(run: Run, *, text: str) -> str:
    await run.say("poet", "Hear")
    await run.say("poet", text)
    async with run.speaking("poet") as speak:
        await speak(text)
    await run.say("poet", "The end")
    return text


async def test_what_is_long_is_told_in_frames_that_fit(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long message in chunks, a large run as a summary; a slow reader goes on where it stopped."""
    monkeypatch.setattr(send_queue, "CHARACTERS", 100_000)
    text = "\U0001f600" * 99_000
    run_id = await runtime.manager.astart("live_epic", {"text": text}, owner)
    async with await watch(owner, run_id) as early:
        await watching.finished(run_id)
        async with await watch(owner, run_id) as late:
            for connection in (early, late):
                frames = await until_finished(connection)
                assert told(frames) == ["Hear", text, text, "The end"]
                end = frames[-1]["data"]["run"]
                assert (end["id"], end["status"], end["summary"]) == (str(run_id), "completed", True)
                assert not end.keys() & {"input", "plan", "result", "error", "waiting_for"}


def told(frames: list[dict[str, Any]]) -> list[str]:
    """What a client makes of long messages, of one agent: a summary ends what the chunks have told."""
    texts, chunks = [], ""
    for frame in frames:
        if frame["type"] == "agent_message_chunk":
            chunks += frame["data"]["text"]
        elif frame["type"] == "agent_message":
            summary = frame["data"].get("summary", False)
            assert chunks.startswith(frame["data"]["text"]) or not summary
            texts.append(chunks if summary else frame["data"]["text"])
            chunks = ""
    return texts


async def test_a_large_run_is_told_whenever_it_changes(runtime: Runtime, owner: User) -> None:
    """Also where nothing differs of its summary."""
    run_id = await runtime.manager.astart("live_epic", {"text": "x" * 20_000}, owner)
    await watching.finished(run_id)
    async with await watch(owner, run_id) as connection:
        await until_finished(connection)
        await in_database(change_result, run_id)
        hints.send("runs", [run_id])
        assert (await connection.next("run_status"))["data"]["run"]["summary"]


def change_result(run_id: UUID) -> None:
    models.Run.objects.filter(pk=run_id).update(result="y" * 20_000)


@both_databases
async def test_a_slow_reader_hears_everything_once(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the outbox has no room for is read again once it is drained."""
    monkeypatch.setattr(send_queue, "FRAMES", 2)
    run_id = await runtime.manager.astart("live_chatter", {"count": 18}, owner)
    await watching.finished(run_id)
    async with await watch(owner, run_id) as connection:
        frames = await until_finished(connection)
    assert heard(frames) == [("chatter", str(number)) for number in range(18)]


@both_databases
async def test_hints_that_come_twice_or_for_nothing_change_nothing(
    runtime: Runtime, owner: User, gate: Gate
) -> None:
    run_id = await runtime.manager.astart("live_speech", {}, owner)
    async with await watch(owner, run_id) as connection:
        while not said(connection.frames):
            await connection.next()
        for _ in range(5):
            await run_hub().look(frozenset({run_id, uuid4()}))
            await run_hub().look_everywhere()
        gate.opened.set()
        frames = await until_finished(connection)
    assert heard(frames) == [("writer", "Once upon a time")]
    statuses = [frame["data"]["run"] for frame in frames if frame["type"] == "run_status"]
    assert all(before != after for before, after in pairwise(statuses))


# Who may watch


async def closed_as_unknown(connection: Connection) -> bool:
    code = await connection.until_closed()
    errors = [frame["data"]["code"] for frame in connection.frames if frame["type"] == "error"]
    return (code, errors) == (4404, ["unknown_run"])


@both_databases
async def test_a_run_that_may_not_be_seen_does_not_exist(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
    stranger = await in_database(factories.user)
    for id_ in (run_id, uuid4()):
        async with await watch(stranger, id_) as connection:
            assert await closed_as_unknown(connection)
            assert "olga" not in str(connection.frames)
            assert not said(connection.frames)


@both_databases
async def test_who_may_see_all_runs_may_watch_them(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
    auditor = await in_database(factories.user, may=("view_run",))
    async with await watch(auditor, run_id) as connection:
        assert heard(await until_finished(connection)) == [("chatter", "0")]


@pytest.mark.one_stack
async def test_without_a_session_nothing_is_told(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
    async with Connection("", f"/ws/runs/{run_id}/", application=routes) as connection:
        with pytest.raises(Closed) as closed:
            await connection.next()
        assert closed.value.code == 4401


def give_up_permission(person: User) -> None:
    person.user_permissions.remove(Permission.objects.get(codename="view_run"))


@both_databases
@pytest.mark.parametrize("noticed_by", ["event", "check"])
async def test_permission_that_was_taken_away_ends_the_watching(
    runtime: Runtime, owner: User, gate: Gate, noticed_by: str
) -> None:
    run_id = await runtime.manager.astart("live_speech", {}, owner)
    auditor = await in_database(factories.user, may=("view_run",))
    async with await watch(auditor, run_id) as connection:
        while not said(connection.frames):
            await connection.next()
        await in_database(give_up_permission, auditor)
        if noticed_by == "event":
            gate.opened.set()
        else:
            run_hub().check_everybody()
        assert await closed_as_unknown(connection)
        assert said(connection.frames) == [("agent_message_chunk", "writer", "Once upon ")]
    gate.opened.set()
    await watching.finished(run_id)


def change_password(person: User) -> None:
    person.set_password("another")
    person.save()


def deactivate(person: User) -> None:
    person.is_active = False
    person.save()


@both_databases
@pytest.mark.parametrize("end", [change_password, deactivate])
async def test_a_session_that_is_over_is_told_nothing(
    runtime: Runtime, owner: User, gate: Gate, end: Callable[[User], None]
) -> None:
    run_id = await runtime.manager.astart("live_speech", {}, owner)
    async with await watch(owner, run_id) as connection:
        while not said(connection.frames):
            await connection.next()
        await in_database(end, owner)
        gate.opened.set()
        assert await connection.until_closed() == 4401
        assert said(connection.frames) == [("agent_message_chunk", "writer", "Once upon ")]
    gate.opened.set()
    await watching.finished(run_id)


@both_databases
async def test_the_hubs_rest_when_nobody_watches(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
    for _ in range(2):
        async with await watch(owner, run_id) as connection:
            await until_finished(connection)
    assert not run_hub()._watching
    assert not run_hub()._seats
    assert not inbox_hub()._seats
    assert (await in_database(queries.run_by_id, run_id)).status == "completed"


# The list of runs


async def until_told(connection: Connection, run_id: UUID) -> int:
    """The number of frames that told of this run, the last one being the first of them."""
    while str(run_id) not in connection.frames[-1]["data"].get("ids", ()):
        await connection.next()
    return sum(str(run_id) in frame["data"].get("ids", ()) for frame in connection.frames)


@both_databases
async def test_a_list_is_told_of_runs_that_are_new_or_in_another_state(
    runtime: Runtime, owner: User, gate: Gate
) -> None:
    """Of those that its reader may see, and not of all that happens in them."""
    other = await in_database(factories.user)
    async with await Connection.of(owner, "/ws/runs/", application=routes) as connection:
        assert (await connection.next("hello"))["data"]["user"] == "olga"
        assert (await connection.next("snapshot"))["data"]["requests"] == []
        assert (await connection.next("runs_changed"))["data"]["ids"] == []
        foreign = await runtime.manager.astart("live_chatter", {"count": 5}, other)
        await watching.finished(foreign)
        run_id = await runtime.manager.astart("live_speech", {}, owner)
        await until_told(connection, run_id)
        gate.opened.set()
        await watching.finished(run_id)
        last = await runtime.manager.astart("live_chatter", {"count": 5}, owner)
        await watching.finished(last)
        await until_told(connection, last)
        told = [id_ for frame in connection.frames for id_ in frame["data"].get("ids", ())]
    assert str(foreign) not in told
    assert told.count(str(run_id)) <= 3  # queued or running, then completed
    assert {kind["type"] for kind in connection.frames} == {"hello", "snapshot", "runs_changed"}


@both_databases
async def test_a_list_whose_reader_has_lost_the_permission_is_told_no_more(
    runtime: Runtime, owner: User
) -> None:
    auditor = await in_database(factories.user, may=("view_run",))
    async with await Connection.of(auditor, "/ws/runs/", application=routes) as connection:
        await connection.opened()
        first = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
        await until_told(connection, first)
        await in_database(give_up_permission, auditor)
        hidden = await runtime.manager.astart("live_chatter", {"count": 1}, owner)
        await watching.finished(hidden)
        own = await runtime.manager.astart("live_chatter", {"count": 1}, auditor)
        await until_told(connection, own)
        assert str(hidden) not in str(connection.frames)


@both_databases
@pytest.mark.parametrize("end", [change_password, deactivate])
async def test_a_list_is_closed_with_its_session(
    runtime: Runtime, owner: User, end: Callable[[User], None]
) -> None:
    async with await Connection.of(owner, "/ws/runs/", application=routes) as connection:
        await connection.next("hello")
        await connection.next("snapshot")
        await connection.next("runs_changed")
        await in_database(end, owner)
        run_list_hub().check_everybody()
        assert await connection.until_closed() == 4401
