"""What a person does who is asked about an interrupted step: look where its effect would show, and tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.faults.ledger import Ledger

# The words of the question.
AGAIN, DONE, STOP = "Do it again", "It was done: go on", "Stop the run"
# Of a run whose processes died again and again.
GO_ON = "Go on"
OF_A_RUN = re.compile(r"Interrupted \d+ times: ")
# The step's key, among the arguments that the question shows.
KEY = re.compile(r'"name": "(effect-\w+)"')


def answer(request: Mapping[str, Any], ledger: Ledger, *, stop: bool) -> Any:
    """The effect that shows is the step's result; where none does, it is to be done again."""
    if OF_A_RUN.match(request["title"]):
        return STOP if stop else GO_ON
    if stop:
        return {"decision": STOP}
    effect = _effect(ledger, request["origin"]["id"], step_of(request["details"]))
    if effect is None:
        return {"decision": AGAIN}
    return {"decision": DONE, "result": {"effect": effect}}


def step_of(details: str) -> str:
    found = KEY.search(details)
    assert found, f"the question does not say which step it is about:\n{details}"
    return found[1]


def _effect(ledger: Ledger, run_id: str, step: str) -> str | None:
    wanted = ("performed", run_id, step)
    for note in ledger.notes():
        if (note["what"], note.get("run"), note.get("step")) == wanted:
            return str(note["effect"])
    return None
