"""pydantic-ai: tools that require approval wait for people; with a saved message history, or inline.

With `resolve`, the run ends with `DeferredToolRequests`, the application keeps the messages, and goes on with
the results, also in another process. Inline (`approvals`) it is one run of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, ToolCallPart, ToolReturnPart

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso
from sayso_client.questions import key_of
from sayso_client.tool_calls import Asking, Leftovers, Options, ToolCall

_KIND = "pydantic-ai"


def pending(messages: Sequence[ModelMessage]) -> DeferredToolRequests | None:
    """Return what a run whose messages were saved waits for; None if it waits for nothing.

    These are the tool calls of the last response without a result. Calls of tools that are executed elsewhere
    can't be told from those that wait for approval: an agent should have one kind only.
    """
    last = next((n for n in reversed(range(len(messages))) if isinstance(messages[n], ModelResponse)), None)
    if last is None:
        return None
    done = {
        part.tool_call_id
        for message in messages[last + 1 :]
        for part in message.parts
        if isinstance(part, ToolReturnPart | RetryPromptPart)
    }
    calls = [
        part
        for part in messages[last].parts
        if isinstance(part, ToolCallPart) and part.tool_call_id not in done
    ]
    return DeferredToolRequests(approvals=calls) if calls else None


async def resolve(
    requests: DeferredToolRequests,
    sayso: AsyncSayso,
    *,
    run: str,
    messages: Sequence[ModelMessage],
    **options: Unpack[Options],
) -> DeferredToolResults:
    """Ask people about the calls that need approval; return the results to go on with.

    `run` names the run for ever. `messages` are those of the run, which end with these calls: a call is known
    by its place there, too, since models repeat the ids of calls. Save them before; after a crash, `pending`
    makes the requests of them. Calls that are executed elsewhere are left to the caller.
    """
    place = sum(isinstance(message, ModelResponse) for message in messages)
    return await _decide(requests, sayso, Asking(_KIND, run, options), str(place))


def approvals(sayso: AsyncSayso, *, run: str, **options: Unpack[Options]) -> HandleDeferredToolCalls[Any]:
    """Return a capability for `Agent(capabilities=[…])` that asks people within the run, which waits.

    Nothing of such a run survives its process. It is asked anew when it is started again; what the last
    process has asked under the same `run` is taken back then, at the first call.
    """
    asking = Asking(_KIND, run, options)
    leftovers = Leftovers(sayso, asking)

    async def handle(context: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
        await leftovers.withdraw()
        return await _decide(requests, sayso, asking, key_of(context.run_id, context.run_step))

    return HandleDeferredToolCalls(handler=handle)


async def _decide(
    requests: DeferredToolRequests, sayso: AsyncSayso, asking: Asking, place: str
) -> DeferredToolResults:
    names = [part.tool_call_id for part in requests.approvals]
    calls = [_call(part, place) for part in requests.approvals]
    outcomes = await asking.ask_all(sayso, calls, editable=True)
    return DeferredToolResults(approvals=dict(zip(names, map(_result, outcomes), strict=True)))


def _call(part: ToolCallPart, place: str) -> ToolCall:
    return ToolCall(id=key_of(place, part.tool_call_id), name=part.tool_name, arguments=part.args_as_dict())


def _result(outcome: Outcome | None) -> ToolApproved | ToolDenied:
    """Make the framework's result; no outcome: it was approved unasked."""
    if outcome is not None and not outcome.approved:
        return ToolDenied(outcome.reason())
    return ToolApproved(override_args=outcome.arguments if outcome and outcome.edited else None)
