"""Steps whose process is killed by `kill -9` between their effect and its record, which is when it hurts."""

from __future__ import annotations

import asyncio

import pytest

from orchestration.runs.interruptions import Decision
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks("postgresql-redis", WITH_WORKERS)


async def killed_at_its_first_step(installation: Installation, oona: Person, *, repeatable: bool) -> str:
    """A run whose process died right after the step's effect; the servers that are left."""
    installation.arm("step-performed", "kill")
    run_id = await oona.start("faults-errand", questions=1, repeatable=repeatable)
    pid = await installation.until_hit("step-performed")
    oona.urls[:] = [server.url for server in installation.servers if server.pid != pid]
    return run_id


async def test_a_step_is_not_repeated_unasked(installation: Installation) -> None:
    """Whoever owns the run is asked, says what it had come to, and the run goes on with that."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        run_id = await killed_at_its_first_step(installation, oona, repeatable=False)
        question = await oona.question_of(run_id)
        (effect,) = installation.effects(run_id, "begin")
        await oona.answer(question, {"decision": Decision.DONE, "result": {"effect": effect}})
        await oona.insist(await oona.question_of(run_id, beyond=question))
        end = await oona.end_of(run_id)
    assert end["result"] == [effect, *installation.effects(run_id, "do-1")]
    assert installation.effects(run_id, "begin") == [effect]
    await installation.audited()


async def test_a_person_may_have_it_done_again_or_stop_the_run(installation: Installation) -> None:
    """The person knows what the process could not."""
    await installation.execute(3)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        again = await killed_at_its_first_step(installation, oona, repeatable=False)
        first = await oona.question_of(again)
        await oona.answer(first, {"decision": Decision.AGAIN})
        await oona.insist(await oona.question_of(again, beyond=first))
        assert (await oona.end_of(again))["status"] == "completed"
        stopped = await killed_at_its_first_step(installation, oona, repeatable=False)
        await oona.answer(await oona.question_of(stopped), {"decision": Decision.STOP})
        end = await oona.end_of(stopped)
    assert (end["status"], end["reason"]) == ("failed", "interrupted")
    assert len(installation.effects(again, "begin")) == 2
    assert len(installation.effects(stopped, "begin")) == 1
    await installation.audited()


async def test_a_step_that_may_be_repeated_is(installation: Installation) -> None:
    """Nobody is asked: it says that doing it twice is as good as once."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        run_id = await killed_at_its_first_step(installation, oona, repeatable=True)
        await oona.insist(await oona.question_of(run_id))
        end = await oona.end_of(run_id)
    killed, repeated = installation.effects(run_id, "begin")
    assert end["result"] == [repeated, *installation.effects(run_id, "do-1")]
    assert killed != repeated
    await installation.audited()


async def test_a_process_that_is_killed_while_it_asks_has_asked_once(installation: Installation) -> None:
    """Its successor waits for the same answer."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        run_id = await killed_at_its_first_step(installation, oona, repeatable=False)
        question = await oona.question_of(run_id)
        for each in installation.executors:
            each.kill()
        await installation.execute(1)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        (effect,) = installation.effects(run_id, "begin")
        await oona.answer(question, {"decision": Decision.DONE, "result": {"effect": effect}})
        await oona.insist(await oona.question_of(run_id, beyond=question))
        end = await oona.end_of(run_id)
    assert end["result"][0] == effect
    await installation.audited()
