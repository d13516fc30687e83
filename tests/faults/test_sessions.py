"""Fault 9: whoever may not any more, on a socket that stays open at a real server, and then decides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeAlias

import httpx
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from approvals.database.threads import in_database
from approvals.web.edge import tokens
from tests import factories
from tests.faults.clients import Person, Program, Socket, on_record
from tests.marks import both_databases
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.usefixtures("shared_server")]

Loss: TypeAlias = Callable[[Person], None]

SEES_ALL = ("view_humanrequest",)

# What the decision is told; or nothing, where other news found out sooner that the session is over.
REFUSED = {"unauthenticated", None}


def log_out(person: Person) -> None:
    person.log_out()


def let_the_session_expire(person: Person) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Session.objects.filter(pk=person.session_key).update(expire_date=past)


def deactivate(person: Person) -> None:
    person.user.is_active = False
    person.user.save()


def change_the_password_elsewhere(person: Person) -> None:
    """In another browser, by the page for it."""
    with Person(person.server, person.user).browser() as browser:
        page = "/accounts/password/"
        browser.get(page)
        said = {
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "old_password": "before",
            "new_password1": "quite-another-one",
            "new_password2": "quite-another-one",
        }
        assert browser.post(page, data=said).is_redirect


LOSSES: list[Loss] = [log_out, let_the_session_expire, deactivate, change_the_password_elsewhere]


@both_databases
async def test_a_session_that_is_over_decides_nothing_and_is_closed(server: Server) -> None:
    """Fault 9. Whatever ended it: refused, 4401, and not one row is another."""
    for loss in LOSSES:
        person = await in_database(_person, server)
        request = await in_database(factories.approval, assignees=[person.user])
        async with person.socket() as socket:
            await in_database(loss, person)
            before = await in_database(on_record)
            code, closed = await _decided(socket, request)
            assert (loss, code in REFUSED, closed) == (loss, True, 4401)
            assert await in_database(on_record) == before


async def test_a_session_that_is_over_is_told_nothing_and_is_closed(server: Server) -> None:
    """Fault 9. What would have been shown closes the socket instead; others are told."""
    witness = await in_database(_person, server, may=SEES_ALL)
    async with AsyncExitStack() as open_sockets:
        lost = {}
        for loss in LOSSES:
            person = await in_database(_person, server, may=SEES_ALL)
            lost[loss] = person, await open_sockets.enter_async_context(person.socket())
            await in_database(loss, person)
        present = await open_sockets.enter_async_context(witness.socket())
        request = await in_database(factories.approval)
        for loss, (_, socket) in lost.items():
            with pytest.raises(ConnectionClosed) as closed:
                await socket.next()
            assert (loss, closed.value.rcvd and closed.value.rcvd.code) == (loss, 4401)
        assert (await present.next("request_opened"))["data"]["request"]["id"] == request


async def test_a_session_that_is_over_decides_nothing_on_pages(server: Server) -> None:
    """Fault 9. A page that was open before leads to the login and records nothing."""
    for loss in LOSSES:
        person = await in_database(_person, server)
        request = await in_database(factories.approval, assignees=[person.user])
        with person.browser() as browser:
            browser.get(f"/requests/{request}/")
            await in_database(loss, person)
            before = await in_database(on_record)
            token = {"X-CSRFToken": browser.cookies["csrftoken"]}
            form = browser.post(f"/requests/{request}/", headers=token, data={"decision": "approve"})
            assert (loss, form.status_code) == (loss, 302)
            assert form.headers["location"].startswith("/accounts/login/")
            call = browser.post(
                f"/api/v1/requests/{request}/decision", headers=token, json={"decision": "approve"}
            )
            assert (loss, call.status_code, call.json()["code"]) == (loss, 401, "unauthenticated")
        assert await in_database(on_record) == before


async def test_only_the_session_that_is_over_is_closed(server: Server) -> None:
    """Fault 9. The same person's other browser goes on deciding."""
    gone = await in_database(_person, server)
    other = await in_database(Person, server, gone.user)
    first, second = [await in_database(factories.approval, assignees=[gone.user]) for _ in range(2)]
    async with gone.socket() as closing, other.socket() as staying:
        await in_database(log_out, gone)
        code, closed = await _decided(closing, first)
        assert (code in REFUSED, closed) == (True, 4401)
        assert (await staying.decide(second))["type"] == "decision_accepted"


