"""LangGraph and LangChain: a graph that stops for people goes on with what they decide.

Understood are the interrupts of `HumanInTheLoopMiddleware` (both modes), requests in the schema of Agent
Inbox, and texts or values with a `response_schema`, which become questions. The checkpointer keeps what
waits: after a crash the same call takes the thread up, and requests are found again by thread and interrupt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Unpack

from langgraph.types import Command

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncSayso, Sayso
from sayso_client.errors import UnfitValue
from sayso_client.questions import TITLE_LIMIT
from sayso_client.tool_calls import Asking, Options, ToolCall


def run_with_approvals(
    graph: Any,
    input: Any,  # noqa: A002  as the graph's own methods name it
    config: Mapping[str, Any],
    sayso: Sayso,
    *,
    run: str | None = None,
    context: Any = None,
    **options: Unpack[Options],
) -> Any:
    """Run a graph to its end, asking people whenever it is interrupted; return what `invoke` returns.

    `input` begins a run. A thread that is under way is taken up instead; with `None`, nothing is begun. `run`
    is the thread's id unless it is given. `context` is that of the graph's runtime. `Rejected`, `TimedOut` or
    `Withdrawn` where the interrupt can't be told a refusal; UnfitValue for an interrupt of another kind.
    """
    asking = _asking(config, run, options)
    state = graph.get_state(config)
    result = state.values
    if not state.interrupts and (state.next or input is not None):
        result = graph.invoke(None if state.next else input, config, context=context)
    while interrupts := graph.get_state(config).interrupts:
        items = [item for one in interrupts for item in _items_of(one)]
        asked = {
            item.call.id: item.ask(sayso, asking)
            for item in items
            if item.is_question or asking.is_asked(item.call)
        }
        outcomes = {name: request.wait() for name, request in asked.items()}
        result = graph.invoke(_resume(interrupts, items, outcomes), config, context=context)
    return result


async def arun_with_approvals(
    graph: Any,
    input: Any,  # noqa: A002
    config: Mapping[str, Any],
    sayso: AsyncSayso,
    *,
    run: str | None = None,
    context: Any = None,
    **options: Unpack[Options],
) -> Any:
    """Do as `run_with_approvals` does, awaited."""
    asking = _asking(config, run, options)
    state = await graph.aget_state(config)
    result = state.values
    if not state.interrupts and (state.next or input is not None):
        result = await graph.ainvoke(None if state.next else input, config, context=context)
    while interrupts := (await graph.aget_state(config)).interrupts:
        items = [item for one in interrupts for item in _items_of(one)]
        open_ones = [item for item in items if item.is_question or asking.is_asked(item.call)]
        turn = asking.together([item.call for item in open_ones])
        asked = {item.call.id: await item.ask(sayso, turn) for item in open_ones}
        outcomes = {name: await request.wait() for name, request in asked.items()}
        result = await graph.ainvoke(_resume(interrupts, items, outcomes), config, context=context)
    return result


def _asking(config: Mapping[str, Any], run: str | None, options: Options) -> Asking:
    configurable = config.get("configurable", {})
    if "checkpoint_id" in configurable:
        raise UnfitValue("config", "names a checkpoint_id: only the latest state of a thread can be taken up")
    return Asking("langgraph", run or str(configurable.get("thread_id", "")), options)


def _resume(interrupts: Iterable[Any], items: Iterable[_Item], outcomes: Mapping[str, Outcome]) -> Any:
    """Return the command that tells each interrupt what was decided."""
    told: dict[str, list[Any]] = {one.id: [] for one in interrupts}
    for item in items:
        told[item.call.id.partition(":")[0]].append(item.tell(outcomes.get(item.call.id)))
    return Command(resume={one.id: _as_awaited(one.value, told[one.id]) for one in interrupts})


def _as_awaited(value: Any, told: list[Any]) -> Any:
    if isinstance(value, Mapping) and "action_requests" in value:
        return {"decisions": told}
    return told if _inbox(value) else told[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One thing that an interrupt asks: an approval, or a question where the graph takes neither yes nor no.

    Its call's id is the interrupt's, a colon, and its number there. `allowed` are of approve, edit, reject,
    respond; `say(kind, name, what)` makes the graph's form of them.
    """

    call: ToolCall
    allowed: frozenset[str]
    say: Callable[[str, str, Any], Any]
    takes_text: bool = False
    editable: bool | Mapping[str, Any] = True
    details: str = ""
    schema: Any = None

    @property
    def is_question(self) -> bool:
        return not self.allowed & {"approve", "edit"}

    def ask(self, sayso: Any, asking: Asking) -> Any:
        if self.is_question:
            return sayso.open_question(**asking.question(self.call, self.details, self.schema))
        editable = "edit" in self.allowed and self.editable
        terms = asking.approval(self.call, self.details, editable)
        if self.takes_text:
            terms["decisions"] = ["approve", "reject", "respond"]
        return sayso.open_approval(**terms)

    def tell(self, outcome: Outcome | None) -> Any:
        """Return what the graph hears, or raise a refusal that it can't hear. None: approved unasked."""
        if outcome is not None and outcome.answer is not None:
            return self.say("respond", self.call.name, outcome.answer)
        if outcome is not None and not outcome.approved:
            if "reject" not in self.allowed:
                outcome.raise_for_refusal()
            return self.say("reject", self.call.name, outcome.reason())
        if "approve" in self.allowed and not (outcome and outcome.edited):
            return self.say("approve", self.call.name, None)
        return self.say("edit", self.call.name, outcome.arguments if outcome else self.call.arguments)


