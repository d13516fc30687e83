"""Tasks of MCP (the extension io.modelcontextprotocol/tasks): a call that waits for people is a task.

The task's id is the request's, so nothing is kept here: any process with a token that may see the request
answers for the task. A held `tasks/get` takes the place of waiting: it is answered once somebody decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import pydantic_core
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
    TextContent,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from sayso_client.answers import PENDING, Asked, Outcome
from sayso_client.clients import AsyncSayso
from sayso_client.errors import Decided, Invalid, SaysoError, StillPending, UnknownRequest
from sayso_client.mcp_waits import outcome_of, told

IDENTIFIER = "io.modelcontextprotocol/tasks"
# Seconds that `tasks/get` is held back while nobody has decided, and milliseconds to the client's next.
HELD, POLL_INTERVAL = 10.0, 500


class TaskParams(RequestParams):
    """The params of all three methods. Nothing is asked of a client by a task, so no responses are read."""

    task_id: str


class Clients(Protocol):
    """Gives the client of Sayso by which to act for a request of MCP with these headers."""

    def __call__(self, headers: Mapping[str, str] | None) -> AsyncSayso:
        """Return it; ToolError where there is no token."""
        ...


def takes_tasks(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Return whether the client has declared that it takes tasks, in a protocol that has them."""
    declared = ctx.session.client_capabilities
    extensions = declared.extensions if declared else None
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and IDENTIFIER in (extensions or {})


class Tasks(Extension):
    """Makes tasks of the calls of these tools that are pending, and serves the methods of tasks."""

    identifier = IDENTIFIER

    def __init__(self, tools: Sequence[str], sayso: Clients) -> None:
        self._tools, self._sayso = tools, sayso

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods, in the protocols that have them."""
        served = {"tasks/get": self._get, "tasks/update": self._update, "tasks/cancel": self._cancel}
        return [
            MethodBinding(method, TaskParams, handler, protocol_versions=frozenset(MODERN_PROTOCOL_VERSIONS))
            for method, handler in served.items()
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Return a task instead of saying that the request is pending."""
        result = await call_next(ctx)
        if params.name not in self._tools or not takes_tasks(ctx) or not isinstance(result, CallToolResult):
            return result
        said = result.structured_content or {}
        if said.get("status") != PENDING:
            return result
        with _readable():
            asked = await self._client(ctx).get(said["request_id"])
        return {"resultType": "task", **_task(asked, "working", f"Waiting for a person: {asked.url}")}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        with _readable():
            sayso = self._client(ctx)
            asked = await sayso.get(params.task_id)
            try:
                return _ended(asked, await outcome_of(sayso, asked, HELD))
            except StillPending:
                return _task(asked, "working", f"Waiting for a person: {asked.url}")

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        with _readable():
            await self._client(ctx).get(params.task_id)
        return {}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        with _readable(), suppress(Decided):
            await self._client(ctx).withdraw(params.task_id, "The program has cancelled its task.")
        return {}

    def _client(self, ctx: ServerRequestContext[Any, Any]) -> AsyncSayso:
        require_client_extension(ctx, IDENTIFIER)
        return self._sayso(getattr(ctx.request, "headers", None))


def _ended(asked: Asked, outcome: Outcome) -> dict[str, Any]:
    if outcome.withdrawn:
        return _task(asked, "cancelled", outcome.reason(), outcome)
    said = told(outcome)
    text = TextContent(text=pydantic_core.to_json(said, indent=2).decode())
    result = CallToolResult(content=[text], structured_content=said)
    task = _task(asked, "completed", outcome.reason(), outcome)
    return {**task, "result": result.model_dump(by_alias=True, mode="json", exclude_none=True)}


def _task(asked: Asked, status: str, message: str, outcome: Outcome | None = None) -> dict[str, Any]:
    began = asked.raw["opened_at"]
    ended = outcome.raw.get("decided_at") if outcome else None
    return {
        "taskId": asked.id,
        "status": status,
        "statusMessage": message,
        "createdAt": began,
        "lastUpdatedAt": ended or began,
        "ttlMs": None,
        "pollIntervalMs": POLL_INTERVAL,
    }


@contextmanager
def _readable() -> Iterator[None]:
    """Raise what goes wrong as an error of the protocol."""
    try:
        yield
    except (UnknownRequest, Invalid) as error:
        raise MCPError(INVALID_PARAMS, f"There is no such task: {error.detail}") from error
    except (SaysoError, ToolError) as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from error
