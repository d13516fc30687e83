"""Runs whose processes die: what counts against them, and what a person is asked in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.threads import in_database
from orchestration import OrchestrationManager, Run, models, orchestration, queries
from orchestration.engines.local import LocalHost
from orchestration.runs import journal
from orchestration.runs.interruptions import GO_ON, Decision, details_for_run, title_for_run
from tests import factories
from tests.looking import until_seen
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, idle, until_recorded

calls: Counter[str] = Counter()
# What the code of runs waits for under test, which is as good as a crash once its process is given up.
begun: asyncio.Event
stuck: asyncio.Event


@pytest.fixture(autouse=True)
def nothing_begun() -> None:
    global begun, stuck
    calls.clear()
    begun, stuck = asyncio.Event(), asyncio.Event()


async def get_stuck() -> str:
    calls["stuck"] += 1
    begun.set()
    await stuck.wait()
    return "unstuck"


@orchestration("deaths_code")
async def code(run: Run) -> str:
    return await get_stuck()


@orchestration("deaths_step")
async def step(run: Run) -> Any:
    return await run.step("get stuck", get_stuck, idempotent=True)


@orchestration("deaths_beside")
async def beside(run: Run) -> Any:
    """A step, beside a question that is waited for all the while."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run.approve("May I?", key="may"))
        return await run.step("get stuck", get_stuck, key="stuck", idempotent=True)


@orchestration("deaths_waiting")
async def waiting(run: Run, *, sleeps: bool) -> str:
    if sleeps:
        await run.sleep(3600)
    else:
        await run.approve("May I?")
    return "went on"


async def dies(engine: LocalHost) -> None:
    """Without a word: its lease runs out, and what it still does is fenced."""
    assert engine.process_id is not None
    processes = models.Process.objects.filter(pk=engine.process_id)
    assert await in_database(processes.update, expires_at=datetime(2000, 1, 1, tzinfo=UTC))


async def takes_up(process: Processes, run_id: UUID) -> LocalHost:
    """Another process executes the run; a row that is just being written is left to the next look."""
    engine = await process()
    while run_id not in engine.run_ids:
        await engine.execute([run_id])
    return engine


async def dies_executing(process: Processes, run_id: UUID, times: int = 1, *, asking: bool = False) -> None:
    """So many processes take the run up and die while its code executes; once what it asks is on record."""
    open_steps = models.StepRecord.objects.filter(run_id=run_id, status="open")
    for _ in range(times):
        begun.clear()
        engine = await takes_up(process, run_id)
        await begun.wait()
        if asking:
            await until_recorded(open_steps.exists)
        await dies(engine)


async def start(name: str, owner: User | None = None, **given: Any) -> UUID:
    return await OrchestrationManager().astart(name, given, owner)


async def only_waits(run_id: UUID) -> None:
    """Return once that is on record, of which nobody is told."""
    await until_seen(lambda: in_database(models.Run.objects.filter(pk=run_id, executing=False).exists))


async def deaths(run_id: UUID) -> int:
    return (await in_database(models.Run.objects.get, pk=run_id)).deaths


@pytest.mark.parametrize("name", ["deaths_code", "deaths_step", "deaths_beside"])
async def test_a_run_whose_processes_die_again_and_again_is_put_before_a_person(
    process: Processes, owner: User, name: str
) -> None:
    """Not taken up a fourth time unasked; the owner is asked, and says to go on."""
    run_id = await start(name, owner)
    await dies_executing(process, run_id, 3, asking=name == "deaths_beside")
    await takes_up(process, run_id)
    request = await asked(run_id, title_for_run(name.replace("_", " ").capitalize(), 3))
    assert (request["requester"], request["assignees"]) == ("olga", {"users": ["olga"], "groups": []})
    assert (request["choices"], request["deadline"]) == ([GO_ON, Decision.STOP], None)
    assert calls["stuck"] == 3
    run = queries.run_on_the_wire(await in_database(queries.run_by_id, run_id))
    assert run["status"] == "waiting"
    stuck.set()
    await deciding.aanswer(factories.actor(owner), request["id"], GO_ON)
    if name == "deaths_beside":
        await deciding.adecide(factories.actor(owner), (await asked(run_id, "May I?"))["id"], "approve")
    assert (await finished(run_id))["result"] == "unstuck"
    assert calls["stuck"] == 4


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_person_may_stop_it_and_whoever_resumes_it_takes_it_up(
    process: Processes, owner: User, withdrawn: bool
) -> None:
    """Its code is not called, and can't catch it; a question that was taken back stops it, too."""
    run_id = await start("deaths_code", owner)
    await dies_executing(process, run_id, 3)
    engine = await takes_up(process, run_id)
    request = await asked(run_id)
    if withdrawn:
        await deciding.awithdraw(factories.actor(owner), request["id"], "later")
    else:
        await deciding.aanswer(factories.actor(owner), request["id"], Decision.STOP)
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", "interrupted")
    how = "the question about it was withdrawn by olga: later" if withdrawn else "stopped by olga"
    assert run["error"] == f"The run's process died 3 times in a row while it executed; {how}"
    assert calls["stuck"] == 3
    await idle(engine)
    stuck.set()
    await OrchestrationManager().aresume(factories.actor(owner), run_id)
    await engine.execute([run_id])
    assert (await finished(run_id))["result"] == "unstuck"


