"""What runs in a storm. Whatever it is told and does, it notes in a file that no database knows of."""

from __future__ import annotations

import os
import threading
import uuid
from typing import Any

from django.conf import settings

from approvals.lifecycle import Outcome
from approvals.selectors import outcome_on_the_wire
from orchestration import REVIEWERS, Run, orchestration
from orchestration.exceptions import Unanswered
from tests.faults.ledger import Ledger
from tests.faults.storm.errands import ORCHESTRATION

# Seconds that a slow step takes before and after its effect: room for a process to die in.
SLOW = 0.75


@orchestration(ORCHESTRATION, title="Errand in a storm")
async def errand(run: Run, *, questions: list[dict[str, Any]], repeatable: bool, slow: bool) -> list[Any]:
    """Ask one question after the other; after each, do something that can be counted from outside."""
    told: list[Any] = []
    for index, question in enumerate(questions):
        refusal: Unanswered | None = None
        try:
            answer = await _answer_to(run, question)
        except Unanswered as error:
            refusal, answer = error, error.outcome.status
            _note(run, error.outcome)
        told.append(answer)
        key = f"effect-{index}"
        await run.step(
            "effect", have_an_effect, key=key, idempotent=repeatable, run_id=str(run.id), name=key, slow=slow
        )
        if refusal is not None:
            raise refusal
    return told


async def _answer_to(run: Run, question: dict[str, Any]) -> Any:
    terms = question["terms"] | {"assignees": question["terms"]["assignees"] or REVIEWERS}
    if question["kind"] == "clarification":
        return await run.ask(question["title"], **terms)
    outcome = await run.approve(question["title"], **terms)
    _note(run, outcome)
    return outcome.status


def _note(run: Run, outcome: Outcome) -> None:
    _ledger().waited(f"run {run.id}", outcome.request_id, outcome_on_the_wire(outcome))


def have_an_effect(*, run_id: str, name: str, slow: bool) -> dict[str, str]:
    """Leave a line on the disk: once for each call, whatever becomes of its record."""
    effect = f"{os.getpid()} {uuid.uuid4()}"
    if slow:
        threading.Event().wait(SLOW)
    _ledger().performed(run_id, name, effect)
    _sync()
    if slow:
        threading.Event().wait(SLOW)
    return {"effect": effect}


def _ledger() -> Ledger:
    return Ledger(settings.STORM_LEDGER)  # type: ignore[misc]  # the storm's own


def _sync() -> None:
    handle = os.open(_ledger().path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
