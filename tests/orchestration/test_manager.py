"""Starting, cancelling, resuming and watching runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.utils.timezone import now

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Channel
from approvals.models import AuditEntry
from approvals.queries import open_requests_of
from approvals.trail import verification
from orchestration import OrchestrationManager, Run, StepFailed, agent, catalog, orchestration, queries
from orchestration.catalog import registry
from orchestration.exceptions import (
    AlreadyFinished,
    Cancelled,
    InvalidInput,
    KeyConflict,
    NotPermitted,
    UnknownOrchestration,
    UnknownRun,
)
from orchestration.models import Run as RunRow
from orchestration.models import RunStatus, StepRecord, StepStatus
from orchestration.runs import call_records, execution, journal, run_records
from orchestration.runs.execution import withdraw_requests
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, idle, until
from tests.patience import patience
from tests.servers import PostgresServer


@orchestration("manager_asks")
async def asks(run: Run, *, title: str = "May I?") -> Any:
    return (await run.approve(title)).approved


async def stuck(run: Run) -> None:
    await asyncio.Event().wait()


orchestration("manager_stuck")(stuck)


@orchestration("manager_open")
async def open_ended(run: Run, **given: Any) -> None:
    """Takes any input."""


# Starting


@pytest.mark.django_db
def test_what_does_not_fit_starts_nothing() -> None:
    """Unknown name, wrong input, impossible key: refused, and no row."""
    manager = OrchestrationManager()
    with pytest.raises(UnknownOrchestration):
        manager.start("manager_nothing")
    with pytest.raises(InvalidInput):
        manager.start("manager_asks", {"titel": "x"})
    with pytest.raises(InvalidInput) as refused:
        manager.start("manager_asks", key="k" * 151)
    assert refused.value.field == "key"
    assert not RunRow.objects.exists()


@pytest.mark.django_db
def test_the_same_key_is_the_same_run() -> None:
    """For one owner, with the same orchestration and input; else it is a conflict."""
    manager, owner, other = OrchestrationManager(), factories.user(), factories.user()
    first = manager.start("manager_asks", {"title": "x"}, owner, key="k")
    assert manager.start("manager_asks", {"title": "x"}, owner, key="k") == first
    assert manager.start("manager_asks", {"title": "x"}, other, key="k") != first
    without = manager.start("manager_asks", {"title": "x"}, key="k")
    assert without != first
    assert manager.start("manager_asks", {"title": "x"}, key="k") == without
    assert manager.start("manager_asks", {"title": "x"}, owner) != first
    for name, given in (("manager_asks", {"title": "y"}), ("manager_stuck", {})):
        with pytest.raises(KeyConflict) as refused:
            manager.start(name, given, owner, key="k")
        assert refused.value.field == "key"


@pytest.mark.django_db
def test_an_input_that_is_on_record_is_found_whatever_its_numbers() -> None:
    """A new one may not have numbers that read back as others."""
    manager, given = OrchestrationManager(), {"wei": 1e18}
    with pytest.raises(InvalidInput) as refused:
        manager.start("manager_open", given, key="k")
    assert refused.value.field == "input.wei"
    run_id = RunRow.objects.create(
        orchestration="manager_open", title="x", input=given, key="k", created_at=now(), changed_at=now()
    ).pk
    assert manager.start("manager_open", given, key="k") == run_id
    with pytest.raises(KeyConflict):
        manager.start("manager_open", {"wei": 2e18}, key="k")


@pytest.mark.django_db
def test_who_starts_once_learns_whether_it_was_now() -> None:
    """So that a repeated request can be told from the first."""
    manager, owner = OrchestrationManager(), factories.user()
    first, new = manager.start_once("manager_asks", {"title": "x"}, owner, key="k")
    assert new
    assert manager.start_once("manager_asks", {"title": "x"}, owner, key="k") == (first, False)
    assert manager.start_once("manager_asks", {"title": "x"}, owner)[1]


@pytest.mark.django_db
def test_the_input_of_a_key_is_compared_as_json() -> None:
    """Python's True equals 1; a key's input may not."""
    manager = OrchestrationManager()
    manager.start("manager_open", {"flag": True}, key="k")
    with pytest.raises(KeyConflict):
        manager.start("manager_open", {"flag": 1}, key="k")


@pytest.mark.django_db
def test_a_run_keeps_the_version_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest that was there, unless another is named. Its key finds it when there is a newer one."""
    manager = OrchestrationManager()
    first = manager.start("manager_asks", key="k")
    newer = replace(catalog.find_orchestration("manager_asks"), version=2)
    monkeypatch.setitem(registry._orchestrations, ("manager_asks", 2), newer)
    second, named = manager.start("manager_asks"), manager.start("manager_asks", version=1)
    assert manager.start("manager_asks", key="k") == first
    versions = {row.pk: row.version for row in RunRow.objects.all()}
    assert versions == {first: 1, second: 2, named: 1}
    with pytest.raises(UnknownOrchestration, match="no version 3"):
        manager.start("manager_asks", version=3)


