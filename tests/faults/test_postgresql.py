"""PostgreSQL, which carries everything, loses its sessions or stops altogether while people wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person, Unanswered, pause
from tests.servers import PostgresServer
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks("postgresql-redis", WITH_WORKERS)

MANY = 20
RUNS = 5
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
            await asyncio.gather(*(bob.insist(each, at=1) for each in group))
        await ended(oona, runs, questions)
    report = await installation.audited()
    assert (report.waits_told, report.steps_performed, report.steps_repeated) == (MANY, 2 * RUNS, 0)


async def test_postgresql_is_stopped_across_a_deadline(
    installation: Installation, private_postgres: PostgresServer
) -> None:
    """Fault 4: stopped for twenty seconds. Whose deadline has passed meanwhile has timed out when it is back,
    and is not decided any more; all else can be decided then, and nothing acknowledged before is gone."""
    await installation.execute(2)
    await installation.serve()
    async with asyncio.timeout(PATIENCE + OUTAGE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        early, late = await ann.ask_many("Early", MANY), await ann.ask_many("Late", MANY)
        runs = [await oona.start("faults-errand") for _ in range(RUNS)]
        questions = [await oona.question_of(each) for each in runs]
        due = await ann.ask_many("Due", MANY, timeout=OUTAGE / 2)
        for each in [*early, *late, *due]:
            waiting.create_task(ann.wait(each))
        await asyncio.gather(*(bob.decide(each, at=1) for each in early))
        await asyncio.to_thread(private_postgres.stop)
        with pytest.raises(Unanswered):
            await bob.decide(late[0], at=1)
        await pause(OUTAGE)
        await asyncio.to_thread(private_postgres.start)
        answers = await asyncio.gather(*(bob.insist(each, at=1) for each in due))
        assert {answer.json()["code"] for answer in answers} == {"too_late"}
        await asyncio.gather(*(bob.insist(each, "reject", at=1) for each in late))
        await ended(oona, runs, questions)
    report = await installation.audited()
    approved = MANY + RUNS
    assert report.outcomes == {"approved": approved, "rejected": MANY, "timed_out": MANY}
    assert (report.steps_performed, report.steps_repeated) == (2 * RUNS, 0)


async def ended(oona: Person, runs: Sequence[str], questions: Sequence[str]) -> None:
    """The runs, asked what they had asked, come to their ends."""
    for each in questions:
        await oona.insist(each)
    ends = [await oona.end_of(each) for each in runs]
    assert {end["status"] for end in ends} == {"completed"}
