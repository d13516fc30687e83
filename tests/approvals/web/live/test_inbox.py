"""The live inbox: snapshot and events always equal a fresh snapshot, for each person's eyes only."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection as db_connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding, delegations, queries
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Escalate, Expire
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import ApprovalError
from approvals.models import Delegation, HumanRequest
from approvals.process import hints
from approvals.queries.serialization import LARGE_IN_REQUEST
from approvals.waiting.waiting_room import waiting_room
from approvals.web.live import inbox, inbox_reads, protocol
from approvals.web.live.inbox import inbox_hub
from approvals.writer import queue
from tests import factories
from tests.connections import Connection, session_of
from tests.effort import TIMES
from tests.servers import PostgresServer

pytestmark = pytest.mark.django_db

NOTHING = {"requests": [], "more": False}


@pytest.fixture(autouse=True)
def no_recheck(settings: Any) -> None:
    """The re-check would make good, a little later, what the hub itself has missed."""
    settings.SAYSO_RECHECK_INTERVAL = 600.0


async def made(factory: Any, *args: Any, **fields: Any) -> Any:
    return await in_database(factory, *args, **fields)


async def fresh(person: User) -> dict[str, Any]:
    """What a connection opened now would show."""
    async with await Connection.of(person) as connection:
        await connection.opened()
        return connection.requests


async def until_fresh(connection: Connection, person: User) -> None:
    """Read until the list equals a fresh snapshot."""
    expected = await fresh(person)
    while connection.partial or connection.requests != expected:
        await connection.next()


async def settled(*connections: tuple[Connection, User]) -> None:
    """Read until each list equals a fresh snapshot; then nothing more comes before the next request."""
    for connection, person in connections:
        await until_fresh(connection, person)
    for connection, person in connections:
        before = len(connection.frames)
        last = await made(factories.approval, "The last one", assignees=[person])
        await until_fresh(connection, person)
        await deciding.awithdraw(Actor.program(), last)
        await until_fresh(connection, person)
        kinds = [frame["type"] for frame in connection.frames[before:]]
        cut = len(connection.requests) >= inbox_reads.SNAPSHOT_REQUESTS - 1
        # Those of others come, too.
        assert cut or kinds == ["request_opened", "request_closed"] * (len(kinds) // 2)
    for connection, person in connections:
        assert connection.requests == await fresh(person)


async def test_hello_then_the_pending_requests_in_the_inboxs_order() -> None:
    ada = await made(factories.user, "ada")
    later = await made(factories.approval, timeout=900.0, assignees=[ada])
    sooner = await made(factories.approval, timeout=300.0, assignees=[ada])
    never = await made(factories.clarification, timeout=None, requester=ada)
    await made(factories.approval, "Not for her", assignees=[await made(factories.user)])
    async with await Connection.of(ada) as connection:
        hello = await connection.next("hello")
        snapshot = await connection.next("snapshot")
    assert hello["data"]["user"] == "ada"
    assert hello["data"]["protocol"] == 1
    assert hello["data"]["server_time"].endswith("Z")
    assert [request["id"] for request in snapshot["data"]["requests"]] == [sooner, later, never]
    rows = await in_database(queries.requests_by_id, [sooner])
    assert snapshot["data"]["requests"][0] == await in_database(queries.on_the_wire, rows[0])


@pytest.mark.every_stack
async def test_a_request_appears_and_closes_with_its_outcome() -> None:
    ada = await made(factories.user, "ada")
    async with await Connection.of(ada) as connection:
        assert await connection.opened() == {"requests": []}
        request = await made(factories.approval, assignees=[ada])
        opened = await connection.next("request_opened")
        assert opened["ref"] is None
        assert opened["data"]["request"]["id"] == request
        await deciding.adecide(factories.actor(ada), request, "reject", comment="Too much")
        closed = (await connection.next("request_closed"))["data"]
    assert closed["request"]["status"] == closed["outcome"]["status"] == "rejected"
    assert closed["outcome"]["comment"] == "Too much"
    assert closed["outcome"]["decided_by"] == "ada"


def time_out(request_id: str) -> None:
    """Now, not when a deadline comes that this connection may have heard of too late."""
    past = database_now() - timedelta(seconds=1)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)
    queue.submit(Expire(request_id=UUID(request_id))).result()


async def test_a_timeout_and_a_withdrawal_close_too() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        request = await made(factories.approval, assignees=[ada], timeout=600.0)
        await connection.next("request_opened")
        await in_database(time_out, request)
        assert (await connection.next("request_closed"))["data"]["outcome"]["timed_out"]
        request = await made(factories.clarification, assignees=[ada])
        await connection.next("request_opened")
        await deciding.awithdraw(Actor.program(), request, "Settled")
        assert (await connection.next("request_closed"))["data"]["outcome"]["withdrawn"]


async def test_a_vote_that_does_not_decide_yet_is_an_update() -> None:
    ada, bob = await made(factories.user), await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        request = await made(factories.approval, assignees=[ada, bob], required=2)
        await connection.next("request_opened")
        await deciding.adecide(factories.actor(bob), request, "approve")
        assert (await connection.next("request_updated"))["data"]["request"]["approvals"] == 1
        await deciding.adecide(factories.actor(ada), request, "approve")
        await connection.next("request_closed")


async def test_an_event_goes_to_those_who_may_see_and_to_nobody_else() -> None:
    ada, bob = await made(factories.user), await made(factories.user)
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        await hers.opened()
        await his.opened()
        for_ada = await made(factories.approval, assignees=[ada])
        assert (await hers.next("request_opened"))["data"]["request"]["id"] == for_ada
        for_bob = await made(factories.approval, assignees=[bob])
        assert (await his.next("request_opened"))["data"]["request"]["id"] == for_bob


async def test_all_connections_of_a_person_show_the_same() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as first, await Connection.of(ada) as second:
        await first.opened()
        await second.opened()
        request = await made(factories.approval, assignees=[ada])
        await first.next("request_opened")
        await second.next("request_opened")
        assert first.requests == second.requests
        assert list(first.requests) == [request]


async def test_a_comment_updates_a_request_and_says_nothing_of_one_that_is_closed() -> None:
    """Open pages look again at its trail; the next event is that of another request."""
    ada = await made(factories.user)
    closed = await made(factories.approval, assignees=[ada])
    await deciding.adecide(factories.actor(ada), closed, "approve")
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await deciding.acomment(factories.actor(ada), closed, "It was.")
        await deciding.acomment(factories.actor(ada), request, "Which customer?", question=True)
        updated = await connection.next("request_updated")
        assert updated["data"]["request"]["id"] == request


async def test_whoever_looks_at_a_closed_request_is_told_what_is_said_about_it() -> None:
    """Once for each comment, whatever hints come; and what was said since the page was loaded, at once."""
    ada, bob = await made(factories.user), await made(factories.user)
    closed = await made(factories.approval, assignees=[ada])
    await deciding.adecide(factories.actor(ada), closed, "approve")
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        for connection in (hers, his):
            await connection.opened()
            await connection.look(closed)
        assert (await hers.next("request_closed"))["data"]["request"]["id"] == closed
        await deciding.acomment(factories.actor(ada), closed, "It was.")
        assert (await hers.next("request_closed"))["data"]["request"]["id"] == closed
        hints.send("requests", [closed])
        await inbox_hub().look_everywhere()
        await settled((hers, ada), (his, bob))
        assert not [frame for frame in his.frames if closed in str(frame)]
        await hers.look(None)
        await deciding.acomment(factories.actor(ada), closed, "Indeed.")
        await settled((hers, ada))
        await hers.look("none")
        assert (await hers.next("error"))["data"]["code"] == "unknown_request"


async def test_whoever_looks_at_a_request_is_told_of_its_end_once_and_of_what_is_said_later() -> None:
    ada = await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.look(request)
        await deciding.acomment(factories.actor(ada), request, "Which?", question=True)
        await connection.next("request_updated")
        await deciding.adecide(factories.actor(ada), request, "approve")
        await connection.next("request_closed")
        hints.send("requests", [request])
        await settled((connection, ada))
        await deciding.acomment(factories.actor(ada), request, "That one.")
        await connection.next("request_closed")


async def test_whoever_looks_at_a_request_beyond_the_cut_is_told_of_its_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_reads, "SNAPSHOT_REQUESTS", 2)
    ada = await made(factories.user)
    ids = [await made(factories.approval, assignees=[ada], timeout=600.0 + n) for n in range(3)]
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await connection.look(ids[2])
        frame = await connection.next()
        assert (frame["type"], frame["data"]["request"]["id"]) == ("request_updated", ids[2])


async def test_reassigned_away_and_back() -> None:
    """The protocol has no word for a request that may not be seen any more: a snapshot without it comes."""
    ada, bob = await made(factories.user), await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        await hers.opened()
        await his.opened()
        await deciding.areassign(factories.actor(ada), request, users=[bob.pk])
        assert (await hers.next("snapshot"))["data"] == NOTHING
        await his.next("request_opened")
        await deciding.areassign(factories.actor(bob), request, users=[ada.pk])
        await hers.next("request_opened")
        assert (await his.next("snapshot"))["data"] == NOTHING


async def test_escalated_to_those_who_decide_instead() -> None:
    """Whom it comes to sees it at once, and from whom it went does not."""
    ada, bob = await made(factories.user), await made(factories.user)
    step = {"after": 1, "users": [bob], "replace": True}
    request = await made(factories.approval, assignees=[ada], escalation=[step])
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        await hers.opened()
        await his.opened()
        clock.move(timedelta(seconds=2))
        try:
            await queue.awrite(Escalate(request_id=UUID(request), step=0))
        finally:
            clock.move_back()
        opened = (await his.next("request_opened"))["data"]["request"]
        assert (opened["assignees"]["users"], opened["escalated"]) == ([bob.username], 1)
        assert opened["escalation"] == [{**step, "users": [bob.username], "groups": []}]
        assert (await hers.next("snapshot"))["data"] == NOTHING


async def test_leaving_a_group_takes_its_requests_away() -> None:
    ada = await made(factories.user)
    group = await made(factories.group, "finance", ada)
    await made(factories.approval, assignees=[group])
    async with await Connection.of(ada) as connection:
        assert len((await connection.opened())["requests"]) == 1
        await in_database(ada.groups.clear)
        inbox_hub().check_everybody()
        assert (await connection.next("snapshot"))["data"] == NOTHING


async def test_lost_permission_is_noticed_at_the_next_event() -> None:
    ada = await made(factories.reviewer)
    request = await made(factories.approval)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(ada.user_permissions.clear)
        await deciding.adecide(factories.actor(await made(factories.reviewer)), request, "approve")
        assert (await connection.next("snapshot"))["data"] == NOTHING


async def test_gained_permission_brings_what_was_there_before() -> None:
    ada = await made(factories.user)
    await made(factories.approval)
    async with await Connection.of(ada) as connection:
        assert await connection.opened() == {"requests": []}
        await in_database(_permit, ada)
        inbox_hub().check_everybody()
        while not connection.requests:
            await connection.next()


async def test_gained_permission_is_noticed_at_the_next_event() -> None:
    ada = await made(factories.user)
    await made(factories.approval)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(_permit, ada)
        await made(factories.approval)
        while len(connection.requests) < 2:
            await connection.next()


async def test_who_stands_for_somebody_is_shown_what_opens_for_them_until_it_ends() -> None:
    ada, bob, root = await made(factories.user), await made(factories.user), await made(superuser)
    await made(factories.delegation, root, bob)
    made_for_ada = await made(factories.delegation, ada, bob)
    async with await Connection.of(bob) as connection:
        assert await connection.opened() == {"requests": []}
        assigned = await made(factories.approval, assignees=[ada])
        assert (await connection.next("request_opened"))["data"]["request"]["id"] == assigned
        unassigned = await made(factories.approval)
        assert (await connection.next("request_opened"))["data"]["request"]["id"] == unassigned
        await settled((connection, bob))
        await deciding.adecide(factories.actor(bob), unassigned, "approve")
        await connection.next("request_closed")
        await in_database(delegations.end, made_for_ada)
        assert (await connection.next("snapshot"))["data"] == NOTHING


async def test_a_delegation_shows_at_once_when_it_is_made_and_ended() -> None:
    """Whoever does it, in whatever way; the principal's list stays as it is."""
    ada, bob = await made(factories.user), await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        await hers.opened()
        await his.opened()
        for end in (delegations.end, lambda _: deactivate(ada)):
            made_for_bob = await made(factories.delegation, ada, bob)
            shown = (await his.next("snapshot"))["data"]["requests"]
            assert [each["id"] for each in shown] == [request]
            await in_database(end, made_for_bob)
            assert (await his.next("snapshot"))["data"] == NOTHING
        assert [frame["type"] for frame in hers.frames] == ["hello", "snapshot"]


