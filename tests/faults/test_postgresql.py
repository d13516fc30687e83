"""PostgreSQL, which carries everything, loses its sessions or stops altogether while people wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestration.runs.interruptions import Decision
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person, Unanswered, pause
from tests.servers import PostgresServer
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks("postgresql-redis", WITH_WORKERS)

MANY = 20
RUNS = 5
# Looks in the ledger for an effect that somebody may be about to have.
LOOKS = 100
OUTAGE = 20.0


async def test_every_backend_is_terminated_while_people_wait(
    installation: Installation, private_postgres: PostgresServer
) -> None:
    """Fault 4: `pg_terminate_backend` for all, and again. Waits and runs go on, decisions are made."""
    await installation.execute(2)
    await installation.serve()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        asked = await ann.ask_many("Terminated", MANY)
        for each in asked:
            waiting.create_task(ann.wait(each))
        runs = [await oona.start("faults-errand") for _ in range(RUNS)]
        questions = [await oona.question_of(each) for each in runs]
        await installation.until_waiting(installation.servers[0], MANY)
        for group in asked[::5], asked[1::5], asked[2::5], asked[3::5], asked[4::5]:
            await asyncio.to_thread(private_postgres.flush)
            installation.ledger.over("terminated")
            await asyncio.gather(*(bob.insist(each, at=1) for each in group))
        await ended(installation, oona, runs, questions)
    report = await installation.audited()
    assert (report.waits_told, report.steps_performed, report.steps_repeated) == (MANY, 2 * RUNS, 0)


async def test_postgresql_is_stopped_across_a_deadline(
    installation: Installation, private_postgres: PostgresServer
) -> None:
    """Fault 4: stopped for twenty seconds. Whose deadline has passed meanwhile times out when it is back,
    though nobody asks for that, and is not decided any more; all else can be decided then, and nothing
    acknowledged before is gone."""
    await installation.execute(2)
    await installation.serve()
    async with asyncio.timeout(PATIENCE + OUTAGE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        early, late = await ann.ask_many("Early", MANY), await ann.ask_many("Late", MANY)
        runs = [await oona.start("faults-errand") for _ in range(RUNS)]
        questions = [await oona.question_of(each) for each in runs]
        for each in [*early, *late]:
            waiting.create_task(ann.wait(each))
        await installation.until_waiting(installation.servers[0], 2 * MANY)
        await asyncio.gather(*(bob.decide(each, at=1) for each in early))
        due = await ann.ask_many("Due", MANY, timeout=OUTAGE / 2)
        timing_out = [waiting.create_task(ann.wait(each)) for each in due]
        await asyncio.to_thread(private_postgres.stop)
        with pytest.raises(Unanswered):
            await bob.decide(late[0], at=1)
        await pause(OUTAGE)
        await asyncio.to_thread(private_postgres.start)
        installation.ledger.over("stopped")
        assert {told["status"] for told in await asyncio.gather(*timing_out)} == {"timed_out"}
        answers = await asyncio.gather(*(bob.insist(each, at=1) for each in due))
        assert {answer.json()["code"] for answer in answers} == {"too_late"}
        await asyncio.gather(*(bob.insist(each, "reject", at=1) for each in late))
        await ended(installation, oona, runs, questions)
    report = await installation.audited()
    outcomes = {"approved": MANY + RUNS, "rejected": MANY, "timed_out": MANY}
    assert outcomes.items() <= report.outcomes.items()
    assert (report.steps_performed, report.steps_repeated) == (2 * RUNS, 0)


async def ended(
    installation: Installation, oona: Person, runs: Sequence[str], questions: Sequence[str]
) -> None:
    """The runs, told what they had asked, come to their ends. One that a worker has lost with its connection,
    in the middle of a step, asks oona what became of the step."""
    for each in questions:
        await oona.insist(each)
    for run_id, question in zip(runs, questions, strict=True):
        answered = {question}
        while not (run := await oona.look(run_id))["finished_at"]:
            for asked in set(run["waiting_for"]) - answered:
                await oona.answer(asked, await what_became_of(installation, run_id, "do-1"))
                answered.add(asked)
            await pause()
        assert (await oona.end_of(run_id))["status"] == "completed", run


async def what_became_of(installation: Installation, run_id: str, step: str) -> dict[str, object]:
    """What the ledger says of the step's effect. Nobody died: if it began, it is there in a moment."""
    for _ in range(LOOKS):
        if effects := installation.effects(run_id, step):
            return {"decision": Decision.DONE, "result": {"effect": effects[0]}}
        await pause()
    return {"decision": Decision.AGAIN}
