"""`sayso-mcp gate` between a real MCP client and a real MCP server, neither of which knows of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from sayso_client import AsyncSayso, Invalid

from tests.adapters.mcp_client import (
    COMMAND,
    answer,
    begin,
    children,
    connector,
    environment_of,
    problem,
    said,
)
from tests.processes import PROJECT, Process, Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

SHOP = '''
import json
import os
from mcp.server import MCPServer

server = MCPServer("shop", log_level="WARNING")
done = []


@server.tool(structured_output=False)
def look(order: int, note: str = "") -> str:
    """Look an order up."""
    token = os.environ.get("SAYSO_TOKEN")
    return json.dumps({"order": order, "note": note, "done": done, "token": token})


@server.tool(structured_output=False)
def refund(order: int, amount: str) -> str:
    """Pay back."""
    done.append(amount)
    return f'"refunded {amount} for {order}"'


@server.tool(structured_output=False)
def close(order: int) -> str:
    """Close an order."""
    done.append("closed")
    return f'"closed {order}"'


server.run()
'''

POLICY = """
default = "pass"
[[rule]]
tool = "refund"
title = "Refund {amount} for order {order}"
editable = true
[[rule]]
tool = "clo*"
users = ["ann"]
"""

Gated = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.py"
    file.write_text(SHOP)
    return file


@pytest.fixture
def gated(server: Server, asking: str, tmp_path: Path, shop: Path) -> Gated:
    """Connect a client to the shop, through the gate."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    connect = connector(server, asking)

    def connected(
        *options: str, mode: str = "auto", **environment: str
    ) -> AbstractAsyncContextManager[Client]:
        arguments = ["gate", "--policy", str(policy), *options, "--", sys.executable, str(shop)]
        return connect(*arguments, mode=mode, **environment)

    return connected


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_calls_that_the_policy_names_wait_for_people(
    gated: Gated, reviewer: AsyncSayso, shop: Path, mode: str
) -> None:
    """Everything else passes meanwhile. The server has not the token."""
    async with (
        gated(mode=mode) as client,
        Client(StdioServerParameters(command=sys.executable, args=[str(shop)]), mode=mode) as directly,
    ):
        assert await client.list_tools() == await directly.list_tools()
        assert client.server_info == directly.server_info

        order = 2**60
        call, request_id = await begin(client, "refund", order=order, amount="12.40")
        other, other_id = await begin(client, "close", order=order)
        looked = {"order": order, "note": "é" * 300_000}
        assert await answer(client, "look", **looked) == {**looked, "done": [], "token": None}
        asked = await reviewer.get(request_id)
        assert asked.title == f"Refund 12.40 for order {order}"
        assert asked.raw["arguments"] == {"order": str(order), "amount": "12.40"}
        await reviewer.decide(request_id, "approve", arguments={"order": str(order), "amount": "10.00"})
        assert said(await call) == f"refunded 10.00 for {order}"

        assert (await reviewer.get(other_id)).title == f"close(order={order})"
        with pytest.raises(Invalid, match="may not be edited"):
            await reviewer.decide(other_id, "approve", arguments={"order": 1})
        await reviewer.decide(other_id, "reject", comment="not before Friday")
        refused = await other
        assert refused.is_error
        assert refused.content[0].text == "Rejected by ann: not before Friday"
        call, request_id = await begin(client, "close", order=order)
        assert request_id != other_id
        await reviewer.decide(request_id, "approve")
        assert said(await call) == f"closed {order}"
        assert (await answer(client, "look", order=1))["done"] == ["10.00", "closed"]


async def test_an_equal_call_waits_on_where_one_was_given_up_and_one_passes_by_it(
    gated: Gated, reviewer: AsyncSayso
) -> None:
    async with gated("--patience", "0.05") as client:
        for _ in range(2):
            assert "Nobody has decided yet. Call again" in await problem(client, "close", order=1)
        (asked,) = [request async for request in reviewer.requests(status="pending")]
        await reviewer.decide(asked.id, "approve")
        assert await answer(client, "close", order=1) == "closed 1"
        assert "Nobody has decided yet" in await problem(client, "close", order=1)
        (left,) = [request async for request in reviewer.requests(status="pending")]
    assert (await reviewer.wait(left.id)).withdrawn


