"""Many, slow, loud and malicious clients at a real server: memory stays bounded, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from django.contrib.auth.models import User
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Origin
from websockets.uri import parse_uri

from approvals import deciding
from approvals.database.threads import in_database
from approvals.web.edge import tokens
from approvals.web.edge.throttling import IN_LINE, INSIDE
from orchestration.benchmark.sockets import Socket
from tests import factories
from tests.approvals.web.live.test_served import browser, closed, heard, say
from tests.conftest import Manage, Serve
from tests.connections import closes, session_of
from tests.database_roles import SUPERUSER, url_as
from tests.processes import Server
from tests.servers import PostgresServer
from tests.stacks import Stack

pytestmark = pytest.mark.django_db

MIB = 1 << 20
UNLIMITED = {
    "SAYSO_RATE_LIMIT": "0",
    "SAYSO_ADDRESS_RATE_LIMIT": "0",
    "SAYSO_SOCKETS_PER_ADDRESS": "0",
    "SAYSO_SOCKETS_PER_USER": "0",
}

# As many at a time as a listening server lets wait; and what a process has open besides.
IDLE, OPENED_AT_ONCE, OTHER_FILES = 5000, 100, 200
PATIENCE = 60.0
PEOPLE = 50
MOST_PER_SOCKET = 128 * 1024
# What a server may gain by one client that does its worst.
MOST_GAINED = 48 * MIB


def memory(server: Server) -> int:
    return int(psutil.Process(server.pid).memory_info().rss)


async def is_served(server: Server, person: User, connection: ClientConnection) -> None:
    """A request that another process opens reaches this connection and can be decided by it."""
    request = await in_database(factories.approval, assignees=[person])
    while (await heard(connection, "request_opened"))["data"]["request"]["id"] != request:
        pass
    await say(connection, "decide", request, request_id=request, decision="approve")
    assert (await heard(connection, "decision_accepted"))["ref"] == request


# Many


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process and those it starts may open as many files as all the connections take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = 2 * IDLE if hard == resource.RLIM_INFINITY else min(hard, 2 * IDLE)
    assert allowed >= IDLE + OTHER_FILES, f"no {IDLE} connections where a process may open {hard} files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.alone
@pytest.mark.stacks("postgresql-redis")
@pytest.mark.usefixtures("many_files")
async def test_thousands_of_idle_connections_cost_little_and_hear_their_news(serve: Serve) -> None:
    """Each costs some kilobytes; what concerns one person reaches all of that person's, and nobody else."""
    server = serve(**UNLIMITED)
    people = [await in_database(factories.user) for _ in range(PEOPLE)]
    sessions = [await in_database(session_of, person) for person in people]
    heard_by: Counter[int] = Counter()
    news = asyncio.Event()

    def told(number: int, moment: int, frame: bytes) -> None:
        kind = json.loads(frame)["type"]
        if kind in {"snapshot", "request_opened"}:
            heard_by[number] += 1
            news.set()

    async def open_one(number: int) -> Socket:
        cookie = {"Cookie": f"sessionid={sessions[number % PEOPLE]}"}
        return await Socket.open(number, server.port, "/ws/inbox/", cookie, told)

    async def until(total: int) -> None:
        async with asyncio.timeout(60):
            while heard_by.total() < total:
                news.clear()
                await news.wait()

    async with browser(server, people[0]) as connection:
        before = memory(server)
        sockets: list[Socket] = []
        try:
            while len(sockets) < IDLE:
                some = range(len(sockets), len(sockets) + OPENED_AT_ONCE)
                sockets += await asyncio.gather(*map(open_one, some))
                await until(len(sockets))
            each = (memory(server) - before) / IDLE
            print(f"{IDLE} idle connections: {each / 1024:.1f} KiB each")
            assert each < MOST_PER_SOCKET
            await is_served(server, people[0], connection)
            await until(IDLE + IDLE // PEOPLE)
            assert {number % PEOPLE for number, times in heard_by.items() if times > 1} == {0}
        finally:
            for each_socket in sockets:
                each_socket.close()


# Slow


@asynccontextmanager
async def never_reading(server: Server, person: User) -> AsyncIterator[socket.socket]:
    """An open connection whose client takes nothing, and has little room for what it does not take."""
    place = f"127.0.0.1:{server.port}"
    opening = ClientProtocol(parse_uri(f"ws://{place}/ws/inbox/"), origin=Origin(f"http://{place}")).connect()
    opening.headers["Cookie"] = f"sessionid={await in_database(session_of, person)}"
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(opening.serialize())
        assert raw.recv(12) == b"HTTP/1.1 101"
        raw.setblocking(False)
        yield raw


@pytest.mark.alone
@pytest.mark.one_stack
async def test_who_reads_nothing_costs_a_bounded_amount_of_memory(server: Server) -> None:
    """Hundreds of megabytes of news pass by a client that has stopped reading; another gets them all."""
    ada = await in_database(factories.user)
    details = "x" * 90_000
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(browser(server, ada))
        for _ in range(10):
            await stack.enter_async_context(never_reading(server, ada))
        await is_served(server, ada, connection)
        before, most = memory(server), 0
        for _ in range(6):
            ids = [
                await in_database(partial(factories.approval, assignees=[ada], details=details))
                for _ in range(20)
            ]
            for kind in ("request_opened", "request_closed"):
                seen: set[str] = set()
                while not seen.issuperset(ids):
                    seen.add((await heard(connection, kind))["data"]["request"]["id"])
                most = max(most, memory(server))
                if kind == "request_opened":
                    verdicts = [(id_, "approve") for id_ in ids]
                    await deciding.adecide_many(factories.actor(ada), verdicts)
        print(f"ten that read nothing: {(most - before) / MIB:.1f} MiB")
        assert most - before < MOST_GAINED


@pytest.mark.alone
@pytest.mark.one_stack
async def test_who_talks_and_never_reads_is_not_listened_to_any_more(server: Server) -> None:
    """Pings have answers, too: millions of them gather nowhere."""
    ada, mallory = await in_database(factories.user), await in_database(factories.user)
    async with browser(server, ada) as connection, never_reading(server, mallory) as raw:
        before = memory(server)
        pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1000
        sent = await _press(raw, pings, 200 * MIB)
        print(f"pings taken: {sent / MIB:.1f} MiB, gained {(memory(server) - before) / MIB:.1f} MiB")
        await is_served(server, ada, connection)
        assert memory(server) - before < MOST_GAINED


async def _press(raw: socket.socket, data: bytes, most: int) -> int:
    """Send until the other side takes no more for a while, or ends it; how much it took."""
    loop, sent = asyncio.get_running_loop(), 0
    with contextlib.suppress(TimeoutError, ConnectionError):
        while sent < most:
            async with asyncio.timeout(3):
                await loop.sock_sendall(raw, data)
            sent += len(data)
    return sent


# Giant, malformed, and too many


@pytest.mark.alone
@pytest.mark.one_stack
async def test_giant_frames_end_their_connection_before_they_have_arrived(server: Server) -> None:
    """64 MiB in one frame or in many, announced or sent: refused as too large, and never kept."""
    ada, mallory = await in_database(factories.user), await in_database(factories.user)
    async with browser(server, ada) as connection:
        before, most = memory(server), 0
        for parts in (1, 64):
            async with browser(server, mallory) as abusing:
                with contextlib.suppress(ConnectionClosed):
                    await abusing.send(["x" * (64 * MIB // parts)] * parts if parts > 1 else "x" * 64 * MIB)
                assert await closed(abusing) in closes(1009)
            most = max(most, memory(server))
        await is_served(server, ada, connection)
    print(f"giant frames: {(most - before) / MIB:.1f} MiB")
    assert most - before < MOST_GAINED


MALFORMED: dict[str, tuple[str | bytes | Frame | memoryview, int]] = {
    "no JSON": ("}{", 4400),
    "nested deeply": ("[" * 100_000, 4400),
    "a number of many digits": ('{"type": "ping", "ref": ' + "9" * 60_000 + "}", 4400),
    "binary": (b"\x00\xff", 4400),
    "no UTF-8": (Frame(Opcode.TEXT, b"\xff\xfe"), 1007),
    "an unknown kind of frame": (memoryview(b"\x83\x80\x00\x00\x00\x00"), 1002),
}


@pytest.mark.one_stack
@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_frames_end_their_own_connection_only(server: Server, name: str) -> None:
    ada, mallory = await in_database(factories.user), await in_database(factories.user)
    what, code = MALFORMED[name]
    async with browser(server, ada) as connection:
        async with browser(server, mallory) as abusing:
            for _ in range(11):
                await _send(abusing, what)
            assert await closed(abusing) in closes(code)
        await is_served(server, ada, connection)


async def _send(connection: ClientConnection, what: str | bytes | Frame | memoryview) -> None:
    """As text or binary; text that is none; or what is no frame."""
    with contextlib.suppress(ConnectionClosed):
        if isinstance(what, Frame):
            await connection.send(what.data, text=True)
        elif isinstance(what, memoryview):
            connection.transport.write(what)
        else:
            await connection.send(what)


@pytest.mark.alone
@pytest.mark.one_stack
async def test_floods_end_their_own_connections_only(server: Server) -> None:
    """Messages by the thousand, from many connections at once: answered `rate_limited`, then closed 4429."""
    ada, mallory = await in_database(factories.user), await in_database(factories.user)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(browser(server, ada))
        before = memory(server)
        flooding = [await stack.enter_async_context(browser(server, mallory)) for _ in range(20)]
        codes = await asyncio.gather(*map(_flood, flooding))
        await is_served(server, ada, connection)
        assert set(codes) <= closes(4429)
        assert memory(server) - before < MOST_GAINED


async def _flood(connection: ClientConnection) -> int:
    with contextlib.suppress(ConnectionClosed):
        for number in range(5000):
            await say(connection, "ping", number)
    return await closed(connection)


# More than one may ask


def program(*scopes: str) -> tuple[User, dict[str, str]]:
    """A user, and the header that shows one of this user's tokens."""
    person = factories.user()
    return person, {"Authorization": f"Bearer {tokens.issue(person.pk, 'load', scopes)[1]}"}


def caller(server: Server, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=PATIENCE, limits=limits, trust_env=False
    )


@pytest.mark.alone
@pytest.mark.one_stack
async def test_a_user_who_asks_too_much_is_told_when_to_ask_again_and_others_are_served(serve: Serve) -> None:
    """By token or by session, over HTTP or a connection, it is one allowance; a held answer costs one."""
    server = serve(SAYSO_RATE_LIMIT="1")  # ten at once
    mallory, headers = await in_database(program, "ask", "read")
    _, others = await in_database(program, "read")
    request = await in_database(partial(factories.approval, requester=mallory))
    by = await in_database(factories.reviewer)
    async with caller(server, headers) as client, caller(server, others) as other:
        waiting = asyncio.create_task(client.get(f"/api/v1/requests/{request}/outcome?wait=60"))
        refused = await _refused(client, "/api/v1/requests")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert int(refused.headers["retry-after"]) >= 1
        assert (await other.get("/api/v1/requests")).status_code == 200
        cookie = {"Cookie": f"sessionid={await in_database(session_of, mallory)}"}
        page = await _refused(client, "/", headers={**cookie, "Authorization": ""})
        assert "Too many requests" in page.text
        async with browser(server, mallory) as connection:
            for number in range(20):
                await say(connection, "ping", number)
            assert (await heard(connection, "error"))["data"]["code"] == "rate_limited"
        await deciding.adecide(factories.actor(by), request, "approve")
        outcome = await waiting
        assert (outcome.status_code, outcome.json()["status"]) == (200, "approved")


def most_memory(server: Server) -> int:
    """The most that the process ever had (Linux)."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.mark.one_stack
async def test_an_account_that_asks_all_it_may_costs_a_reviewers_server_little(serve: Serve) -> None:
    """Its quota of large requests is opened, and then looked at by somebody who sees everything, over a
    connection, on the page and over HTTP."""
    server = serve(SAYSO_BYTES_PER_USER=str(12 * MIB), **UNLIMITED)
    _, headers = await in_database(program, "ask")
    rita, reading = await in_database(program, "read")
    await in_database(partial(User.objects.filter(pk=rita.pk).update, is_superuser=True))
    question = {"kind": "clarification", "title": "Why?", "default": "x" * 1_000_000}
    async with caller(server, headers) as client, caller(server, reading) as reviewer:
        await client.post("/api/v1/requests", json=question)
        await reviewer.get("/api/v1/requests")
        before = most_memory(server)
        asked = [await client.post("/api/v1/requests", json=question) for _ in range(13)]
        assert Counter(one.status_code for one in asked) == {201: 11, 429: 2}
        async with browser(server, rita) as connection:
            await is_served(server, rita, connection)
        cookie = {"Cookie": f"sessionid={await in_database(session_of, rita)}"}
        assert (await reviewer.get("/", headers=cookie)).status_code == 200
        pages = [await reviewer.get("/api/v1/requests", params={"limit": 200}) for _ in range(3)]
        # The small one that was just decided, and one of the large ones.
        assert [len(page.json()["requests"]) for page in pages] == [2] * 3
    gained = most_memory(server) - before
    print(f"a full quota: {gained / MIB:.1f} MiB")
    assert gained < MOST_GAINED


async def _refused(client: httpx.AsyncClient, path: str, **options: Any) -> httpx.Response:
    """The first answer that says too much is asked."""
    for _ in range(200):
        if (response := await client.get(path, **options)).status_code == 429:
            return response
    raise AssertionError("never refused")


@pytest.mark.alone
async def test_a_flood_from_one_address_is_refused_though_the_database_hangs(
    private_postgres: PostgresServer, serve: Serve
) -> None:
    """What is refused touches nothing; other addresses, as a trusted proxy tells them, are let through."""
    server = serve(SAYSO_ADDRESS_RATE_LIMIT="1", SAYSO_TRUSTED_PROXIES="127.0.0.1")
    private_postgres.freeze()
    async with caller(server, {"X-Forwarded-For": "2001:db8::1"}) as client:
        paths = ["/api/v1/requests"] * 60
        flood = [
            asyncio.create_task(client.get(path, headers=_with_token(n))) for n, path in enumerate(paths)
        ]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        neighbour = {"X-Forwarded-For": "2001:db8::2"}
        refused = await client.get("/requests/", headers=neighbour)
        assert (refused.status_code, "Too many requests" in refused.text) == (429, True)
        elsewhere = {"X-Forwarded-For": "2001:db8:0:1::1"}
        assert (await client.get("/accounts/login/", headers=elsewhere)).status_code == 200
        private_postgres.thaw()
        answers = Counter([response.status_code for response in await asyncio.gather(*flood)])
    assert answers[429] >= 40
    assert set(answers) <= {401, 429, 503}


def _with_token(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer nobody{number}"}


@pytest.mark.one_stack
@pytest.mark.parametrize("limit", ["SAYSO_SOCKETS_PER_USER", "SAYSO_SOCKETS_PER_ADDRESS"])
async def test_one_connection_too_many_is_told_why_and_closed(serve: Serve, limit: str) -> None:
    server = serve(**{limit: "2"})
    ada = await in_database(factories.user)
    async with browser(server, ada), browser(server, ada):
        sent = {"Origin": server.url, "Cookie": f"sessionid={await in_database(session_of, ada)}"}
        address = f"{server.websocket_url}/ws/inbox/"
        async with connect(address, additional_headers=sent, proxy=None) as third:
            assert (await heard(third))["data"]["code"] == "rate_limited"
            assert await closed(third) == 4429
    async with browser(server, ada):
        pass


# More than the database takes


@pytest.mark.stacks("postgresql-redis")
async def test_a_full_queue_says_busy_everywhere_and_recovers(
    stack: Stack, serve: Serve, manage: Manage
) -> None:
    """While the writer is stalled: a problem, a page and a frame say so; afterwards all is decided."""
    server = serve(SAYSO_WRITER_QUEUE="2")
    ada, headers = await in_database(program, "decide")
    first, *rest = [await in_database(partial(factories.approval, assignees=[ada])) for _ in range(12)]
    async with caller(server, headers) as client, browser(server, ada) as connection:

        async def decide(request: str) -> httpx.Response:
            return await client.post(f"/api/v1/requests/{request}/decision", json={"decision": "approve"})

        with stalled_writes(stack):
            stalling = asyncio.create_task(decide(first))
            crowd = [asyncio.create_task(decide(request)) for request in rest]
            busy = await _first_busy([stalling, *crowd])
            for request in rest:
                await say(connection, "decide", request, request_id=request, decision="approve")
            while "queued" not in (error := (await heard(connection, "error"))["data"])["detail"]:
                pass
            assert error["code"] == "busy"
            page = await post_page(server, ada, rest[0])
            assert page.status_code == 503
            assert "What you sent was not recorded" in page.text
        await asyncio.gather(stalling, *crowd)
        assert busy.json()["code"] == "busy"
        assert int(busy.headers["retry-after"]) >= 1
        for request in (first, *rest):
            while (answer := await decide(request)).status_code == 503:
                pass
            assert answer.status_code == 200
    told = manage("decide", rest[0], "approve", environment=stack.environment | {"SAYSO_WRITER_QUEUE": "0"})
    assert told.wait() != 0
    assert "More commands are queued than may wait" in told.output.text


async def post_page(server: Server, person: User, request: str) -> httpx.Response:
    """Approve on the request's page."""
    cookies = {"sessionid": await in_database(session_of, person), "csrftoken": "t" * 32}
    async with caller(server) as page:
        page.cookies.update(cookies)
        form = {"csrfmiddlewaretoken": "t" * 32, "decision": "approve"}
        return await page.post(f"/requests/{request}/", data=form)


async def _first_busy(asked: Sequence[asyncio.Task[httpx.Response]]) -> httpx.Response:
    for answer in asyncio.as_completed(asked):
        if (response := await answer).status_code == 503 and response.json()["code"] == "busy":
            return response
    raise AssertionError("never busy")


async def test_a_database_that_hangs_keeps_a_bounded_number_of_requests(
    private_postgres: PostgresServer, serve: Serve
) -> None:
    """A bounded number has a thread, a bounded number waits in line, and the rest is told that it is busy.
    When the database is back, those that wait are answered."""
    server = serve(**UNLIMITED)
    process = psutil.Process(server.pid)
    most = INSIDE + IN_LINE
    async with caller(server) as client:
        client.timeout = httpx.Timeout(300)
        private_postgres.freeze()
        asked = [client.get("/api/v1/requests", headers=_with_token(n)) for n in range(most + 50)]
        waiting = [asyncio.create_task(each) for each in asked]
        busy = await _first_busy(waiting)
        threads = process.num_threads()
        assert (await client.get("/static/approvals/sayso.css")).status_code == 503
        private_postgres.thaw()
        answers = Counter([response.status_code for response in await asyncio.gather(*waiting)])
        assert (await client.get("/api/v1/requests", headers=_with_token(0))).status_code == 401
    assert int(busy.headers["retry-after"]) >= 1
    assert threads < INSIDE + 40
    assert answers[401] > 0
    assert set(answers) == {401, 503}


@contextmanager
def stalled_writes(stack: Stack) -> Iterator[None]:
    """Nothing gets on record meanwhile; everything else goes on."""
    with psycopg.connect(url_as(SUPERUSER, stack.environment["DATABASE_URL"])) as connection:
        connection.execute("LOCK TABLE approvals_auditentry IN EXCLUSIVE MODE")
        yield
