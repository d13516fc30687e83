"""A client that opens addresses offers the request's page to the person who sits before it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp_types import ElicitRequestURLParams, ElicitResult
from sayso_client import AsyncSayso

from tests.adapters.mcp_client import COMMAND, Connect, children, connected, connector, over_http, said
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

REFUND = {"title": "Refund 12.40 EUR", "arguments": {"order": 2**60}, "key": "refund"}

both_protocols = pytest.mark.parametrize("mode", ["auto", "legacy"])


class Person:
    """At a client; reads what it shows, and opens it or not. None: does not even answer."""

    def __init__(self, action: str | None = "accept") -> None:
        self._action = action
        self.offers: asyncio.Queue[ElicitRequestURLParams] = asyncio.Queue()

    async def elicited(self, context: Any, params: ElicitRequestURLParams) -> ElicitResult:
        await self.offers.put(params)
        if self._action is None:
            await asyncio.Event().wait()
        return ElicitResult(action=self._action)

    async def request_id(self, server: Server) -> str:
        """Of the request whose page is offered."""
        offer = await self.offers.get()
        assert offer.message == "A person has to decide: Refund 12.40 EUR"
        assert offer.url.startswith(f"{server.url}/requests/")
        return str(offer.url).rstrip("/").rpartition("/")[2]

    @property
    def options(self) -> dict[str, Any]:
        return {"elicitation_callback": self.elicited}


@pytest.fixture
def connect(server: Server, asking: str) -> Connect:
    return connector(server, asking)


@both_protocols
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_the_page_is_offered_and_the_call_waits(
    connect: Connect, server: Server, reviewer: AsyncSayso, mode: str, action: str
) -> None:
    """Also where the person does not open it: others may decide. What is decided comes with its types."""
    person = Person(action)
    async with connect(mode=mode, options=person.options) as client:
        call = asyncio.ensure_future(client.call_tool("ask_approval", REFUND))
        request_id = await person.request_id(server)
        changed = {"order": str(2**60), "note": "x"}
        await reviewer.decide(request_id, "approve", arguments=changed)
        assert said(await call)["arguments"] == {"order": 2**60, "note": "x"}
        # What is decided is not offered again.
        assert said(await client.call_tool("ask_approval", REFUND))["request_id"] == request_id
        assert person.offers.empty()


async def test_an_offer_that_nobody_answers_holds_nothing_up(
    connect: Connect, server: Server, reviewer: AsyncSayso
) -> None:
    """Where the protocol allows it: a client of the newest calls again only after an answer."""
    person = Person(None)
    async with connect(mode="legacy", options=person.options) as client:
        call = asyncio.ensure_future(client.call_tool("ask_approval", REFUND))
        await reviewer.decide(await person.request_id(server), "approve")
        assert said(await call)["approved"] is True


@both_protocols
async def test_no_page_is_offered_where_nobody_sits_before_the_client(connect: Connect, mode: str) -> None:
    person = Person()
    async with connect("--no-pages", "--patience", "0.05", mode=mode, options=person.options) as client:
        assert said(await client.call_tool("ask_approval", REFUND))["status"] == "pending"
        assert person.offers.empty()


@both_protocols
async def test_over_http_without_the_name_of_a_run_nobody_is_asked_twice(
    server: Server, asking: str, reviewer: AsyncSayso, mode: str
) -> None:
    """The second round of a call knows its request, though each call has a key of its own."""
    person = Person()
    async with (
        over_http(server) as url,
        connected(url, {"Authorization": f"Bearer {asking}"}, mode, person.options) as client,
    ):
        call = asyncio.ensure_future(client.call_tool("ask_approval", REFUND))
        await reviewer.decide(await person.request_id(server), "reject", comment="no")
        assert said(await call)["reason"] == "Rejected by ann: no"
    assert len([each async for each in reviewer.requests()]) == 1


async def test_a_server_that_is_killed_while_the_page_is_offered_forgets_nothing(
    connect: Connect, server: Server, reviewer: AsyncSayso
) -> None:
    """The next one finds the request by its key, and offers the page again."""
    person = Person()
    async with connect(SAYSO_RUN="run-1", options=person.options) as client:
        call = asyncio.ensure_future(client.call_tool("ask_approval", REFUND))
        request_id = await person.request_id(server)
        (process,) = children(COMMAND)
        process.kill()
        with pytest.raises(Exception, match=r"(?i)closed"):
            await call
    async with connect(SAYSO_RUN="run-1", options=person.options) as client:
        call = asyncio.ensure_future(client.call_tool("ask_approval", REFUND))
        assert await person.request_id(server) == request_id
        await reviewer.decide(request_id, "approve")
        assert said(await call)["approved"] is True