async def test_what_the_client_cancels_is_taken_back_and_not_done(gated: Gated, reviewer: AsyncSayso) -> None:
    """Also what is open when the client ends."""
    async with gated() as client:
        call, request_id = await begin(client, "close", order=1)
        call.cancel()
        outcome = await reviewer.wait(request_id)
        assert outcome.reason() == "The question was taken back: The call was cancelled."
        assert (await answer(client, "look", order=1))["done"] == []
        call, request_id = await begin(client, "close", order=2)
        call.cancel()
        await reviewer.wait(request_id)
        last, request_id = await begin(client, "close", order=3)
    assert (await reviewer.wait(request_id)).withdrawn
    with pytest.raises(Exception, match=r"(?i)closed"):
        await last


async def test_a_killed_gate_finds_the_calls_of_a_named_run_again(gated: Gated, reviewer: AsyncSayso) -> None:
    """Of a client that names its calls, as Claude Code does; decided before or after the restart."""
    metas: list[Any] = [{"claudecode/toolUseId": f"toolu_{number}"} for number in range(2)]
    ids = []
    async with gated(SAYSO_RUN="run-1") as client:
        calls = [await begin(client, "close", meta=meta, order=1) for meta in metas]
        (process,) = children(COMMAND)
        process.kill()
        for call, request_id in calls:
            with pytest.raises(Exception, match=r"(?i)closed"):
                await call
            ids.append(request_id)
    await reviewer.decide(ids[0], "reject", comment="too late")
    async with gated(SAYSO_RUN="run-1") as client:
        result = await client.call_tool("close", {"order": 1}, meta=metas[0])
        assert result.content[0].text == "Rejected by ann: too late"
        call, request_id = await begin(client, "close", meta=metas[1], order=1)
        assert request_id == ids[1]
        await reviewer.decide(request_id, "approve")
        assert said(await call) == "closed 1"


def test_misuse_is_named_and_the_exit_status_is_the_servers(
    server: Server, asking: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(json.dumps("default") + "=1")

    def run(*arguments: str) -> tuple[int, str]:
        environment = environment_of(server, SAYSO_TOKEN=asking)
        with Process([*COMMAND, "gate", *arguments], environment=environment, name="gate") as process:
            return process.wait(), process.output.text

    assert run("--policy", str(policy)) == (2, "No server: give its command after --.\n")
    status, text = run("--policy", str(policy), "--", "true")
    assert (status, "default can't be 1" in text) == (2, True)
    policy.write_text("")
    status, text = run("--policy", str(policy), "--", str(tmp_path / "nothing"))
    assert (status, "nothing" in text) == (2, True)
    assert run("--policy", str(policy), "--", sys.executable, "-c", "raise SystemExit(7)")[0] == 7


async def test_the_configurations_of_the_documentation_work(
    server: Server, asking: str, reviewer: AsyncSayso, shop: Path
) -> None:
    document = (PROJECT / "docs/agents.md").read_text()
    mcp, gate, policy = (
        re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", document, re.DOTALL)[0]
        for name in ("mcp", "gate", "policy")
    )
    (shop.parent / "policy.toml").write_text(policy)

    def configured(text: str) -> Client:
        """As a client starts it, with this interpreter and this server."""
        (said,) = json.loads(text)["mcpServers"].values()
        assert said["command"] == "sayso-mcp"
        command, *first = COMMAND
        arguments = [{"python": sys.executable}.get(each, each) for each in said["args"]]
        variables = environment_of(server, **said["env"] | {"SAYSO_URL": server.url, "SAYSO_TOKEN": asking})
        return Client(
            StdioServerParameters(command=command, args=[*first, *arguments], env=variables, cwd=shop.parent)
        )

    async with configured(mcp) as client:
        call, request_id = await begin(client, "ask_approval", title="Deploy?", arguments={}, key="deploy")
        await reviewer.decide(request_id, "approve")
        assert said(await call)["approved"] is True
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == set(re.findall(r"^\| `(\w+)\(", document, re.MULTILINE))
    async with configured(gate) as client:
        await answer(client, "look", order=1)
        call, request_id = await begin(client, "refund", order=1, amount="12.40")
        assert (await reviewer.get(request_id)).title == "Refund 12.40 for order 1"
        await reviewer.decide(request_id, "approve")
        assert said(await call) == "refunded 12.40 for 1"
