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
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings

from sayso_client.answers import Asked, Outcome
from sayso_client.clients import AsyncRequest, AsyncSayso
from sayso_client.errors import KeyConflict, SaysoError, StillPending, Unreachable
from sayso_client.questions import key_of, title_of, title_of_call

# Seconds that an answer may come later than it should, and that a server may be away when it is asked.
SLACK, GIVE_UP_AFTER = 5.0, 30.0
# Seconds between two notices of progress, for clients that give up when they hear nothing.
PROGRESS_EVERY = 10.0
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

    `token` is None over HTTP, where each client sends its own. `terms` are those of all requests.
    """

    def __init__(
        self,
        url: str | None,
        token: str | None,
        *,
        run: str | None,
        patience: float,
        terms: Mapping[str, Any],
    ) -> None:
        self._url, self._token, self._run, self._patience = url, token, run, patience
        self._terms = dict(terms)
        self._process = secrets.token_hex(8)
        self._http = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))

    async def ask_approval(
        self, ctx: Context, title: str, arguments: dict[str, Any], key: str, details: str = ""
    ) -> dict[str, Any]:
        """Ask people to approve an action before you do it, and wait for their decision.

        `title` says in one line what you want to do; `arguments` are the exact parameters of the action;
        `details` explains why, in Markdown. `key` names this action in this run: the same key, title and
        arguments find the same request again. Act only when `approved` is true. When `edited` is true,
        people have changed the arguments: act with those of the answer.
        """
        with _readable():
            asked = await self._open_approval(ctx, title, key, arguments, details)
            return await self._answer(ctx, asked, asked.wait(patience=self._patience))

    async def ask_person(
        self,
        ctx: Context,
        question: str,
        key: str,
        choices: list[str] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask people a question, and wait for their answer.

        `choices` are answers to pick from; `schema` is the JSON Schema of a structured answer; with neither
        the answer is text. `key` names this question in this run: the same key and question find the same
        request again.
        """
        with _readable():
            title = title_of(question)
            asked = await self._sayso(ctx).open_question(
                title,
                choices=choices,
                schema=schema,
                details="" if title == question else question,
                **self._named(ctx, key),
            )
            return await self._answer(ctx, asked, asked.wait(patience=self._patience))

    async def check(self, ctx: Context, request_id: str) -> dict[str, Any]:
        """Wait on for a request that was pending, and return what people have decided."""
        with _readable():
            sayso = self._sayso(ctx)
            asked = await sayso.get(request_id)
            return await self._answer(ctx, asked, _wait(sayso, asked, self._patience))

    async def withdraw(self, ctx: Context, request_id: str, reason: str = "") -> dict[str, Any]:
        """Take back a request that is not needed any more; say why in `reason`, for the people who see it."""
        with _readable():
            return _told(await self._sayso(ctx).withdraw(request_id, reason))

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
        return await self._sayso(ctx).open_approval(
            title,
            arguments=arguments,
            editable=True,
            details=details if title == text else f"{text}\n\n{details}",
            **self._named(ctx, key),
        )

    async def _answer(self, ctx: Context, asked: Asked, wait: Coroutine[Any, Any, Outcome]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._patience + SLACK):
                return _told(await _with_progress(ctx, asked, wait))
        except (StillPending, Unreachable, TimeoutError):
            return {
                "status": "pending",
                "request_id": asked.id,
                "url": asked.url,
                "next": "Nobody has decided yet. Call check with this request_id to wait on.",
            }

    async def _permitted(self, ctx: Context, asked: AsyncRequest) -> Outcome:
        """Wait to the end. Where the client does not, nobody has a use for it: it is taken back."""
        try:
            return await _with_progress(ctx, asked, _through_outages(asked))
        except asyncio.CancelledError:
            with anyio.move_on_after(FAREWELL, shield=True):
                await asked.withdraw("The program does not wait any more.")
            raise

    def _sayso(self, ctx: Context) -> AsyncSayso:
        """Act by this process's token, over HTTP by the client's."""
        scheme, _, sent = (ctx.headers or {}).get("authorization", "").partition(" ")
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


async def _wait(sayso: AsyncSayso, asked: Asked, patience: float) -> Outcome:
    outcome = await sayso.wait(asked.id, patience=patience)
    return replace(outcome, edited=bool(outcome.approved) and outcome.arguments != asked.raw["arguments"])


async def _through_outages(asked: AsyncRequest) -> Outcome:
    while True:
        try:
            return await asked.wait()
        except Unreachable:
            continue


async def _with_progress(ctx: Context, asked: Asked, wait: Coroutine[Any, Any, Outcome]) -> Outcome:
    waiting, began = asyncio.ensure_future(wait), time.monotonic()
    try:
        while not waiting.done():
            await ctx.report_progress(time.monotonic() - began, message=f"Waiting for a person: {asked.url}")
            await asyncio.wait({waiting}, timeout=PROGRESS_EVERY)
        return waiting.result()
    finally:
        waiting.cancel()


def _told(outcome: Outcome) -> dict[str, Any]:
    told = {"status": outcome.status, "request_id": outcome.request_id, "reason": outcome.reason()}
    if outcome.kind == "clarification":
        return {**told, "answer": outcome.answer}
    changed = {"edited": True, "arguments": outcome.arguments} if outcome.edited else {}
    return {**told, "approved": outcome.approved, **changed}


def run(tools: Tools, address: tuple[str, int] | None) -> None:
    """Serve these tools at an address over HTTP, or over stdio, until the client or a signal ends it."""
    server = MCPServer("sayso", instructions=INSTRUCTIONS, log_level="WARNING")
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
