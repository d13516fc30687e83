"""How the call of a tool waits for people, and what the model is told at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from mcp.server.mcpserver import Context

from sayso_client.answers import Asked, Outcome
from sayso_client.clients import AsyncRequest, AsyncSayso
from sayso_client.errors import StillPending, Unreachable
from sayso_client.operations import restored

# Seconds that an answer may come later than it should.
SLACK = 5.0
# Seconds between two notices of progress, for clients that give up when they hear nothing.
PROGRESS_EVERY = 10.0


async def answer(
    ctx: Context, sayso: AsyncSayso, asked: Asked, patience: float, sent: Any = None
) -> dict[str, Any]:
    """Wait for so many seconds; return what the model is told.

    `sent` are the arguments that were asked about, whose types the approved ones get.
    """
    wait = outcome_of(sayso, asked, patience, sent)
    try:
        async with asyncio.timeout(patience + SLACK):
            return told(await with_progress(ctx, asked, wait))
    except (StillPending, Unreachable, TimeoutError):
        return still_pending(asked)


async def outcome_of(sayso: AsyncSayso, asked: Asked, patience: float, sent: Any = None) -> Outcome:
    """Wait for so many seconds; StillPending after them."""
    outcome = await sayso.wait(asked.id, patience=patience)
    if sent is not None:
        return restored(outcome, sent, asked.raw)
    return replace(outcome, edited=bool(outcome.approved) and outcome.arguments != asked.raw.get("arguments"))


async def through_outages(asked: AsyncRequest) -> Outcome:
    """Wait to the end, however long Sayso is away."""
    while True:
        try:
            return await asked.wait()
        except Unreachable:
            continue


async def with_progress(ctx: Context, asked: Asked, wait: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Wait, and tell the client meanwhile where people decide."""
    waiting, began = asyncio.ensure_future(wait), time.monotonic()
    try:
        while not waiting.done():
            await ctx.report_progress(time.monotonic() - began, message=f"Waiting for a person: {asked.url}")
            await asyncio.wait({waiting}, timeout=PROGRESS_EVERY)
        return waiting.result()
    finally:
        waiting.cancel()


def told(outcome: Outcome) -> dict[str, Any]:
    """Return what the model is told of an outcome."""
    said = {"status": outcome.status, "request_id": outcome.request_id, "reason": outcome.reason()}
    if outcome.kind == "clarification":
        return {**said, "answer": outcome.answer}
    changed = {"edited": True, "arguments": outcome.arguments} if outcome.edited else {}
    return {**said, "approved": outcome.approved, **changed}


def still_pending(asked: Asked) -> dict[str, Any]:
    """Return what the model is told where nobody has decided yet."""
    return {
        "status": "pending",
        "request_id": asked.id,
        "url": asked.url,
        "next": "Nobody has decided yet. Call check with this request_id to wait on.",
    }
