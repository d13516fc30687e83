"""An agent of LangChain whose model is scripted. As a program it keeps its state in a file: agent.py FILE."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.sqlite import SqliteSaver
from sayso_client import Sayso
from sayso_client.langgraph import run_with_approvals


class Scripted(BaseChatModel):
    """Says one of its turns after the other; which, the conversation tells."""

    turns: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Scripted:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        said = sum(isinstance(message, AIMessage) for message in messages)
        turn = self.turns[said].model_copy(update={"id": f"turn-{said}"})
        return ChatResult(generations=[ChatGeneration(message=turn)])


def turn(*orders: int, first: int = 1) -> AIMessage:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    calls = [
        {"name": "refund", "args": {"order": order, "amount": 5}, "id": f"call-{number}"}
        for number, order in enumerate(orders, first)
    ]
    return AIMessage("", tool_calls=calls)


def refund(order: int, amount: int) -> str:
    """Pay an order back."""
    print(f"paid {amount} for {order}", flush=True)
    return f"paid {amount} for {order}"


def agent(checkpointer: Any, *turns: AIMessage, mode: Any = "batched", review: Any = True) -> Any:
    return create_agent(
        Scripted(turns=[*turns, AIMessage("Done.")]),
        [refund],
        middleware=[HumanInTheLoopMiddleware({"refund": review}, interrupt_mode=mode)],
        checkpointer=checkpointer,
    )


TASK = {"messages": [{"role": "user", "content": "Pay them back."}]}


def config(thread: str = "t1") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


def main(file: str, mode: str) -> None:
    with SqliteSaver.from_conn_string(file) as checkpointer, Sayso() as sayso:
        graph = agent(checkpointer, turn(1, 2), mode=mode)
        if graph.get_state(config()).interrupts:
            print("taken up", flush=True)
        result = run_with_approvals(graph, TASK, config(), sayso)
    for message in result["messages"]:
        print(f"{message.type}: {message.content}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
