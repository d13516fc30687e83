"""A wait costs a waiter and nothing else; its answer is a fresh look's, and nobody's once they left."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from approvals import deciding, queries
from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.exceptions import RateLimited, UnknownRequest
from approvals.models import ApiToken
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.web.edge import long_polling, tokens
from approvals.web.edge.long_polling import FewPasses, HoldingAnswers, hold_answer
from approvals.web.edge.revocations import revocations
from approvals.web.wrapping import HELD
from tests import factories
from tests.looking import until
from tests.polling import Poll
from tests.servers import PostgresServer
from tests.stacks import Stack

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls(__name__),
    pytest.mark.filterwarnings("ignore:No directory at"),  # WhiteNoise, where nothing was collected
]

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
OPEN = "/open/{}/outcome"
MANY = 300


def outcome(request: HttpRequest, request_id: str) -> HttpResponse:
    """The endpoint in a few lines."""
    bearer = tokens.bearer(request.headers["Authorization"].removeprefix("Bearer "))
    if bearer is None:
        return JsonResponse({}, status=401)
    try:
        found = queries.outcome_of(queries.request_for(bearer.user_id, request_id))
    except UnknownRequest:
        if "hold" in request.GET:  # as a view would that was wrong to ask for it
            hold_answer(request, request_id=UUID(request_id), seconds=60, token_id=bearer.token_id)
        return JsonResponse({}, status=404)
    wait = float(request.GET.get("wait", 0))
    if not found.closed and wait:
        hold_answer(request, request_id=UUID(request_id), seconds=wait, token_id=bearer.token_id)
    return JsonResponse(queries.outcome_on_the_wire(found), status=200 if found.closed else 202)


def outcome_for_anybody(request: HttpRequest, request_id: str) -> HttpResponse:
    """With one query, for tests of what the waiting costs."""
    found = queries.outcomes([UUID(request_id)])[UUID(request_id)]
    if not found.closed:
        hold_answer(request, request_id=UUID(request_id), seconds=60)
    return JsonResponse(queries.outcome_on_the_wire(found), status=200 if found.closed else 202)


urlpatterns = [
    path("requests/<request_id>/outcome", outcome),
    path("open/<request_id>/outcome", outcome_for_anybody),
    path("else/<request_id>", outcome),
]


class Django:
    """The application behind the middleware, counting who is inside."""

    def __init__(self) -> None:
        self._handler = ASGIHandler()
        self.inside = self.most = self.passes = 0
        self._out = asyncio.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.passes += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self._handler(scope, receive, send)
        async with self._out:
            self.inside -= 1
            self._out.notify_all()

    async def passed(self, number: int) -> None:
        """Return once so many passes are over."""
        async with self._out:
            await self._out.wait_for(lambda: self.passes - self.inside >= number)


class Program:
    """Asks as one user, by one token."""

    def __init__(self, user: User, token_id: UUID, secret: str) -> None:
        self.user, self.token_id, self.secret = user, token_id, secret
        self.django = Django()
        self.application = HoldingAnswers(FewPasses(self.django), endings=HELD)

    def poll(self, request_id: str, query: str = "wait=60", at: str = "/requests/{}/outcome") -> Poll:
        return Poll(self.application, f"{at.format(request_id)}?{query}", secret=self.secret)


@pytest.fixture
async def room(stack: Stack) -> AsyncIterator[WaitingRoom]:
    room = waiting_room()
    await room.start()
    yield room
    await room.stop()


@pytest.fixture
async def program(room: WaitingRoom) -> Program:
    def made() -> Program:
        user = factories.user()
        token, secret = tokens.issue(user.pk, "agent", ["ask"])
        return Program(user, token.pk, secret)

    return await in_database(made)


async def asked(program: Program, **terms: Any) -> str:
    return await in_database(factories.approval, requester=program.user, **terms)


async def approved(request_id: str) -> None:
    by = await in_database(factories.reviewer)
    await deciding.adecide(factories.actor(by), request_id, "approve")


async def test_an_answer_is_held_until_the_decision(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    async with program.poll(request) as poll:
        await until(lambda: len(room) == 1)
        assert poll.messages == []
        await approved(request)
        status, data = await poll.answered()
    assert (status, data["status"], data["request_id"]) == (200, "approved", request)
    assert len(room) == 0
    assert program.django.passes == 2


@pytest.mark.one_stack
async def test_what_is_closed_already_is_answered_at_once(program: Program) -> None:
    request = await asked(program)
    await approved(request)
    async with program.poll(request) as poll:
        assert (await poll.answered())[0] == 200
    assert program.django.passes == 1


@pytest.mark.one_stack
async def test_who_does_not_wait_is_answered_at_once(program: Program) -> None:
    request = await asked(program)
    async with program.poll(request, "wait=0") as poll:
        assert (await poll.answered())[0] == 202
    assert program.django.passes == 1


async def test_patience_ends_a_wait(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    async with program.poll(request, "wait=0.05") as poll:
        status, data = await poll.answered()
    assert (status, data["status"]) == (202, "pending")
    assert len(room) == 0


async def test_a_timeout_ends_a_wait(program: Program) -> None:
    """The deadline's outcome is waited for like a person's."""
    request = await asked(program, timeout=0.2)
    async with program.poll(request) as poll:
        status, data = await poll.answered()
    assert (status, data["status"]) == (200, "timed_out")


@pytest.mark.urls("config.urls")
async def test_an_answer_is_held_until_a_comment_or_the_end(program: Program, room: WaitingRoom) -> None:
    """And no longer than until a comment that the caller does not know; by the same middleware."""
    request = await asked(program)
    at = "/api/v1/requests/{}/comments"
    reviewer = factories.actor(await in_database(factories.reviewer, "rita"))
    async with (
        program.poll(request, "wait=60&after=1", at=at) as first,
        program.poll(request, "wait=60&after=2", at=at) as second,
    ):
        await until(lambda: len(room) == 2)
        await deciding.acomment(reviewer, request, "Which customer?", question=True)
        status, data = await first.answered()
        said = [(one["sequence"], one["author"], one["text"], one["question"]) for one in data["comments"]]
        assert (status, said) == (200, [(2, "rita", "Which customer?", True)])
        assert (len(room), second.messages) == (1, [])
        await deciding.adecide(reviewer, request, "approve")
        assert await second.answered() == (200, {"comments": [], "more": False, "status": "approved"})
    async with program.poll(await asked(program), "wait=0.05", at=at) as unanswered:
        assert await unanswered.answered() == (202, {"comments": [], "more": False, "status": "pending"})
    assert len(room) == 0


@pytest.mark.one_stack
async def test_only_an_answer_that_says_pending_is_held(program: Program) -> None:
    async with program.poll(UNKNOWN_ID, "hold") as poll:
        assert (await poll.answered())[0] == 404
    assert program.django.passes == 1


@pytest.mark.one_stack
async def test_where_nobody_holds_answers_that_is_the_answer(program: Program) -> None:
    """As under WSGI: without the middleware the 202 comes at once."""
    request = await asked(program)
    async with Poll(program.django, f"/requests/{request}/outcome?wait=60", secret=program.secret) as poll:
        assert (await poll.answered())[0] == 202


@pytest.mark.one_stack
async def test_other_paths_are_not_held(program: Program) -> None:
    request = await asked(program)
    async with program.poll(request, at="/else/{}") as poll:
        assert (await poll.answered())[0] == 202


async def test_a_client_that_goes_away_ends_its_wait(program: Program, room: WaitingRoom) -> None:
    """At once, without another word to Django or to the client; the request stays pending."""
    request = await asked(program)
    async with program.poll(request) as staying, program.poll(request) as leaving:
        await until(lambda: len(room) == 2)
        leaving.leave()
        await asyncio.wait([leaving.running])
        assert len(room) == 1
        assert program.django.passes == 2
        await approved(request)
        assert (await staying.answered())[0] == 200
    assert leaving.messages == []


async def test_a_server_that_gives_up_ends_the_wait(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    async with program.poll(request) as poll:
        await until(lambda: len(room) == 1)
        poll.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll.answered()
    assert len(room) == 0


@pytest.mark.one_stack
async def test_a_server_that_gives_up_while_django_ends_ends_the_call(program: Program) -> None:
    """Django swallows a cancellation that comes while it awaits its task that listens for a disconnect."""

    async def django(scope: Any, receive: Any, send: Any) -> None:
        async def receive_and_give_up() -> Any:
            try:
                return await receive()
            except asyncio.CancelledError:
                poll.running.cancel()
                raise

        await ASGIHandler()(scope, receive_and_give_up, send)

    request = await asked(program)
    application = HoldingAnswers(FewPasses(django), endings=HELD)
    async with Poll(application, f"/requests/{request}/outcome?wait=2", secret=program.secret) as poll:
        with pytest.raises(asyncio.CancelledError):
            await poll.answered()
    assert poll.messages == []


@pytest.mark.urls("config.urls")
async def test_waits_outlive_an_outage_of_the_database(
    private_postgres: PostgresServer, program: Program, room: WaitingRoom
) -> None:
    """Whose patience ends meanwhile is told so; the others get their outcome when it is back."""
    request = await asked(program)
    at = "/api/v1/requests/{}/outcome"
    async with program.poll(request, at=at) as staying:
        await until(lambda: len(room) == 1)
        async with program.poll(request, "wait=3", at=at) as short:
            await until(lambda: len(room) == 2)
            await asyncio.to_thread(private_postgres.stop)
            status, data = await short.answered()
        assert (status, data["code"]) == (503, "unavailable")
        assert len(room) == 1
        await asyncio.to_thread(private_postgres.start)
        await approved(request)
        status, data = await staying.answered()
    assert (status, data["status"]) == (200, "approved")


# The first of many


def poll_for_any(program: Program, requests: list[str], *, parts: int = 1, wait: float = 60) -> Poll:
    body = json.dumps({"ids": requests, "wait": wait}).encode()
    size = -(-len(body) // parts)
    bodies = [body[start : start + size] for start in range(0, len(body), size)]
    return Poll(program.application, "/api/v1/outcomes", secret=program.secret, bodies=bodies)


@pytest.mark.urls("config.urls")
async def test_the_first_outcome_of_many_ends_a_wait_for_them(program: Program, room: WaitingRoom) -> None:
    """Its body, however it arrives, is read again for the answer."""
    requests = [await asked(program) for _ in range(3)]
    async with poll_for_any(program, requests, parts=5) as poll:
        await until(lambda: len(room) == 1)
        assert poll.messages == []
        await approved(requests[1])
        status, data = await poll.answered()
    assert status == 200
    assert [one["request_id"] for one in data["outcomes"]] == [requests[1]]
    assert data["left"] == [requests[0], requests[2]]
    assert len(room) == 0


@pytest.mark.one_stack
@pytest.mark.urls("config.urls")
async def test_patience_and_leaving_end_a_wait_for_many(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    async with poll_for_any(program, [request], wait=0.01) as poll:
        status, data = await poll.answered()
        assert (status, data["left"]) == (202, [request])
    async with poll_for_any(program, [request]) as poll:
        await until(lambda: len(room) == 1)
        poll.leave()
        await asyncio.wait([poll.running])
    assert len(room) == 0


@pytest.mark.one_stack
@pytest.mark.urls("config.urls")
async def test_a_user_waits_for_many_a_bounded_number_of_times(
    program: Program, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_polling, "MOST_WAITS_FOR_MANY", 2)
    request = await asked(program)
    async with AsyncExitStack() as clients:
        for _ in range(2):
            await clients.enter_async_context(poll_for_any(program, [request]))
        await until(lambda: len(room) == 2)
        with pytest.raises(RateLimited, match="which is the most allowed"):
            await poll_for_any(program, [request]).running
        async with program.poll(request, at="/api/v1/requests/{}/outcome") as single:
            await until(lambda: len(room) == 3)
            await approved(request)
            assert (await single.answered())[0] == 200
    assert len(room) == 0


@pytest.mark.one_stack
@pytest.mark.urls("config.urls")
async def test_a_body_that_is_too_long_for_that_is_not_kept(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    body = json.dumps({"ids": [request], "wait": 60}).encode() + b" " * long_polling.LONGEST_BODY
    parts = [body[:1_000], body[1_000:-10], body[-10:]]
    poll = Poll(program.application, "/api/v1/outcomes", secret=program.secret, bodies=parts)
    status, data = await poll.answered()
    assert (status, data["left"]) == (202, [request])


# Who asks is looked up afresh


def revoke(program: Program) -> None:
    tokens.revoke(program.token_id, None)


def expire(program: Program) -> None:
    past = database_now() - timedelta(seconds=1)
    ApiToken.writing.filter(pk=program.token_id).update(expires_at=past)


def deactivate(program: Program) -> None:
    program.user.is_active = False
    program.user.save()


@pytest.mark.parametrize("end", [revoke, expire, deactivate])
async def test_a_token_that_does_not_hold_any_more_gets_no_outcome(
    program: Program, room: WaitingRoom, end: Callable[[Program], None]
) -> None:
    request = await asked(program)
    async with program.poll(request) as poll:
        await until(lambda: len(room) == 1)
        await in_database(end, program)
        await approved(request)
        assert await poll.answered() == (401, {})


async def test_a_revoked_token_ends_its_waits_and_no_others(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    other, secret = await in_database(tokens.issue, program.user.pk, "other", ["ask"])
    theirs = Program(program.user, other.pk, secret)
    async with program.poll(request) as first, program.poll(request) as second, theirs.poll(request) as third:
        await until(lambda: len(room) == 3)
        await in_database(revoke, program)
        assert (await first.answered(), await second.answered()) == ((401, {}), (401, {}))
        assert len(room) == 1
        assert third.messages == []


async def test_a_token_revoked_between_the_answer_and_the_wait_ends_that(
    program: Program, room: WaitingRoom
) -> None:
    """Nothing falls between the pass that still held it and the wait."""
    watch = revocations()
    await in_database(revoke, program)
    await until(lambda: program.token_id in watch._remembered)
    with watch.over(program.token_id) as revoked:
        await revoked


async def test_a_lost_revocation_is_found_by_the_next_look_everywhere(
    program: Program, room: WaitingRoom
) -> None:
    request = await asked(program)
    async with program.poll(request) as poll:
        await until(lambda: len(room) == 1)
        await in_database(expire, program)  # of which nobody sends a hint
        await revocations().look_everywhere()
        assert await poll.answered() == (401, {})


async def test_what_may_not_be_seen_any_more_is_unknown(program: Program, room: WaitingRoom) -> None:
    other = await in_database(factories.user)
    request = await in_database(factories.approval, assignees=[program.user])
    async with program.poll(request) as poll:
        await until(lambda: len(room) == 1)
        await deciding.areassign(Actor.program(), request, users=[other.pk])
        await deciding.adecide(factories.actor(other), request, "approve")
        assert await poll.answered() == (404, {})


# What waiting costs


def threads_beside_ours() -> int:
    return sum(not thread.name.startswith("sayso-") for thread in threading.enumerate())


def connections_in_use() -> int:
    """Of the pool's; the database threads keep one each, from their first call on."""
    own = connections["default"]
    assert isinstance(own, PostgresWrapper)
    assert own.pool is not None
    stats = own.pool.get_stats()
    return int(stats["pool_size"] - stats["pool_available"])


