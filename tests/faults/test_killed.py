"""Processes that are killed by `kill -9`: those that wait, those that decide, those that execute runs."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from approvals.database.clock import database_now
from approvals.database.threads import in_database
from orchestration.models import Run, StepRecord
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Unanswered, pause
from tests.stacks import WITH_WORKERS

MANY = 30
# What the server that is killed has said is on record.
ACKNOWLEDGED = 10


@pytest.mark.stacks("postgresql-redis")
class TestServers:
    async def test_who_waits_at_a_server_that_is_killed_is_told_by_another(
        self, installation: Installation
    ) -> None:
        """Fault 5: the waiting process dies; who had waited there goes on at the other one."""
        here, _ = await installation.serve(2)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
            ann, bob = await installation.person("ann"), await installation.person("bob")
            asked = await ann.ask_many("Kill", MANY)
            for each in asked:
                waiting.create_task(ann.wait(each))
            await installation.until_waiting(here, MANY)
            for each in asked[: MANY // 2]:
                await bob.decide(each, at=1)
            here.kill()
            for each in asked[MANY // 2 :]:
                await bob.decide(each, "reject", at=1)
        report = await installation.audited()
        assert (report.decisions_told, report.waits_told) == (MANY, MANY)

    async def test_a_decision_is_known_although_the_decider_died_before_it_told_anybody(
        self, installation: Installation
    ) -> None:
        """Fault 5: killed between commit and wake-up. The waiter elsewhere is told nevertheless; who had
        decided and got no answer asks again, and is told what is on record."""
        here, there = await installation.serve(2)
        async with asyncio.timeout(PATIENCE):
            ann, bob = await installation.person("ann"), await installation.person("bob")
            asked = await ann.ask("Known?")
            async with asyncio.TaskGroup() as waiting:
                told = waiting.create_task(ann.wait(asked))
                await installation.until_waiting(here, 1)
                installation.arm("decided", "kill")
                with pytest.raises(Unanswered):
                    await bob.decide(asked, at=1)
                assert await installation.until_hit("decided") == there.pid
            assert told.result()["decided_by"] == "bob"
            repeated = await bob.insist(asked)
            changed = await bob.insist(asked, "reject")
        assert (repeated.status_code, repeated.json()["status"]) == (200, "approved")
        assert (changed.status_code, changed.json()["code"]) == (409, "already_decided")
        report = await installation.audited()
        assert report.decisions_unanswered == 1

    async def test_deciders_that_are_killed_again_and_again_lose_nothing_acknowledged(
        self, installation: Installation
    ) -> None:
        """Fault 5: one of two servers dies with decisions under way; and again, with its successor there."""
        await installation.serve(2)
        async with asyncio.timeout(PATIENCE):
            ann, bob, eve = [await installation.person(name) for name in ("ann", "bob", "eve")]
            for number in range(2):
                asked = await ann.ask_many(f"Round {number}", MANY // 2)
                async with asyncio.TaskGroup() as everybody:
                    for each in asked:
                        everybody.create_task(ann.wait(each))
                    await installation.until_waiting(installation.servers[0], len(asked))
                    await asyncio.gather(*(bob.insist(each, at=1) for each in asked[:ACKNOWLEDGED]))
                    installation.arm("decided", "kill")
                    for each in asked:
                        everybody.create_task(eve.insist(each, "reject", at=1))
                        everybody.create_task(bob.insist(each, "approve", at=1))
                pid = await installation.until_hit("decided")
                (dead,) = [each for each in installation.servers if each.pid == pid]
                await installation.restart(dead)
        report = await installation.audited()
        assert report.resolved == MANY


@pytest.mark.stacks("postgresql-redis", WITH_WORKERS)
class TestRuns:
    async def test_runs_of_a_process_that_is_killed_go_on_in_another(
        self, installation: Installation
    ) -> None:
        """Fault 5: they attach to what they had asked, and what they had done is not done again."""
        await installation.execute(2)
        async with asyncio.timeout(PATIENCE):
            oona = await installation.person("oona")
            runs = [await oona.start("faults-errand", questions=2) for _ in range(10)]
            first = [await oona.question_of(each) for each in runs]
            victim = installation.process_of(runs[0])
            if victim in installation.servers:
                oona.urls.remove(victim.url)
            victim.kill()
            for each in first:
                await oona.insist(each)
            for run_id, each in zip(runs, first, strict=True):
                await oona.insist(await oona.question_of(run_id, beyond=each))
            ends = [await oona.end_of(each) for each in runs]
        assert {end["status"] for end in ends} == {"completed"}
        report = await installation.audited()
        assert (report.requests, report.steps_performed, report.steps_repeated) == (20, 30, 0)

    async def test_runs_that_sleep_while_every_process_is_killed_wake_in_the_next(
        self, installation: Installation
    ) -> None:
        """Fault 5: at the moment that was recorded; one whose moment passes while nobody is there wakes late,
        and what it does then is done once."""
        await installation.execute(2)
        async with asyncio.timeout(PATIENCE):
            oona = await installation.person("oona")
            runs = [await oona.start("faults-nap", seconds=seconds) for seconds in (5, 20)]
            recorded = [await _asleep(each) for each in runs]
            for each in installation.executors:
                each.kill()
            await installation.execute(2)
            oona.urls[:] = [server.url for server in installation.servers if server.running]
            ends = [await oona.end_of(each) for each in runs]
        assert {end["status"] for end in ends} == {"completed"}
        assert await in_database(database_now) >= recorded[-1]
        assert [await _asleep(each) for each in runs] == recorded
        report = await installation.audited()
        assert (report.steps_performed, report.steps_repeated) == (2, 0)

    async def test_a_run_that_ends_its_processes_is_put_before_a_person(
        self, installation: Installation, tmp_path: Path
    ) -> None:
        """Three of them, and no more: the next one asks, and serves everybody else meanwhile."""
        harmless = tmp_path / "harmless"
        (first,) = await installation.execute(1)
        oona = await installation.person("oona")
        # The process may end before it has answered; the one that does not end answers then.
        starting = asyncio.create_task(oona.start("faults-poison", until=str(harmless)))
        await asyncio.to_thread(first.wait)
        for _ in range(2):
            await asyncio.to_thread((await installation.another()).wait)
        await installation.another()
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        async with asyncio.timeout(PATIENCE):
            run_id = await starting
            question = await oona.question_of(run_id)
            await oona.insist(await oona.ask("Anybody else?"))
            harmless.touch()
            await oona.answer(question, "Go on")
            end = await oona.end_of(run_id)
        assert end["status"] == "completed"
        await installation.audited()

    async def test_five_processes_that_are_killed_under_a_waiting_run_do_not_count(
        self, installation: Installation
    ) -> None:
        """More than a run may end itself: it waits on, and nobody is asked about it."""
        (victim,) = await installation.execute(1)
        oona = await installation.person("oona")
        run_id = await oona.start("faults-errand")
        question = await oona.question_of(run_id)
        for epoch in range(1, 6):
            await _settled(run_id, epoch)
            victim.kill()
            victim = await installation.another()
        await _settled(run_id, 6)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        async with asyncio.timeout(PATIENCE):
            assert await oona.question_of(run_id) == question
            await oona.insist(question)
            end = await oona.end_of(run_id)
        assert end["status"] == "completed"
        report = await installation.audited()
        assert (report.requests, report.steps_performed, report.steps_repeated) == (1, 2, 0)


async def _settled(run_id: str, epoch: int) -> None:
    """The process of this epoch has taken the run up, and all that it does is to wait."""
    while not await in_database(Run.objects.filter(pk=run_id, epoch=epoch, executing=False).exists):
        await pause()


async def _asleep(run_id: str) -> datetime:
    """Until when the run sleeps, or has slept, once that is on record."""
    while (due_at := await in_database(_due_at, run_id)) is None:
        await pause()
    return due_at


def _due_at(run_id: str) -> datetime | None:
    sleeps = StepRecord.objects.filter(run_id=run_id, kind="sleep")
    return sleeps.values_list("due_at", flat=True).first()