# Cancelling


async def test_cancelling_ends_a_run_and_takes_back_what_it_asks(runtime: Runtime, owner: User) -> None:
    """Asked for by any process; done by the one that executes it."""
    run_id = await runtime.manager.astart("manager_asks", owner=owner)
    request = await asked(run_id)
    assert await OrchestrationManager().acancel(factories.actor(owner), run_id)
    run = await finished(run_id)
    assert (run["status"], run["reason"], run["cancelled_by"]) == ("cancelled", "cancelled", "olga")
    assert (await gate.wait_for_outcome(request["id"])).withdrawn
    assert not await OrchestrationManager().acancel(factories.actor(owner), run_id)


async def test_cancelling_a_run_that_nobody_executes_is_done_at_once(process: Processes, owner: User) -> None:
    """Also where it had asked before its process died."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("manager_asks", owner=owner)
    request = await asked(run_id)
    await engine.let_go()
    await in_database(RunRow.objects.update, process=None)
    assert await OrchestrationManager().acancel(factories.actor(owner), run_id)
    row = await in_database(RunRow.objects.get, pk=run_id)
    assert (row.status, row.leaves_requests) == ("cancelled", False)
    assert (await gate.aoutcome(request["id"])).withdrawn


async def test_an_orchestration_may_clean_up_when_cancelled(runtime: Runtime, owner: User) -> None:
    """CancelledError reaches it; what it returns then does not count."""
    cleaned = asyncio.Event()

    @orchestration("manager_cleans_up")
    async def cleans_up(run: Run) -> str:
        try:
            await run.approve("May I?")
        except asyncio.CancelledError:
            cleaned.set()
        return "done anyway"

    run_id = await runtime.manager.astart("manager_cleans_up", owner=owner)
    await asked(run_id)
    await runtime.manager.acancel(factories.actor(owner), run_id)
    run = await finished(run_id)
    assert (run["status"], run["result"]) == ("cancelled", None)
    async with asyncio.timeout(patience()):  # a worker hears of it when it is on record
        await cleaned.wait()


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
@pytest.mark.parametrize("caught", [Exception, BaseException])
async def test_a_cancelled_run_can_do_nothing_more(
    runtime: Runtime, owner: User, caught: type[BaseException]
) -> None:
    """Whatever its code catches: each of its calls raises, and nothing more is asked, said or done."""
    refused: list[str] = []
    over = asyncio.Event()

    @orchestration("manager_goes_on")
    async def goes_on(run: Run) -> str:
        await run.show_plan([{"title": "Ask"}])

        async def speak() -> None:
            async with run.speaking("worker") as speaking:
                await speaking("still here")

        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "approve": lambda: run.approve("And this?"),
            "ask": lambda: run.ask("What?"),
            "say": lambda: run.say("worker", "still here"),
            "speak": speak,
            "step": lambda: run.step("step", str),
            "plan": lambda: run.show_plan([]),
            "mark": lambda: run.mark_step(0, "completed"),
        }
        try:
            await run.approve("May I?")
        except asyncio.CancelledError:
            for name, call in calls.items():
                try:
                    await call()
                except asyncio.CancelledError:
                    refused.append(name)
        try:
            while True:
                try:
                    await run.approve("Or this?")
                except caught:
                    refused.append("again")
                    if len(refused) > 10:
                        break
        finally:
            over.set()
        return "done anyway"

    run_id = await runtime.manager.astart("manager_goes_on", owner=owner)
    request = await asked(run_id)
    await runtime.manager.acancel(factories.actor(owner), run_id)
    run = await finished(run_id)
    assert (run["status"], run["result"]) == ("cancelled", None)
    async with asyncio.timeout(30):  # a worker hears of it when it is on record
        await over.wait()
    assert refused[:7] == ["approve", "ask", "say", "speak", "step", "plan", "mark"]
    assert refused[7:] == ([] if caught is Exception else ["again"] * 4)
    assert await in_database(queries.request_ids_of, run_id) == [UUID(request["id"])]
    assert [each.pk for each in await in_database(open_requests_of, str(run_id))] == []
    assert await in_database(queries.messages_of, run_id) == []


async def test_what_a_cancelled_run_asked_is_taken_back_before_it_ends(runtime: Runtime, owner: User) -> None:
    """However long its code takes to notice."""
    may_end, swallowed = asyncio.Event(), asyncio.Event()

    @orchestration("manager_takes_its_time")
    async def takes_its_time(run: Run) -> None:
        try:
            await run.approve("May I?")
        except asyncio.CancelledError:
            swallowed.set()
            await may_end.wait()

    run_id = await runtime.manager.astart("manager_takes_its_time", owner=owner)
    request = await asked(run_id)
    await runtime.manager.acancel(factories.actor(owner), run_id)
    assert (await gate.aoutcome(request["id"])).withdrawn
    async with asyncio.timeout(30):
        await swallowed.wait()
    may_end.set()
    assert (await finished(run_id))["status"] == "cancelled"


async def test_a_cancelled_run_ends_even_if_its_code_does_not(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is on record; what its code still does concerns nobody."""
    monkeypatch.setattr(execution, "ENOUGH", 0.0)
    may_end, swallowed = asyncio.Event(), asyncio.Event()

    @orchestration("manager_never_ends")
    async def never_ends(run: Run) -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                swallowed.set()

    run_id = await runtime.manager.astart("manager_never_ends", owner=owner)
    await until(run_id, lambda event: event.data.get("run", {}).get("status") == "running")
    await runtime.manager.acancel(factories.actor(owner), run_id)
    assert (await finished(run_id))["status"] == "cancelled"
    async with asyncio.timeout(30):
        await swallowed.wait()
    may_end.set()


