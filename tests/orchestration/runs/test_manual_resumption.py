"""Resuming: what ended badly is asked and tried anew, what is recorded as done is never done again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.models import HumanRequest
from orchestration import OrchestrationManager, Rejected, Run, TimedOut, orchestration, queries
from orchestration.exceptions import AlreadyFinished, NotPermitted, UnknownRun
from orchestration.models import Run as RunRow
from orchestration.models import StepRecord
from orchestration.runs.manual_resumption import describe_resumption, resumption_of
from orchestration.runtime import Runtime
from tests import factories
from tests.effort import SHARED_FIXTURES, effort
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, idle, until

effects: Counter[str] = Counter()
broken: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    effects.clear()
    broken.clear()


def effect(name: str) -> int:
    if name in broken:
        raise OSError(f"{name} is away")
    effects[name] += 1
    return effects[name]


async def resumed(runtime: Runtime, run_id: UUID, owner: User) -> None:
    await runtime.manager.aresume(factories.actor(owner), run_id)


async def rounds_of(run_id: UUID) -> list[tuple[str, int, str]]:
    rows = HumanRequest.objects.filter(origin_id=str(run_id)).order_by("opened_at", "id")
    return await in_database(lambda: list(rows.values_list("key", "round", "status")))


async def decided(owner: User, request: dict[str, Any], verdict: str) -> None:
    await deciding.adecide(factories.actor(owner), request["id"], verdict)


# What is asked anew


@orchestration("resumption_refund")
async def refund(run: Run) -> str:
    await run.step("reserve", effect, "reserve")
    await run.approve("Refund?")
    await run.step("pay", effect, "pay")
    return "paid"


async def test_a_rejected_run_is_resumed_by_asking_anew(runtime: Runtime, owner: User) -> None:
    """Another round of the same key; what was done before the question is not done again."""
    run_id = await runtime.manager.astart("resumption_refund", owner=owner)
    first = await asked(run_id)
    await decided(owner, first, "reject")
    assert (await finished(run_id))["status"] == "rejected"
    await resumed(runtime, run_id, owner)
    second = await asked(run_id)
    assert second["id"] != first["id"]
    await decided(owner, second, "approve")
    run = await finished(run_id)
    assert (run["status"], run["result"], run["resumed_by"]) == ("completed", "paid", "olga")
    assert effects == {"reserve": 1, "pay": 1}
    assert await rounds_of(run_id) == [("approve#2", 1, "rejected"), ("approve#2", 2, "approved")]


async def test_a_run_may_be_rejected_and_resumed_again_and_again(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("resumption_refund", owner=owner)
    for _ in range(3):
        await decided(owner, await asked(run_id), "reject")
        assert (await finished(run_id))["status"] == "rejected"
        await resumed(runtime, run_id, owner)
    await decided(owner, await asked(run_id), "approve")
    assert (await finished(run_id))["result"] == "paid"
    assert [each[1] for each in await rounds_of(run_id)] == [1, 2, 3, 4]


async def test_a_run_that_failed_at_a_question_asks_it_again(runtime: Runtime, owner: User) -> None:
    """Nobody had answered in time, or the question was taken back."""

    @orchestration("resumption_late")
    async def late(run: Run, *, first: float | None) -> str:
        try:
            return str(await run.ask("Name?", timeout=first, default=None))
        except TimedOut as error:
            raise ValueError("no name") from error

    run_id = await runtime.manager.astart("resumption_late", {"first": None}, owner)
    request = await asked(run_id)
    await gate.withdraw(request["id"], "not now")
    assert (await finished(run_id))["reason"] == "withdrawn"
    await resumed(runtime, run_id, owner)
    await deciding.aanswer(factories.actor(owner), (await asked(run_id))["id"], "Ann")
    assert (await finished(run_id))["result"] == "Ann"

    timed_out = await runtime.manager.astart("resumption_late", {"first": 0.2}, owner)
    assert (await finished(timed_out))["reason"] == "error"
    words = describe_resumption(
        await in_database(OrchestrationManager().resumption, factories.actor(owner), timed_out)
    )
    assert words == ["Asks again: Name? (timed out)"]
    await resumed(runtime, timed_out, owner)
    await finished(timed_out)
    assert [each[1] for each in await rounds_of(timed_out)] == [1, 2]


async def test_a_rejection_that_was_handled_stays_as_it_is(runtime: Runtime, owner: User) -> None:
    """The run went on from it to something else, which failed: only that is tried again."""

    @orchestration("resumption_plan_b")
    async def plan_b(run: Run) -> str:
        try:
            await run.approve("Plan A?")
        except Rejected:
            await run.say("planner", "Then the other one.")
            await run.step("plan b", effect, "plan b")
        return "done"

    broken.add("plan b")
    run_id = await runtime.manager.astart("resumption_plan_b", owner=owner)
    await decided(owner, await asked(run_id), "reject")
    assert (await finished(run_id))["reason"] == "step_failed"
    broken.clear()
    await resumed(runtime, run_id, owner)
    assert (await finished(run_id))["result"] == "done"
    assert len(await rounds_of(run_id)) == 1
    assert len(await in_database(queries.messages_of, run_id)) == 1


@pytest.mark.parametrize("verdict", ["reject", "respond"])
async def test_what_was_done_on_the_way_out_is_not_done_again(
    runtime: Runtime, owner: User, verdict: str
) -> None:
    """Whichever way the run takes after it has asked anew, and wherever it calls the step now."""

    @orchestration("resumption_way_out")
    async def way_out(run: Run) -> str:
        try:
            await run.approve("Go on?", decisions=["approve", "reject", "respond"])
            await run.step("pay", effect, "pay")
        except Rejected:
            await run.say("clerk", "Rejected.")
            await run.step("note", effect, "note")
            raise
        finally:
            await run.step("unlock", effect, "unlock")
        return "paid"

    run_id = await runtime.manager.astart("resumption_way_out", owner=owner)
    answer: dict[str, Any] = {"answer": "Ask Ann."} if verdict == "respond" else {}
    for _ in range(2):
        request = await asked(run_id)
        await deciding.adecide(factories.actor(owner), request["id"], verdict, **answer)
        run = await finished(run_id)
        assert (run["status"], run["reason"]) == ("rejected", f"{verdict}ed")
        words = describe_resumption(
            await in_database(OrchestrationManager().resumption, factories.actor(owner), run_id)
        )
        ended = {"reject": "rejected", "respond": "answered instead"}[verdict]
        assert f"Asks again: Go on? ({ended})" in words
        await resumed(runtime, run_id, owner)
    assert effects == {"note": 1, "unlock": 1}
    await decided(owner, await asked(run_id), "approve")
    assert (await finished(run_id))["result"] == "paid"
    assert effects == {"note": 1, "unlock": 1, "pay": 1}


async def test_all_that_was_rejected_at_once_is_asked_anew(runtime: Runtime, owner: User) -> None:
    """Questions of several tasks, each with a key: also what the first rejection took back."""

    @orchestration("resumption_several")
    async def several(run: Run) -> list[bool | None]:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(run.approve(f"{name}?", key=name)) for name in "abc"]
        return [task.result().approved for task in asking]

    run_id = await runtime.manager.astart("resumption_several", owner=owner)
    a, b, c = [await asked(run_id, f"{name}?") for name in "abc"]
    await decided(owner, a, "approve")
    await until(run_id, lambda event: event.type == "request_closed")
    await decided(owner, b, "reject")
    await finished(run_id)
    assert (await gate.wait_for_outcome(c["id"])).withdrawn
    await resumed(runtime, run_id, owner)
    for name in "bc":
        await decided(owner, await asked(run_id, f"{name}?"), "approve")
    assert (await finished(run_id))["result"] == [True, True, True]
    assert sorted(await rounds_of(run_id)) == [
        ("a", 1, "approved"),
        ("b", 1, "rejected"),
        ("b", 2, "approved"),
        ("c", 1, "withdrawn"),
        ("c", 2, "approved"),
    ]


async def test_what_was_asked_anew_is_asked_once_whatever_crashes(process: Processes, owner: User) -> None:
    """Its process dies before it knows of its request, which is decided meanwhile: the next one finds it."""
    here, there = await process(), await process()
    run_id = await OrchestrationManager(here).astart("resumption_refund", owner=owner)
    await decided(owner, await asked(run_id), "reject")
    await finished(run_id)
    await idle(here)
    await OrchestrationManager().aresume(factories.actor(owner), run_id)
    await here.execute([run_id])
    second = await asked(run_id)
    await here.let_go()
    # As if the process had died between asking and the record of that.
    await in_database(StepRecord.objects.filter(request_id=second["id"]).delete)
    await decided(owner, second, "approve")
    await in_database(RunRow.objects.filter(pk=run_id).update, process=None)
    await there.execute([run_id])
    assert (await finished(run_id))["result"] == "paid"
    assert [each[1] for each in await rounds_of(run_id)] == [1, 2]


async def test_a_run_resumed_by_an_earlier_release_finds_what_that_had_asked(
    process: Processes, owner: User
) -> None:
    """It told rounds apart by the key; the moment of resuming was not on record."""
    engine = await process()
    run_id = await in_database(OrchestrationManager().start, "resumption_refund", {}, owner)
    await in_database(RunRow.objects.filter(pk=run_id).update, resumed=1)
    origin = {"kind": "run", "id": str(run_id), "url": f"/runs/{run_id}/"}
    known = await gate.aopen_approval(
        "Refund?", key="approve#2/1", origin=origin, requester=owner, assignees=[owner], named="owner"
    )
    await engine.execute([run_id])
    assert (await asked(run_id))["id"] == known
    await deciding.adecide(factories.actor(owner), known, "approve")
    assert (await finished(run_id))["result"] == "paid"


# What it says before


async def test_what_resuming_does_is_told_before_to_those_who_may(runtime: Runtime, owner: User) -> None:
    run_id = await runtime.manager.astart("resumption_refund", owner=owner)
    manager, actor = OrchestrationManager(), factories.actor(owner)
    assert (await in_database(manager.resumption, actor, run_id)).empty, "it is open"
    await decided(owner, await asked(run_id), "reject")
    await finished(run_id)
    told = await in_database(manager.resumption, actor, run_id)
    assert describe_resumption(told) == ["Asks again: Refund? (rejected)"]
    watcher = await in_database(factories.user, may=("view_run",))
    stranger = await in_database(factories.user)
    for person, refusal in ((watcher, NotPermitted), (stranger, UnknownRun)):
        with pytest.raises(refusal):
            await in_database(manager.resumption, factories.actor(person), run_id)
        with pytest.raises(refusal):
            await manager.aresume(factories.actor(person), run_id)
    await in_database(RunRow.objects.filter(pk=run_id).update, purged_at=datetime.now(UTC))
    for deed in (manager.resumption, manager.resume):
        with pytest.raises(AlreadyFinished, match="removed"):
            await in_database(deed, actor, run_id)


# Records, without anything that runs

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(pk: int, kind: str, status: str, **fields: Any) -> StepRecord:
    """Begun at second `pk` and, unless told otherwise, ended half a second later."""
    fields = {
        "key": f"{kind}#{pk}",
        "position": pk,
        "name": f"{kind} {pk}",
        "started_at": NOON + timedelta(seconds=pk),
        "finished_at": NOON + timedelta(seconds=pk + 0.5) if status in ("done", "failed") else None,
        **fields,
    }
    return StepRecord(pk=pk, kind=kind, status=status, **fields)


REJECTED = {"approved": False, "timed_out": False, "withdrawn": False, "answer": None}


def pks(records: Sequence[StepRecord]) -> list[int]:
    return [each.pk for each in records]


def test_a_step_that_was_begun_stays_on_record_and_is_named() -> None:
    """It may have had its effect; that a person had stopped the run is asked again."""
    begun = record(1, "step", "started")
    stopped = record(2, "interrupted", "failed", key="step#1/interrupted/1", position=None)
    told = resumption_of("interrupted", [begun, stopped])
    assert (pks(told.unclear), pks(told.forgotten), pks(told.set_aside)) == ([1], [2], [])
    assert "A person is asked whether it was done" in describe_resumption(told)[0]


def test_what_was_asked_about_a_step_goes_with_it() -> None:
    """It was interrupted, done again, and failed: the next interruption is another question."""
    failed = record(1, "step", "failed", finished_at=NOON + timedelta(seconds=9))
    about = record(2, "interrupted", "done", key="step#1/interrupted/1", position=None)
    other = record(3, "interrupted", "done", key="step#10/interrupted/1", position=None)
    assert pks(resumption_of("step_failed", [failed, about, other]).forgotten) == [1, 2]


def test_thousands_of_records_take_no_time() -> None:
    """Once through them, not once for each that ended badly."""
    records = [
        record(pk, "approve", "done", result=REJECTED) if pk % 2 else record(pk, "step", "failed")
        for pk in range(1, 20_001)
    ]
    told = resumption_of("step_failed", records)
    assert (pks(told.forgotten), pks(told.tried_again)) == ([20_000], [20_000])


# Any program


@dataclass(frozen=True, kw_only=True)
class Step:
    fails_at_first: bool
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Say:
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Approve:
    handled: bool
    rejected: Sequence[Any]
    lastly: Sequence[Any]
    name: str = ""


def programs() -> st.SearchStrategy[list[Any]]:
    """Lists of calls, each with a name of its own."""
    simple = st.one_of(st.builds(Step, fails_at_first=st.booleans()), st.builds(Say))

    def branching(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        some, few = st.lists(inner, max_size=3), st.lists(simple, max_size=2)
        return st.builds(Approve, handled=st.booleans(), rejected=some, lastly=few)

    calls = st.lists(st.recursive(simple, branching, max_leaves=6), min_size=1, max_size=5)
    return calls.map(lambda each: named(each, count(1)))


def named(calls: Sequence[Any], numbers: Iterator[int]) -> list[Any]:
    return [_named(call, numbers) for call in calls]


def _named(call: Any, numbers: Iterator[int]) -> Any:
    name = f"n{next(numbers)}"
    if not isinstance(call, Approve):
        return replace(call, name=name)
    rejected, lastly = named(call.rejected, numbers), named(call.lastly, numbers)
    return replace(call, name=name, rejected=rejected, lastly=lastly)


program: list[Any] = []


@orchestration("resumption_program")
async def interpreter(run: Run) -> str:
    await carry_out(run, program)
    return "done"


async def carry_out(run: Run, items: Sequence[Any]) -> None:
    for item in items:
        if isinstance(item, Step):
            await run.step(item.name, once_broken if item.fails_at_first else effect, item.name)
        elif isinstance(item, Say):
            await run.say("program", item.name)
        else:
            await ask_about(run, item)


def once_broken(name: str) -> int:
    if name not in broken:
        broken.add(name)
        raise OSError("away")
    effects[name] += 1
    return effects[name]


async def ask_about(run: Run, item: Approve) -> None:
    try:
        await run.approve(item.name)
    except Rejected:
        await carry_out(run, item.rejected)
        if not item.handled:
            raise
    finally:
        await carry_out(run, item.lastly)


@pytest.mark.one_stack
@effort(25, allowed=(SHARED_FIXTURES,))
@given(program=programs(), verdicts=st.lists(st.booleans(), max_size=8))
async def test_whatever_a_run_does_it_can_be_resumed_and_does_nothing_twice(
    process: Processes, program: list[Any], verdicts: list[bool]
) -> None:
    """People reject and approve as they like, at last they approve; steps fail once, and then not."""
    globals()["program"][:] = program
    effects.clear()
    broken.clear()
    verdicts = list(verdicts)
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("resumption_program")
    reviewer = factories.actor(await in_database(factories.reviewer))
    while (run := await _to_its_end(run_id, reviewer, verdicts))["status"] != "completed":
        assert run["reason"] in {"rejected", "step_failed"}, run
        await idle(engine)
        await OrchestrationManager().aresume(Actor.program(), run_id)
        await engine.execute([run_id])
    assert set(effects.values()) <= {1}
    await engine.let_go()


async def _to_its_end(run_id: UUID, reviewer: Actor, verdicts: list[bool]) -> dict[str, Any]:
    """Decide whatever the run asks; the run, once it has ended."""
    while True:
        data = await until(run_id, _is_asked_or_over)
        if "request" not in data:
            run: dict[str, Any] = data["run"]
            return run
        approve = verdicts.pop(0) if verdicts else True
        await deciding.adecide(reviewer, data["request"]["id"], "approve" if approve else "reject")


def _is_asked_or_over(event: Any) -> bool:
    if event.type == "request_opened":
        return bool(event.data["request"]["status"] == "pending")
    return bool(event.type == "run_finished")