def deactivate(person: User) -> None:
    person.is_active = False
    person.save()


async def test_a_delegation_shows_when_its_time_comes_and_when_it_is_over() -> None:
    """By itself: nobody does anything at that moment."""
    ada, bob = await made(factories.user), await made(factories.user)
    await made(factories.approval, assignees=[ada])
    async with await Connection.of(bob) as connection:
        await connection.opened()
        start = await in_database(database_now) + timedelta(seconds=0.3)
        begins = await made(factories.delegation, ada, bob, starts_at=start, ends_at=start + timedelta(1))
        assert len((await connection.next("snapshot"))["data"]["requests"]) == 1
        await in_database(run_out, begins)
        assert (await connection.next("snapshot"))["data"] == NOTHING


def run_out(delegation_id: str) -> None:
    """In a moment, as if it had been made so."""
    end = database_now() + timedelta(seconds=0.3)
    Delegation.writing.filter(pk=delegation_id).update(starts_at=end - timedelta(1), ends_at=end)
    hints.send("delegations", [delegation_id])


def superuser() -> User:
    return factories.user(is_superuser=True)


def _permit(person: User) -> None:
    person.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))


async def test_hints_that_come_twice_late_or_for_nothing_change_nothing() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        requests = [await made(factories.approval, assignees=[ada]) for _ in range(5)]
        for _ in requests:
            await connection.next("request_opened")
        await deciding.adecide(factories.actor(ada), requests[0], "approve")
        await connection.next("request_closed")
        for request in [*reversed(requests), *requests]:
            hints.send("requests", [request])
            await inbox_hub().look(frozenset({UUID(request)}))
        await inbox_hub().look_everywhere()
        await settled((connection, ada))


