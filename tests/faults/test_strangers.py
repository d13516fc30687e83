"""Fault 10: strangers at a real server. Pages of other sites, forms without proof, what was good once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from approvals.database.threads import in_database
from approvals.web.edge import tokens
from orchestration.models import Run
from tests import factories
from tests.faults.clients import Person, Program, Socket, on_record
from tests.patience import patience
from tests.processes import Server

# Of databases and layers, nothing here depends on which.
pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.usefixtures("shared_server")]

APPROVE = {"decision": "approve"}
REFUSED = {400, 403}


async def test_pages_of_other_sites_get_no_socket(server: Server) -> None:
    """Fault 10. With everything else in order: the person's own cookie, or a program's token."""
    person = await in_database(lambda: Person(server, factories.reviewer()))
    program = await in_database(Program, server, "read", "decide")
    port = server.url.rpartition(":")[2]
    foreign = [
        "https://evil.test",
        "null",
        "",
        "*",
        "file://",
        f"http://localhost:{port}",
        "http://127.0.0.1:1",
    ]
    for origin in foreign:
        for path in ("/ws/inbox/", "/ws/runs/0198c8f2-0000-7000-8000-000000000000/"):
            assert await _opened(server, path, person.headers | {"Origin": origin}) in REFUSED, origin
        answer = await _opened(server, "/ws/api/inbox/", program.headers | {"Origin": origin})
        assert answer in REFUSED, origin


async def test_a_missing_origin_is_no_page_of_ours(server: Server) -> None:
    """Fault 10. Only the programs' route takes it, and a cookie is nothing there."""
    person = await in_database(lambda: Person(server, factories.reviewer()))
    program = await in_database(Program, server, "read", "decide")
    request = await in_database(factories.approval)
    before = await in_database(on_record)
    cookie = {"Cookie": person.headers["Cookie"]}
    assert await _opened(server, "/ws/inbox/", cookie) == 403
    assert await _closed(server, "/ws/api/inbox/", cookie, request) == 4401
    assert await _opened(server, "/ws/inbox/", program.headers) == 403
    assert await in_database(on_record) == before


def test_a_post_without_its_csrf_token_changes_nothing(server: Server) -> None:
    """Fault 10. On pages, in the admin and at the API, a session alone proves nothing."""
    person = Person(server, factories.user(is_staff=True, is_superuser=True))
    request = factories.approval(requester=person.user)
    with unchanged(), person.browser() as browser:
        for address, said in _deeds(request):
            for proof in _no_proofs(browser, server):
                answer = browser.post(address, **said, headers=proof)
                assert (address, proof, answer.status_code) == (address, proof, 403)
    assert Session.objects.filter(pk=person.session_key).exists()


def test_a_post_from_another_site_changes_nothing(server: Server) -> None:
    """Fault 10. Even with the right token: the origin that browsers add is another's."""
    person = Person(server, factories.user(is_staff=True, is_superuser=True))
    request = factories.approval(requester=person.user)
    with unchanged(), person.browser() as browser:
        browser.get("/")
        for origin in ("https://evil.test", "null"):
            proof = {"X-CSRFToken": browser.cookies["csrftoken"], "Origin": origin}
            for address, said in _deeds(request):
                answer = browser.post(address, **said, headers=proof)
                assert (address, origin, answer.status_code) == (address, origin, 403)


def test_a_login_cannot_be_posted_by_another_site(server: Server) -> None:
    """Fault 10. Nobody is logged in as somebody else without noticing."""
    factories.user("mallory", password="known")
    with httpx.Client(base_url=server.url, trust_env=False, timeout=patience()) as victim:
        answer = victim.post("/accounts/login/", data={"username": "mallory", "password": "known"})
        assert answer.status_code == 403
        assert "sessionid" not in victim.cookies


def test_a_token_replayed_after_its_revocation_opens_nothing(server: Server) -> None:
    """Fault 10. Used a moment before, by the same connection."""
    program = _Calls(Program(server, "ask", "read", "decide"))
    request = factories.approval(assignees=[program.user])
    with program.client as client:
        assert client.get(f"/requests/{request}").status_code == 200
        tokens.revoke(program.token_id, None)
        with unchanged():
            for method, address, body in _calls(request):
                answer = client.request(method, address, json=body)
                assert (address, answer.status_code) == (address, 401)
                assert answer.json()["code"] == "unauthenticated"


async def test_a_token_replayed_on_a_new_socket_opens_nothing(server: Server) -> None:
    """Fault 10. Also one that never was, and one in the wrong place."""
    program = await in_database(Program, server, "read", "decide")
    request = await in_database(factories.approval, assignees=[program.user])
    async with program.socket():
        pass
    await in_database(tokens.revoke, program.token_id, None)
    before = await in_database(on_record)
    secret = program.headers["Authorization"].partition(" ")[2]
    for headers in (
        program.headers,
        {"Authorization": "Bearer sayso_" + "x" * 43},
        {"Authorization": f"Basic {secret}"},
        {"Cookie": f"sessionid={secret}"},
        {},
    ):
        assert await _closed(server, "/ws/api/inbox/", headers, request) == 4401
    assert await in_database(on_record) == before


