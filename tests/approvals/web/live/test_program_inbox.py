"""A program's live inbox: what its token lets it do, and that it ends with the token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from channels.routing import URLRouter
from django.contrib.auth.models import User

from approvals import queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import ApiToken, AuditEntry
from approvals.web.edge import credentials, tokens
from approvals.web.live.inbox import inbox_hub
from approvals.web.routing import program_urlpatterns
from tests import factories
from tests.connections import Closed, Connection, session_of

pytestmark = pytest.mark.django_db

PATH = "/ws/api/inbox/"


class Program:
    """A user, and a token of theirs."""

    def __init__(self, user: User, token_id: UUID, secret: str) -> None:
        self.user, self.token_id, self.secret = user, token_id, secret

    def connection(self, *headers: tuple[bytes, bytes], application: Any = None) -> Connection:
        return connection((b"authorization", f"Bearer {self.secret}".encode()), *headers, to=application)


def connection(*headers: tuple[bytes, bytes], to: Any = None, session_key: str = "") -> Connection:
    return Connection(session_key, PATH, application=to or URLRouter(program_urlpatterns), headers=headers)


def issued(user: User, *scopes: str, lifetime: float | None = None) -> Program:
    token, secret = tokens.issue(user.pk, "agent", scopes, lifetime=lifetime)
    return Program(user, token.pk, secret)


async def program(*scopes: str, **user: Any) -> Program:
    def made() -> Program:
        return issued(factories.user(**user), *(scopes or ("read", "decide")))

    return await in_database(made)


async def asked(program: Program, **terms: Any) -> str:
    return await in_database(factories.approval, assignees=[program.user], **terms)


async def status_of(request: str) -> str:
    return str((await in_database(queries.requests_by_id, [request]))[0].status)


async def answer_to(connection: Connection, ref: Any) -> dict[str, Any]:
    """The next frame that answers `ref`; events in between are only noted."""
    while (frame := await connection.next())["ref"] != ref:
        pass
    return frame


# What it may do


async def test_it_shows_the_users_inbox_live_and_decides_as_the_user() -> None:
    """The trail says that it was by WebSocket, and by which token."""
    agent = await program()
    before = await asked(agent)
    async with agent.connection() as connection:
        assert (await connection.next("hello"))["data"]["user"] == agent.user.username
        await connection.next("snapshot")
        assert list(connection.requests) == [before]
        request = await asked(agent)
        await connection.next("request_opened")
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        accepted = await answer_to(connection, 1)
        assert accepted["data"]["outcome"]["decided_by"] == agent.user.username
        while request in connection.requests:
            await connection.next()
    entry = await in_database(AuditEntry.objects.filter(request_id=request).latest, "sequence")
    assert (entry.event, entry.channel, entry.actor_id) == ("decided", "websocket", agent.user.pk)
    assert entry.token_id == agent.token_id


async def test_it_answers_questions() -> None:
    agent = await program()
    request = await in_database(factories.clarification, assignees=[agent.user])
    async with agent.connection() as connection:
        await connection.opened()
        await connection.say("answer", ref=1, request_id=request, answer="4711")
        assert (await answer_to(connection, 1))["data"]["outcome"]["answer"] == "4711"


@pytest.mark.one_stack
@pytest.mark.parametrize(
    ("kind", "data"), [("decide", {"decision": "approve"}), ("answer", {"answer": "yes"})]
)
async def test_without_the_scope_decide_it_only_watches(kind: str, data: dict[str, str]) -> None:
    agent = await program("read", "ask")
    request = await asked(agent)
    async with agent.connection() as connection:
        await connection.opened()
        await connection.say(kind, ref="a", request_id=request, **data)
        error = (await answer_to(connection, "a"))["data"]
        assert error["code"] == "not_permitted"
        assert "`decide`" in error["detail"]
        await connection.say("ping", ref="b")
        assert (await connection.next("pong"))["ref"] == "b"
    assert await status_of(request) == "pending"


@pytest.mark.one_stack
async def test_without_the_scope_read_it_is_told_so_and_closed() -> None:
    agent = await program("ask", "decide")
    async with agent.connection() as connection:
        error = (await connection.next("error"))["data"]
        assert error["code"] == "not_permitted"
        assert "`read`" in error["detail"]
        assert await connection.until_closed() == 4403


async def test_a_token_gives_no_more_than_its_user_may() -> None:
    agent = await program()
    request = await in_database(factories.approval, assignees=[await in_database(factories.user)])
    async with agent.connection() as connection:
        assert await connection.opened() == {"requests": []}
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert (await answer_to(connection, 1))["data"]["code"] == "unknown_request"


# Who is let in


def revoke(program: Program) -> None:
    tokens.revoke(program.token_id, None)


def expire(program: Program) -> None:
    past = database_now() - timedelta(seconds=1)
    ApiToken.writing.filter(pk=program.token_id).update(expires_at=past)


def deactivate(program: Program) -> None:
    program.user.is_active = False
    program.user.save()


ENDS = [revoke, expire, deactivate]


@pytest.mark.parametrize("end", ENDS)
async def test_a_token_that_does_not_hold_is_closed(end: Callable[[Program], None]) -> None:
    """Accepted first, as every connection is: the code of a close says more than a refused handshake."""
    agent = await program()
    await in_database(end, agent)
    async with agent.connection() as connection:
        assert await connection.until_closed() == 4401
    assert connection.frames == []


@pytest.mark.one_stack
@pytest.mark.parametrize(
    "values",
    [[], [b""], [b"Bearer"], [b"Bearer "], [b"Bearer sayso_x"], [b"Basic eDp5"], [b"Bearer \x00\xff"]],
)
async def test_without_a_token_that_holds_it_is_closed(values: list[bytes]) -> None:
    """A session's cookie is no help: other pages' scripts could borrow it."""
    key = await in_database(session_of, await in_database(factories.user))
    headers = [(b"authorization", value) for value in values]
    async with connection(*headers, session_key=key) as refused:
        assert await refused.until_closed() == 4401
    assert refused.frames == []


@pytest.mark.one_stack
async def test_two_tokens_are_none() -> None:
    agent = await program()
    async with agent.connection((b"authorization", b"Bearer x")) as connection:
        assert await connection.until_closed() == 4401


@pytest.mark.one_stack
@pytest.mark.filterwarnings("ignore:No directory at")  # WhiteNoise, where nothing was collected
@pytest.mark.parametrize("origin", [b"null", b"", b"https://evil.example"])
async def test_foreign_pages_are_refused_even_with_a_token(origin: bytes) -> None:
    from config.asgi import application

    agent = await program()
    headers = ((b"host", b"localhost:8000"), (b"origin", origin))
    with pytest.raises(Closed):
        async with agent.connection(*headers, application=application):
            pass


@pytest.mark.one_stack
@pytest.mark.filterwarnings("ignore:No directory at")
@pytest.mark.parametrize("origin", [None, b"http://localhost:8000"])
async def test_programs_need_no_origin(origin: bytes | None) -> None:
    from config.asgi import application

    agent = await program()
    headers = ((b"host", b"localhost:8000"), *([(b"origin", origin)] if origin else []))
    async with agent.connection(*headers, application=application) as connection:
        await connection.opened()


# Tokens and users that change while a connection is open


@pytest.mark.parametrize("end", ENDS)
async def test_a_token_that_is_over_decides_nothing(end: Callable[[Program], None]) -> None:
    agent = await program()
    request = await asked(agent)
    async with agent.connection() as connection:
        await connection.opened()
        await in_database(end, agent)
        await connection.say("decide", ref=1, request_id=request, decision="approve")
        assert await connection.until_closed() == 4401
    refusals = [frame["data"]["code"] for frame in connection.frames if frame["type"] == "error"]
    assert refusals in ([], ["unauthenticated"])  # none: the hint was faster
    assert await status_of(request) == "pending"


@pytest.mark.parametrize("end", ENDS)
async def test_a_token_that_is_over_gets_no_event(end: Callable[[Program], None]) -> None:
    """What would have been told closes the connection instead."""
    agent = await program(may=("view_humanrequest",))
    async with agent.connection() as connection:
        await connection.opened()
        await in_database(end, agent)
        await in_database(factories.approval)
        with pytest.raises(Closed) as closed:
            await connection.next()
        assert closed.value.code == 4401


@pytest.mark.parametrize("end", [expire, deactivate])
async def test_a_token_that_is_over_is_found_out_by_the_regular_check(end: Callable[[Program], None]) -> None:
    agent = await program()
    async with agent.connection() as connection:
        await connection.opened()
        await in_database(end, agent)
        inbox_hub().check_everybody()
        assert await connection.until_closed() == 4401


async def test_a_revoked_token_closes_its_connections_at_once_and_no_others() -> None:
    """Nothing else need happen: neither an event, nor an act, nor the regular check."""
    agent = await program()
    other = await in_database(issued, agent.user, "read")
    key = await in_database(session_of, agent.user)
    async with (
        agent.connection() as first,
        agent.connection() as second,
        other.connection() as third,
        Connection(key) as person,
    ):
        for each in (first, second, third, person):
            await each.opened()
        await in_database(revoke, agent)
        assert await first.until_closed() == 4401
        assert await second.until_closed() == 4401
        request = await asked(agent)
        for each in (third, person):
            await each.next("request_opened")
            assert list(each.requests) == [request]


@pytest.mark.one_stack
async def test_who_leaves_before_the_token_was_looked_up_takes_no_seat() -> None:
    agent = await program()
    async with agent.connection():
        pass
    async with agent.connection() as connection:
        await connection.opened()
        assert len(inbox_hub()._seats) == 1


async def test_sessions_and_tokens_are_looked_up_with_three_queries(
    django_assert_max_num_queries: Any,
) -> None:
    """However many; what does not hold is left out."""

    def made() -> tuple[dict[Any, int], list[Any]]:
        programs = [issued(factories.user(), "read") for _ in range(5)]
        revoke(programs[-1])
        people = [factories.user() for _ in range(3)]
        keys = [session_of(person) for person in people]
        holding: dict[Any, int] = {each.token_id: each.user.pk for each in programs[:-1]}
        holding |= {key: person.pk for key, person in zip(keys, people, strict=True)}
        return holding, [*holding, programs[-1].token_id, "unknown"]

    def looked_up(asked: list[Any]) -> dict[Any, int]:
        credentials.owners(asked)  # statements are prepared once a connection
        with django_assert_max_num_queries(3):
            return dict(credentials.owners(asked))

    holding, asked = await in_database(made)
    assert await in_database(looked_up, asked) == holding
    assert await in_database(credentials.owners, []) == {}