async def test_lost_hints_are_made_good() -> None:
    """Nothing tells the hub; when it looks everywhere, it finds what it has missed."""
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        hub = inbox_hub()
        waiting_room().unfollow(hub.topic, hub)
        await made(factories.approval, assignees=[ada])
        await hub.look_everywhere()
        await connection.next("request_opened")
        waiting_room().follow(hub.topic, hub)


async def test_a_room_on_the_servers_loop_serves_as_well() -> None:
    ada = await made(factories.user)
    await waiting_room().start()
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await made(factories.approval, assignees=[ada])
        await connection.next("request_opened")
    await waiting_room().stop()


async def test_the_hub_rests_when_nobody_is_connected() -> None:
    """After the last has left nothing follows; whoever comes next is served again."""
    ada = await made(factories.user)
    for _ in range(3):
        async with await Connection.of(ada) as connection:
            await connection.opened()
            request = await made(factories.approval, assignees=[ada])
            await connection.next("request_opened")
            await deciding.adecide(factories.actor(ada), request, "approve")
            await connection.next("request_closed")
    hub = inbox_hub()
    assert not hub._seats
    assert not hub._seats_of
    assert not hub._credentials_of
    assert not hub._superusers
    assert not hub._showing


async def test_a_long_inbox_shows_the_first_and_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its length a snapshot is cut; what is shown follows as requests before the cut come and go."""
    monkeypatch.setattr(inbox_reads, "SNAPSHOT_REQUESTS", 3)
    ada = await made(factories.user)
    by_name = {"assignees": [ada]}
    ids = [await made(factories.approval, timeout=1000.0 + 100 * n, **by_name) for n in range(4)]
    async with await Connection.of(ada) as connection:
        assert [request["id"] for request in (await connection.opened())["requests"]] == ids[:3]
        beyond = await made(factories.approval, timeout=5000.0, **by_name)
        first = await made(factories.approval, timeout=500.0, **by_name)
        snapshot = await connection.next("snapshot")
        assert [request["id"] for request in snapshot["data"]["requests"]] == [first, *ids[:2]]
        for id_ in (first, *ids[:3]):
            await deciding.adecide(factories.actor(ada), id_, "approve")
        expected = await fresh(ada)
        assert list(expected) == [ids[3], beyond]
        while connection.requests != expected:
            await connection.next()
        for _ in range(2):
            await made(factories.approval, timeout=6000.0, **by_name)
        expected = await fresh(ada)
        while connection.requests != expected:
            await connection.next()


class World:
    """Random deeds of a few people on a few requests."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.people: list[User] = []
        self.groups: list[Group] = []
        self.requests: list[str] = []
        self.delegations: list[str] = []

    def create(self) -> None:
        self.groups = [factories.group() for _ in range(2)]
        self.people = [factories.user() for _ in range(2)] + [factories.reviewer() for _ in range(2)]
        self.people.append(factories.user(may=("view_humanrequest",)))

    def do_something(self) -> None:
        often = [self.open, self.decide] * 2
        others = [self.reassign, self.withdraw, self.comment, self.delegate, self.end_delegation]
        self.random.choice([*often, *others, self.change_rights])()

    def open(self) -> None:
        named = [self.someone(), self.random.choice(self.groups)]
        opened = self.random.choice([factories.approval, factories.clarification])
        terms: dict[str, Any] = {
            "timeout": self.random.choice([None, 60.0, 600.0]),
            "requester": self.someone(),
            "details": "x" * self.random.choice([0, 0, 600, 3000]),
        }
        self.requests.append(opened(assignees=named[: self.random.randint(0, 2)] or REVIEWERS, **terms))

    def decide(self) -> None:
        verdict = self.random.choice(["approve", "reject"])
        with suppress(ApprovalError, IndexError):
            deciding.decide(factories.actor(self.someone()), self.some_request(), verdict)

    def reassign(self) -> None:
        by_name = self.random.random() < 0.5
        named: dict[str, Any] = {"users": [self.someone().pk]} if by_name else {"groups": [self.groups[0].pk]}
        with suppress(ApprovalError, IndexError):
            deciding.reassign(Actor.program(), self.some_request(), **named)

    def withdraw(self) -> None:
        with suppress(ApprovalError, IndexError):
            deciding.withdraw(Actor.program(), self.some_request())

    def comment(self) -> None:
        with suppress(ApprovalError, IndexError):
            deciding.comment(factories.actor(self.someone()), self.some_request(), "So?")

    def delegate(self) -> None:
        with suppress(ApprovalError):
            made = factories.delegation(self.someone(), self.someone())
            self.delegations.append(made)

    def end_delegation(self) -> None:
        with suppress(IndexError):
            delegations.end(self.random.choice(self.delegations))

    def change_rights(self) -> None:
        person = self.someone()
        permission = Permission.objects.get(codename="decide_humanrequest")
        change = self.random.choice(
            [
                partial(person.groups.set, self.random.sample(self.groups, self.random.randint(0, 2))),
                partial(person.user_permissions.add, permission),
                partial(person.user_permissions.remove, permission),
            ]
        )
        change()

    def someone(self) -> User:
        return self.random.choice(self.people)

    def some_request(self) -> str:
        return self.random.choice(self.requests)


