"""CrewAI: a flow that pauses at `@human_feedback(provider=People())` goes on with what people say.

CrewAI takes a text for an answer, so nobody can change what is reviewed; of two methods that pause at once it
keeps one. It keeps a flow only while it waits: one that crashes between two pauses begins and asks anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import indent
from typing import Any, Unpack

from crewai.flow.async_feedback import HumanFeedbackPending, PendingFeedbackContext
from crewai.llms.base_llm import BaseLLM

from sayso_client.clients import Sayso
from sayso_client.questions import key_of
from sayso_client.tool_calls import Asking, Options, ToolCall

_YES_OR_NO = {"approved", "rejected"}


class People:
    """What `@human_feedback(provider=…)` takes: the flow pauses, and `run_with_feedback` asks people."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Any) -> str:
        """Pause the flow."""
        raise HumanFeedbackPending(context=context)


def run_with_feedback(
    flow: type[Any],
    sayso: Sayso,
    *,
    run: str,
    persistence: Any,
    inputs: Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Any:
    """Run a flow to its end, asking people whenever it pauses for feedback; return what `kickoff` returns.

    `run` is the flow's id for ever; one that waits in the `persistence` is taken up, without `inputs`. With
    `emit=["approved", "rejected"]` people see an approval, and silence rejects; with other outcomes these are
    the choices of a question, and silence is the `default_outcome`; without, they write a text. `TimedOut` or
    `Withdrawn` where there is no answer: the flow stays where it is. `when` says of which methods people are
    asked; the others are approved, where they can be. Not within an event loop.
    """
    asking, result = Asking("crewai", run, options), None
    if persistence.load_pending_feedback(run) is None:
        result = flow(persistence=persistence).kickoff(inputs={**(inputs or {}), "id": run})
    while persistence.load_pending_feedback(run) is not None:
        paused = flow.from_pending(run, persistence)
        outcome, text = _ask(paused.pending_feedback, sayso, asking)
        if paused.pending_feedback.emit:
            # Or else a model would read the text, and decide what people have decided.
            paused.pending_feedback.llm = _Chosen(model="people", outcome=outcome)
        result = paused.resume(text)
    return result


def _ask(context: PendingFeedbackContext, sayso: Sayso, asking: Asking) -> tuple[str, str]:
    """Ask people; return which of the flow's outcomes it is, if it has some, and a text that is not blank.

    A blank one would be the default, or the first outcome.
    """
    # A flow may ask the same again, for example after a revision: the moment tells them apart.
    name = key_of(context.method_name, context.requested_at.isoformat())
    output = context.method_output
    arguments = output if isinstance(output, dict) else {"output": output}
    if set(context.emit or ()) == _YES_OR_NO:
        if not asking.is_asked(ToolCall(id=name, name=context.method_name, arguments=arguments)):
            return "approved", "Approved."
        call = ToolCall(id=name, name=context.message, arguments=arguments, in_own_words=True)
        said = sayso.open_approval(**asking.approval(call)).wait()
        return ("approved" if said.approved else "rejected"), said.comment.strip() or said.reason()
    call = ToolCall(id=name, name=context.message, in_own_words=True)
    details = output if isinstance(output, str) else indent(json.dumps(output, indent=2), "    ")
    terms = asking.question(call, details)
    if context.emit:
        terms |= {"choices": context.emit, "default": context.default_outcome}
    said = sayso.open_question(**terms).wait().raise_for_refusal()
    return str(said.answer), said.comment.strip() or str(said.answer)


class _Chosen(BaseLLM):
    """A model that reads a text as people have decided, and learns nothing of it."""

    outcome: str

    def call(self, messages: Any, *rest: Any, response_model: Any = None, **named: Any) -> str:
        """Return the outcome where one is to be chosen."""
        is_choice = response_model is not None and "outcome" in response_model.model_fields
        return json.dumps({"outcome": self.outcome}) if is_choice else "NONE"
