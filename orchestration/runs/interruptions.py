"""What a person is asked about a step or a run that was interrupted, and what the answer means."""

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
from orchestration.models import StepRecord, StepStatus
from orchestration.runs.replay import plain

ARGUMENTS_LIMIT = 20_000


class Way(StrEnum):
    """How to go on, in the words of the question."""

    AGAIN = "Do it again"
    DONE = "It was done: go on"
    STOP = "Stop the run"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "title": "How to go on", "enum": [way.value for way in Way]},
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
    "The run was interrupted while this step was under way. That it began is on record, a result is not:"
    " **it may have had its effect, or not.** Look where the effect would show, then say how to go on."
)
WHAT_FOLLOWS = f"""\
- **{Way.AGAIN}** calls the function anew. If it has had its effect, it will have it twice.
- **{Way.DONE}** calls nothing. The run goes on with the result that you give.
- **{Way.STOP}** calls nothing and ends the run as failed. Whoever resumes it is asked again."""


def title_for(name: str) -> str:
    return f"Interrupted: was “{name}” done?"


def details_for(
    name: str, deed: partial[Any], *, attempt: int, begun_at: datetime, begun_by: str, error: str
) -> str:
    """Exactly what is known, as Markdown."""
    begun = f"{begun_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    facts = [
        f"Step: {_code(name)}, attempt {attempt}",
        f"Begun: {begun} by {f'the process {_code(begun_by)}' if begun_by else 'an unknown process'}",
        f"Function: {_code(_name_of(deed.func))}",
    ]
    if error:
        facts.append(f"Error of an earlier attempt: {_code(error)}")
    listed = "\n".join(f"- {fact}" for fact in facts)
    arguments = _arguments(deed)
    given = f"Arguments:\n\n{_block(arguments)}" if arguments else "It has no arguments."
    return f"{WHAT_HAPPENED}\n\n{listed}\n\n{given}\n\n{WHAT_FOLLOWS}"


def way_of(outcome: Outcome) -> Way:
    """What was decided. Where nobody answered, because the question was taken back, the run stops."""
    return Way.STOP if outcome.answer is None else Way(outcome.answer["decision"])


def result_of(outcome: Outcome) -> Any:
    return outcome.answer.get("result")


def how_it_stopped(name: str, outcome: Outcome) -> str:
    """The end of the run, in words."""
    return f"Step {name!r} was interrupted and has no result on record; {_how(outcome)}"


# Runs whose process dies again and again

GO_ON = "Go on"
CHOICES = [GO_ON, Way.STOP.value]

WHAT_DIED = (
    "Each time, the process of this run died while the run's own code or a step of it was executing, and"
    " nothing new was on record between. **It may be this run that ends its processes**, and with them"
    " whatever else they do: by a crash of native code, by too much memory, or by keeping the event loop."
)
WHAT_GOES = f"""\
- **{GO_ON}** takes the run up once more, from its record.
- **{Way.STOP}** ends the run as failed. Whoever resumes it takes it up once more."""


def title_for_run(title: str, deaths: int) -> str:
    return f"Interrupted {deaths} times: go on with “{title[:100]}”?"


def details_for_run(records: Sequence[StepRecord], deaths: int) -> str:
    """Exactly what is known, as Markdown."""
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
    """Where nobody answered, because the question was taken back, the run stops."""
    return bool(outcome.answer == GO_ON)


def how_the_run_stopped(deaths: int, outcome: Outcome) -> str:
    """The end of the run, in words."""
    what = f"The run's process died {deaths} times in a row while it executed"
    return f"{what}; {_how(outcome)}"


def _record(record: StepRecord) -> str:
    begun = f"{record.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{record.kind} {_code(record.name)}, attempt {record.attempts}, begun {begun}"


def _how(outcome: Outcome) -> str:
    who = f" by {outcome.decided_by}" if outcome.decided_by else ""
    how = f"stopped{who}" if outcome.answer is not None else f"the question about it was withdrawn{who}"
    because = f": {outcome.comment}" if outcome.comment else ""
    return f"{how}{because}"


def _arguments(deed: partial[Any]) -> str:
    """By their names where the function tells them."""
    try:
        given = dict(inspect.signature(deed.func).bind(*deed.args, **deed.keywords).arguments)
    except (TypeError, ValueError):
        given = {str(number): value for number, value in enumerate(deed.args, 1)} | deed.keywords
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
    """One line of code, whatever it holds."""
    ticks = _ticks(text, 1)
    line = " ".join(text.split())
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def _block(text: str) -> str:
    ticks = _ticks(text, 3)
    return f"{ticks}json\n{text}\n{ticks}"


def _ticks(text: str, fewest: int) -> str:
    """More backticks in a row than the text has."""
    return "`" * max([fewest, *(len(run) + 1 for run in re.findall("`+", text))])
