"""`sayso-mcp` with real MCP clients: over stdio, where it is killed while it waits, and over HTTP."""

from __future__ import annotations

import pytest
from sayso_client import AsyncSayso

from tests.adapters.mcp_client import (
    COMMAND,
    Connect,
    answer,
    begin,
    children,
    connected,
    connector,
    environment_of,
    over_http,
    problem,
    said,
)
from tests.processes import Process, Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

REFUND = {"title": "Refund 12.40 EUR", "arguments": {"order": 2**60, "amount": "12.40"}, "key": "refund"}


@pytest.fixture
def connect(server: Server, asking: str) -> Connect:
    return connector(server, asking)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_model_is_told_what_people_decide(
    connect: Connect, reviewer: AsyncSayso, mode: str
) -> None:
    """In the newest protocol, and in that of most clients."""
    async with connect(mode=mode) as client:
        call, request_id = await begin(client, "ask_approval", **REFUND, details="Delivered *twice*.")
        asked = await reviewer.get(request_id)
        assert (asked.title, asked.raw["details"]) == ("Refund 12.40 EUR", "Delivered *twice*.")
        changed = {**asked.raw["arguments"], "amount": "10.00"}
        await reviewer.decide(request_id, "approve", comment="less", arguments=changed)
        approved = said(await call)
        assert approved == {
            "status": "approved",
            "request_id": request_id,
            "reason": "Approved by ann with changed arguments: less",
            "approved": True,
            "edited": True,
            "arguments": {"order": 2**60, "amount": "10.00"},
        }
        # On record: nobody is asked again.
        assert await answer(client, "ask_approval", **REFUND) == approved
        checked = await answer(client, "check", request_id=request_id)
        assert checked == {**approved, "arguments": {"order": str(2**60), "amount": "10.00"}}

        call, request_id = await begin(client, "ask_approval", title="No?", arguments={}, key="no")
        await reviewer.decide(request_id, "reject", comment="not before Friday")
        rejected = said(await call)
        assert (rejected["approved"], rejected["reason"]) == (False, "Rejected by ann: not before Friday")


async def test_a_person_answers_text_a_choice_or_data(connect: Connect, reviewer: AsyncSayso) -> None:
    async with connect("--timeout", "3600", "--user", "ann") as client:
        schema = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
        for key, terms, wanted in (
            ("text", {}, "because"),
            ("choice", {"choices": ["eu", "us"]}, "eu"),
            ("data", {"schema": schema}, {"days": 3}),
        ):
            call, request_id = await begin(client, "ask_person", question=f"Which {key}?", key=key, **terms)
            await reviewer.answer(request_id, wanted)
            assert said(await call)["answer"] == wanted
        # A long question is whole in the details.
        question = "Why\nso " + "long " * 50 + "?"
        call, request_id = await begin(client, "ask_person", question=question, key="long")
        asked = (await reviewer.get(request_id)).raw
        assert asked["title"].startswith("Why so long long")
        assert asked["details"] == question
        assert asked["assignees"]["users"] == ["ann"]
        assert asked["deadline"] is not None
        withdrawn = await answer(client, "withdraw", request_id=request_id, reason="It is clear now.")
        assert said(await call) == withdrawn
        assert withdrawn["reason"] == "The question was taken back: It is clear now."


async def test_patience_ends_a_call_and_the_model_goes_on(connect: Connect, reviewer: AsyncSayso) -> None:
    async with connect("--patience", "0.05") as client:
        pending = await answer(client, "ask_approval", **REFUND)
        assert pending["status"] == "pending"
        assert pending["next"] == "Nobody has decided yet. Call check with this request_id to wait on."
        request_id = pending["request_id"]
        assert await answer(client, "check", request_id=request_id) == pending
        await reviewer.decide(request_id, "approve")
        assert (await answer(client, "check", request_id=request_id))["approved"] is True
        # What is wrong is said so that a model can mend it.
        other = {**REFUND, "arguments": {"order": 2}}
        assert "Choose another key, or repeat that question" in await problem(client, "ask_approval", **other)
        assert "title must have" in await problem(client, "ask_approval", title=" ", arguments={}, key="k")
        assert "unknown_request" in await problem(
            client, "check", request_id="01890000-0000-7000-8000-000000000000"
        )


async def test_several_calls_wait_at_once(connect: Connect, reviewer: AsyncSayso) -> None:
    async with connect() as client:
        calls = [
            await begin(client, "ask_approval", title="Pay?", arguments={}, key=f"pay-{number}")
            for number in range(4)
        ]
        for number in (2, 0, 3, 1):
            call, request_id = calls[number]
            await reviewer.decide(request_id, "approve" if number % 2 else "reject")
            assert said(await call)["approved"] is bool(number % 2)