async def test_processes_that_die_while_a_person_is_asked_ask_once(process: Processes, owner: User) -> None:
    """And nobody takes the run up meanwhile."""
    run_id = await start("deaths_code", owner)
    await dies_executing(process, run_id, 3)
    requests = set()
    for _ in range(5):
        engine = await takes_up(process, run_id)
        requests.add((await asked(run_id))["id"])
        await only_waits(run_id)
        await dies(engine)
    assert len(requests) == 1
    assert calls["stuck"] == 3


@pytest.mark.parametrize("sleeps", [False, True])
async def test_deaths_while_it_waits_do_not_count(process: Processes, owner: User, sleeps: bool) -> None:
    """For a person, or asleep: ten processes in a row, and the run goes on as ever."""
    run_id = await start("deaths_waiting", owner, sleeps=sleeps)
    for _ in range(10):
        engine = await takes_up(process, run_id)
        await until_recorded(models.Run.objects.filter(pk=run_id, status="waiting").exists)
        await only_waits(run_id)
        await dies(engine)
    await takes_up(process, run_id)
    if sleeps:
        steps = models.StepRecord.objects.filter(run_id=run_id, kind="sleep")
        assert await in_database(steps.count) == 1
        assert await deaths(run_id) == 0
    else:
        request = await asked(run_id)
        assert request["title"] == "May I?"
        await deciding.adecide(factories.actor(owner), request["id"], "approve")
        assert (await finished(run_id))["result"] == "went on"


async def test_what_is_new_on_record_begins_a_new_row(process: Processes, owner: User) -> None:
    """A run that gets on, however slowly, is none that ends its processes."""

    @orchestration("deaths_getting_on")
    async def getting_on(run: Run) -> None:
        for number in range(6):
            await run.say("worker", f"life {number}", key=f"say {number}")
            if calls["stuck"] == number:
                await get_stuck()

    run_id = await start("deaths_getting_on", owner)
    await dies_executing(process, run_id, 6)
    await takes_up(process, run_id)
    assert (await finished(run_id))["status"] == "completed"


async def test_what_is_only_done_again_is_nothing_new(process: Processes) -> None:
    """Beginning an interrupted step, or a message, anew; marking the same plan."""

    @orchestration("deaths_nothing_new")
    async def nothing_new(run: Run) -> None:
        await run.show_plan([{"title": "Speak"}])
        await run.mark_step(0, "running")
        async with run.speaking("worker") as speak:
            await speak("so far")
            await get_stuck()

    run_id = await start("deaths_nothing_new")
    await dies_executing(process, run_id, 3)
    reviewer = await in_database(factories.reviewer)
    await takes_up(process, run_id)
    request = await asked(run_id)
    assert request["title"].startswith("Interrupted 3 times")
    await deciding.aanswer(factories.actor(reviewer), request["id"], Decision.STOP)
    assert (await finished(run_id))["reason"] == "interrupted"


async def test_a_death_while_it_waits_breaks_the_row(process: Processes, owner: User) -> None:
    """Three in a row, not three in a lifetime."""

    @orchestration("deaths_now_and_then")
    async def now_and_then(run: Run) -> str:
        if calls["lives"] % 2:
            await get_stuck()
        await run.approve("May I?")
        return "went on"

    run_id = await start("deaths_now_and_then", owner)
    for life in range(8):
        calls["lives"] = life
        if life % 2:
            await dies_executing(process, run_id)
        else:
            engine = await takes_up(process, run_id)
            await asked(run_id, "May I?")
            await only_waits(run_id)
            await dies(engine)
    assert calls["stuck"] == 4
    assert await deaths(run_id) == 0


async def test_a_process_that_lets_go_in_good_order_has_not_died(process: Processes) -> None:
    """However often, and whatever executes."""
    run_id = await start("deaths_step")
    for _ in range(5):
        begun.clear()
        engine = await takes_up(process, run_id)
        await begun.wait()
        await engine.let_go()
        await in_database(models.Run.objects.update, process=None)
    assert (calls["stuck"], await deaths(run_id)) == (5, 0)


async def test_thousands_that_only_wait_are_noted_together(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart they write nothing one by one."""
    noted: list[int] = []
    settle = journal.mark_idle

    def counting(owned: Any) -> None:
        noted.append(len(owned))
        settle(owned)

    first, second = await process(), await process()
    runs = [await start("deaths_waiting", owner, sleeps=False) for _ in range(50)]
    await first.execute(runs)
    waiting_runs = models.Run.objects.filter(status="waiting", executing=False)
    await until_recorded(lambda: waiting_runs.count() == len(runs))
    await dies(first)
    monkeypatch.setattr(journal, "mark_idle", counting)
    await second.execute(runs)
    for run_id in runs:
        await only_waits(run_id)
    assert sum(noted) == len(runs)
    assert len(noted) <= 5


def test_the_question_says_what_is_known() -> None:
    """What is on record last, and which steps were begun without a result."""
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    records = [
        models.StepRecord(kind="say", name="worker", status="done", attempts=1, started_at=at),
        models.StepRecord(kind="step", name="pay", status="started", attempts=2, started_at=at),
    ]
    text = details_for_run(records, 3)
    for known in (
        "Processes that died in a row: 3",
        "Begun, without a result on record: step `pay`, attempt 2, begun 2026-01-01 12:00:00 UTC",
        GO_ON,
        Decision.STOP,
    ):
        assert known in text
