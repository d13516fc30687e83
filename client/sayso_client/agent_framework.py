"""Microsoft's Agent Framework: tools that need approval, and workflows that ask, Magentic's among them.

The framework can't be told why a call with `approval_mode="always_require"` was rejected, nor change it, and
a plan can only be approved or revised: one that is refused without words, or by silence, ends the run.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import count
from textwrap import indent
from typing import Any, Unpack
from uuid import uuid4

from agent_framework import (
    AgentSession,
    Content,
    FunctionInvocationContext,
    FunctionMiddleware,
    Message,
    MiddlewareFailure,
    register_checkpoint_type,
)
from agent_framework.orchestrations import MagenticPlanReviewRequest
from pydantic import BaseModel, TypeAdapter

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso
from sayso_client.errors import SaysoError, UnfitValue
from sayso_client.questions import TITLE_LIMIT, key_of
from sayso_client.stores import Files, RunEnded, Store, awaited
from sayso_client.tool_calls import Asking, Leftovers, Options, ToolCall

__all__ = ["Files", "RunEnded", "Store", "approvals", "run_with_approvals", "run_workflow"]

_KIND = "agent-framework"
# Workflows hand outcomes to their executors, and checkpoints keep them on their way.
register_checkpoint_type(Outcome)


async def run_with_approvals(
    agent: Any,
    input: Any,  # noqa: A002  as the framework's own messages name it
    sayso: AsyncSayso,
    *,
    run: str,
    store: Store,
    runner: Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Any:
    """Run an agent to its end, asking people about the calls that need approval; return its `AgentResponse`.

    `run` names this run for ever; one that is under way in the `store`, where its session is kept, is taken
    up, without `input`. `runner` are further arguments of `agent.run`, given again each time. RunEnded for a
    run that has ended. What the agent did after its last stop it does again after a crash.
    """
    asking = Asking(_KIND, run, options)
    saved = json.loads(await awaited(store.load(run)) or '{"stops": 0, "requests": []}')
    if "output" in saved:
        raise RunEnded(run, saved["output"])
    stops, requests = saved["stops"], [Content.from_dict(each) for each in saved["requests"]]
    session = AgentSession.from_dict(saved["session"]) if requests else agent.create_session()
    result: Any = None if requests else await agent.run(input, session=session, **(runner or {}))
    while requests or (requests := _approvals_of(result)):
        if result is not None:
            stops += 1
            state = {"stops": stops, "requests": [each.to_dict() for each in requests]}
            await awaited(store.save(run, json.dumps({**state, "session": session.to_dict()})))
        responses = await _decide(requests, stops, sayso, asking)
        result = await agent.run(Message("user", responses), session=session, **(runner or {}))
        requests = []
    await awaited(store.save(run, json.dumps({"stops": stops, "output": result.text})))
    return result


def _approvals_of(result: Any) -> list[Content]:
    requests: list[Content] = result.user_input_requests
    for each in requests:
        if each.type != "function_approval_request":
            raise UnfitValue("result", f"waits for what is no approval of a call: {each.type}")
    return requests


async def _decide(requests: list[Content], stops: int, sayso: AsyncSayso, asking: Asking) -> list[Content]:
    """Ask about each call; return what the agent is told of them."""
    calls = [_call(each, key_of(stops, each.id)) for each in requests]
    return [
        each.to_function_approval_response(_is_yes(outcome))
        for each, outcome in zip(requests, await asking.ask_all(sayso, calls), strict=True)
    ]


def _call(request: Content, name: str) -> ToolCall:
    called: Any = request.function_call
    return ToolCall(id=name, name=called.name, arguments=called.parse_arguments() or {})


def approvals(sayso: AsyncSayso, *, run: str, **options: Unpack[Options]) -> FunctionMiddleware:
    """Return a middleware for `Agent(middleware=[…])` that asks people within the run, which waits.

    They may change the arguments, and a reason for a rejection reaches the model. Nothing of such a run
    survives its process: what the last process has asked under the same `run` is taken back at the first
    call. For tools without `approval_mode`; `when` says for which.
    """
    return _Approvals(sayso, Asking(_KIND, run, options))


class _Approvals(FunctionMiddleware):
    def __init__(self, sayso: AsyncSayso, asking: Asking) -> None:
        self._sayso, self._asking, self._leftovers = sayso, asking, Leftovers(sayso, asking)
        self._process, self._numbers = uuid4().hex, count(1)

    async def process(
        self, context: FunctionInvocationContext, call_next: Callable[[], Awaitable[None]]
    ) -> None:
        """Ask about one call, and make it, changed or as it is, or tell the model why not."""
        name = key_of(self._process, next(self._numbers), context.metadata.get("call_id", ""))
        call = ToolCall(id=name, name=context.function.name, arguments=_members(context.arguments))
        if self._asking.is_asked(call):
            try:
                await self._leftovers.withdraw()
                request = await self._sayso.open_approval(**self._asking.approval(call, editable=True))
                outcome = await request.wait()
            except SaysoError as error:  # any other would be told the model, which goes on
                raise MiddlewareFailure(f"Nobody could be asked: {error}") from error
            if not outcome.approved:
                context.result = outcome.reason()
                return
            context.arguments = outcome.arguments if outcome.edited else context.arguments
        await call_next()


async def run_workflow(
    workflow: Any,
    message: Any,
    sayso: AsyncSayso,
    *,
    run: str,
    storage: Any,
    **options: Unpack[Options],
) -> Any:
    """Run a workflow to its end, asking people whenever it requests information; return its last result.

    `storage` is a checkpoint storage for this run alone, for example a `FileCheckpointStorage` with a folder
    of its own: a run of a workflow of this name is taken up there, without `message`. What is asked follows
    from the `response_type` of the request. `Rejected`, `TimedOut` or `Withdrawn` where it has no word for a
    refusal; UnfitValue for a request that can't be shown.
    """
    asking = Asking(_KIND, run, options)
    latest, result = await storage.get_latest(workflow_name=workflow.name), None
    if latest is None or latest.messages or not latest.pending_request_info_events:
        begin = {"message": message} if latest is None else {"checkpoint_id": latest.checkpoint_id}
        result = await workflow.run(**begin, checkpoint_storage=storage)
    while True:
        # The result leaves out a request with a name that was just answered.
        latest = await storage.get_latest(workflow_name=workflow.name)
        if not (events := list(latest.pending_request_info_events.values())):
            return result
        items = [_item_of(event, key_of(latest.iteration_count, event.request_id)) for event in events]
        turn = asking.together(
            [item.call for item in items if item.answer is not None or asking.is_asked(item.call)]
        )
        asked = [await item.ask(sayso, turn) for item in items]
        outcomes = [await each.wait() if each else None for each in asked]
        told = {
            event.request_id: item.tell(outcome)
            for event, item, outcome in zip(events, items, outcomes, strict=True)
        }
        taken_up = {"checkpoint_id": latest.checkpoint_id} if result is None else {}
        result = await workflow.run(responses=told, **taken_up, checkpoint_storage=storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One request of a workflow: an approval, or a question if `answer` is its schema; {}: a text.

    `tell(outcome)` makes the response, or raises what the workflow can't hear; None: approved unasked.
    """

    call: ToolCall
    tell: Callable[[Outcome | None], Any]
    answer: Mapping[str, Any] | None = None
    details: str = ""
    editable: bool = False

    async def ask(self, sayso: AsyncSayso, asking: Asking) -> Any:
        if self.answer is not None:
            return await sayso.open_question(**asking.question(self.call, self.details, self.answer or None))
        if not asking.is_asked(self.call):
            return None
        return await sayso.open_approval(**asking.approval(self.call, self.details, self.editable))


