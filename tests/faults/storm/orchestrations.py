"""What runs in a storm. Whatever it is told and does, it notes in a file that no database knows of."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from approvals.domain.lifecycle import Outcome
from approvals.queries import outcome_on_the_wire
from orchestration import REVIEWERS, Run, orchestration
from orchestration.exceptions import Unanswered
from tests.faults.ledger import Ledger
from tests.faults.storm.errands import BEGINNING, LEFT, ORCHESTRATION
from tests.faults.storm.failures import fail

# Seconds that a slow step takes before and after its effect: room for a process to die in.
SLOW = 0.75


@orchestration(ORCHESTRATION, title="Errand in a storm")
async def errand(
    run: Run, *, questions: list[dict[str, Any]], repeatable: bool, slow: bool, fails: str, place: str
) -> list[Any]:
    """Ask one question after the other; after each, do something that can be counted from outside."""
    told: list[Any] = []
    for index, question in enumerate(questions):
        await _nap(run, f"nap-{index}", question["nap"])
        refusal: Unanswered | None = None
        try:
            answer = await _answer_to(run, question)
        except Unanswered as error:
            refusal, answer = error, error.outcome.status
            _note(run, error.outcome)
        told.append(answer)
        await _have_an_effect(run, f"effect-{index}", repeatable=repeatable, slow=slow)
        if refusal is not None:
            raise refusal
    if fails:
        await fail(run, fails, place)
    return told


async def errand_with_a_beginning(
    run: Run, *, questions: list[dict[str, Any]], repeatable: bool, slow: bool, fails: str, place: str
) -> list[Any]:
    """The next version: first of all it speaks, which the older one does not, and does something."""
    await run.say("errand", "begins")
    await _have_an_effect(run, BEGINNING, repeatable=repeatable, slow=slow)
    return await errand(run, questions=questions, repeatable=repeatable, slow=slow, fails=fails, place=place)


if settings.STORM_NEWEST >= 2:  # type: ignore[misc]  # the storm's own
    orchestration(ORCHESTRATION, version=2, title="Errand in a storm")(errand_with_a_beginning)


async def _nap(run: Run, key: str, seconds: float) -> None:
    """In either way: the even ones until a moment."""
    if not seconds:
        return
    _ledger().sleeps(str(run.id), key)
    if run.id.int % 2:
        await run.sleep(seconds, key=key)
    else:
        await run.sleep_until(datetime.now(UTC) + timedelta(seconds=seconds), key=key)
    _ledger().woke(str(run.id), key)


async def _answer_to(run: Run, question: dict[str, Any]) -> Any:
    try:
        return await asyncio.wait_for(_asked(run, question), question["patience"])
    except TimeoutError:
        return LEFT


async def _asked(run: Run, question: dict[str, Any]) -> Any:
    terms = question["terms"] | {"assignees": question["terms"]["assignees"] or REVIEWERS}
    if question["kind"] == "clarification":
        return await run.ask(question["title"], **terms)
    outcome = await run.approve(question["title"], **terms)
    _note(run, outcome)
    return outcome.status


def _note(run: Run, outcome: Outcome) -> None:
    _ledger().waited(f"run {run.id}", outcome.request_id, outcome_on_the_wire(outcome))


async def _have_an_effect(run: Run, key: str, *, repeatable: bool, slow: bool) -> None:
    await run.step(
        "effect", have_an_effect, key=key, idempotent=repeatable, run_id=str(run.id), name=key, slow=slow
    )


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
