"""An agent of pydantic-ai whose model is scripted. As a program it keeps its messages in a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, ModelMessagesTypeAdapter
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from sayso_client import AsyncSayso
from sayso_client.pydantic_ai import approvals, pending, resolve


def turn(*orders: int) -> ModelResponse:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    return ModelResponse(
        parts=[
            ToolCallPart("refund", {"order": order}, tool_call_id=f"call-{number}")
            for number, order in enumerate(orders, 1)
        ]
    )


def scripted(*turns: ModelResponse) -> FunctionModel:
    """Says one turn after the other; which, the messages tell. At the end it repeats what it was told."""

    def say(messages: list[Any], _: Any) -> ModelResponse:
        said = sum(isinstance(message, ModelResponse) for message in messages)
        if said < len(turns):
            return turns[said]
        results = [part for one in messages for part in one.parts if isinstance(part, ToolReturnPart)]
        return ModelResponse(parts=[TextPart(" | ".join(str(part.content) for part in results))])

    return FunctionModel(say)


def agent(*turns: ModelResponse, **named: Any) -> Agent[Any, Any]:
    made: Agent[Any, Any] = Agent(scripted(*turns), output_type=[str, DeferredToolRequests], **named)

    @made.tool_plain(requires_approval=True)
    def refund(order: int, amount: int = 5) -> str:
        print(f"paid {amount} for {order}", flush=True)
        return f"paid {amount} for {order}"

    return made


def read(file: Path) -> list[Any]:
    saved: list[Any] = ModelMessagesTypeAdapter.validate_json(file.read_bytes()) if file.exists() else []
    return saved


def keep(file: Path, result: Any) -> None:
    file.write_bytes(result.all_messages_json())


async def run_saved(made: Agent[Any, Any], sayso: AsyncSayso, file: Path, **options: Any) -> str:
    """Run it to its end, with its messages in a file."""
    messages = read(file)
    task, results = None if messages else "Pay.", None
    while True:
        if requests := pending(messages):
            results, task = await resolve(requests, sayso, messages=messages, **options), None
        result = await made.run(task, message_history=messages, deferred_tool_results=results)
        keep(file, result)
        if isinstance(result.output, str):
            return result.output
        messages = result.all_messages()


async def main(how: str, file: str) -> None:
    async with AsyncSayso() as sayso:
        if how == "saved":
            print(await run_saved(agent(turn(1, 2)), sayso, Path(file), run="run-1"), flush=True)
        else:
            inline = agent(turn(1, 2), capabilities=[approvals(sayso, run="run-1")])
            print((await inline.run("Pay.")).output, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