def _item_of(event: Any, name: str) -> _Item:
    data, wanted = event.data, event.response_type
    if isinstance(data, Content) and data.type == "function_approval_request":  # of an agent in the workflow
        return _Item(
            call=_call(data, name), tell=lambda said: data.to_function_approval_response(_is_yes(said))
        )
    if isinstance(data, MagenticPlanReviewRequest):
        title = "Approve the plan?" if not data.is_stalled else "Approve a new plan? The last one stalled."
        return _Item(**_text(name, title, data.plan.text), tell=lambda said: _reviewed(data, said))
    members = {} if isinstance(data, str) else _members(data)
    if wanted is not bool and wanted is not Outcome:
        text = json.dumps(members, ensure_ascii=False, default=str, indent=2) if members else data
        shown = _text(name, str(members.get("question", text)), indent(text, "    ") if members else "")
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)
        schema = {} if wanted is str else adapter.json_schema()
        return _Item(**shown, answer=schema, tell=lambda said: adapter.validate_python(_answer(said)))
    what = event.source_executor_id if isinstance(data, Mapping) else type(data).__name__
    call = ToolCall(id=name, name=what, arguments=members)
    shown = _text(name, data) if isinstance(data, str) else {"call": call, "editable": wanted is Outcome}
    yes = Outcome(request_id="", kind="approval", status="approved", approved=True, arguments=members)
    return _Item(**shown, tell=_is_yes if wanted is bool else lambda said: said or yes)


def _text(name: str, title: str, details: str = "") -> dict[str, Any]:
    """Return how a text is shown: whole in the details where it is too long for a title."""
    details = details or (title if len(title) > TITLE_LIMIT else "")
    return {"call": ToolCall(id=name, name=title, in_own_words=True), "details": details}


def _members(data: Any) -> dict[str, Any]:
    if isinstance(data, BaseModel):
        return {each: getattr(data, each) for each in type(data).model_fields}
    if is_dataclass(data):
        return {each.name: getattr(data, each.name) for each in fields(data)}
    if isinstance(data, Mapping):
        return dict(data)
    raise UnfitValue("request", f"is no text, and no mapping, dataclass or pydantic model: {data!r}")


def _reviewed(plan: Any, outcome: Outcome | None) -> Any:
    if outcome is None or outcome.approved:
        return plan.approve()
    if not outcome.comment or outcome.timed_out or outcome.withdrawn:
        outcome.raise_for_refusal()
    return plan.revise(outcome.comment)


def _is_yes(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.approved is True


def _answer(outcome: Outcome | None) -> Any:
    return outcome and outcome.raise_for_refusal().answer
