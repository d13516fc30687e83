"""The tools of the MCP server `sayso-mcp`, by which a model asks people.

A call waits for as long as clients commonly allow; then it says that the request is pending, and the model
goes on with `check`. Keys are the run's identity and the model's own key: a question of another run is asked
anew, however equal.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

import anyio
import httpx
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import InputRequiredResult

from sayso_client import mcp_pages
from sayso_client.answers import PENDING, Asked, Outcome
from sayso_client.clients import AsyncRequest, AsyncSayso
from sayso_client.errors import KeyConflict, SaysoError
from sayso_client.mcp_tasks import Tasks, takes_tasks
from sayso_client.mcp_waits import answer, still_pending, through_outages, told, with_progress
from sayso_client.questions import key_of, title_of, title_of_call

# Seconds that a server may be away when it is asked.
GIVE_UP_AFTER = 30.0
# Seconds for taking back what nobody waits for any more.
FAREWELL = 1.5
# The header by which a client over HTTP names its run.
RUN_HEADER = "sayso-run"

INSTRUCTIONS = (
    "Ask people for approval before you act, and for answers that only they have. Choose a new `key` for each"
    " new question; repeat the same key and question to find what was decided. When an answer is pending,"
    " call `check` with its request_id, and do not act before it is approved."
)


class Tools:
    """The tools, each a method whose docstring the model reads.

    `token` is None over HTTP, where each client sends its own. `terms` are those of all requests. With
    `pages` clients are asked to open the page of a request.
    """

    def __init__(
        self,
        url: str | None,
        token: str | None,
        *,
        run: str | None,
        patience: float,
        terms: Mapping[str, Any],
        pages: bool,
    ) -> None:
        self._url, self._token, self._run, self._patience = url, token, run, patience
        self._terms, self._pages = dict(terms), pages
        self._process = secrets.token_hex(8)
        self._http = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))

    async def ask_approval(
        self, ctx: Context, title: str, arguments: dict[str, Any], key: str, details: str = ""
    ) -> dict[str, Any] | InputRequiredResult:
        """Ask people to approve an action before you do it, and wait for their decision.

        `title` says in one line what you want to do; `arguments` are the exact parameters of the action;
        `details` explains why, in Markdown. `key` names this action in this run: the same key, title and
        arguments find the same request again. Act only when `approved` is true. When `edited` is true,
        people have changed the arguments: act with those of the answer.
        """
        with _readable():
            asked = await self._shown(ctx) or await self._open_approval(ctx, title, key, arguments, details)
            return await self._answer(ctx, asked, arguments)

    async def ask_person(
        self,
        ctx: Context,
        question: str,
        key: str,
        choices: list[str] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> dict[str, Any] | InputRequiredResult:
        """Ask people a question, and wait for their answer.

        `choices` are answers to pick from; `schema` is the JSON Schema of a structured answer; with neither
        the answer is text. `key` names this question in this run: the same key and question find the same
        request again.
        """
        with _readable():
            title = title_of(question)
            asked = await self._shown(ctx) or await self.sayso_for(ctx.headers).open_question(
                title,
                choices=choices,
                schema=schema,
                details="" if title == question else question,
                **self._named(ctx, key),
            )
            return await self._answer(ctx, asked)

    async def check(self, ctx: Context, request_id: str) -> dict[str, Any]:
        """Wait on for a request that was pending, and return what people have decided."""
        with _readable():
            sayso = self.sayso_for(ctx.headers)
            return await answer(ctx, sayso, await sayso.get(request_id), self._patience)

    async def withdraw(self, ctx: Context, request_id: str, reason: str = "") -> dict[str, Any]:
        """Take back a request that is not needed any more; say why in `reason`, for the people who see it."""
        with _readable():
            return told(await self.sayso_for(ctx.headers).withdraw(request_id, reason))

    async def permit(
        self,
        ctx: Context,
        tool_name: str,
        input: dict[str, Any],  # noqa: A002  the name that Claude Code gives it
        tool_use_id: str,
    ) -> str:
        """Ask people whether a tool may run. For programs that ask before each call, not for models."""
        try:
            asked = await self._open_approval(ctx, title_of_call(tool_name, input), tool_use_id, input)
            outcome = await self._permitted(ctx, asked)
        except (SaysoError, ToolError) as error:
            return json.dumps({"behavior": "deny", "message": str(error)})
        if outcome.approved:
            return json.dumps({"behavior": "allow", "updatedInput": outcome.arguments})
        return json.dumps({"behavior": "deny", "message": outcome.reason()})

    async def _open_approval(
        self, ctx: Context, text: str, key: str, arguments: Mapping[str, Any], details: str = ""
    ) -> AsyncRequest:
        title = title_of(text)
        return await self.sayso_for(ctx.headers).open_approval(
            title,
            arguments=arguments,
            editable=True,
            details=details if title == text else f"{text}\n\n{details}",
            **self._named(ctx, key),
        )

    async def _answer(
        self, ctx: Context, asked: Asked, sent: Any = None
    ) -> dict[str, Any] | InputRequiredResult:
        """Wait for what a tool has asked; a client that takes tasks waits by itself."""
        sayso = self.sayso_for(ctx.headers)
        if asked.status == PENDING:
            page = urljoin(sayso._url, asked.url) if self._pages else None
            if offer := mcp_pages.offered(ctx, asked, page):
                return offer
            if takes_tasks(ctx.request_context):
                return still_pending(asked)
            async with mcp_pages.offering(ctx, asked, page):
                return await answer(ctx, sayso, asked, self._patience, sent)
        return await answer(ctx, sayso, asked, self._patience, sent)

    async def _shown(self, ctx: Context) -> Asked | None:
        """Return the request whose page an earlier round of this call has offered."""
        for request_id in mcp_pages.shown(ctx):
            return await self.sayso_for(ctx.headers).get(request_id)
        return None

    async def _permitted(self, ctx: Context, asked: AsyncRequest) -> Outcome:
        """Wait to the end. Where the client does not, nobody has a use for it: it is taken back."""
        try:
            return await with_progress(ctx, asked, through_outages(asked))
        except asyncio.CancelledError:
            with anyio.move_on_after(FAREWELL, shield=True):
                await asked.withdraw("The program does not wait any more.")
            raise

    def sayso_for(self, headers: Mapping[str, str] | None) -> AsyncSayso:
        """Return what acts by this process's token, or by the one in the headers; ToolError without."""
        scheme, _, sent = (headers or {}).get("authorization", "").partition(" ")
        token = sent.strip() if scheme.lower() == "bearer" else self._token
        if not token:
            raise ToolError("No token: send one of Sayso, as Authorization: Bearer sayso_…")
        return AsyncSayso(self._url, token, http=self._http, give_up_after=GIVE_UP_AFTER)

    def _named(self, ctx: Context, key: str) -> dict[str, Any]:
        run = self._run_of(ctx)
        return {**self._terms, "key": key_of(run, key), "origin": {"kind": "mcp", "id": run}}

    def _run_of(self, ctx: Context) -> str:
        """Name the run: over stdio this process's, over HTTP what the client says, or its session.

        A client over HTTP without any may be anybody: its questions are never those of an earlier call.
        """
        if ctx.headers is None:
            return key_of(self._run or self._process)
        said = ctx.headers.get(RUN_HEADER) or self._run or ctx.headers.get("mcp-session-id")
        return key_of(said or secrets.token_hex(8))


@contextmanager
def _readable() -> Iterator[None]:
    """Raise what goes wrong as an error that the model reads."""
    try:
        yield
    except KeyConflict as error:
        raise ToolError(f"{error.detail} Choose another key, or repeat that question exactly.") from error
    except SaysoError as error:
        raise ToolError(str(error)) from error


def run(tools: Tools, address: tuple[str, int] | None) -> None:
    """Serve these tools at an address over HTTP, or over stdio, until the client or a signal ends it."""
    tasks = Tasks(["ask_approval", "ask_person"], tools.sayso_for)
    server = MCPServer("sayso", instructions=INSTRUCTIONS, log_level="WARNING", extensions=[tasks])
    for tool in (tools.ask_approval, tools.ask_person, tools.check, tools.withdraw):
        server.add_tool(tool, description=inspect.getdoc(tool))
    # Claude Code takes one block of text, and nothing structured.
    server.add_tool(tools.permit, description=inspect.getdoc(tools.permit), structured_output=False)
    if address is None:
        server.run()
    else:
        # A web page that has got here under another name can do nothing: it has no token to send.
        any_name = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        server.run("streamable-http", host=address[0], port=address[1], transport_security=any_name)
