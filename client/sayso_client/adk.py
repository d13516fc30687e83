"""Google's ADK: tools that require confirmation wait for people, in a session; or inline, in a callback.

The ADK drops why a call with `require_confirmation` was rejected (a tool that asks by `request_confirmation`
itself finds it in the payload), and refuses other arguments than the model's. Inline keeps nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from typing import Any, TypeAlias, Unpack
from uuid import uuid4

from google.adk.events import Event
from google.genai import types

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso
from sayso_client.questions import key_of
from sayso_client.tool_calls import Asking, Leftovers, Options, ToolCall

BeforeTool: TypeAlias = Callable[[Any, dict[str, Any], Any], Awaitable[dict[str, Any] | None]]

_KIND = "adk"
_CONFIRMATION = "adk_request_confirmation"
# How the ADK's own hint begins, which says how programs are to answer.
_STANDARD_HINT = "Please approve or reject the tool call "


async def run_with_approvals(
    runner: Any,
    message: str | types.Content,
    sayso: AsyncSayso,
    *,
    user_id: str,
    session_id: str,
    run: str | None = None,
    **options: Unpack[Options],
) -> list[Event]:
    """Give a message to an agent and run it to its end, asking people about what needs confirmation.

    Returns the events. A session in which calls wait, or whose run has stopped after a confirmation, is taken
    up instead, without `message`; one that is missing is made. The session's service keeps what waits. `run`
    is application, user and session unless it is given. What the agent did after its last stop it may do
    again after a crash.
    """
    names = {"user_id": user_id, "session_id": session_id}
    asking = Asking(_KIND, run or key_of(runner.app_name, user_id, session_id), options)
    service, of_app = runner.session_service, {"app_name": runner.app_name, **names}
    session = await service.get_session(**of_app) or await service.create_session(**of_app)
    events: list[Event] = []
    if isinstance(message, str):
        message = types.Content(role="user", parts=[types.Part(text=message)])
    waiting, said = _waiting(session.events), _unheard(session.events) or message
    while True:
        if waiting:
            said = await _decide(waiting, sayso, asking)
        told = [event async for event in runner.run_async(**names, new_message=said)]
        events += told
        if not (waiting := _waiting(told)):
            return events


def _waiting(events: Iterable[Event]) -> list[types.FunctionCall]:
    """Return the calls for confirmation whose tools have no result yet."""
    waiting: dict[tuple[str | None, str], types.FunctionCall] = {}
    for event in events:
        for response in event.get_function_responses():
            if response.id not in (event.actions.requested_tool_confirmations or {}):
                waiting.pop((event.branch, response.id), None)
        for call in event.get_function_calls():
            if call.name == _CONFIRMATION:  # models repeat the names of calls, also in agents side by side
                waiting[event.branch, call.args["originalFunctionCall"]["id"]] = call
    return list(waiting.values())


def _unheard(events: list[Event]) -> types.Content | None:
    """Return the last confirmations if the agent has stopped before it was done: it takes them once only."""
    last = next((event for event in reversed(events) if event.author == "user"), None)
    if last is None or events[-1].is_final_response():
        return None
    confirmed = any(response.name == _CONFIRMATION for response in last.get_function_responses())
    return last.content if confirmed else None


async def _decide(waiting: list[types.FunctionCall], sayso: AsyncSayso, asking: Asking) -> types.Content:
    """Ask about each call; return what the agent is told of them."""
    calls = [_called(call.id, call.args["originalFunctionCall"]) for call in waiting]
    turn = asking.together([about for about in calls if asking.is_asked(about)])
    asked = {}
    for call, about in zip(waiting, calls, strict=True):
        hint = call.args["toolConfirmation"].get("hint", "")
        if asking.is_asked(about):
            details = "" if hint.startswith(_STANDARD_HINT) else hint
            asked[call.id] = await sayso.open_approval(**turn.approval(about, details))
    outcomes = {name: await request.wait() for name, request in asked.items()}
    return types.Content(role="user", parts=[_told(call, outcomes.get(call.id)) for call in waiting])


def _called(name: str, original: Mapping[str, Any]) -> ToolCall:
    return ToolCall(id=name, name=original["name"], arguments=original.get("args") or {})


def _told(call: types.FunctionCall, outcome: Outcome | None) -> types.Part:
    """Make the confirmation; no outcome: it was approved unasked."""
    if outcome is None or outcome.approved:
        said = {"confirmed": True, "payload": call.args["toolConfirmation"].get("payload")}
    else:
        said = {"confirmed": False, "payload": {"reason": outcome.reason()}}
    return types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=said))


def approvals(sayso: AsyncSayso, *, run: str, **options: Unpack[Options]) -> BeforeTool:
    """Return what `LlmAgent(before_tool_callback=…)` takes: a call waits until people have decided it.

    They may change its arguments; a reason for a rejection reaches the model. Nothing of such a run survives
    its process: what the last process has asked under the same `run` is taken back at the first call. For
    tools without `require_confirmation`; `when` says for which.
    """
    asking = Asking(_KIND, run, options)
    leftovers, process, numbers = Leftovers(sayso, asking), uuid4().hex, count(1)

    async def decide(tool: Any, args: dict[str, Any], tool_context: Any) -> dict[str, Any] | None:
        name = key_of(process, next(numbers), tool_context.function_call_id)
        call = ToolCall(id=name, name=tool.name, arguments=args)
        if not asking.is_asked(call):
            return None
        await leftovers.withdraw()
        request = await sayso.open_approval(**asking.approval(call, editable=True))
        outcome = await request.wait()
        if not outcome.approved:
            return {"error": outcome.reason()}
        if outcome.edited:
            args.clear()
            args.update(outcome.arguments)
        return None

    return decide
