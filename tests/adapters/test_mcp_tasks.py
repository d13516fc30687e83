"""Tasks of MCP: what waits for people is a task, known by the request's id to any process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, Request, RequestParams, Result
from sayso_client import AsyncSayso

from tests.adapters.mcp_client import COMMAND, Connect, children, connected, connector, over_http
from tests.patience import patience
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

PAY = {"title": "Pay?", "arguments": {"amount": "12.40"}, "key": "pay"}
MISSING_CAPABILITY = -32021
NOBODY = "01890000-0000-7000-8000-000000000000"


class Task(Result):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    status_message: str = ""
    poll_interval_ms: int
    ttl_ms: int | None


class State(Result):
    task_id: str = ""
    status: str = ""
    status_message: str = ""
    result: Any = None


class Params(RequestParams):
    task_id: str


class Ask(Request[Params, str]):
    """tasks/get, tasks/update or tasks/cancel."""

    name_param = "taskId"


class Takes(ClientExtension):
    """A client that takes tasks, and looks until one has ended."""

    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self._resolve)]

    async def _resolve(self, task: Task, context: ClaimContext) -> CallToolResult:
        while (state := await ask(context.session, "tasks/get", task.task_id)).status == "working":
            pass
        return CallToolResult.model_validate(state.result)


async def ask(session: Any, method: str, task_id: str) -> State:
    state: State = await session.send_request(Ask(method=method, params=Params(task_id=task_id)), State)
    return state


async def begin(client: Client, **arguments: Any) -> Task:
    """Call the tool, which is answered at once, by a task."""
    task: Any = await client.session.call_tool("ask_approval", arguments or PAY, allow_claimed=True)
    assert isinstance(task, Task)
    assert task.status == "working"
    return task


@pytest.fixture
def connect(server: Server, asking: str) -> Connect:
    return connector(server, asking)


@pytest.fixture
def takes() -> dict[str, Any]:
    return {"extensions": [Takes()]}


async def test_a_call_is_a_task_until_people_decide(
    connect: Connect, reviewer: AsyncSayso, takes: dict[str, Any]
) -> None:
    """To a program that calls the tool through the SDK it looks as if the call had waited."""
    async with connect(options=takes) as client:
        call = asyncio.ensure_future(client.call_tool("ask_approval", PAY))
        while not (asked := [each async for each in reviewer.requests(status="pending")]):
            await asyncio.wait({call}, timeout=0.05)
        await reviewer.decide(asked[0].id, "approve", arguments={"amount": "10.00"})
        told = (await call).structured_content
        assert (told["approved"], told["arguments"]) == (True, {"amount": "10.00"})
        # What has been decided is no task any more.
        again = await client.session.call_tool("ask_approval", PAY, allow_claimed=True)
        assert again.structured_content == told

        question = await client.session.call_tool(
            "ask_person", {"question": "Why?", "key": "why"}, allow_claimed=True
        )
        await reviewer.answer(question.task_id, "because")
        state = await ask(client.session, "tasks/get", question.task_id)
        assert state.status == "completed"
        assert state.result["structuredContent"]["answer"] == "because"


async def test_a_killed_server_s_tasks_go_on(
    connect: Connect, reviewer: AsyncSayso, takes: dict[str, Any]
) -> None:
    """In any other process, without the name of a run: decided meanwhile, still waiting, or cancelled."""
    async with connect(options=takes) as client:
        before, after, cancelled = [await begin(client, **{**PAY, "key": key}) for key in ("b", "a", "c")]
        (process,) = children(COMMAND)
        process.kill()
    await reviewer.decide(before.task_id, "reject", comment="not before Friday")
    async with connect(options=takes) as client:
        rejected = await ask(client.session, "tasks/get", before.task_id)
        assert rejected.status == "completed"
        assert rejected.result["structuredContent"]["reason"] == "Rejected by ann: not before Friday"
        waiting = asyncio.ensure_future(ask(client.session, "tasks/get", after.task_id))
        await reviewer.decide(after.task_id, "approve")
        assert (await waiting).result["structuredContent"]["approved"] is True

        await ask(client.session, "tasks/update", cancelled.task_id)
        for _ in range(2):
            await ask(client.session, "tasks/cancel", cancelled.task_id)
        assert (await reviewer.wait(cancelled.task_id)).withdrawn
        state = await ask(client.session, "tasks/get", cancelled.task_id)
        assert (state.status, state.result) == ("cancelled", None)
        assert state.status_message == "The question was taken back: The program has cancelled its task."
        await ask(client.session, "tasks/cancel", after.task_id)  # too late, which is no error
        assert (await ask(client.session, "tasks/get", after.task_id)).status == "completed"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            with pytest.raises(MCPError) as refused:
                await ask(client.session, method, NOBODY)
            assert refused.value.code == INVALID_PARAMS


async def test_over_http_a_task_is_seen_by_who_may_see_the_request(
    server: Server, asking: str, deciding: str, reviewer: AsyncSayso, takes: dict[str, Any]
) -> None:
    token = {"Authorization": f"Bearer {asking}"}
    async with over_http(server) as url:
        async with connected(url, token, options=takes) as client:
            task = await begin(client)
        async with connected(url, {}, options=takes) as nobody:
            with pytest.raises(MCPError, match="No token"):
                await ask(nobody.session, "tasks/get", task.task_id)
        await reviewer.decide(task.task_id, "approve")
        async with connected(url, token, options=takes) as client:
            async with asyncio.timeout(patience()):
                assert (await ask(client.session, "tasks/get", task.task_id)).status == "completed"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_other_clients_get_no_tasks(connect: Connect, takes: dict[str, Any], mode: str) -> None:
    """Neither those that do not declare them, nor those of a protocol without them."""
    async with connect("--patience", "0.05", mode=mode, options=takes if mode == "legacy" else {}) as client:
        pending = (await client.call_tool("ask_approval", PAY)).structured_content
        assert pending["status"] == "pending"
        with pytest.raises(MCPError) as refused:
            await ask(client.session, "tasks/get", pending["request_id"])
        assert mode == "legacy" or refused.value.code == MISSING_CAPABILITY
