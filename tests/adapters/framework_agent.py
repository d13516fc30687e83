"""Agents and workflows of the Agent Framework, with a scripted model: framework_agent HOW FOLDER."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    Content,
    Executor,
    FileCheckpointStorage,
    FunctionInvocationLayer,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
    tool,
)
from agent_framework.orchestrations import (
    MagenticBuilder,
    MagenticManagerBase,
    MagenticProgressLedger,
    MagenticProgressLedgerItem,
)
from sayso_client import AsyncSayso, Outcome
from sayso_client.agent_framework import Files, approvals, run_with_approvals, run_workflow


class Scripted(FunctionInvocationLayer[Any], BaseChatClient[Any]):
    """Says one turn after the other; which, the messages tell. At the end it repeats what it was told."""

    def __init__(self, *turns: tuple[int, ...]) -> None:
        super().__init__()
        self.turns = turns

    async def _inner_get_response(self, *, messages: Any, **_: Any) -> ChatResponse[Any]:
        said = sum(message.role == "assistant" for message in messages)
        if said < len(self.turns):
            return ChatResponse(messages=[Message("assistant", _calls(self.turns[said]))])
        contents = [content for message in messages for content in message.contents]
        told = [content.result for content in contents if content.type == "function_result"]
        return ChatResponse(messages=[Message("assistant", [Content.from_text(" | ".join(told))])])


def _calls(orders: tuple[int, ...]) -> list[Content]:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    return [
        Content.from_function_call(f"call-{number}", "refund", arguments=json.dumps({"order": order}))
        for number, order in enumerate(orders, 1)
    ]


def agent(*turns: tuple[int, ...], **named: Any) -> Agent[Any]:
    inline = "middleware" in named

    @tool(approval_mode="never_require" if inline else "always_require")
    def refund(order: int, amount: int = 5) -> str:
        print(f"paid {amount} for {order}", flush=True)
        return f"paid {amount} for {order}"

    return Agent(client=Scripted(*turns), name="payments", tools=[refund], **named)


# --- Workflows ---


@dataclass
class Refund:
    """What a workflow asks about."""

    order: int
    amount: int = 5


class Pays(Executor):
    """Asks about each order, all at once."""

    @handler
    async def begin(self, orders: list[int], ctx: WorkflowContext[Any, str]) -> None:
        for order in orders:
            await ctx.request_info(Refund(order), Outcome)

    @response_handler
    async def heard(self, asked: Refund, said: Outcome, ctx: WorkflowContext[Any, str]) -> None:
        if said.approved:
            print(f"paid {said.arguments['amount']} for {asked.order}", flush=True)
        await ctx.yield_output(f"{asked.order}: {said.reason()}")


def workflow(start: Executor | None = None) -> Any:
    return WorkflowBuilder(name="payments", start_executor=start or Pays(id="pays")).build()


class Manager(MagenticManagerBase):
    """Plans anew with what it was told, and is satisfied with what its agent says first."""

    async def plan(self, magentic_context: Any) -> Message:
        return Message("assistant", ["1. Pay everybody."])

    async def replan(self, magentic_context: Any) -> Message:
        return Message("assistant", [f"1. Pay, but: {magentic_context.chat_history[-1].text}"])

    async def create_progress_ledger(self, magentic_context: Any) -> MagenticProgressLedger:
        is_done = any(message.author_name == "payments" for message in magentic_context.chat_history)
        return MagenticProgressLedger(
            is_request_satisfied=MagenticProgressLedgerItem("", is_done),
            is_in_loop=MagenticProgressLedgerItem("", False),
            is_progress_being_made=MagenticProgressLedgerItem("", True),
            next_speaker=MagenticProgressLedgerItem("", "payments"),
            instruction_or_question=MagenticProgressLedgerItem("", "Pay."),
        )

    async def prepare_final_answer(self, magentic_context: Any) -> Message:
        return Message("assistant", [f"Done. {magentic_context.chat_history[-1].text}"])


def magentic(*turns: tuple[int, ...]) -> Any:
    return MagenticBuilder(participants=[agent(*turns)], manager=Manager(), enable_plan_review=True).build()


def storage(folder: Path) -> FileCheckpointStorage:
    types = ["tests.adapters.framework_agent:Refund", "__main__:Refund"]
    return FileCheckpointStorage(folder, allowed_checkpoint_types=types)


async def main(how: str, folder: str) -> None:
    async with AsyncSayso() as sayso:
        if how == "session":
            payments, store = agent((1, 2)), Files(folder)
            result = await run_with_approvals(payments, "Pay.", sayso, run="run-1", store=store)
            print(result.text, flush=True)
        elif how == "inline":
            inline = agent((1, 2), middleware=[approvals(sayso, run="run-1")])
            print((await inline.run("Pay.")).text, flush=True)
        else:
            flow, message = (workflow(), [1, 2]) if how == "workflow" else (magentic(), "Pay.")
            kept = storage(Path(folder))
            result = await run_workflow(flow, message, sayso, run="run-1", storage=kept)
            print(*map(str, result.get_outputs()), sep="\n", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
