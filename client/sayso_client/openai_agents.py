"""OpenAI Agents: a run stops at tools with `needs_approval`, and goes on with what people decide.

The state of the run is kept in a store of the application before anybody is asked. After a crash the same
call takes the run up there, and its requests are found again: by the run, by how often it had stopped, and by
the call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Unpack

from agents import Agent, Runner, RunState
from pydantic_core import to_jsonable_python

from sayso_client.clients import AsyncSayso
from sayso_client.questions import key_of
from sayso_client.stores import Files, RunEnded, Store, awaited
from sayso_client.tool_calls import Asking, Options, ToolCall

__all__ = ["Files", "RunEnded", "Store", "run_with_approvals"]


async def run_with_approvals(
    agent: Agent[Any],
    input: Any,  # noqa: A002  as the framework names it
    sayso: AsyncSayso,
    *,
    run: str,
    store: Store,
    context: Any = None,
    runner: Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Any:
    """Run an agent to its end, asking people about the calls that need approval; return its `RunResult`.

    `run` names this run for ever; one that is under way in the `store` is taken up, without `input`.
    `context` is not saved, give it again; nor is `runner`, further arguments of `Runner.run`. RunEnded for a
    run that has ended. What the agent did after its last stop it does again after a crash.
    """
    asking = Asking("openai-agents", run, options)
    stops, state = await _load(agent, run, store, context)
    further = {"context": context, **(runner or {})}
    result: Any = None if state else await Runner.run(agent, input, **further)
    while state or result.interruptions:
        if state is None:
            stops, state = stops + 1, result.to_state()
            whole = state.to_json(context_serializer=lambda _: {})
            # Of a context that is a mapping there may be what is no JSON: it is given again.
            await awaited(store.save(run, json.dumps({"stops": stops, "state": whole}, default=str)))
        await _decide(state, stops, sayso, asking)
        result, state = await Runner.run(agent, state, **further), None
    output = to_jsonable_python(result.final_output, fallback=str)
    await awaited(store.save(run, json.dumps({"stops": stops, "output": output})))
    return result


async def _load(agent: Agent[Any], run: str, store: Store, context: Any) -> tuple[int, Any]:
    """Return how often the run has stopped, and its state at the last stop."""
    text = await awaited(store.load(run))
    if text is None:
        return 0, None
    saved = json.loads(text)
    if "output" in saved:
        raise RunEnded(run, saved["output"])
    state = await RunState.from_json(agent, saved["state"], context_deserializer=lambda _: context)
    return saved["stops"], state


async def _decide(state: Any, stops: int, sayso: AsyncSayso, asking: Asking) -> None:
    """Ask about each call that the state waits for, and tell it what was decided."""
    items = state.get_interruptions()
    calls = [_call(item, f"{stops}:{number}") for number, item in enumerate(items)]
    for item, outcome in zip(items, await asking.ask_all(sayso, calls), strict=True):
        if outcome is None or outcome.approved:
            state.approve(item)
        else:
            state.reject(item, rejection_message=outcome.reason())


def _call(item: Any, place: str) -> ToolCall:
    raw = item.raw_item
    named = raw if isinstance(raw, Mapping) else vars(raw)
    call_id = named.get("call_id") or named.get("id") or ""
    try:
        arguments = json.loads(item.arguments or "{}")
    except ValueError:  # of a tool that takes a text
        arguments = item.arguments
    if not isinstance(arguments, dict):
        arguments = {"input": arguments}
    return ToolCall(id=key_of(place, call_id), name=str(item.qualified_name), arguments=arguments)