async def test_what_begins_is_refused_from_the_moment_a_cancellation_is_on_record(
    process: Processes, owner: User
) -> None:
    """Before the run's process has heard of it; what a step under way came to is recorded."""

    @orchestration("manager_waits")
    async def waits(run: Run) -> None:
        await asyncio.Event().wait()

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("manager_waits", owner=owner)
    owned = journal.Ownership(run_id, 1)
    step = call_records.Call(key="a#1", position=1, kind="step", name="a", fingerprint="")
    await in_database(call_records.record_call, owned, step, StepStatus.STARTED)
    await in_database(run_records.request_cancel, run_id, factories.actor(owner))
    await in_database(call_records.record_call, owned, step, StepStatus.DONE, result=1)
    after = call_records.Call(key="b#2", position=2, kind="step", name="b", fingerprint="")
    question = call_records.Call(key="ask#3", position=3, kind="ask", name="b", fingerprint="")
    begins: list[tuple[Any, ...]] = [
        (call_records.record_call, after, StepStatus.STARTED),
        (call_records.record_call, question, StepStatus.OPEN),
        (call_records.record_call, question, StepStatus.DONE),
        (call_records.record_sleep, after, 1.0),
        (call_records.record_message, after, "a", "x"),
        (call_records.begin_message, after, "a"),
        (call_records.record_plan, 1, []),
        (call_records.record_status,),
    ]
    for write, *arguments in begins:
        with pytest.raises(Cancelled):
            await in_database(write, owned, *arguments)
    steps = await in_database(lambda: list(StepRecord.objects.values_list("key", "status")))
    assert steps == [("a#1", "done")]
    await in_database(
        run_records.record_end, owned, run_records.Ending(status=RunStatus.CANCELLED, reason="cancelled")
    )


