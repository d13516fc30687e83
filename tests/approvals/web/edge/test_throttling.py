"""What stands before Django: who asks too much is answered there, and few are let in at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pytest_django import Settings

from approvals.web.edge.throttling import FewAtOnce, Throttled
from tests.patience import patience

API = "/api/v1/"

Messages = list[dict[str, Any]]


class Inside:
    """What is protected: counts who is there, and lets them go when told."""

    def __init__(self) -> None:
        self.here = self.most = self.all = 0
        self.go = asyncio.Event()
        self._arrived = asyncio.Event()

    async def until(self, number: int) -> None:
        """Until so many are here."""
        async with asyncio.timeout(patience()):
            while self.here < number:
                self._arrived.clear()
                await self._arrived.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.here += 1
        self.all += 1
        self._arrived.set()
        self.most = max(self.most, self.here)
        try:
            await self.go.wait()
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
        finally:
            self.here -= 1


async def ask(application: Any, path: str = "/", *, kind: str = "http", **scope: Any) -> Messages:
    """What is answered."""
    said: Messages = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.connect"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    asked = {"type": kind, "path": path, "headers": [], "client": ["192.0.2.1", 1], **scope}
    await application(asked, receive, send)
    return said


def status(said: Messages) -> int:
    code: int = said[0]["status"]
    return code


@pytest.fixture
def inside() -> Inside:
    return Inside()


async def test_an_address_that_asks_too_much_is_answered_outside(settings: Settings, inside: Inside) -> None:
    """Programs get a problem, people a page; both learn when to ask again."""
    settings.SAYSO_ADDRESS_RATE_LIMIT = 0.0001  # one, and the next in hours
    throttled = Throttled(inside, api=API)
    inside.go.set()
    assert [status(await ask(throttled)) for _ in range(2)] == [204, 429]
    problem, page = await ask(throttled, f"{API}requests"), await ask(throttled, "/requests/")
    headers = dict(problem[0]["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"retry-after"]) > 0
    assert json.loads(problem[1]["body"])["code"] == "rate_limited"
    assert dict(page[0]["headers"])[b"content-type"].startswith(b"text/html")
    assert b"Too many requests from this address; try again in" in page[1]["body"]
    assert status(await ask(throttled, client=["192.0.2.2", 1])) == 204
    assert inside.all == 2


async def test_only_a_trusted_proxy_speaks_for_others(settings: Settings, inside: Inside) -> None:
    """Who writes addresses of its own into a header is still one address."""
    settings.SAYSO_ADDRESS_RATE_LIMIT = 0.0001
    settings.SAYSO_TRUSTED_PROXIES = ["198.51.100.1"]
    throttled = Throttled(inside, api=API)
    inside.go.set()

    async def by(peer: str, claim: str) -> int:
        return status(await ask(throttled, client=[peer, 1], headers=[(b"x-forwarded-for", claim.encode())]))

    assert [await by("192.0.2.1", f"203.0.113.{n}") for n in range(3)] == [204, 429, 429]
    assert [await by("198.51.100.1", f"203.0.113.{n}") for n in range(3)] == [204, 204, 204]
    assert await by("198.51.100.1", "6.6.6.6, 203.0.113.0") == 429


async def test_who_has_no_address_shares_no_limit(settings: Settings, inside: Inside) -> None:
    """Behind a socket file, a proxy has to limit."""
    settings.SAYSO_ADDRESS_RATE_LIMIT = 0.0001
    settings.SAYSO_SOCKETS_PER_ADDRESS = 1
    throttled = Throttled(inside, api=API)
    inside.go.set()
    assert [status(await ask(throttled, client=None)) for _ in range(5)] == [204] * 5
    assert [await ask(throttled, kind="websocket", client=None) for _ in range(5)] == [[]] * 5


async def test_a_connection_too_many_is_accepted_told_why_and_closed(
    settings: Settings, inside: Inside
) -> None:
    """A browser tells its page nothing of a connection that was never accepted."""
    settings.SAYSO_SOCKETS_PER_ADDRESS = 1
    throttled = Throttled(inside, api=API)
    first = asyncio.create_task(ask(throttled, kind="websocket"))
    await inside.until(1)
    accept, error, close = await ask(throttled, kind="websocket")
    assert accept["type"] == "websocket.accept"
    assert json.loads(error["text"])["data"]["code"] == "rate_limited"
    assert close == {"type": "websocket.close", "code": 4429}
    inside.go.set()
    await first
    assert await ask(throttled, kind="websocket") == []


async def test_connections_count_as_requests(settings: Settings, inside: Inside) -> None:
    settings.SAYSO_ADDRESS_RATE_LIMIT = 0.0001
    throttled = Throttled(inside, api=API)
    inside.go.set()
    assert await ask(throttled, kind="websocket") == []
    assert (await ask(throttled, kind="websocket"))[-1]["code"] == 4429
    assert status(await ask(throttled)) == 429


async def test_few_are_inside_some_wait_and_the_rest_is_told_at_once(inside: Inside) -> None:
    few = FewAtOnce(inside, api=API, inside=3, in_line=5, spared=["/healthz/live"])
    waiting = [asyncio.create_task(ask(few)) for _ in range(8)]
    await inside.until(3)
    problem, page = await ask(few, f"{API}requests"), await ask(few)
    assert (status(problem), json.loads(problem[1]["body"])["code"]) == (503, "busy")
    assert (status(page), b"Sayso is busy" in page[1]["body"]) == (503, True)
    assert all(dict(answer[0]["headers"])[b"retry-after"] for answer in (problem, page))
    spared = asyncio.create_task(ask(few, "/healthz/live"))
    await inside.until(4)
    inside.go.set()
    assert {status(await answer) for answer in [*waiting, spared]} == {204}
    assert inside.most == 4
    assert status(await ask(few)) == 204


async def test_who_gives_up_in_line_leaves_the_place_to_others(inside: Inside) -> None:
    few = FewAtOnce(inside, api=API, inside=1, in_line=1)
    first, second = (asyncio.create_task(ask(few)) for _ in range(2))
    await inside.until(1)
    assert status(await ask(few)) == 503
    second.cancel()
    await asyncio.wait([second])
    third = asyncio.create_task(ask(few))
    await asyncio.sleep(0)
    inside.go.set()
    assert [status(await first), status(await third)] == [204, 204]
