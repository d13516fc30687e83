"""One account in no group does its worst at a real server: nobody is held up, and nothing foreign is reached.

What is counted: bytes of answers and of the server, what was refused and why, and that others were served.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from approvals import deciding
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.web.edge import tokens
from orchestration.models import Run
from tests import factories
from tests.conftest import Serve
from tests.connections import closes
from tests.faults.clients import Person, socket
from tests.faults.test_load import MIB, most_memory
from tests.patience import patience
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.processes]

# Stands in everything that is others'.
SECRET = "for-other-eyes-only"
REQUESTS, BYTES = 12, 4 * MIB
# What the server may gain while eight large requests of one account are worked on together, and how long an
# answer may be.
MOST_GAINED, LARGEST = 192 * MIB, 3 * MIB
DEEDS_OF_OTHERS = 12

TABLE = "|x" * 50 + "|\n" + "|-" * 50 + "|\n" + ("|x" * 50 + "|\n") * 900
HIDDEN = "\u200b" * 90_000
COSTLY = {"type": "array", "items": {"anyOf": [{"const": number} for number in range(400)]}}


class Account:
    """Mallory: a session, a token, and what came of everything."""

    def __init__(self, server: Server) -> None:
        user = factories.user("mallory", email="mallory@example.org")
        self.person = Person(server, user)
        _, secret = tokens.issue(user.pk, "script", ["ask", "read", "decide"])
        self.program = _client(server, {"Authorization": f"Bearer {secret}"})
        self.browser = _client(server, {"Cookie": self.person.headers["Cookie"]})
        self.said: Counter[tuple[str, int]] = Counter()
        self.codes: Counter[str] = Counter()
        self.largest = 0

    async def call(
        self, what: str, method: str, path: str, *, api: bool = True, **body: Any
    ) -> httpx.Response:
        """`what` names the deed in the counts. Nothing that comes back is anybody else's."""
        client, root = (self.program, "/api/v1") if api else (self.browser, "")
        response = await client.request(method, f"{root}{path}", **body)
        assert SECRET not in response.text, (what, path)
        self.said[what, response.status_code] += 1
        if response.headers.get("content-type") == "application/problem+json":
            self.codes[response.json()["code"]] += 1
        self.largest = max(self.largest, len(response.content))
        return response

    async def ask(self, what: str, **terms: Any) -> str | None:
        body = {"kind": "approval", "title": "Mine"} | terms
        response = await self.call(what, "POST", "/requests", json=body)
        return response.json()["id"] if response.status_code == 201 else None

    async def close(self) -> None:
        await self.program.aclose()
        await self.browser.aclose()


