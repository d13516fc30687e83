"""Offer a request's page to the person at an MCP client, if the client opens addresses (elicitation by URL).

Nothing is decided over MCP: what a client answers may come from a program. On the page a person is logged in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestURLParams, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from sayso_client.answers import Asked


def offered(ctx: Context, asked: Asked, page: str | None) -> InputRequiredResult | None:
    """Return what asks the client to open the page, and then to call again; None once it was asked, or can't.

    Without a page nothing is offered. The request's id is the name of what the client is asked, so that
    nothing needs to be kept until the second call.
    """
    if page is None or not _opens_pages(ctx) or not _is_modern(ctx) or asked.id in shown(ctx):
        return None
    params = ElicitRequestURLParams(message=_message(asked), url=page)
    return InputRequiredResult(input_requests={asked.id: ElicitRequest(params=params)})


def shown(ctx: Context) -> list[str]:
    """Return the ids of the requests whose page this call has offered before."""
    return list(ctx.input_responses or {})


@asynccontextmanager
async def offering(ctx: Context, asked: Asked, page: str | None) -> AsyncIterator[None]:
    """Meanwhile ask a client of an earlier protocol to open the page; then tell it that this is over."""
    if page is None or _is_modern(ctx) or not _opens_pages(ctx):
        yield
        return
    offer = asyncio.create_task(_offer(ctx, asked, page))
    try:
        yield
    finally:
        offer.cancel()
    with suppress(MCPError):
        await ctx.session.send_elicit_complete(asked.id, ctx.request_id)


async def _offer(ctx: Context, asked: Asked, page: str) -> None:
    with suppress(MCPError):  # a client that can't, after all: others can decide
        await ctx.elicit_url(_message(asked), page, asked.id)


def _message(asked: Asked) -> str:
    return f"A person has to decide: {asked.title}"


def _is_modern(ctx: Context) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def _opens_pages(ctx: Context) -> bool:
    declared = ctx.client_capabilities
    return bool(declared and declared.elicitation and declared.elicitation.url is not None)