async def test_a_killed_server_finds_its_requests_again(connect: Connect, reviewer: AsyncSayso) -> None:
    """Those that were decided meanwhile, and those that still wait. Another run asks anew."""
    keys = ("before", "after")
    async with connect(SAYSO_RUN="run-1") as client:
        calls = [await begin(client, "ask_approval", title="Pay?", arguments={}, key=key) for key in keys]
        (process,) = children(COMMAND)
        process.kill()
        for call, _ in calls:
            with pytest.raises(Exception, match=r"(?i)closed"):
                await call
    before, after = (request_id for _, request_id in calls)
    await reviewer.decide(before, "reject", comment="too late")
    async with connect(SAYSO_RUN="run-1") as client:
        found = await answer(client, "ask_approval", title="Pay?", arguments={}, key="before")
        assert (found["request_id"], found["reason"]) == (before, "Rejected by ann: too late")
        call, request_id = await begin(client, "ask_approval", title="Pay?", arguments={}, key="after")
        assert request_id == after
        await reviewer.decide(after, "approve")
        assert said(await call)["approved"] is True
    async with connect("--timeout", "0.2") as client:
        anew = await answer(client, "ask_approval", title="Pay?", arguments={}, key="after")
        assert anew["request_id"] != after
        assert (anew["approved"], anew["reason"]) == (False, "Nobody decided in time.")


async def test_programs_ask_whether_a_tool_may_run(connect: Connect, reviewer: AsyncSayso) -> None:
    """As Claude Code does: each answer is one block of JSON, and nothing else."""
    async with connect("--patience", "0.05") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["permit"].output_schema is None
        asked = {"tool_name": "Bash", "input": {"command": "rm -rf \x1b build"}}
        call, request_id = await begin(client, "permit", **asked, tool_use_id="toolu_1")
        assert (await reviewer.get(request_id)).title == 'Bash(command="rm -rf \\u001b build")'
        await reviewer.decide(request_id, "approve", arguments={"command": "ls build"})
        result = await call
        assert said(result) == {"behavior": "allow", "updatedInput": {"command": "ls build"}}
        assert result.structured_content is None

        call, request_id = await begin(client, "permit", **asked, tool_use_id="toolu_2")
        await reviewer.decide(request_id, "reject", comment="not that")
        assert said(await call) == {"behavior": "deny", "message": "Rejected by ann: not that"}

        denied = await answer(client, "permit", tool_name="Bash", input={"n": 1}, tool_use_id="toolu_2")
        assert denied["behavior"] == "deny"
        assert "key_conflict" in denied["message"]

        call, request_id = await begin(client, "permit", **asked, tool_use_id="toolu_3")
        call.cancel()
        outcome = await reviewer.wait(request_id)
        assert outcome.reason() == "The question was taken back: The program does not wait any more."
        last, request_id = await begin(client, "permit", **asked, tool_use_id="toolu_4")
    assert (await reviewer.wait(request_id)).withdrawn
    with pytest.raises(Exception, match=r"(?i)closed"):
        await last


async def test_clients_over_http_act_each_as_themselves(
    server: Server, asking: str, reviewer: AsyncSayso
) -> None:
    """With tokens of their own, under any name of the host. Only those that name one run share its keys."""
    host = {"Host": "mcp.example"}
    async with over_http(server, "--patience", "0.05", SAYSO_TOKEN=asking) as url:
        async with connected(url, host) as client:
            assert "No token: send one" in await problem(client, "ask_approval", **REFUND)
        token = {**host, "Authorization": f"Bearer {asking}"}
        ids = []
        for mode in ("auto", "legacy", "legacy"):
            async with connected(url, token, mode) as client:
                ids.append((await answer(client, "ask_approval", **REFUND))["request_id"])
        assert len(set(ids)) == 3
        async with connected(url, {**token, "Sayso-Run": "run-7"}) as client:
            call, request_id = await begin(client, "ask_approval", **REFUND)
            assert said(await call)["status"] == "pending"
        await reviewer.decide(request_id, "approve")
        async with connected(url, {**token, "Sayso-Run": "run-7"}, "legacy") as client:
            assert (await answer(client, "ask_approval", **REFUND))["approved"] is True


def test_what_is_missing_is_named(server: Server) -> None:
    without = {name: value for name, value in environment_of(server).items() if name != "SAYSO_URL"}
    for environment, text in ((without, "SAYSO_URL"), (environment_of(server), "SAYSO_TOKEN")):
        with Process(COMMAND, environment=environment, name="sayso-mcp") as process:
            assert process.wait() == 2
            assert text in process.output.text
