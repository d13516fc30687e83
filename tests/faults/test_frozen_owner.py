"""A process that executes runs is frozen until others have taken them over, and then wakes up."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person
from tests.processes import Process
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks("postgresql-redis", WITH_WORKERS)

RUNS = 6


async def test_what_a_frozen_owner_waited_for_goes_on_elsewhere_and_is_not_done_twice(
    installation: Installation,
) -> None:
    """Fault 6: SIGSTOP past the lease, then SIGCONT. The runs are completed by their new owner, each step
    once; the former one writes nothing any more, and takes new runs again."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        runs = [await oona.start("faults-errand") for _ in range(RUNS)]
        asked = [await oona.question_of(each) for each in runs]
        victim = installation.process_of(runs[0])
        other = spared(installation, oona, victim)
        victim.freeze()
        for each in asked:
            await oona.insist(each)
        ends = [await oona.end_of(each) for each in runs]
        assert {end["status"] for end in ends} == {"completed"}
        assert installation.process_of(runs[0], "do-1") is other
        await awake(installation, oona, victim)
    report = await installation.audited()
    assert (report.steps_performed, report.steps_repeated) == (2 * RUNS + 2, 0)


async def test_an_owner_frozen_between_effect_and_record_can_not_overwrite_its_successor(
    installation: Installation,
) -> None:
    """Fault 6: it wakes with the result of a step in hand, which another has repeated and recorded."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        run_id, victim = await frozen_in_a_step(installation, oona, repeatable=True)
        other = spared(installation, oona, victim)
        asked = await oona.question_of(run_id)
        await awake(installation, oona, victim)
        await oona.insist(asked)
        end = await oona.end_of(run_id)
    first, second = installation.effects(run_id, "begin")
    assert end["result"][0] == second
    assert [int(each.partition("/")[0]) for each in (first, second)] == [victim.pid, other.pid]
    report = await installation.audited()
    assert (report.steps_performed, report.steps_repeated) == (5, 1)


async def test_a_step_that_may_not_be_repeated_is_asked_about_when_its_owner_froze_in_it(
    installation: Installation,
) -> None:
    """Fault 6: nobody but a person can say whether it was done; it is not done again, whoever wakes."""
    await installation.execute(2)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        run_id, victim = await frozen_in_a_step(installation, oona, repeatable=False)
        spared(installation, oona, victim)
        asked = await oona.question_of(run_id)
        await awake(installation, oona, victim)
        (effect,) = installation.effects(run_id, "begin")
        done = {"decision": "It was done: go on", "result": {"effect": effect}}
        await oona.answer(asked, done)
        end = await oona.end_of(run_id)
    assert (end["status"], end["result"]) == ("completed", [effect])
    report = await installation.audited()
    assert (report.steps_performed, report.steps_repeated) == (3, 0)


async def frozen_in_a_step(
    installation: Installation, oona: Person, *, repeatable: bool
) -> tuple[str, Process]:
    """A run, and the process that stopped after the effect of its first step, before its record."""
    installation.arm("step-performed", "stop")
    run_id = await oona.start("faults-errand", questions=int(repeatable), repeatable=repeatable)
    pid = await installation.until_hit("step-performed")
    (victim,) = [each for each in installation.executors if each.pid == pid]
    return run_id, victim


def spared(installation: Installation, oona: Person, victim: Process) -> Process:
    """The executor that is not the victim. From now on oona speaks to servers that answer."""
    oona.urls[:] = [each.url for each in installation.servers if each is not victim]
    (other,) = [each for each in installation.executors if each is not victim]
    return other


async def awake(installation: Installation, oona: Person, victim: Process) -> None:
    """The victim wakes, does what it had been about to do, and is the only one to execute a further run."""
    other = spared(installation, oona, victim)
    victim.thaw()
    other.kill()
    oona.urls[:] = [each.url for each in installation.servers if each.running]
    run_id = await oona.start("faults-errand")
    await oona.insist(await oona.question_of(run_id))
    await oona.end_of(run_id)
    assert installation.process_of(run_id, "do-1") is victim
