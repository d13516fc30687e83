"""What a run asks, and what becomes of it where the run does not wait for the answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding, gate
from approvals.database.threads import in_database
from orchestration import OrchestrationManager, Run, models, orchestration, queries
from orchestration.runs import journal, recorder
from orchestration.runs.execution import Execution
from orchestration.runs.run import Means
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, until, until_recorded


async def closed(run_id: UUID, title: str) -> dict[str, Any]:
    """The outcome of the request with this title, once its watchers hear of it."""
    outcome: dict[str, Any] = (
        await until(
            run_id,
            lambda event: event.type == "request_closed" and event.data["request"]["title"] == title,
        )
    )["outcome"]
    return outcome


async def impatient(run: Run, question: str, way_on: str, **terms: Any) -> None:
    """Wait for an approval until somebody answers `way_on`."""
    waiting = asyncio.create_task(run.approve(question, key=question, **terms))
    await run.ask(way_on, key=way_on)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_a_wait_that_is_cancelled_withdraws_its_request(runtime: Runtime, owner: User) -> None:
    """While the run goes on: nobody decides in vain."""

    @orchestration("questions_impatient")
    async def waits(run: Run) -> Any:
        await impatient(run, "May I?", "Go on?")
        return (await run.approve("And this?")).approved

    run_id = await runtime.manager.astart("questions_impatient", owner=owner)
    request = await asked(run_id, "May I?")
    await deciding.aanswer(factories.actor(owner), (await asked(run_id, "Go on?"))["id"], "yes")
    assert (await closed(run_id, "May I?"))["withdrawn"]
    following = await asked(run_id, "And this?")
    assert (await gate.aoutcome(request["id"])).withdrawn
    run = queries.run_on_the_wire(await in_database(queries.run_by_id, run_id))
    assert (run["status"], run["waiting_for"]) == ("waiting", [following["id"]])
    await deciding.adecide(factories.actor(owner), following["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_wait_with_a_timeout_of_its_own_withdraws_its_request(runtime: Runtime, owner: User) -> None:
    """As `asyncio.wait_for` cancels it, also for a question, and while it is being asked."""

    @orchestration("questions_wait_for")
    async def waits(run: Run) -> str:
        try:
            await asyncio.wait_for(run.ask("Which?"), 0.01)
        except TimeoutError:
            return "nobody said"
        return "somebody said"

    run_id = await runtime.manager.astart("questions_wait_for", owner=owner)
    assert (await finished(run_id))["result"] == "nobody said"
    for request_id in await in_database(queries.request_ids_of, run_id):
        assert (await gate.aoutcome(request_id)).withdrawn


async def test_a_request_may_be_kept_open_and_be_waited_for_again(runtime: Runtime, owner: User) -> None:
    """The same key finds it."""

    @orchestration("questions_kept")
    async def keeps(run: Run) -> Any:
        await impatient(run, "May I?", "Go on?", keep_open=True)
        await run.say("worker", "still waiting")
        return (await run.approve("May I?", key="May I?")).decided_by

    run_id = await runtime.manager.astart("questions_kept", owner=owner)
    request = await asked(run_id, "May I?")
    await deciding.aanswer(factories.actor(owner), (await asked(run_id, "Go on?"))["id"], "yes")
    await until(run_id, lambda event: event.type == "agent_message")
    assert (await asked(run_id, "May I?"))["id"] == request["id"]
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] == "olga"


@pytest.mark.parametrize("keep_open", [False, True])
async def test_a_replay_takes_the_same_way(process: Processes, owner: User, keep_open: bool) -> None:
    """It is not given the outcome that the run did not wait for, whatever that has become meanwhile; asked
    anew, the run gets the new outcome, and each question is asked once."""
    said: list[str] = []

    @orchestration("questions_replayed")
    async def replayed(run: Run) -> Any:
        await impatient(run, "May I?", "Go on?", keep_open=keep_open)
        await run.step("note", said.append, "nobody said")
        outcome = await run.approve("May I?", key="May I?")
        await run.ask("Ready?")
        return [outcome.status, outcome.decided_by]

    first, second, third = await process(), await process(), await process()
    actor = factories.actor(owner)
    run_id = await OrchestrationManager(first).astart("questions_replayed", owner=owner)
    kept = await asked(run_id, "May I?")
    await deciding.aanswer(actor, (await asked(run_id, "Go on?"))["id"], "yes")
    await until_recorded(models.StepRecord.objects.filter(name="note", status="done").exists)
    if not keep_open:
        kept = await asked(run_id, "May I?")
    await first.let_go()
    await deciding.adecide(actor, kept["id"], "approve")
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await asked(run_id, "Ready?")
    await second.let_go()
    await in_database(models.Run.objects.update, process=None)
    await third.execute([run_id])
    await deciding.aanswer(actor, (await asked(run_id, "Ready?"))["id"], "yes")
    assert (await finished(run_id))["result"] == ["approved", "olga"]
    assert said == ["nobody said"]
    titles = await in_database(_titles_asked, run_id)
    assert sorted(titles) == ["Go on?", *["May I?"] * (1 if keep_open else 2), "Ready?"]


async def test_a_process_that_died_before_it_withdrew_has_it_done_by_the_next(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on record is that the run did not wait."""

    @orchestration("questions_died")
    async def waits(run: Run) -> None:
        await impatient(run, "May I?", "Go on?")
        await run.ask("Ready?")

    dead = asyncio.Event()

    async def never(*args: Any) -> None:
        await dead.wait()

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("questions_died", owner=owner)
    request = await asked(run_id, "May I?")
    with monkeypatch.context() as patched:
        patched.setattr(gate, "withdraw", never)
        await deciding.aanswer(factories.actor(owner), (await asked(run_id, "Go on?"))["id"], "yes")
        await until_recorded(models.StepRecord.objects.filter(status="given_up").exists)
        await first.let_go()
    dead.set()
    assert not (await gate.aoutcome(request["id"])).closed
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await asked(run_id, "Ready?")
    assert (await gate.aoutcome(request["id"])).withdrawn


