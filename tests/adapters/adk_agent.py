"""An agent of Google's ADK whose model is scripted. As a program: adk_agent HOW FOLDER."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import DatabaseSessionService, InMemorySessionService
from google.adk.tools import FunctionTool, ToolContext
from google.genai import types
from sayso_client import AsyncSayso
from sayso_client.adk import approvals, run_with_approvals


class Scripted(BaseLlm):
    """Says one turn after the other; which, the conversation tells. At the end, what it was told."""

    model: str = "scripted"
    turns: list[tuple[int, ...]]
    fails: bool = False

    async def generate_content_async(
        self, llm_request: Any, stream: bool = False
    ) -> AsyncIterator[LlmResponse]:
        said = sum(content.role == "model" for content in llm_request.contents)
        if self.fails and said == len(self.turns):
            raise ConnectionError
        parts = _calls(self.turns[said]) if said < len(self.turns) else [_told(llm_request.contents)]
        used = types.GenerateContentResponseUsageMetadata(prompt_token_count=1, candidates_token_count=1)
        yield LlmResponse(content=types.Content(role="model", parts=parts), usage_metadata=used)


def _calls(orders: tuple[int, ...]) -> list[types.Part]:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    calls = [
        types.FunctionCall(id=f"call-{number}", name="refund", args={"order": order})
        for number, order in enumerate(orders, 1)
    ]
    return [types.Part(function_call=call) for call in calls]


def _told(contents: list[types.Content]) -> types.Part:
    parts = [part for content in contents for part in content.parts or []]
    told = [part.function_response.response for part in parts if part.function_response]
    return types.Part(text=" | ".join(str(one.get("result") or one.get("error")) for one in told))


def refund(order: int, amount: int = 5) -> str:
    """Pay an order back."""
    print(f"paid {amount} for {order}", flush=True)
    return f"paid {amount} for {order}"


def asks_itself(order: int, tool_context: ToolContext) -> dict[str, Any]:
    """Pay an order back, if a person says so."""
    said = tool_context.tool_confirmation
    if said is None:
        tool_context.request_confirmation(hint=f"Order {order} is old.")
        return {"error": "It waits."}
    return {"result": f"paid {order}"} if said.confirmed else {"error": said.payload["reason"]}


asks_itself.__name__ = "refund"


def fails(order: int) -> str:
    """Pay an order back."""
    raise ConnectionError


fails.__name__ = "refund"


def runner(
    *turns: tuple[int, ...], service: Any = None, tool: Any = None, asks: Any = None, stop: str = ""
) -> Runner:
    """`stop`: what fails, the "tool" or the "model" at the end."""
    paying = FunctionTool(fails if stop == "tool" else refund, require_confirmation=True)
    agent = LlmAgent(
        name="payments",
        model=Scripted(turns=list(turns), fails=stop == "model"),
        tools=[tool or (refund if asks else paying)],
        before_tool_callback=asks,
    )
    return Runner(agent=agent, app_name="shop", session_service=service or InMemorySessionService())


def output(events: list[Any]) -> str:
    return str(events[-1].content.parts[0].text)


async def inline(one: Runner) -> str:
    await one.session_service.create_session(app_name="shop", user_id="u", session_id="s")
    message = types.Content(role="user", parts=[types.Part(text="Pay.")])
    return output([each async for each in one.run_async(user_id="u", session_id="s", new_message=message)])


async def main(how: str, folder: str) -> None:
    async with AsyncSayso() as sayso:
        if how == "inline":
            print(await inline(runner((1, 2), asks=approvals(sayso, run="run-1"))), flush=True)
        else:
            service = DatabaseSessionService(f"sqlite+aiosqlite:///{Path(folder) / 'sessions.sqlite3'}")
            payments = runner((1, 2), service=service)
            told = await run_with_approvals(payments, "Pay.", sayso, user_id="u", session_id="s")
            print(output(told), flush=True)
            await service.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