@pytest.mark.stacks("postgresql-redis")
async def test_hundreds_of_waits_hold_no_thread_and_no_connection(
    program: Program, room: WaitingRoom
) -> None:
    """And when all are decided at once, few are inside Django at a time; meanwhile others are served."""
    request = await asked(program)
    idle, kept = threads_beside_ours(), approval_settings().database_threads
    async with AsyncExitStack() as clients:
        polls = [await clients.enter_async_context(program.poll(request, at=OPEN)) for _ in range(MANY)]
        await program.django.passed(MANY)
        await until(lambda: len(room) == MANY)
        await until(lambda: threads_beside_ours() <= idle and connections_in_use() <= kept)
        async with program.poll(UNKNOWN_ID) as other:
            assert (await other.answered())[0] == 404
        await approved(request)
        answers = [await poll.answered() for poll in polls]
    assert {(status, data["status"]) for status, data in answers} == {(200, "approved")}
    assert program.django.passes == 2 * MANY + 1
    assert program.django.most <= kept
    assert len(room) == 0


@pytest.mark.stacks("postgresql-redis")
async def test_hundreds_of_requests_decided_in_one_batch(program: Program, room: WaitingRoom) -> None:
    def opened() -> list[str]:
        return [factories.approval(requester=program.user) for _ in range(MANY)]

    requests = await in_database(opened)
    by = await in_database(factories.reviewer)
    async with AsyncExitStack() as clients:
        polls = [await clients.enter_async_context(program.poll(request, at=OPEN)) for request in requests]
        await program.django.passed(MANY)
        await until(lambda: len(room) == MANY)
        await deciding.adecide_many(factories.actor(by), [(request, "approve") for request in requests])
        answers = [await poll.answered() for poll in polls]
    assert [(status, data["request_id"]) for status, data in answers] == [
        (200, request) for request in requests
    ]
    assert len(room) == 0


async def test_those_who_leave_while_they_queue_take_no_turn(program: Program, room: WaitingRoom) -> None:
    request = await asked(program)
    async with AsyncExitStack() as clients:
        polls = [await clients.enter_async_context(program.poll(request)) for _ in range(100)]
        await until(lambda: program.django.inside)
        for poll in polls:
            poll.leave()
        await asyncio.wait([poll.running for poll in polls])
    assert program.django.passes <= 2 * approval_settings().database_threads
    assert len(room) == 0