async def test_a_request_on_its_way_to_the_record_is_taken_back_too(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while it asks: the writer has the request already, and nobody waits for it."""
    real, asking, go_on = gate.aopen_approval, asyncio.Event(), asyncio.Event()
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slowly(*args: Any, **kwargs: Any) -> str:
        asking.set()
        await go_on.wait()
        opened.set_result(await real(*args, **kwargs))
        return opened.result()

    monkeypatch.setattr(gate, "aopen_approval", slowly)
    run_id = await runtime.manager.astart("manager_asks", owner=owner)
    await asking.wait()
    await runtime.manager.acancel(factories.actor(owner), run_id)
    go_on.set()
    assert (await finished(run_id))["status"] == "cancelled"
    outcome = await gate.wait_for_outcome(await opened)
    assert (outcome.withdrawn, outcome.decided_by) == (True, "olga")


async def test_only_who_may_change_a_run_cancels_it(runtime: Runtime, owner: User) -> None:
    """Its owner, and who may change runs. For the rest it does not exist, unless they may see it."""
    run_id = await runtime.manager.astart("manager_stuck", owner=owner)
    stranger = await in_database(factories.user)
    spectator = await in_database(factories.user, may=("view_run",))
    operator = await in_database(factories.user, may=("view_run", "change_run"))
    with pytest.raises(UnknownRun):
        await runtime.manager.acancel(factories.actor(stranger), run_id)
    with pytest.raises(NotPermitted):
        await runtime.manager.acancel(factories.actor(spectator), run_id)
    with pytest.raises(UnknownRun):
        await runtime.manager.acancel(factories.actor(operator), uuid4())
    with pytest.raises(UnknownRun):
        await runtime.manager.acancel(factories.actor(operator), "nonsense")
    assert await runtime.manager.acancel(factories.actor(operator), run_id)
    assert (await finished(run_id))["cancelled_by"] == operator.username


async def test_who_cancels_is_the_actor_on_the_trail_of_what_the_run_asked(
    runtime: Runtime, owner: User
) -> None:
    """Without a right to the request itself: to end the run is enough. From where is on the trail, too."""
    run_id = await runtime.manager.astart("manager_asks", owner=owner)
    request = await asked(run_id)
    operator = await in_database(factories.user, "oscar", may=("view_run", "change_run"))
    actor = factories.actor(operator, Channel.API, address="192.0.2.7", user_agent="curl")
    await runtime.manager.acancel(actor, run_id)
    assert (await finished(run_id))["status"] == "cancelled"
    outcome = await gate.wait_for_outcome(request["id"])
    assert (outcome.withdrawn, outcome.decided_by) == (True, "oscar")
    assert outcome.comment == "The run was cancelled."
    last = await in_database(lambda: AuditEntry.objects.filter(request_id=request["id"]).latest("sequence"))
    assert (last.event, last.actor_id, last.allowed_by) == ("withdrawn", operator.pk, "origin")
    assert (last.channel, last.address, last.user_agent) == ("api", "192.0.2.7", "curl")
    assert await in_database(verification.verify_request, UUID(request["id"])) == []


async def test_what_the_installation_cancels_or_ends_is_taken_back_by_itself(
    process: Processes, owner: User
) -> None:
    """No person is the actor then."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("manager_asks", owner=owner)
    request = await asked(run_id)
    await OrchestrationManager().acancel(Actor.program(), run_id)
    await engine.look(frozenset([run_id]))
    await finished(run_id)
    outcome = await gate.wait_for_outcome(request["id"])
    assert (outcome.withdrawn, outcome.decided_by, outcome.comment) == (True, None, "The run was cancelled.")


# Resuming


async def test_a_failed_run_goes_on_where_it_failed(runtime: Runtime, owner: User) -> None:
    """Once what was wrong is repaired: what is done is not done again, what failed is."""
    calls: list[str] = []
    broken = [True]

    def repairable() -> str:
        calls.append("second")
        if broken[0]:
            raise OSError("away")
        return "second"

    @orchestration("manager_repaired")
    async def repaired(run: Run) -> Any:
        await run.step("first", calls.append, "first")
        return await run.step("second", repairable)

    run_id = await runtime.manager.astart("manager_repaired", owner=owner)
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", StepFailed.code)
    broken[0] = False
    await OrchestrationManager().aresume(factories.actor(owner), run_id)
    completed = await until(run_id, lambda event: event.type == "run_finished")
    assert completed["run"]["result"] == "second"
    assert calls == ["first", "second", "second"]


async def test_a_resumed_run_asks_anew_what_was_open(runtime: Runtime, owner: User) -> None:
    """The failure had withdrawn it."""
    broken = [True]

    @orchestration("manager_asks_anew")
    async def asks_anew(run: Run) -> Any:
        async with asyncio.TaskGroup() as tasks:
            approval = tasks.create_task(run.approve("May I?", key="may"))
            if broken[0]:
                await until_open
                raise OSError("away")
        return approval.result().approved

    until_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    run_id = await runtime.manager.astart("manager_asks_anew", owner=owner)
    first = await asked(run_id)
    until_open.set_result(None)
    await finished(run_id)
    assert (await gate.wait_for_outcome(first["id"])).withdrawn
    broken[0] = False
    await runtime.manager.aresume(factories.actor(owner), run_id)
    second = await asked(run_id)
    assert second["id"] != first["id"]
    await deciding.adecide(factories.actor(owner), second["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_an_end_that_stands_can_not_be_resumed(runtime: Runtime, owner: User) -> None:
    """Completed, rejected, cancelled."""
    run_id = await runtime.manager.astart("manager_stuck", owner=owner)
    await runtime.manager.aresume(factories.actor(owner), run_id)  # it runs; nothing to do
    await runtime.manager.acancel(factories.actor(owner), run_id)
    await finished(run_id)
    with pytest.raises(AlreadyFinished, match="cancelled"):
        await runtime.manager.aresume(factories.actor(owner), run_id)


# Watching


async def test_a_watcher_sees_all_of_a_run(runtime: Runtime, owner: User) -> None:
    """State, messages, requests and their outcomes, and the end, in an order that makes sense."""

    @orchestration("manager_watched")
    async def watched(run: Run) -> str:
        await run.say("guide", "hello")
        await run.ask("Name?")
        await run.say("guide", "goodbye")
        return "done"

    run_id = await runtime.manager.astart("manager_watched", owner=owner)
    seen = []
    async for event in OrchestrationManager().watch(run_id):
        match event.type:
            case "agent_message":
                seen.append(event.data["text"])
            case "request_opened":
                seen.append(event.data["request"]["title"])
                await deciding.aanswer(factories.actor(owner), event.data["request"]["id"], "Ann")
            case "request_closed":
                seen.append(event.data["outcome"]["answer"])
            case "run_finished":
                seen.append(event.data["run"]["result"])
            case "run_status":
                assert event.data["run"]["status"] in {"queued", "running", "waiting", "completed"}
    assert seen == ["hello", "Name?", "Ann", "goodbye", "done"]


async def test_a_finished_run_can_be_watched(runtime: Runtime, owner: User) -> None:
    """It tells what was, and ends."""
    run_id = await runtime.manager.astart("manager_asks", owner=owner)
    await deciding.adecide(factories.actor(owner), (await asked(run_id))["id"], "approve")
    await finished(run_id)
    types = [event.type async for event in OrchestrationManager().watch(run_id)]
    assert types == ["request_opened", "request_closed", "run_status", "run_finished"]


async def test_an_unknown_run_can_not_be_watched(runtime: Runtime) -> None:
    """Rather than waiting for ever."""
    with pytest.raises(UnknownRun):
        await anext(OrchestrationManager().watch(uuid4()))


async def test_a_watcher_may_live_on_another_loop(runtime: Runtime, owner: User) -> None:
    """As in a terminal, whose waiting room has a thread of its own."""
    run_id = await runtime.manager.astart("manager_asks", owner=owner)
    request = await asked(run_id)
    elsewhere = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(finished(run_id))))
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await elsewhere)["result"] is True