def small_frames(monkeypatch: pytest.MonkeyPatch, frames: str) -> None:
    """How much a snapshot holds, what is large, and how much fits into a frame."""
    if frames != "whole":
        monkeypatch.setattr(inbox, "FRAME_BUDGET", 3000)
        monkeypatch.setattr(inbox_reads, "LARGE", 2000)
        monkeypatch.setattr(protocol, "LARGE", 2000)
    if frames == "in parts and cut":
        monkeypatch.setattr(inbox_reads, "SNAPSHOT_REQUESTS", 6)


@pytest.mark.parametrize("seed", range(4 * max(TIMES, 1)))
async def test_snapshot_and_events_equal_a_fresh_snapshot(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever people do, in whatever order, with hints repeated and connections opened in between."""
    small_frames(monkeypatch, ("whole", "in parts", "in parts and cut")[seed % 3])
    world = World(seed)
    await in_database(world.create)
    connections: list[tuple[Connection, User]] = []
    try:
        for round_ in range(6):
            person = world.random.choice(world.people)
            connection = await Connection.of(person)
            await connection.__aenter__()
            connections.append((connection, person))
            if world.random.random() < 0.5:
                await connection.opened()
            for _ in range(12):
                await in_database(world.do_something)
                if world.requests and world.random.random() < 0.3:
                    hints.send("requests", world.random.sample(world.requests, min(3, len(world.requests))))
            if round_ % 2:
                inbox_hub().check_everybody()
        inbox_hub().check_everybody()
        await settled(*connections)
    finally:
        for connection, _ in connections:
            await connection.__aexit__(None, None, None)


# What is large


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_a_snapshot_of_many_requests_comes_in_parts_that_fit() -> None:
    """Two hundred of 6 kB are more than a mebibyte; every one of them comes, whole and in order."""
    ada = await made(factories.user)
    ids = await in_database(many, 200, details="x" * 6000, assignees=[ada])
    async with await Connection.of(ada) as connection:
        shown = (await connection.opened())["requests"]
        parts = [frame["data"] for frame in connection.frames if frame["type"] == "snapshot"]
        assert [request["id"] for request in shown] == ids
        assert {request["details"] for request in shown} == {"x" * 6000}
        assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
        await deciding.adecide(factories.actor(ada), ids[150], "approve")
        # A hint of their opening that comes late may bring a fresh snapshot before.
        while (kind := (await connection.next())["type"]) == "snapshot":
            pass
        assert kind == "request_closed"


def many(count: int, **terms: Any) -> list[str]:
    return [
        factories.approval(f"Number {number}", timeout=9000.0 + number, **terms) for number in range(count)
    ]


LARGE_TERMS: dict[str, dict[str, Any]] = {
    "details": {"details": "\U0001f600" * 100_000},
    "arguments": {"arguments": {"text": "x" * 900_000}},
    "arguments beyond ASCII": {"arguments": {"text": "é" * 500_000}},
    "a schema": {"editable": {"type": "object", "description": "x" * 60_000}},
    "an origin": {"origin": {"kind": "job", "id": "x" * 100_000}},
}


@pytest.mark.parametrize("terms", LARGE_TERMS.values(), ids=LARGE_TERMS)
async def test_a_large_request_is_a_summary_wherever_it_is_shown(terms: dict[str, Any]) -> None:
    """In a snapshot as in events; what it leaves out is read elsewhere."""
    ada, bob = await made(factories.user), await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        once = {"required": 2} if "editable" not in terms else {}
        request = await made(factories.approval, "\U0001f600" * 200, assignees=[ada, bob], **once, **terms)
        opened = (await connection.next("request_opened"))["data"]["request"]
        assert (opened["id"], opened["title"], opened["summary"]) == (request, "\U0001f600" * 200, True)
        assert not opened.keys() & LARGE_IN_REQUEST
        assert (await fresh(ada)) == {request: opened}
        if once:
            await deciding.adecide(factories.actor(bob), request, "approve")
            updated = (await connection.next("request_updated"))["data"]["request"]
            assert updated == opened | {"approvals": 1}
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        frames = [await connection.next(), await connection.next()]
    data = {frame["type"]: frame["data"] for frame in frames}
    assert data["request_closed"]["request"]["summary"]
    for outcome in (data["request_closed"]["outcome"], data["decision_accepted"]["outcome"]):
        assert (outcome["request_id"], outcome["status"]) == (request, "approved")
        assert outcome.get("summary", False) is ("arguments" in terms)


async def test_a_large_answer_is_a_summary_and_a_large_question_does_not_hide_a_small_one() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        for details, answer in (("", "x" * 900_000), ("x" * 90_000, "4711")):
            request = await made(factories.clarification, assignees=[ada], details=details)
            await connection.next("request_opened")
            await deciding.aanswer(factories.actor(ada), request, answer)
            closed = (await connection.next("request_closed"))["data"]
            assert closed["request"].get("summary", False) is bool(details)
            assert closed["outcome"].get("answer") == (answer if details else None)


async def test_a_closed_request_carries_its_arguments_once() -> None:
    """In the outcome, as they were approved."""
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        terms = {"arguments": {"amount": "9"}, "editable": True}
        request = await made(factories.approval, assignees=[ada], **terms)
        await connection.next("request_opened")
        await deciding.adecide(factories.actor(ada), request, "approve", arguments={"amount": "8"})
        closed = (await connection.next("request_closed"))["data"]
    assert "arguments" not in closed["request"]
    assert closed["outcome"]["arguments"] == {"amount": "8"}


async def test_rights_that_change_in_the_middle_of_a_snapshot_begin_it_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was begun is ended first: otherwise what follows would be taken for its next part."""
    monkeypatch.setattr(inbox, "FRAME_BUDGET", 2000)
    ada = await made(factories.user)
    group = await made(factories.group, "finance", ada)
    await in_database(many, 4, assignees=[group])
    await in_database(many, 4, assignees=[ada])
    async with await Connection.of(ada) as connection:
        await connection.next("hello")
        while not connection.partial:
            await connection.next("snapshot")
        await in_database(ada.groups.clear)
        inbox_hub().check_everybody()
        assert len(await fresh(ada)) == 4
        await until_fresh(connection, ada)


@pytest.mark.one_stack
async def test_a_reading_takes_no_more_memory_however_large_the_requests_are() -> None:
    ada = await made(factories.user)
    await in_database(many, 30, assignees=[ada], arguments={"text": "x" * 1_000_000})
    credential = await in_database(session_of, ada)

    def most() -> int:
        tracemalloc.start()
        read = inbox_reads.inboxes([(credential, None)]).inboxes[ada.pk, None]
        shown = inbox_reads.items(read.rows)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(shown) == 30
        return peak

    assert await in_database(most) < 4_000_000


@pytest.mark.stacks("postgresql-memory")
async def test_the_database_goes_and_comes_back(private_postgres: PostgresServer) -> None:
    """What a dead database left unread is read when it is back; no connection is lost meanwhile."""
    ada = await made(factories.user)
    key = await in_database(session_of, ada)
    async with Connection(key) as connection:
        await connection.opened()
        await asyncio.to_thread(private_postgres.stop)
        inbox_hub().check_everybody()
        async with Connection(key) as newcomer:
            await asyncio.to_thread(private_postgres.start)
            await newcomer.opened()
            await made(factories.approval, assignees=[ada])
            await connection.next("request_opened")
            await newcomer.next("request_opened")


def statements_of(call: Callable[[], Any]) -> int:
    """How many times the database is asked, once it has prepared what is asked."""
    call()
    with CaptureQueriesContext(db_connection) as captured:
        call()
    return len(captured)


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_an_event_costs_the_same_however_many_are_connected() -> None:
    """For those who see the requests already, one message to PostgreSQL; for others whom it concerns, two.

    Nobody else is looked at.
    """
    ada, root = await made(factories.user), await made(factories.user, is_superuser=True)
    group = await made(factories.group, "finance", ada)
    ids = [UUID(await made(factories.approval, assignees=[ada, group])) for _ in range(10)]
    others = [await made(factories.reviewer) for _ in range(10)]
    people = [ada, root, *others]
    sessions = {person.pk: {await in_database(session_of, person)} for person in people}
    looked_at = set[int]()

    def cost(ids: list[UUID], connected: list[User], *, shown: bool) -> int:
        there = {person.pk: sessions[person.pk] for person in connected}
        seeing = {ada.pk, root.pk} & there.keys()

        def credentials_of(user_id: int) -> set[str]:
            looked_at.add(user_id)
            return there.get(user_id, set())

        def read() -> inbox_reads.News:
            shown_to = dict.fromkeys(ids, seeing) if shown else {}
            return inbox_reads.news(frozenset(ids), shown_to, {root.pk} & there.keys(), credentials_of)

        found = read()
        assert found.visible == dict.fromkeys(seeing, frozenset(ids))
        assert found.items.keys() == (set(ids) if seeing else set())
        return statements_of(read)

    costs = {
        shown: {await in_database(cost, *event, shown=shown) for event in ((ids, people), (ids[:1], [ada]))}
        for shown in (False, True)
    }
    for_nobody = await in_database(cost, ids, others, shown=False)
    assert looked_at == {ada.pk, root.pk}
    if db_connection.vendor == "postgresql":
        assert (costs, for_nobody) == ({False: {2}, True: {1}}, 1)
    else:  # a statement each
        assert max(chain(*costs.values())) <= 11


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_connections_are_read_together() -> None:
    """Twelve take PostgreSQL no more messages than three; the regular check of them takes one."""
    people = [await made(factories.user) for _ in range(12)]
    await made(factories.approval, assignees=people)
    keys = {person.pk: await in_database(session_of, person) for person in people}

    def cost(number: int) -> tuple[int, int]:
        some = dict(list(keys.items())[:number])
        wanted = [(key, None) for key in some.values()]
        shown = inbox_reads.inboxes(wanted)
        assert {len(shown.inboxes[user_id, None].rows) for user_id in some} == {1}
        present = inbox_reads.attendance({user_id: [key] for user_id, key in some.items()})
        assert present.owners == {key: user_id for user_id, key in some.items()}
        return (
            statements_of(lambda: inbox_reads.inboxes(wanted)),
            statements_of(lambda: inbox_reads.attendance({user_id: [key] for user_id, key in some.items()})),
        )

    few, many = await in_database(cost, 3), await in_database(cost, 12)
    assert few[1] == many[1]
    if db_connection.vendor == "postgresql":
        assert few == many == (5, 1)


async def test_who_becomes_a_superuser_is_shown_everything_from_the_check_on() -> None:
    ada = await made(factories.user)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(User.objects.filter(pk=ada.pk).update, is_superuser=True)
        await made(factories.approval)
        inbox_hub().check_everybody()
        while not connection.requests:
            await connection.next()
        # The first may have come by its hint, before the check did.
        second = await made(factories.approval)
        while second not in connection.requests:
            await connection.next()
        await in_database(User.objects.filter(pk=ada.pk).update, is_superuser=False)
        await made(factories.approval)
        while (await connection.next("snapshot"))["data"] != NOTHING:
            pass  # one of before may still be on its way
