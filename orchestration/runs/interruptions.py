"""The questions about interrupted steps and runs: what a person is told, and what the answer means."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from approvals.domain.lifecycle import Outcome
from approvals.domain.masking import hide_headers
from orchestration.exceptions import because
from orchestration.models import StepRecord, StepStatus
from orchestration.runs.replay import plain

ARGUMENTS_LIMIT = 20_000


class Decision(StrEnum):
    """How to go on, as the form of the question says it."""

    AGAIN = "Do it again"
    DONE = "It was done: go on"
    STOP = "Stop the run"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "title": "How to go on",
            "enum": [decision.value for decision in Decision],
        },
        "result": {
            "title": "Its result, if it was done",
            "description": (
                'What the run goes on with, as JSON: 812, true, "a text", {"paid": 812}. Left empty: no'
                " result (null)."
            ),
        },
    },
    "required": ["decision"],
    "additionalProperties": False,
}

WHAT_HAPPENED = (
    "The run was interrupted during this step. The step was begun, but has no result on record: **it may have"
    " had its effect, or not.** Check whether it did, then say how to go on."
)
WHAT_FOLLOWS = f"""\
- **{Decision.AGAIN}** calls the function again. If it already had its effect, it has it twice.
- **{Decision.DONE}** calls nothing. The run goes on with the result that you give.
- **{Decision.STOP}** calls nothing and ends the run as failed. If the run is resumed, you are asked again."""


def title_for(name: str) -> str:
    """Return the title of the question about a step."""
    return f"Interrupted: was “{name}” done?"


def details_for(
    name: str, function: partial[Any], *, attempt: int, begun_at: datetime, begun_by: str, error: str
) -> str:
    """Describe an interrupted step, as Markdown."""
    begun = f"{begun_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    facts = [
        f"Step: {_code(name)}, attempt {attempt}",
        f"Begun: {begun} by {f'the process {_code(begun_by)}' if begun_by else 'an unknown process'}",
        f"Function: {_code(_name_of(function.func))}",
    ]
    if error:
        facts.append(f"Error of an earlier attempt: {_code(error)}")
    listed = "\n".join(f"- {fact}" for fact in facts)
    arguments = _arguments(function)
    given = f"Arguments:\n\n{_block(arguments)}" if arguments else "It has no arguments."
    return f"{WHAT_HAPPENED}\n\n{listed}\n\n{given}\n\n{WHAT_FOLLOWS}"


def decision_of(outcome: Outcome) -> Decision:
    """Return how to go on; the run stops where the question was withdrawn."""
    return Decision.STOP if outcome.answer is None else Decision(outcome.answer["decision"])


def result_of(outcome: Outcome) -> Any:
    """Return the result that the answer gives to the step."""
    return outcome.answer.get("result")


def describe_stopped_step(name: str, outcome: Outcome) -> str:
    """Say why the run ended at a step."""
    return f"Step {name!r} was interrupted and has no result on record; {_how(outcome)}"


# Runs whose process dies again and again

GO_ON = "Go on"
CHOICES = [GO_ON, Decision.STOP.value]

WHAT_DIED = (
    "Each time, the process of this run died while the run's own code or one of its steps was executing, and"
    " nothing new was recorded in between. **This run may be the cause**, and may end other work in the same"
    " process: by a crash of native code, by too much memory, or by blocking the event loop."
)
WHAT_GOES = f"""\
- **{GO_ON}** continues the run once more, from its record.
- **{Decision.STOP}** ends the run as failed. If it is resumed, it is continued once more."""


def title_for_run(title: str, deaths: int) -> str:
    """Return the title of the question about a run."""
    return f"Interrupted {deaths} times: go on with “{title[:100]}”?"


def details_for_run(records: Sequence[StepRecord], deaths: int) -> str:
    """Describe a run whose process died repeatedly, as Markdown."""
    facts = [f"Processes that died in a row: {deaths}"]
    facts += [f"On record last: {_record(record)}" for record in records[-1:]]
    facts += [
        f"Begun, without a result on record: {_record(record)}"
        for record in records
        if record.status == StepStatus.STARTED and record.kind == "step"
    ]
    listed = "\n".join(f"- {fact}" for fact in facts)
    return f"{WHAT_DIED}\n\n{listed}\n\n{WHAT_GOES}"


def may_go_on(outcome: Outcome) -> bool:
    """Tell whether the run goes on; it stops where the question was withdrawn."""
    return bool(outcome.answer == GO_ON)


def describe_stopped_run(deaths: int, outcome: Outcome) -> str:
    """Say why the run ended before its code was called."""
    what = f"The run's process died {deaths} times in a row while it executed"
    return f"{what}; {_how(outcome)}"


def _record(record: StepRecord) -> str:
    begun = f"{record.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{record.kind} {_code(record.name)}, attempt {record.attempts}, begun {begun}"


def _how(outcome: Outcome) -> str:
    how = "the question about it was withdrawn" if outcome.answer is None else "stopped"
    return f"{how}{because(outcome)}"


def _arguments(function: partial[Any]) -> str:
    """Return the arguments as JSON, by name where the function's signature tells their names."""
    try:
        given = dict(inspect.signature(function.func).bind(*function.args, **function.keywords).arguments)
    except (TypeError, ValueError):
        given = {str(number): value for number, value in enumerate(function.args, 1)} | function.keywords
    if not given:
        return ""
    text = json.dumps(hide_headers(plain(given)), ensure_ascii=False, indent=2)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= ARGUMENTS_LIMIT else f"{text[:ARGUMENTS_LIMIT]}\n… and more"


def _name_of(function: Callable[..., Any]) -> str:
    if isinstance(function, partial):
        return _name_of(function.func)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{name}"


def _code(text: str) -> str:
    """Format any text as one line of inline code."""
    ticks = _ticks(text, 1)
    line = " ".join(text.split())
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def _block(text: str) -> str:
    ticks = _ticks(text, 3)
    return f"{ticks}json\n{text}\n{ticks}"


def _ticks(text: str, fewest: int) -> str:
    """Return more backticks in a row than the text has."""
    return "`" * max([fewest, *(len(run) + 1 for run in re.findall("`+", text))])
