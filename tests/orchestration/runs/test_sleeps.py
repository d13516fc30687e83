"""Runs that sleep: on record, through restarts, and no longer than until they are cancelled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from orchestration import OrchestrationManager, Run, models, orchestration, queries
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, until, until_recorded


@orchestration("sleeps_for")
async def sleeps_for(run: Run, *, seconds: float) -> str:
    await run.sleep(seconds)
    return "awake"


async def asleep(run_id: UUID) -> models.StepRecord:
    """The sleep as it is on record, once it is."""
    sleeping = models.StepRecord.objects.filter(run_id=run_id, status="sleeping")
    await until_recorded(sleeping.exists)
    return await in_database(sleeping.get)


async def wake(run_id: UUID) -> None:
    """Let the recorded end of its sleep have come."""
    sleeping = models.StepRecord.objects.filter(run_id=run_id, status="sleeping")
    assert await in_database(sleeping.update, due_at=await in_database(database_now))


async def dies(engine: Any) -> None:
    await engine.let_go()
    await in_database(models.Run.objects.update, process=None)


async def test_a_run_sleeps_and_goes_on(runtime: Runtime) -> None:
    """By its duration, or until a moment with a time zone; by then it has gone by on the database's clock."""

    @orchestration("sleeps_both")
    async def both(run: Run, *, moment: datetime) -> None:
        await run.sleep(0.01)
        await run.sleep(timedelta(milliseconds=10), key="again")
        await run.sleep_until(moment)

    moment = await in_database(database_now) + timedelta(seconds=0.1)
    run_id = await runtime.manager.astart("sleeps_both", {"moment": moment.isoformat()})
    assert (await finished(run_id))["status"] == "completed"
    assert await in_database(database_now) >= moment
    steps = await in_database(lambda: list(models.StepRecord.objects.order_by("id")))
    assert [(step.key, step.kind, step.status) for step in steps] == [
        ("sleep#1", "sleep", "done"),
        ("again", "sleep", "done"),
        ("sleep#2", "sleep", "done"),
    ]
    assert steps[2].due_at == moment


async def test_what_has_passed_is_not_waited_for(runtime: Runtime) -> None:
    """Nor is no time at all."""

    @orchestration("sleeps_not")
    async def sleeps_not(run: Run) -> str:
        await run.sleep_until(datetime(2000, 1, 1, tzinfo=UTC))
        await run.sleep(0)
        return "awake"

    assert (await finished(await runtime.manager.astart("sleeps_not")))["result"] == "awake"


@pytest.mark.one_stack
@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda run: run.sleep(-1), "seconds"),
        (lambda run: run.sleep(float("nan")), "seconds"),
        (lambda run: run.sleep(float("inf")), "seconds"),
        (lambda run: run.sleep("1"), "seconds"),
        (lambda run: run.sleep(None), "seconds"),
        (lambda run: run.sleep(timedelta(days=-1)), "seconds"),
        (lambda run: run.sleep_until(datetime(2026, 1, 1)), "moment"),  # noqa: DTZ001
        (lambda run: run.sleep_until(datetime(2026, 1, 1, tzinfo=UTC).date()), "moment"),
        (lambda run: run.sleep_until(1), "moment"),
    ],
)
async def test_what_is_no_time_is_refused(runtime: Runtime, call: Callable[[Any], Any], field: str) -> None:
    """Naming the field; nothing is recorded, and no number taken."""

    @orchestration("sleeps_badly")
    async def badly(run: Run) -> str:
        try:
            await call(run)
        except Exception as error:
            await run.step("after", str)
            return f"{getattr(error, 'field', None)} {error}"
        return "slept"

    run_id = await runtime.manager.astart("sleeps_badly")
    result: str = (await finished(run_id))["result"]
    assert result.startswith(f"{field} {field}")
    steps = await in_database(lambda: list(models.StepRecord.objects.values_list("key", flat=True)))
    assert steps == ["after#1"]


async def test_a_sleeping_run_waits(runtime: Runtime) -> None:
    """For no person: there is nothing that it asks."""
    run_id = await runtime.manager.astart("sleeps_for", {"seconds": 3600})
    await asleep(run_id)
    run = queries.run_on_the_wire(await in_database(queries.run_by_id, run_id))
    assert (run["status"], run["waiting_for"]) == ("waiting", [])