def _items_of(interrupt: Any) -> Iterator[_Item]:
    value, schema = interrupt.value, interrupt.response_schema
    if isinstance(value, Mapping) and "action_requests" in value:
        for number, action in enumerate(value["action_requests"]):
            allowed = value["review_configs"][number]["allowed_decisions"]
            yield _tool_call(interrupt, number, action, allowed, True)
    elif isinstance(value, Mapping) and value.get("type") == "tool_approval":
        allowed, editable = _branches(schema)
        yield _tool_call(interrupt, 0, value, allowed, editable)
    elif inbox := _inbox(value):
        for number, request in enumerate(inbox):
            yield _inbox_item(interrupt, number, request)
    elif isinstance(value, str) or schema is not None:
        yield _question(interrupt)
    else:
        raise UnfitValue("interrupt", f"is no tool call and no text, and has no response_schema: {value!r}")


def _tool_call(interrupt: Any, number: int, action: Mapping[str, Any], allowed: Any, editable: Any) -> _Item:
    """Read a call that the middleware of LangChain asks about."""
    details = action.get("description", "")
    if details.endswith(f"\n\nTool: {action['name']}\nArgs: {action['args']}"):  # as the arguments say
        details = ""
    return _Item(
        call=ToolCall(id=f"{interrupt.id}:{number}", name=action["name"], arguments=action["args"]),
        allowed=frozenset(allowed),
        takes_text="respond" in allowed,
        editable=editable,
        details=details,
        say=_decision,
    )


def _decision(kind: str, name: str, said: Any) -> dict[str, Any]:
    if kind == "edit":
        return {"type": "edit", "edited_action": {"name": name, "args": said}}
    return {"type": kind} if said is None else {"type": kind, "message": said}


def _branches(schema: Mapping[str, Any]) -> tuple[set[str], bool | Mapping[str, Any]]:
    """Return the decisions that a `response_schema` allows, and the schema of edited arguments."""
    parts = dict(schema.get("$defs", {}))
    decisions = [parts.pop(_name_of(one)) for one in schema["oneOf"]] if "oneOf" in schema else [schema]
    by_kind = {one["properties"]["type"]["const"]: one for one in decisions}
    if "edit" not in by_kind:
        return set(by_kind), False
    action = parts.pop(_name_of(by_kind["edit"]["properties"]["edited_action"]))
    return set(by_kind), {**action["properties"]["args"], "$defs": parts}


def _name_of(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _inbox(value: Any) -> list[Any]:
    """Return the requests in a value of the schema of Agent Inbox; none: it is something else."""
    requests = value if isinstance(value, list) else [value]
    return requests if all(isinstance(one, Mapping) and "action_request" in one for one in requests) else []


_FLAGS = {"approve": "allow_accept", "edit": "allow_edit", "respond": "allow_respond"}


def _inbox_item(interrupt: Any, number: int, request: Mapping[str, Any]) -> _Item:
    """Read a request of Agent Inbox. A rejection is told as a response, or else as *ignore*, without why."""
    config, action = request["config"], request["action_request"]
    allowed = {kind for kind, name in _FLAGS.items() if config.get(name)}
    takes_text = has_reasons = "respond" in allowed and len(allowed) > 1
    if has_reasons or config.get("allow_ignore"):
        allowed.add("reject")

    def say(kind: str, name: str, said: Any) -> dict[str, Any]:
        if kind == "edit":
            return {"type": kind, "args": {"action": name, "args": said}}
        if kind == "respond" or (kind == "reject" and has_reasons):
            return {"type": "response", "args": said}
        return {"type": "accept" if kind == "approve" else "ignore", "args": None}

    return _Item(
        call=ToolCall(id=f"{interrupt.id}:{number}", name=action["action"], arguments=action["args"]),
        allowed=frozenset(allowed),
        takes_text=takes_text,
        details=request.get("description") or "",
        say=say,
    )


def _question(interrupt: Any) -> _Item:
    """Read a text, or a value with a schema of the answer; its member `question`, if any, is the title."""
    value, details = interrupt.value, ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str, indent=2)
    title = str(value.get("question", text)) if isinstance(value, Mapping) else text
    if title != text or len(text) > TITLE_LIMIT:
        details = text if text is value else indent(text, "    ")
    return _Item(
        call=ToolCall(id=f"{interrupt.id}:0", name=title, in_own_words=True),
        allowed=frozenset({"respond"}),
        details=details,
        schema=interrupt.response_schema,
        say=lambda kind, name, said: said,
    )