async def test_a_run_is_shown_as_its_owner_may_see_it(runtime: Runtime, owner: User) -> None:
    """On the wire: names, times, what it waits for."""
    run_id = await runtime.manager.astart("manager_asks", {"title": "Now?"}, owner)
    request = await asked(run_id)
    run = await in_database(queries.run_for, owner.pk, run_id)
    wire = queries.run_on_the_wire(run)
    created, started = (datetime.fromisoformat(wire[name]) for name in ("created_at", "started_at"))
    assert created <= started  # as moments: a text leaves out a fraction of zero
    assert wire["finished_at"] is None
    assert {name: wire[name] for name in ("title", "owner", "status", "input", "waiting_for")} == {
        "title": "Manager asks: Now?",
        "owner": "olga",
        "status": "waiting",
        "input": {"title": "Now?"},
        "waiting_for": [request["id"]],
    }


async def test_a_resumed_run_keeps_what_it_asks(process: Processes, owner: User) -> None:
    """What it had left open when it failed is taken back before, even if its process died on the way."""
    broken = [True]

    @orchestration("manager_keeps")
    async def keeps(run: Run) -> Any:
        if broken[0]:
            raise OSError("away")
        return (await run.approve("May I?")).approved

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("manager_keeps", owner=owner)
    await finished(run_id)
    await idle(engine)
    await in_database(RunRow.objects.filter(pk=run_id).update, leaves_requests=True)
    broken[0] = False
    await OrchestrationManager().aresume(factories.actor(owner), run_id)
    await engine.execute([run_id])
    request = await asked(run_id)
    assert await in_database(queries.runs_to_tidy) == []
    await in_database(withdraw_requests, run_id)
    assert (await gate.aoutcome(request["id"])).status == "pending"
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_resumed_run_begins_anew_whatever_was_under_way(runtime: Runtime, owner: User) -> None:
    """Also what began before something that was completed: calls with keys overlap."""
    broken = [True]
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def repairable() -> str:
        if broken[0]:
            raise OSError("away")
        return "repaired"

    @orchestration("manager_overlap")
    async def overlap(run: Run) -> Any:
        async with asyncio.TaskGroup() as tasks:
            approval = tasks.create_task(run.approve("May I?", key="may"))
            await opened
            await run.step("fine", str, 1, key="fine")
            await run.step("repairable", repairable, key="repairable")
        return approval.result().approved

    run_id = await runtime.manager.astart("manager_overlap", owner=owner)
    first = await asked(run_id)
    opened.set_result(None)
    assert (await finished(run_id))["status"] == "failed"
    broken[0] = False
    await runtime.manager.aresume(factories.actor(owner), run_id)
    second = await asked(run_id)
    assert second["id"] != first["id"]
    await deciding.adecide(factories.actor(owner), second["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_resumed_runs_plan_shows_how_it_went_at_last(runtime: Runtime) -> None:
    """Not that a step had failed and the rest was skipped."""
    broken = [True]

    @agent("manager_breaks", description="Fails once")
    async def breaks(run: Run, action: str, arguments: dict[str, Any]) -> str:
        if broken[0]:
            raise OSError("away")
        return "done"

    @orchestration("manager_plan")
    async def planned(run: Run) -> Any:
        await run.show_plan([{"title": "one"}, {"title": "two"}])
        for index in range(2):
            await run.mark_step(index, "running")
            try:
                await run.step("work", partial(breaks, run, "work", {}))
            except StepFailed as error:
                await run.mark_step(index, "failed", str(error))
                await run.mark_step(1, "skipped")
                raise
            await run.mark_step(index, "completed")

    run_id = await runtime.manager.astart("manager_plan")
    assert [step["state"] for step in (await finished(run_id))["plan"]] == ["failed", "skipped"]
    broken[0] = False
    await runtime.manager.aresume(Actor.program(), run_id)
    run = await finished(run_id)
    assert [(step["state"], step["note"]) for step in run["plan"]] == [("completed", ""), ("completed", "")]


async def test_who_watches_is_told_when_the_database_is_back(private_postgres: PostgresServer) -> None:
    """An outage is no end: the state that was missed comes after it."""
    run_id = await in_database(OrchestrationManager().start, "manager_asks")
    tried = Tried()
    logging.getLogger("orchestration.manager").addHandler(tried)
    events = OrchestrationManager().watch(run_id)
    try:
        private_postgres.stop()
        first = asyncio.ensure_future(anext(events))
        await tried.once.wait()
        private_postgres.start()
        assert (await first).data["run"]["status"] == "queued"
    finally:
        logging.getLogger("orchestration.manager").removeHandler(tried)
        await events.aclose()


class Tried(logging.Handler):
    """Rings when something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.once = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.once.set()
