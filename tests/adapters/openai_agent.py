"""An agent of OpenAI's SDK whose model is scripted. As a program it keeps its state in a folder."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from agents import Agent, RunContextWrapper, function_tool, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from sayso_client import AsyncSayso
from sayso_client.openai_agents import Files, run_with_approvals

set_tracing_disabled(True)


@dataclass
class Desk:
    """What the application gives its tools; it is no JSON."""

    currency: str


def paying(needs_approval: Any = True) -> Any:
    @function_tool(needs_approval=needs_approval)
    def refund(context: RunContextWrapper[Desk | None], order: int) -> str:
        currency = context.context.currency if context.context else "EUR"
        print(f"paid {order} in {currency}", flush=True)
        return f"paid {order} in {currency}"

    return refund


def turn(*orders: int) -> list[Any]:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    return [
        function_call("refund", {"order": order}, call_id=f"call-{number}")
        for number, order in enumerate(orders, 1)
    ]


def agent(*turns: list[Any], needs_approval: Any = True) -> Agent[Any]:
    """What it was told of its calls is what it says at the end."""

    def repeat(call: Any) -> list[Any]:
        outputs = [item["output"] for item in call.input if item.get("type") == "function_call_output"]
        return [assistant_message(" | ".join(outputs))]

    model = ScriptedModel([*turns, ModelStep.respond(repeat)])
    return Agent(name="payments", model=model, tools=[paying(needs_approval)])


async def main(folder: str, *began: str) -> None:
    paid_by = agent() if began else agent(turn(1, 2))
    async with AsyncSayso() as sayso:
        result = await run_with_approvals(
            paid_by, "Pay.", sayso, run="run-1", store=Files(folder), context=Desk("CHF")
        )
    print(result.final_output, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