def test_a_session_cookie_replayed_after_logout_opens_nothing(server: Server) -> None:
    """Fault 10. Kept by whoever copied it, together with the CSRF token."""
    person = Person(server, factories.user())
    request = factories.approval(assignees=[person.user])
    with person.browser() as copied:
        assert copied.get(f"/requests/{request}/").status_code == 200
        person.log_out()
        proof = {"X-CSRFToken": copied.cookies["csrftoken"]}
        with unchanged():
            page = copied.post(f"/requests/{request}/", data=APPROVE, headers=proof)
            assert page.headers["location"].startswith("/accounts/login/")
            call = copied.post(f"/api/v1/requests/{request}/decision", json=APPROVE, headers=proof)
            assert call.status_code == 401


def test_a_link_that_sets_a_password_works_once(server: Server) -> None:
    """Fault 10. Whoever finds it later, in a mailbox or a history, can't use it again."""
    user = factories.user(email="ada@example.org", password="forgotten")
    name = urlsafe_base64_encode(force_bytes(user.pk))
    link = f"/accounts/reset/{name}/{default_token_generator.make_token(user)}/"
    assert _set_password(server, link, "mine-and-only-mine")
    chosen = User.objects.get(pk=user.pk).password
    assert not _set_password(server, link, "taken-over-by-mallory")
    assert User.objects.get(pk=user.pk).password == chosen


class _Calls:
    """A program's calls, one after the other, over one connection."""

    def __init__(self, program: Program) -> None:
        self.user, self.token_id = program.user, program.token_id
        self.client = httpx.Client(
            base_url=f"{program.server.url}/api/v1",
            headers=program.headers,
            trust_env=False,
            timeout=patience(),
        )


@contextmanager
def unchanged() -> Iterator[None]:
    """Nothing is on record, or is another, because of what happens meanwhile; no run has begun."""
    before, runs = on_record(), Run.objects.count()
    yield
    assert (on_record(), Run.objects.count()) == (before, runs)


async def _opened(server: Server, path: str, headers: Mapping[str, str]) -> int:
    """The status with which opening this socket is refused; 101 where it is not."""
    try:
        async with connect(f"{server.websocket_url}{path}", additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def _closed(server: Server, path: str, headers: Mapping[str, str], request_id: str) -> int:
    """The code that closes this socket, on which a decision was sent at once."""
    address = f"{server.websocket_url}{path}"
    async with connect(address, additional_headers=headers, proxy=None) as connection:
        socket = Socket(connection)
        with suppress(ConnectionClosed):  # it was faster
            await socket.say("decide", 1, request_id=request_id, decision="approve")
        return await socket.closed()


def _deeds(request_id: str) -> list[tuple[str, dict[str, Any]]]:
    """What a person with a session can change, and what is sent for it."""
    api = "/api/v1"
    run = {"orchestration": "checklist", "input": {"title": "Release", "items": ["Tests are green"]}}
    admin = {"action": "approve", "_selected_action": request_id, "index": "0"}
    return [
        (f"/requests/{request_id}/", {"data": APPROVE}),
        (f"/requests/{request_id}/withdraw/", {"data": {"reason": "mine"}}),
        ("/admin/approvals/approval/", {"data": admin}),
        ("/accounts/logout/", {"data": {}}),
        (f"{api}/requests/{request_id}/decision", {"json": APPROVE}),
        (f"{api}/requests/{request_id}/withdraw", {"json": {"reason": "mine"}}),
        (f"{api}/requests/{request_id}/reassign", {"json": {"users": [], "groups": []}}),
        (f"{api}/requests/{request_id}/comments", {"json": {"text": "mine"}}),
        (f"{api}/decisions", {"json": {"decisions": [{"id": request_id, **APPROVE}]}}),
        (f"{api}/requests", {"json": {"kind": "approval", "title": "Pay?"}}),
        (f"{api}/runs", {"json": run}),
    ]


def _no_proofs(browser: httpx.Client, server: Server) -> Iterator[dict[str, str]]:
    """Without a token at all, with one that nobody gave out, and with the cookie's but another cookie."""
    yield {}
    yield {"Origin": server.url, "X-CSRFToken": "x" * 32}
    browser.get("/")
    yield {"X-CSRFToken": "y" * 64, "Referer": server.url}


def _calls(request_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"/requests/{request_id}", None),
        ("GET", f"/requests/{request_id}/outcome?wait=60", None),
        ("POST", f"/requests/{request_id}/decision", APPROVE),
        ("POST", "/requests", {"kind": "approval", "title": "Pay?"}),
        ("POST", "/runs", {"orchestration": "checklist", "input": {"title": "Release", "items": ["Tests"]}}),
    ]


def _set_password(server: Server, link: str, password: str) -> bool:
    """Follow the link in a new browser, and set this password if it shows the form for it."""
    with httpx.Client(
        base_url=server.url, trust_env=False, timeout=patience(), follow_redirects=True
    ) as browser:
        page = browser.get(link)
        said = {
            "csrfmiddlewaretoken": browser.cookies.get("csrftoken", ""),
            "new_password1": password,
            "new_password2": password,
        }
        answer = browser.post(str(page.url), data=said)
        return answer.url.path == "/accounts/reset/done/"