def _client(server: Server, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=server.url,
        headers=headers,
        timeout=4 * patience(),
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


class Others:
    """What is not the account's: people's requests, decisions and runs; and a reviewer at work."""

    def __init__(self) -> None:
        self.reviewer = factories.reviewer("rita")
        asker = factories.user("ada")
        terms: dict[str, Any] = {
            "details": f"Details {SECRET}",
            "arguments": {"to": SECRET},
            "requester": asker,
            "assignees": [self.reviewer],
            "origin": {"kind": "job", "id": SECRET, "url": ""},
        }
        self.pending = factories.approval(f"Pay {SECRET}", key=SECRET, **terms)
        self.closed = factories.approval(f"Paid {SECRET}", **terms)
        deciding.decide(factories.actor(self.reviewer), self.closed, "approve", comment=SECRET)
        self.question = factories.clarification(f"Which {SECRET}?", requester=asker, assignees=[asker])
        deciding.answer(factories.actor(asker), self.question, SECRET)
        now = database_now()
        self.run = Run.objects.create(
            orchestration="plan",
            owner=asker,
            input={"task": SECRET},
            result=SECRET,
            status="completed",
            created_at=now,
            changed_at=now,
            finished_at=now,
        ).pk
        _, secret = tokens.issue(self.reviewer.pk, "script", ["read", "decide"])
        self.token = {"Authorization": f"Bearer {secret}"}


async def work(others: Others, server: Server, until: asyncio.Event) -> Counter[int]:
    """A reviewer reads and decides until it is over, and a while longer; the status of each answer."""
    cookie = {"Cookie": (await in_database(Person, server, others.reviewer)).headers["Cookie"]}
    said: Counter[int] = Counter()
    async with _client(server, others.token) as program, _client(server, cookie) as browser:
        while not until.is_set() or said.total() < DEEDS_OF_OTHERS:
            request = await in_database(
                lambda: factories.approval(f"Decide {SECRET}", assignees=[others.reviewer])
            )
            for asking in (
                browser.get("/"),
                browser.get(f"/requests/{request}/"),
                program.post(f"/api/v1/requests/{request}/decision", json={"decision": "approve"}),
            ):
                said[(await asking).status_code] += 1
    return said


@contextlib.contextmanager
def somebodys_service() -> Iterator[tuple[str, list[str]]]:
    """A service of this computer's own, which trusts whoever reaches it; and what it was asked."""
    asked: list[str] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_an_account_in_no_group_holds_up_nobody_and_reaches_nothing_foreign(
    serve: Serve, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text(SECRET)
    server = serve(
        SAYSO_REQUESTS_PER_USER=str(REQUESTS),
        SAYSO_BYTES_PER_USER=str(BYTES),
        SAYSO_URL="http://sayso.example.com",
    )
    others = await in_database(Others)
    account = await in_database(Account, server)
    over = asyncio.Event()
    with somebodys_service() as (service, asked):
        await account.call("warm up", "GET", "/", api=False)
        before = most_memory(server)
        working = asyncio.create_task(work(others, server, over))
        try:
            await hold_up(account)
            await pry(account, server, others)
            await reach(account, service, tmp_path)
            await guess(account, server)
        finally:
            over.set()
            said = await working
            await account.close()
    gained = most_memory(server) - before
    print(f"abuse: {gained / MIB:.1f} MiB, {account.largest} bytes at most, {dict(account.codes)}")
    assert set(said) == {200}, "others are served whatever one account does"
    assert gained < MOST_GAINED
    assert account.largest < LARGEST
    assert asked == []
    assert victim.read_text() == SECRET
    assert account.codes["quota_exceeded"] > 0
    assert await in_database(Run.objects.count) == 1


async def hold_up(account: Account) -> None:
    """Whatever costs much, many times at once."""
    large = {"arguments": {"text": "x" * 900_000}}
    await asyncio.gather(*(account.ask("large", **large) for _ in range(12)))
    assert 0 < account.said["large", 201] * 900_000 <= BYTES
    assert account.said["large", 429] > 0, "the quota of bytes"
    ids = [await account.ask("small", details=details) for details in (TABLE, HIDDEN, "x")]
    pages = [f"/requests/{id_}/" for id_ in ids if id_]
    assert pages
    await asyncio.gather(
        *(account.call("page", "GET", path, api=False) for path in pages * 10),
        *(
            account.ask("schema", kind="clarification", schema=COSTLY, default=[399] * 9_000)
            for _ in range(5)
        ),
        *(account.call("list", "GET", "/requests?limit=200") for _ in range(10)),
        *(account.call("report", "GET", "/admin/", api=False) for _ in range(5)),
    )
    for _ in range(REQUESTS + 2):
        await account.ask("small")
    assert account.said["small", 429] > 0, "the quota of requests"


async def pry(account: Account, server: Server, others: Others) -> None:
    """At everything that is others'."""
    for id_ in (others.pending, others.closed, others.question):
        for path in ("", "/outcome?wait=0", "/history", "/comments?wait=60"):
            assert (await account.call("foreign", "GET", f"/requests/{id_}{path}")).status_code == 404
        for path, body in (
            ("decision", {"decision": "approve"}),
            ("answer", {"answer": "x"}),
            ("withdraw", {"reason": "x"}),
            ("reassign", {"users": ["mallory"], "groups": []}),
            ("comments", {"text": "x", "question": True}),
        ):
            response = await account.call("foreign", "POST", f"/requests/{id_}/{path}", json=body)
            assert response.status_code == 404, (path, response.text)
        for path in ("", "arguments.json"):
            page = await account.call("foreign page", "GET", f"/requests/{id_}/{path}", api=False)
            assert page.status_code == 404
    assert (await account.call("foreign", "GET", f"/runs/{others.run}")).status_code == 404
    for path in (
        f"/?q={SECRET[:7]}",
        "/?show=all&status=all",
        f"/rows/?q={SECRET[:7]}",
        "/runs/",
        f"/runs/{others.run}/",
        "/admin/",
        "/admin/approvals/approval/",
        "/admin/approvals/auditentry/",
        "/admin/orchestration/run/",
    ):
        await account.call("look", "GET", path, api=False)
    for path in ("/requests?status=approved", "/requests?assigned=me", "/runs"):
        await account.call("look", "GET", path)
    same_key = await account.call(
        "key", "POST", "/requests", json={"kind": "approval", "title": "Mine", "key": SECRET[::-1]}
    )
    assert same_key.status_code in {201, 429}
    async with account.person.socket() as connection:
        assert not connection.shown & {others.pending, others.closed, others.question}
        for id_ in (others.pending, others.question):
            assert (await connection.decide(id_))["type"] == "error"
    async with socket(server, account.person.headers, f"/ws/runs/{others.run}/") as connection:
        assert connection.shown == set()
        assert (await connection.next("error"))["data"]["code"] == "unknown_run"
        assert await connection.closed() in closes(4404)


async def reach(account: Account, service: str, directory: Path) -> None:
    """For what the server's own account may: addresses, files and mailboxes."""
    letter = {"to": ["victim@example.com"], "subject": "x", "body": "x"}
    steps: list[dict[str, Any]] = [
        {"agent": "http", "action": "GET", "arguments": {"url": service}},
        {"agent": "email", "action": "send", "arguments": letter},
        {"agent": "command", "action": "run", "arguments": {"argv": ["cat", str(directory / "victim")]}},
    ]
    for step in steps:
        plan = {"task": "Reach", "steps": [step]}
        response = await account.call("reach", "POST", "/runs", json={"orchestration": "plan", "input": plan})
        assert response.status_code == 403, response.text
    for path in (str(directory), "/etc", "/"):
        body = {"orchestration": "disk_cleanup", "input": {"directory": path}}
        assert (await account.call("reach", "POST", "/runs", json=body)).status_code == 403, path


async def guess(account: Account, server: Server) -> None:
    """Links for new passwords by the dozen, and passwords."""
    for path, said in (
        ("/accounts/reset/", {"email": "rita@example.org"}),
        ("/accounts/login/", {"username": "rita", "password": "guess"}),
    ):
        async with _client(server, {}) as stranger:
            await stranger.get(path)
            proof = {"csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
            answers = [await stranger.post(path, data=said | proof) for _ in range(15)]
        assert {answer.status_code for answer in answers} <= {200, 302, 429}
        assert answers[-1].status_code == 429, path