async def test_a_wait_that_is_not_cancelled_again_goes_on(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code has changed: rather than wait for ever, the run asks anew."""
    monkeypatch.setattr(recorder, "MARGIN", 0.0)
    lives = Counter[str]()

    @orchestration("questions_patient")
    async def patient(run: Run) -> Any:
        lives["lives"] += 1
        if lives["lives"] == 1:
            await impatient(run, "May I?", "Go on?")
            await asyncio.Event().wait()
        return (await run.approve("May I?", key="May I?")).decided_by

    first, second = await process(), await process()
    actor = factories.actor(owner)
    run_id = await OrchestrationManager(first).astart("questions_patient", owner=owner)
    before = await asked(run_id, "May I?")
    await deciding.aanswer(actor, (await asked(run_id, "Go on?"))["id"], "yes")
    assert (await gate.wait_for_outcome(before["id"])).withdrawn
    await first.let_go()
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await deciding.adecide(actor, (await asked(run_id, "May I?"))["id"], "approve")
    assert (await finished(run_id))["result"] == "olga"


async def test_what_a_failure_cancelled_is_asked_again_when_the_run_is_resumed(
    runtime: Runtime, owner: User
) -> None:
    """It did not go on from that."""
    broken = True

    @orchestration("questions_group")
    async def group(run: Run) -> Any:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(run.approve("May I?", key="may"))
            await run.ask("Ready?", key="ready")
            if broken:
                raise OSError("away")
        return asking.result().approved

    actor = factories.actor(owner)
    run_id = await runtime.manager.astart("questions_group", owner=owner)
    request = await asked(run_id, "May I?")
    await deciding.aanswer(actor, (await asked(run_id, "Ready?"))["id"], "yes")
    assert (await finished(run_id))["status"] == "failed"
    assert (await gate.aoutcome(request["id"])).withdrawn
    broken = False
    await runtime.manager.aresume(actor, run_id)
    await deciding.adecide(actor, (await asked(run_id, "May I?"))["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_resumed_run_does_not_wait_either(runtime: Runtime, owner: User) -> None:
    """It went on from not having waited; what it was asking when it failed, it asks anew."""
    broken = True

    @orchestration("questions_resumed")
    async def resumed(run: Run) -> Any:
        await impatient(run, "May I?", "Go on?")
        await run.step("note", str, "nobody said")
        asking = asyncio.create_task(run.approve("May I?", key="May I?"))
        await run.ask("Ready?", key="Ready?")
        if broken:
            raise OSError("away")
        return (await asking).approved

    actor = factories.actor(owner)
    run_id = await runtime.manager.astart("questions_resumed", owner=owner)
    await asked(run_id, "May I?")
    await deciding.aanswer(actor, (await asked(run_id, "Go on?"))["id"], "yes")
    await until_recorded(models.StepRecord.objects.filter(name="note", status="done").exists)
    await asked(run_id, "May I?")
    await deciding.aanswer(actor, (await asked(run_id, "Ready?"))["id"], "yes")
    assert (await finished(run_id))["status"] == "failed"
    broken = False
    await runtime.manager.aresume(actor, run_id)
    await deciding.adecide(actor, (await asked(run_id, "May I?"))["id"], "approve")
    assert (await finished(run_id))["result"] is True


@pytest.mark.parametrize("how", ["let go", "loop ends"])
async def test_a_process_that_lets_go_of_a_run_withdraws_nothing(
    process: Processes, owner: User, how: str
) -> None:
    """Its waits are cancelled, too, but the run goes on elsewhere: nothing of that is recorded."""

    @orchestration("questions_let_go")
    async def waits(run: Run) -> Any:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(run.approve("May I?", key="may"))
        return waiting.result().approved

    second = await process()
    run_id = await OrchestrationManager().astart("questions_let_go", owner=owner)
    (claimed,) = await in_database(journal.claim, [run_id], None)
    before = asyncio.all_tasks()
    with ThreadPoolExecutor(1) as threads:
        execution = Execution(claimed, Means(threads))
        task = asyncio.create_task(execution.execute())
        request = await asked(run_id)
        await until_recorded(models.StepRecord.objects.filter(status="open").exists)
        if how == "let go":
            execution.let_go()
            task.cancel()
        else:
            for each in asyncio.all_tasks() - before:
                each.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    (step,) = await in_database(lambda: list(models.StepRecord.objects.all()))
    assert (step.status, step.cancelled_waits) == ("open", 0)
    assert not (await gate.aoutcome(request["id"])).closed
    await second.execute([run_id])
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


def _titles_asked(run_id: UUID) -> list[str]:
    from approvals.models import HumanRequest

    return list(HumanRequest.objects.filter(origin_id=str(run_id)).values_list("title", flat=True))