async def test_cancelling_ends_a_sleep_at_once(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("sleeps_for", {"seconds": 3600}, owner)
    await asleep(run_id)
    await runtime.manager.acancel(factories.actor(owner), run_id)
    assert (await finished(run_id))["status"] == "cancelled"


async def test_a_restart_keeps_to_the_recorded_moment(process: Processes) -> None:
    """It is neither prolonged nor begun anew, however often processes come and go; one that has passed while
    nobody executed the run is over."""
    first, second, third = await process(), await process(), await process()
    run_id = await OrchestrationManager(first).astart("sleeps_for", {"seconds": 3600})
    before = await asleep(run_id)
    await dies(first)
    await second.execute([run_id])
    await dies(second)
    assert (await asleep(run_id)).due_at == before.due_at
    await wake(run_id)
    await third.execute([run_id])
    assert (await finished(run_id))["result"] == "awake"


async def test_changed_code_keeps_to_the_recorded_moment(process: Processes) -> None:
    """Another duration is no other call."""
    lives = Counter[str]()

    @orchestration("sleeps_changed")
    async def changed(run: Run) -> str:
        lives["lives"] += 1
        await run.sleep(0 if lives["lives"] == 1 else 3600)
        await run.step("life", str, lives["lives"])
        await run.ask("Ready?")
        return "awake"

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("sleeps_changed")
    await asked(run_id)
    await dies(first)
    await in_database(models.StepRecord.objects.exclude(kind="sleep").delete)
    await second.execute([run_id])
    await until_recorded(models.StepRecord.objects.filter(name="life").exists)


async def test_a_reminder_that_is_not_needed_any_more(process: Processes, owner: User) -> None:
    """A sleep beside a question, cancelled by its answer: a replay, long after, does not wake from it."""

    @orchestration("sleeps_beside")
    async def beside(run: Run) -> list[str]:
        asking = asyncio.create_task(run.approve("May I?", key="may"))
        sleeping = asyncio.create_task(run.sleep(3600, key="sleep"))
        done, _ = await asyncio.wait([asking, sleeping], return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        await asyncio.wait([sleeping])
        await run.ask("Ready?", key="ready")
        return sorted(str(each is asking) for each in done)

    first, second = await process(), await process()
    actor = factories.actor(owner)
    run_id = await OrchestrationManager(first).astart("sleeps_beside", owner=owner)
    await asleep(run_id)
    await deciding.adecide(actor, (await asked(run_id, "May I?"))["id"], "approve")
    await asked(run_id, "Ready?")
    await dies(first)
    past = datetime(2000, 1, 1, tzinfo=UTC)
    assert await in_database(models.StepRecord.objects.filter(kind="sleep").update, due_at=past)
    await second.execute([run_id])
    await deciding.aanswer(actor, (await asked(run_id, "Ready?"))["id"], "yes")
    assert (await finished(run_id))["result"] == ["True"]


async def test_a_sleep_that_is_cancelled_may_go_on(runtime: Runtime, owner: User) -> None:
    """Under the same key, to the same moment."""

    @orchestration("sleeps_on")
    async def sleeps_on(run: Run) -> str:
        sleeping = asyncio.create_task(run.sleep(3600, key="nap"))
        await run.ask("Wake up?", key="wake")
        sleeping.cancel()
        await asyncio.wait([sleeping])
        await run.say("worker", "five minutes more")
        await run.sleep(7200, key="nap")
        return "awake"

    run_id = await runtime.manager.astart("sleeps_on", owner=owner)
    before = await asleep(run_id)
    await deciding.aanswer(factories.actor(owner), (await asked(run_id))["id"], "yes")
    await until(run_id, lambda event: event.type == "agent_message")
    again = await asleep(run_id)
    assert (again.due_at, again.cancelled_waits) == (before.due_at, 1)


async def test_a_resumed_run_sleeps_on(runtime: Runtime, owner: User) -> None:
    """What failed beside it prolongs nothing."""
    broken = True

    @orchestration("sleeps_resumed")
    async def resumed(run: Run) -> str:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run.sleep(3600, key="nap"))
            await run.ask("Ready?", key="ready")
            if broken:
                raise OSError("away")
        return "awake"

    run_id = await runtime.manager.astart("sleeps_resumed", owner=owner)
    before = await asleep(run_id)
    await deciding.aanswer(factories.actor(owner), (await asked(run_id))["id"], "yes")
    assert (await finished(run_id))["status"] == "failed"
    broken = False
    await runtime.manager.aresume(factories.actor(owner), run_id)
    assert (await asleep(run_id)).due_at == before.due_at
