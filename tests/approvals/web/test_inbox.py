"""The live inbox: snapshot and events always equal a fresh snapshot, for each person's eyes only."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection as db_connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding, group_commit, hints, selectors
from approvals.commands import Actor, Expire
from approvals.database import database_now, in_database
from approvals.exceptions import ApprovalError
from approvals.models import HumanRequest
from approvals.questions import REVIEWERS
from approvals.waiting.room import waiting_room
from approvals.web import inbox, readings
from approvals.web.inbox import inbox_hub
from tests import factories
from tests.connections import Connection, session_of
from tests.servers import PostgresServer

pytestmark = pytest.mark.django_db


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


async def settled(*connections: tuple[Connection, User]) -> None:
    """Read until each list equals a fresh snapshot; then nothing more comes before the next request."""
    for connection, person in connections:
        expected = await fresh(person)
        while connection.requests != expected:
            await connection.next()
    for connection, person in connections:
        last = await made(factories.approval, "The last one", assignees=[person])
        await connection.next("request_opened")
        await deciding.awithdraw(Actor.program(), last)
        await connection.next("request_closed")
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
    rows = await in_database(selectors.requests_by_id, [sooner])
    assert snapshot["data"]["requests"][0] == await in_database(selectors.on_the_wire, rows[0])


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
    group_commit.submit(Expire(request_id=UUID(request_id))).result()


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


async def test_reassigned_away_and_back() -> None:
    """The protocol has no word for a request that may not be seen any more: a snapshot without it comes."""
    ada, bob = await made(factories.user), await made(factories.user)
    request = await made(factories.approval, assignees=[ada])
    async with await Connection.of(ada) as hers, await Connection.of(bob) as his:
        await hers.opened()
        await his.opened()
        await deciding.areassign(factories.actor(ada), request, users=[bob.pk])
        assert (await hers.next("snapshot"))["data"] == {"requests": []}
        await his.next("request_opened")
        await deciding.areassign(factories.actor(bob), request, users=[ada.pk])
        await hers.next("request_opened")
        assert (await his.next("snapshot"))["data"] == {"requests": []}


async def test_leaving_a_group_takes_its_requests_away() -> None:
    ada = await made(factories.user)
    group = await made(factories.group, "finance", ada)
    await made(factories.approval, assignees=[group])
    async with await Connection.of(ada) as connection:
        assert len((await connection.opened())["requests"]) == 1
        await in_database(ada.groups.clear)
        inbox_hub().check_everybody()
        assert (await connection.next("snapshot"))["data"] == {"requests": []}


async def test_lost_permission_is_noticed_at_the_next_event() -> None:
    ada = await made(factories.reviewer)
    request = await made(factories.approval)
    async with await Connection.of(ada) as connection:
        await connection.opened()
        await in_database(ada.user_permissions.clear)
        await deciding.adecide(factories.actor(await made(factories.reviewer)), request, "approve")
        assert (await connection.next("snapshot"))["data"] == {"requests": []}


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
    assert not hub._showing


async def test_a_long_inbox_shows_the_first_and_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its length a snapshot is cut; what is shown follows as requests before the cut come and go."""
    monkeypatch.setattr(readings, "SNAPSHOT_REQUESTS", 3)
    monkeypatch.setattr(inbox, "SNAPSHOT_REQUESTS", 3)
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

    def create(self) -> None:
        self.groups = [factories.group() for _ in range(2)]
        self.people = [factories.user() for _ in range(2)] + [factories.reviewer() for _ in range(2)]
        self.people.append(factories.user(may=("view_humanrequest",)))

    def do_something(self) -> None:
        often = [self.open, self.decide] * 2
        self.random.choice([*often, self.reassign, self.withdraw, self.change_rights])()

    def open(self) -> None:
        named = [self.someone(), self.random.choice(self.groups)]
        opened = self.random.choice([factories.approval, factories.clarification])
        terms: dict[str, Any] = {
            "timeout": self.random.choice([None, 60.0, 600.0]),
            "requester": self.someone(),
        }
        self.requests.append(opened(assignees=named[: self.random.randint(0, 2)] or REVIEWERS, **terms))

    def decide(self) -> None:
        verdict = self.random.choice(["approve", "reject"])
        with suppress(ApprovalError, IndexError):
            deciding.decide(factories.actor(self.someone()), self.some_request(), verdict)

    def reassign(self) -> None:
        by_name = self.random.random() < 0.5
        named = {"users": [self.someone().pk]} if by_name else {"groups": [self.groups[0].pk]}
        with suppress(ApprovalError, IndexError):
            deciding.reassign(Actor.program(), self.some_request(), **named)

    def withdraw(self) -> None:
        with suppress(ApprovalError, IndexError):
            deciding.withdraw(Actor.program(), self.some_request())

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


@pytest.mark.parametrize("seed", range(4))
async def test_snapshot_and_events_equal_a_fresh_snapshot(seed: int) -> None:
    """Whatever people do, in whatever order, with hints repeated and connections opened in between."""
    world = World(seed)
    await in_database(world.create)
    connections: list[tuple[Connection, User]] = []
    try:
        for round_ in range(6):
            person = world.random.choice(world.people)
            connection = await Connection.of(person)
            await connection.__aenter__()
            connections.append((connection, person))
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


@pytest.mark.one_stack
async def test_an_event_costs_the_same_queries_however_many_are_connected() -> None:
    ada = await made(factories.user)
    requests = [UUID(await made(factories.approval, assignees=[ada])) for _ in range(10)]
    others = [await made(factories.reviewer) for _ in range(10)]
    sessions = {person.pk: {await in_database(session_of, person)} for person in (ada, *others)}

    def queries(ids: list[UUID], connected: list[User]) -> int:
        there = {person.pk: sessions[person.pk] for person in connected}
        with CaptureQueriesContext(db_connection) as captured:
            found = readings.news(ids, {ada.pk}, lambda user_id: there.get(user_id, set()))
        assert found.visible[ada.pk] == frozenset(ids)
        return len(captured)

    assert await in_database(queries, requests, [ada, *others]) == await in_database(
        queries, requests[:1], [ada]
    )