async def test_a_permission_that_was_removed_decides_nothing(server: Server) -> None:
    """Fault 9. The socket may stay, what it showed by that permission must not; a refusal is on record."""
    person = await in_database(lambda: Person(server, factories.reviewer()))
    request = await in_database(factories.approval)
    async with person.socket() as socket:
        await in_database(person.user.user_permissions.clear)
        before = await in_database(on_record)
        refused = await socket.decide(request)
        assert (refused["type"], refused["data"]["code"]) == ("error", "unknown_request")
        assert _decisions(await in_database(on_record)) == _decisions(before)
        hidden = await in_database(factories.approval, "Not for these eyes")
        own = await in_database(factories.approval, "For these", assignees=[person.user])
        while socket.shown != {own}:
            await socket.next()
            assert hidden not in socket.shown
        assert (await socket.decide(own))["type"] == "decision_accepted"


async def test_who_left_the_group_that_decides_decides_nothing(server: Server) -> None:
    """Fault 9. Who may still see it, having asked, is told so."""
    person = await in_database(_person, server)
    group: Group = await in_database(factories.group, "board", person.user, await in_database(factories.user))
    request = await in_database(factories.approval, requester=person.user, assignees=[group])
    async with person.socket() as socket:
        await in_database(group.user_set.remove, person.user)
        before = await in_database(on_record)
        refused = await socket.decide(request)
        assert (refused["type"], refused["data"]["code"]) == ("error", "not_permitted")
        assert _decisions(await in_database(on_record)) == _decisions(before)


async def test_a_token_that_was_revoked_decides_nothing_and_is_closed(server: Server) -> None:
    """Fault 9, for programs."""
    program = await in_database(Program, server, "read", "decide")
    request = await in_database(factories.approval, assignees=[program.user])
    async with program.socket() as socket:
        await in_database(tokens.revoke, program.token_id, None)
        before = await in_database(on_record)
        code, closed = await _decided(socket, request)
        assert (code in REFUSED, closed) == (True, 4401)
    answer = await _called(program, request)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert await in_database(on_record) == before


async def test_a_token_whose_user_was_deactivated_decides_nothing(server: Server) -> None:
    """Fault 9, for programs. It holds as long as its user may log in."""
    program = await in_database(Program, server, "read", "decide")
    request = await in_database(factories.approval, assignees=[program.user])
    async with program.socket() as socket:
        program.user.is_active = False
        await in_database(program.user.save)
        before = await in_database(on_record)
        code, closed = await _decided(socket, request)
        assert (code in REFUSED, closed) == (True, 4401)
    assert (await _called(program, request)).status_code == 401
    assert await in_database(on_record) == before


def _person(server: Server, **fields: Any) -> Person:
    """Their password is hashed as the server does it, for it checks that."""
    user = factories.user(**fields)
    user.password = PBKDF2PasswordHasher().encode("before", "salt", iterations=1000)
    user.save()
    return Person(server, user)


async def _decided(socket: Socket, request_id: str) -> tuple[str | None, int]:
    """The code of the refusal, None where the socket was closed before it; and that of the close."""
    try:
        answer = await socket.decide(request_id)
    except ConnectionClosed:
        return None, await socket.closed()
    assert answer["type"] == "error", answer
    return answer["data"]["code"], await socket.closed()


async def _called(program: Program, request_id: str) -> httpx.Response:
    async with program.client() as client:
        return await client.post(f"/requests/{request_id}/decision", json={"decision": "approve"})


def _decisions(recorded: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What was asked, and what came of it."""
    said = [entry for entry in recorded["AuditEntry"] if entry["event"] != "refused"]
    states = [(row["id"], row["status"], row["approvals"]) for row in recorded["HumanRequest"]]
    return {"said": said, "states": states, "responses": recorded["Response"]}
