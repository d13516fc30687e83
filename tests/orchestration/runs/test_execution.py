"""Executing a run: how it ends, how it goes on after a crash, and who may write it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.exceptions import Unavailable
from orchestration import OrchestrationManager, Rejected, Run, models, orchestration, queries
from orchestration.engines import hand_over
from orchestration.engines.local import LocalHost
from orchestration.exceptions import WORDS_LIMIT, Fenced, OrchestrationError, ReplayMismatch, plain_words
from orchestration.runs import call_records, journal, run_records
from orchestration.runs.execution import Execution
from orchestration.runs.journal import Ownership
from orchestration.runs.run import Means
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, idle, until_recorded


def crash_after(run_id: UUID, records: int) -> None:
    """Leave the rows of a completed run as a crash after its first `records` records would have left them."""
    kept = models.StepRecord.objects.filter(run_id=run_id).order_by("id").values_list("pk", flat=True)
    models.StepRecord.objects.filter(run_id=run_id).exclude(pk__in=list(kept[:records])).delete()
    models.Message.objects.filter(run_id=run_id).delete()
    models.Run.objects.filter(pk=run_id).update(
        status="running", finished_at=None, result=None, process=None, leaves_requests=False
    )
    hand_over([run_id])  # as the queue's keeper would continue the dead worker's job


def expire(engine: LocalHost) -> None:
    """Let the lease of this engine's process have run out long ago."""
    processes = models.Process.objects.filter(pk=engine.process_id or UUID(int=0))
    assert processes.update(expires_at=datetime(2000, 1, 1, tzinfo=UTC))


# How it ends


@pytest.mark.one_stack
@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (ValueError("no such order"), ("failed", "error", "ValueError: no such order")),
        (KeyError(), ("failed", "error", "KeyError")),
        (ValueError("a\0b"), ("failed", "error", "ValueError: a\\0b")),
        (asyncio.CancelledError(), ("failed", "cancelled_itself", None)),
        (
            ExceptionGroup("2", [ValueError("a"), OSError("b")]),
            ("failed", "error", "ValueError: a; OSError: b"),
        ),
    ],
)
async def test_an_error_fails_the_run_in_plain_words(
    runtime: Runtime, error: BaseException, ending: tuple[str, str, str | None]
) -> None:
    """No traceback on record; what a database can't keep is spelled out."""

    @orchestration("execution_error")
    async def failing(run: Run) -> None:
        raise error

    run = await finished(await runtime.manager.astart("execution_error"))
    assert (run["status"], run["reason"]) == ending[:2]
    assert ending[2] in (None, run["error"])
    assert run["result"] is None


class Own(BaseException): ...


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise Own


class Coded(OrchestrationError):
    """Without what its base sets up, and with a code that is too long for the record."""

    code = "a code that has more characters than a reason may have"

    def __init__(self) -> None: ...


UNUSUAL: dict[str, Callable[[], BaseException]] = {
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(2),
    "generator": GeneratorExit,
    "own": Own,
    "group": lambda: BaseExceptionGroup("2", [Own(), KeyboardInterrupt()]),
    "unspeakable": Unspeakable,
    "coded": Coded,
    "cancelled": asyncio.CancelledError,
    "stop": StopIteration,
    "fenced": lambda: Fenced("by itself"),
    "rejected": lambda: Rejected("without outcome", outcome=None),  # type: ignore[arg-type]
}


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
@pytest.mark.parametrize("where", ["body", "task", "step", "thread", "group of a step", "task of a step"])
async def test_whatever_the_code_of_a_run_raises_ends_that_run_only(
    runtime: Runtime, owner: User, where: str
) -> None:
    """It is recorded, once and for good; the server and other runs go on, and nothing starts over."""
    lives = Counter[str]()

    async def fail(error: str) -> None:
        raise UNUSUAL[error]()

    def fail_in_thread(error: str) -> None:
        raise UNUSUAL[error]()

    async def fail_in_task(error: str) -> None:
        await asyncio.create_task(fail(error))

    async def fail_in_group(error: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail(error))
        if error == "cancelled":  # which a group takes for a task that was not needed any more
            raise asyncio.CancelledError

    functions: dict[str, Callable[[str], Any]] = {
        "step": fail,
        "thread": fail_in_thread,
        "group of a step": fail_in_group,
        "task of a step": fail_in_task,
    }

    @orchestration("execution_unusual")
    async def unusual(run: Run, *, error: str) -> None:
        lives[error] += 1
        if where == "body":
            await fail(error)
        elif where == "task":
            await fail_in_group(error)
        else:
            await run.step("fail", functions[where], error)

    @orchestration("execution_usual")
    async def usual(run: Run) -> None:
        await run.ask("Go on?")

    other_id = await runtime.manager.astart("execution_usual", {}, owner)
    question = await asked(other_id)
    in_a_step = where not in ("body", "task")
    started = {
        error: await runtime.manager.astart("execution_unusual", {"error": error}) for error in UNUSUAL
    }
    for error, run_id in started.items():
        run = await finished(run_id)
        ended = "rejected" if error == "rejected" and not in_a_step else "failed"
        assert run["status"] == ended, error
        assert run["error"], error
        assert (run["reason"] == "step_failed") is in_a_step, error
    await runtime.host.look_everywhere()
    assert lives == dict.fromkeys(UNUSUAL, 1)
    recorded = models.StepRecord.objects.exclude(run_id=other_id).values_list("status", flat=True)
    assert await in_database(list, recorded) == (["failed"] * len(UNUSUAL) if in_a_step else [])
    await deciding.aanswer(factories.actor(owner), question["id"], "yes")
    assert (await finished(other_id))["status"] == "completed"


async def test_a_run_that_cancels_its_own_task_has_failed(runtime: Runtime) -> None:
    """Nobody else has cancelled it: it does not go on elsewhere, and fail there."""

    @orchestration("execution_cancels_itself")
    async def cancels_itself(run: Run) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await run.step("never", str)

    run = await finished(await runtime.manager.astart("execution_cancels_itself"))
    assert (run["status"], run["reason"]) == ("failed", "cancelled_itself")


def test_plain_words_can_always_be_recorded() -> None:
    """Neither U+0000, nor half of a character, nor any length."""
    assert plain_words(ValueError("a\0b\ud800")) == "ValueError: a\\0b\\ud800"
    assert len(plain_words(ValueError("long" * 1000))) == WORDS_LIMIT


async def test_a_result_that_is_not_json_fails_the_run(runtime: Runtime) -> None:
    """The error names what can't be recorded."""

    @orchestration("execution_unrecordable")
    async def unrecordable(run: Run) -> Any:
        return {"what": [object()]}

    run = await finished(await runtime.manager.astart("execution_unrecordable"))
    assert (run["status"], run["reason"]) == ("failed", "invalid")
    assert "result.what[0]" in run["error"]


@pytest.mark.one_stack
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("seconds", "reason"), [(0.001, "timed_out"), (300.0, "rejected")])
async def test_a_rejection_that_escapes_rejects_the_run(
    runtime: Runtime,
    owner: User,
    caplog: pytest.LogCaptureFixture,
    grouped: bool,
    seconds: float,
    reason: str,
) -> None:
    """Also from within a TaskGroup; the reason says whether a person or the deadline did it. It is no fault
    of the code: the log has no traceback of it."""
    caplog.set_level("INFO", "orchestration.runs.execution")

    @orchestration("execution_rejected")
    async def rejected(run: Run, *, grouped: bool, seconds: float) -> None:
        if not grouped:
            await run.approve("May I?", timeout=seconds)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run.approve("May I?", timeout=seconds))

    given = {"grouped": grouped, "seconds": seconds}
    run_id = await runtime.manager.astart("execution_rejected", given, owner)
    if reason == "rejected":
        request = await asked(run_id)
        await deciding.adecide(factories.actor(owner), request["id"], "reject")
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("rejected", reason)
    assert not any(record.exc_info for record in caplog.records)


async def test_a_missing_answer_that_escapes_fails_the_run(runtime: Runtime, owner: User) -> None:
    """It was no person's no; the reason says what it was."""

    @orchestration("execution_unanswered")
    async def unanswered(run: Run) -> None:
        await run.ask("Which?", choices=["a", "b"], timeout=0.001)

    run = await finished(await runtime.manager.astart("execution_unanswered", owner=owner))
    assert (run["status"], run["reason"]) == ("failed", "timed_out")


async def test_an_ended_run_leaves_nothing_open(runtime: Runtime, owner: User) -> None:
    """One rejection ends it; what else it had asked is taken back, and nobody decides in vain."""

    @orchestration("execution_two_questions")
    async def two(run: Run) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(2):
                tasks.create_task(run.approve(f"Number {number}?", key=str(number)))

    run_id = await runtime.manager.astart("execution_two_questions", owner=owner)
    first, second = await asked(run_id, "Number 0?"), await asked(run_id, "Number 1?")
    await deciding.adecide(factories.actor(owner), first["id"], "reject")
    assert (await finished(run_id))["status"] == "rejected"
    assert (await gate.wait_for_outcome(second["id"])).withdrawn


# How it goes on after a crash

calls: Counter[str] = Counter()


def count(name: str) -> str:
    calls[name] += 1
    return f"{name} {calls[name]}"


@orchestration("execution_long")
async def long(run: Run, *, order: int) -> Any:
    first = await run.step("first", count, f"first {order}")
    outcome = await run.approve(f"Refund {order}", arguments={"order": order})
    await run.say("payments", f"approved by {outcome.decided_by}")
    answer = await run.ask("Why?")
    async with run.speaking("writer") as speak:
        await speak("because ")
        await speak(answer)
    second = await run.step("second", count, f"second {order}")
    return [first, str(outcome.decided_at), answer, speak.text, second]


async def test_a_run_goes_on_from_wherever_it_stopped(runtime: Runtime, owner: User) -> None:
    """Whatever was recorded returns as it was, decisions included; nothing that is recorded happens twice."""
    calls.clear()
    actor = factories.actor(owner)
    runs = [await runtime.manager.astart("execution_long", {"order": records}, owner) for records in range(7)]
    for run_id in runs:
        await deciding.adecide(actor, (await asked(run_id))["id"], "approve")
        await deciding.aanswer(actor, (await asked(run_id, "Why?"))["id"], "damaged")
    before = [await finished(run_id) for run_id in runs]
    for records, run_id in enumerate(runs):
        await in_database(crash_after, run_id, records)
    await runtime.host.look_everywhere()
    for records, run_id in enumerate(runs):
        after = await finished(run_id)
        assert after["status"] == "completed"
        assert after["result"][1:4] == before[records]["result"][1:4]
        assert calls[f"first {records}"] == 1 + (records < 1)
        assert calls[f"second {records}"] == 1 + (records < 6)
        requests = await in_database(queries.request_ids_of, run_id)
        assert len(requests) == 2, "asked once each, in both lives"


async def test_what_is_recorded_is_what_was_returned_the_first_time_too(
    runtime: Runtime, owner: User
) -> None:
    """A tuple is a list from the beginning, and what the run does to what it was given stays its own: a
    replay meets the same values, and shows the same plan."""
    seen: list[Any] = []

    @orchestration("execution_same_values")
    async def same_values(run: Run) -> Any:
        pair = await run.step("pair", lambda: (1, {"two": (2,)}))
        seen.append(deepcopy(pair))
        pair.append("changed")
        arguments = (await run.approve("May I?", arguments={"pair": pair}, key="may")).arguments
        assert arguments is not None
        seen.append(deepcopy(arguments))
        arguments["pair"].clear()
        seen.append((await run.approve("May I?", arguments={"pair": pair}, key="may")).arguments)
        step = {"title": "Do it", "action": "do", "arguments": {"pair": pair}}
        await run.show_plan([step])
        pair.append("once more")
        await run.mark_step(0, "completed")
        seen.append(deepcopy(run.plan[0]["arguments"]))
        return await run.step("after", count, "after")

    calls.clear()
    run_id = await runtime.manager.astart("execution_same_values", owner=owner)
    await deciding.adecide(factories.actor(owner), (await asked(run_id))["id"], "approve")
    assert (await finished(run_id))["status"] == "completed"
    pair = [1, {"two": [2]}]
    expected = [pair, *[{"pair": [*pair, "changed"]}] * 3]
    assert seen == expected
    await in_database(crash_after, run_id, 2)
    await runtime.host.look_everywhere()
    assert (await finished(run_id))["status"] == "completed"
    assert seen == expected * 2


async def test_a_failure_that_was_handled_replays_as_a_failure(runtime: Runtime) -> None:
    """Even if the function would succeed the second time: the run had taken the other branch."""
    calls.clear()

    def once() -> None:
        if count("once") == "once 1":
            raise OSError("away")

    @orchestration("execution_handled")
    async def handled(run: Run) -> Any:
        try:
            return await run.step("once", once)
        except Exception as error:
            return [str(error), await run.step("instead", count, "instead")]

    run_id = await runtime.manager.astart("execution_handled")
    before = await finished(run_id)
    await in_database(crash_after, run_id, 1)
    await runtime.host.look_everywhere()
    assert (await finished(run_id))["result"] == [before["result"][0], "instead 2"]
    assert calls["once"] == 1


async def test_an_interrupted_step_that_may_be_repeated_is(process: Processes) -> None:
    """Unasked, because it says so: doing it twice is as good as once."""
    calls.clear()
    begun, never = asyncio.Event(), asyncio.Event()

    @orchestration("execution_interrupted")
    async def interrupted(run: Run) -> Any:
        async def effect() -> str:
            count("effect")
            begun.set()
            if calls["effect"] == 1:
                await never.wait()
            return "done"

        return await run.step("effect", effect, idempotent=True)

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_interrupted")
    await begun.wait()
    await first.let_go()
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    assert (await finished(run_id))["result"] == "done"
    step = await in_database(models.StepRecord.objects.get, run_id=run_id)
    assert (calls["effect"], step.attempts) == (2, 2)


@pytest.mark.one_stack
@pytest.mark.parametrize("changed", ["title", "arguments", "kind", "key"])
async def test_a_replay_that_differs_fails_the_run(process: Processes, owner: User, changed: str) -> None:
    """Changed code meets another call than the one on record; nothing further happens, and it says so."""
    calls.clear()
    lives = Counter[str]()

    @orchestration("execution_changed")
    async def changing(run: Run) -> Any:
        lives["lives"] += 1
        if lives["lives"] == 1:
            await run.approve("Pay 12", arguments={"amount": 12})
        elif changed == "title":
            await run.approve("Pay 13", arguments={"amount": 12})
        elif changed == "arguments":
            await run.approve("Pay 12", arguments={"amount": 13})
        elif changed == "kind":
            await run.step("pay", count, "pay")
        else:
            await run.approve("Pay 12", arguments={"amount": 12}, key="pay")
        return await run.step("pay", count, "pay")

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_changed", owner=owner)
    request = await asked(run_id)
    await first.let_go()
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    if changed == "key":  # a keyed call is a new call; the numbered one after it is what differs
        await until_recorded(models.StepRecord.objects.filter(key="pay").exists)
        again = await in_database(models.StepRecord.objects.get, key="pay")
        assert again.request_id is not None
        await deciding.adecide(Actor.program(), again.request_id, "approve")
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", ReplayMismatch.code)
    assert "had recorded approve 'Pay 12'" in run["error"]
    assert not calls
    assert (await gate.wait_for_outcome(request["id"])).withdrawn


APPROVAL: dict[str, Any] = {"arguments": {"amount": 12}, "assignees": ["olga", "ravi"], "timeout": None}
QUESTION: dict[str, Any] = {"choices": ["a", "b"], "assignees": ["olga"], "timeout": None}


@orchestration("execution_terms")
async def asking(run: Run, *, kind: str) -> Any:
    """Ask one question, as `terms` has it by then."""
    if kind == "approve":
        return (await run.approve("Pay", **terms)).status
    return await run.ask("Which?", **terms)


terms: dict[str, Any] = {}


async def asked_again(
    processes: Processes, owner: User, kind: str, first: Any, then: Any, *, noted: bool = True
) -> UUID:
    """A run whose process ends while it waits; then its code has changed, and it goes on elsewhere.

    `noted` false: the process had died between asking and noting that it had asked.
    """
    await in_database(factories.reviewer, "ravi")
    one, other = await processes(), await processes()
    terms.clear()
    terms.update(first)
    run_id = await OrchestrationManager(one).astart("execution_terms", {"kind": kind}, owner)
    await asked(run_id)
    await one.let_go()
    if not noted:
        await in_database(models.StepRecord.objects.all().delete)
    terms.clear()
    terms.update(then)
    await in_database(models.Run.objects.update, process=None)
    await other.execute([run_id])
    return run_id


@pytest.mark.one_stack
@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize(
    ("kind", "then"),
    [
        ("approve", {"required": 2}),
        ("approve", {"four_eyes": True}),
        ("approve", {"editable": True}),
        ("approve", {"on_timeout": "approve"}),
        ("approve", {"severity": "high"}),
        ("approve", {"assignees": ["olga"]}),
        ("approve", {"assignees": None}),
        ("ask", {"choices": ["a", "c"]}),
        ("ask", {"multiple": True}),
        ("ask", {"default": "a"}),
        ("ask", {"assignees": ["ravi"]}),
        ("ask", {"choices": None, "schema": {"type": "integer"}}),
    ],
)
async def test_a_replay_that_means_something_else_fails_the_run(
    process: Processes, owner: User, kind: str, then: Any, noted: bool
) -> None:
    """The recorded answer would stand for another question; also where only the request is on record."""
    first = APPROVAL if kind == "approve" else QUESTION
    run_id = await asked_again(process, owner, kind, first, {**first, **then}, noted=noted)
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", ReplayMismatch.code)


@pytest.mark.one_stack
@pytest.mark.parametrize("kind", ["approve", "ask"])
@pytest.mark.parametrize(
    "then", [{"details": "In other words."}, {"timeout": 3600}, {"assignees": "as before, in another order"}]
)
async def test_a_replay_in_other_words_goes_on(process: Processes, owner: User, kind: str, then: Any) -> None:
    """A deploy that rewords a description does not orphan what waits."""
    first = APPROVAL if kind == "approve" else QUESTION
    if "assignees" in then:
        then = {"assignees": reversed(first["assignees"])}
    run_id = await asked_again(process, owner, kind, first, {**first, **then})
    request = await asked(run_id)
    if kind == "approve":
        await deciding.adecide(factories.actor(owner), request["id"], "approve")
    else:
        await deciding.aanswer(factories.actor(owner), request["id"], "a")
    assert (await finished(run_id))["result"] == ("approved" if kind == "approve" else "a")


async def test_a_mismatch_can_not_be_swallowed(process: Processes) -> None:
    """An orchestration that catches everything still fails for it."""
    lives = Counter[str]()

    @orchestration("execution_swallowing")
    async def swallowing(run: Run) -> Any:
        lives["lives"] += 1
        try:
            await run.step(f"life {lives['lives']}", str)
            await run.step("wait", asyncio.Event().wait)
        except Exception:
            return "all is well"

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_swallowing")
    await until_recorded(models.StepRecord.objects.filter(name="wait").exists)
    await first.let_go()
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    assert (await finished(run_id))["reason"] == ReplayMismatch.code


async def test_an_open_request_is_attached_to_again(process: Processes, owner: User) -> None:
    """Not asked anew; what was decided while nobody executed the run takes effect."""

    @orchestration("execution_attached")
    async def attached(run: Run) -> Any:
        return (await run.approve("May I?", arguments={"n": 1})).decided_by

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_attached", owner=owner)
    request = await asked(run_id)
    await first.let_go()
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    assert (await finished(run_id))["result"] == "olga"
    assert await in_database(queries.request_ids_of, run_id) == [UUID(request["id"])]


async def test_a_request_that_was_opened_but_not_noted_is_found_by_its_key(
    process: Processes, owner: User
) -> None:
    """The process died between asking and recording that it had asked."""

    @orchestration("execution_unnoted")
    async def unnoted(run: Run) -> Any:
        return (await run.approve("May I?")).approved

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_unnoted", owner=owner)
    request = await asked(run_id)
    await first.let_go()
    await in_database(models.StepRecord.objects.all().delete)
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    assert (await asked(run_id))["id"] == request["id"]
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_an_interrupted_message_is_kept_and_said_anew(process: Processes) -> None:
    """What people have read does not change under their eyes."""
    lives = Counter[str]()

    @orchestration("execution_speech")
    async def speech(run: Run) -> None:
        lives["lives"] += 1
        async with run.speaking("writer") as speak:
            await speak("Once ")
            if lives["lives"] == 1:
                await asyncio.Event().wait()
            await speak("upon a time")

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_speech")
    await until_recorded(models.Message.objects.filter(text="Once ").exists)
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await finished(run_id)
    said = await in_database(queries.messages_of, run_id)
    assert [(message.text, message.complete) for message in said] == [
        ("Once ", True),
        ("Once upon a time", True),
    ]


# Who may write it


async def test_a_stale_owner_writes_nothing(process: Processes) -> None:
    """A process that slept past its lease wakes, and meets the next epoch: its run is another's."""
    calls.clear()
    asleep, awake = asyncio.Event(), asyncio.Event()

    @orchestration("execution_frozen")
    async def frozen(run: Run) -> Any:
        life = calls["lives"] = calls["lives"] + 1

        async def effect() -> int:
            if life == 1:
                asleep.set()
                await awake.wait()
            return life

        first = await run.step("effect", effect, idempotent=True)
        return [first, await run.step("after", count, "after")]

    sleeper, successor = await process(), await process()
    run_id = await OrchestrationManager(sleeper).astart("execution_frozen")
    await asleep.wait()
    await in_database(expire, sleeper)
    await successor.execute([run_id])
    run = await finished(run_id)
    awake.set()
    await idle(sleeper)
    assert run["result"] == [2, "after 1"]
    assert calls["after"] == 1, "the sleeper stopped at its first write"
    assert (await finished(run_id)) == run
    step = await in_database(models.StepRecord.objects.get, run_id=run_id, name="effect")
    assert step.result == 2


async def test_a_living_owners_run_is_left_alone(process: Processes) -> None:
    """While its lease lives nobody else can claim it."""
    done = asyncio.Event()

    @orchestration("execution_owned")
    async def owned(run: Run) -> None:
        await done.wait()

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_owned")
    await second.execute([run_id])
    assert run_id in first.run_ids
    assert not second.run_ids
    done.set()
    await finished(run_id)


async def test_telling_an_engine_twice_is_harmless(process: Processes) -> None:
    """What it executes already it does not claim again: that would fence its own execution."""
    done = asyncio.Event()

    @orchestration("execution_told_twice")
    async def told_twice(run: Run) -> Any:
        await done.wait()
        return await run.step("after", count, "after")

    calls.clear()
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("execution_told_twice")
    await engine.execute([run_id])
    await asyncio.gather(engine.execute([run_id]), engine.execute([run_id]))
    done.set()
    assert (await finished(run_id))["result"] == "after 1"
    assert (await in_database(models.Run.objects.get, pk=run_id)).epoch == 1


async def test_every_write_of_a_former_epoch_is_refused(process: Processes) -> None:
    """Whatever it is, and also after the end."""

    @orchestration("execution_waiting")
    async def waiting(run: Run) -> None:
        await asyncio.Event().wait()

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("execution_waiting")
    former = Ownership(run_id, 0)
    call = call_records.Call(key="a#1", position=1, kind="step", name="a", fingerprint="")
    writes: list[tuple[Any, ...]] = [
        (call_records.record_status,),
        *((call_records.record_call, call, status) for status in models.StepStatus),
        (call_records.record_sleep, call, 1.0),
        (call_records.record_message, call, "a", "x"),
        (call_records.begin_message, call, "a"),
        (call_records.extend_message, 1, "x"),
        (call_records.record_plan, 1, []),
        (run_records.record_end, run_records.Ending(status=models.RunStatus.COMPLETED)),
    ]
    for write, *arguments in writes:
        with pytest.raises(Fenced):
            await in_database(write, former, *arguments)
    run = await in_database(models.Run.objects.get, pk=run_id)
    assert (run.status, run.epoch) == ("running", 1)
    assert await in_database(models.StepRecord.objects.count) == 0


async def test_an_end_is_recorded_once(runtime: Runtime) -> None:
    """A run that has ended takes no further write, even from its own epoch."""

    @orchestration("execution_short")
    async def short(run: Run) -> str:
        return "done"

    run_id = await runtime.manager.astart("execution_short")
    before = await finished(run_id)
    with pytest.raises(Fenced):
        await in_database(
            run_records.record_end,
            Ownership(run_id, 1),
            run_records.Ending(status=models.RunStatus.FAILED, error="x"),
        )
    assert await finished(run_id) == before


async def test_repeating_a_write_is_harmless(process: Processes) -> None:
    """As after a commit whose answer got lost: the record has it once."""

    @orchestration("execution_repeating")
    async def repeating(run: Run) -> None:
        await asyncio.Event().wait()

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("execution_repeating")
    owned = Ownership(run_id, 1)
    call = call_records.Call(key="say#1", position=1, kind="say", name="a", fingerprint="")
    for _ in range(2):
        await in_database(call_records.record_message, owned, call, "a", "hello")
    step = call_records.Call(key="b#2", position=2, kind="step", name="b", fingerprint="")
    for _ in range(2):
        await in_database(call_records.record_call, owned, step, models.StepStatus.STARTED)
        await in_database(call_records.record_call, owned, step, models.StepStatus.DONE, result=1)
    assert await in_database(models.Message.objects.count) == 1
    assert await in_database(models.StepRecord.objects.count) == 2


async def test_a_fenced_owner_takes_back_what_it_asked_of_an_ended_run(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled between asking and recording it: the request would stay open for ever."""
    real = gate.aopen_approval
    opened: list[str] = []

    async def slowly(*args: Any, **kwargs: Any) -> str:
        request_id = await real(*args, **kwargs)
        opened.append(request_id)
        await in_database(models.Process.objects.all().update, expires_at=datetime(2000, 1, 1, tzinfo=UTC))
        await in_database(OrchestrationManager().cancel, Actor.program(), run_ids[0])
        # What cancelling withdrew is not what this test is about.
        opened.append(await real("May I once more?", **{**kwargs, "key": "other"}))
        return opened[1]

    @orchestration("execution_asking_late")
    async def late(run: Run) -> None:
        await run.approve("May I?")

    monkeypatch.setattr(gate, "aopen_approval", slowly)
    engine = await process()
    run_ids = [
        (
            await in_database(
                run_records.open_run,
                orchestration="execution_asking_late",
                title="Late",
                given={},
                owner_id=owner.pk,
                key="",
                process_id=None,
                hand_over=hand_over,
            )
        )[0]
    ]
    await engine.execute(run_ids)
    await idle(engine)
    assert [(await gate.aoutcome(each)).withdrawn for each in opened] == [True, True]


async def test_rejections_inside_other_errors_do_not_count(runtime: Runtime, owner: User) -> None:
    """A group of a rejection and a failure is a failure."""

    @orchestration("execution_mixed")
    async def mixed(run: Run) -> None:
        try:
            await run.approve("May I?", timeout=0.001)
        except Rejected as rejected:
            raise ExceptionGroup("both", [rejected, ValueError("and more")]) from None

    run = await finished(await runtime.manager.astart("execution_mixed", owner=owner))
    assert run["status"] == "failed"
    assert "nobody decided in time; ValueError: and more" in run["error"]


async def test_what_cleans_up_while_a_process_stops_records_nothing(process: Processes, owner: User) -> None:
    """It would stand where the run goes on later, and look like another program."""

    @orchestration("execution_cleans_up")
    async def cleans_up(run: Run) -> Any:
        try:
            await run.approve("May I?")
            await run.say("worker", "goes on")
        finally:
            await run.say("worker", "is over")

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("execution_cleans_up", owner=owner)
    request = await asked(run_id)
    await first.let_go()
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["error"] == ""
    said = await in_database(queries.messages_of, run_id)
    assert [message.text for message in said] == ["goes on", "is over"]


async def test_a_question_waits_until_the_database_is_back(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, and whoever notices that it is away."""
    monkeypatch.setattr(journal, "BACKOFF", (0.0,))
    errors = [OperationalError("away"), InterfaceError("away"), *[Unavailable("away")] * 4]
    ask = gate.aopen_approval

    async def away(*args: Any, **terms: Any) -> str:
        if errors:
            raise errors.pop()
        return await ask(*args, **terms)

    monkeypatch.setattr(gate, "aopen_approval", away)

    @orchestration("execution_outage")
    async def outage(run: Run) -> Any:
        return (await run.approve("May I?")).approved

    run_id = await runtime.manager.astart("execution_outage", owner=owner)
    request = await asked(run_id)
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_code_that_wants_to_exit_ends_its_run_only(runtime: Runtime) -> None:
    """Argument parsers, for one, call `sys.exit`; it is not theirs to stop the server."""

    @orchestration("execution_exits_in_step")
    async def in_step(run: Run) -> Any:
        await run.step("parse", sys.exit, 2)

    @orchestration("execution_exits")
    async def exits(run: Run) -> Any:
        sys.exit(2)

    for name, reason in [("execution_exits_in_step", "step_failed"), ("execution_exits", "error")]:
        run = await finished(await runtime.manager.astart(name))
        assert (run["status"], run["reason"]) == ("failed", reason)
        assert "SystemExit: 2" in run["error"]


# How a process that stops lets go of it


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


async def executed(run_id: UUID, threads: Executor) -> tuple[Execution, asyncio.Task[None]]:
    """The run in the hands of this process."""
    (claimed,) = await in_database(journal.claim, [run_id], None)
    execution = Execution(claimed, Means(threads))
    return execution, asyncio.create_task(execution.execute())


async def left(task: asyncio.Task[None]) -> None:
    """Return once the execution is over; it was cancelled, so that nobody takes the run for ended."""
    await asyncio.wait([task])
    assert task.cancelled()


async def test_what_waits_is_let_go_at_once_when_its_process_drains(
    process: Processes, threads: Executor, owner: User
) -> None:
    """Nothing is recorded: what it waits for stays as it is."""

    @orchestration("execution_drained_waiting")
    async def waiting(run: Run) -> Any:
        return (await run.approve("May I?")).approved

    second = await process()
    run_id = await OrchestrationManager().astart("execution_drained_waiting", owner=owner)
    execution, task = await executed(run_id, threads)
    request = await asked(run_id)
    execution.drain()
    await left(task)
    assert (await in_database(queries.run_by_id, run_id)).status == "waiting"
    await second.execute([run_id])
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_step_under_way_ends_on_record_and_the_next_does_not_begin(
    process: Processes, threads: Executor
) -> None:
    """Whoever executes the run next goes on behind the step; nobody need be asked about it."""
    calls.clear()
    begun, may_end = asyncio.Event(), asyncio.Event()

    @orchestration("execution_drained_step")
    async def drained(run: Run) -> Any:
        async def effect() -> str:
            begun.set()
            await may_end.wait()
            return count("effect")

        return [await run.step("effect", effect), await run.step("after", count, "after")]

    second = await process()
    run_id = await OrchestrationManager().astart("execution_drained_step")
    execution, task = await executed(run_id, threads)
    await begun.wait()
    execution.drain()
    may_end.set()
    await left(task)
    steps = await in_database(lambda: list(models.StepRecord.objects.values_list("key", "status")))
    assert steps == [("effect#1", "done")]
    await second.execute([run_id])
    assert (await finished(run_id))["result"] == ["effect 1", "after 1"]


async def test_of_several_steps_under_way_the_last_one_counts(process: Processes, threads: Executor) -> None:
    """Each is recorded. What a step does by steps of its own belongs to it; what would follow does not."""
    calls.clear()
    begun, first_may_end, second_may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @orchestration("execution_drained_several")
    async def several(run: Run) -> Any:
        async def first() -> None:
            await first_may_end.wait()

        async def second() -> Any:
            begun.set()
            await second_may_end.wait()
            return await run.step("inner", count, "inner", key="inner")

        async def one_after_the_other() -> None:
            await run.step("first", first, key="first")
            await run.step("third", count, "third", key="third")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one_after_the_other())
            tasks.create_task(run.step("second", second, key="second"))

    second = await process()
    run_id = await OrchestrationManager().astart("execution_drained_several")
    execution, task = await executed(run_id, threads)
    await begun.wait()
    execution.drain()
    first_may_end.set()
    await until_recorded(models.StepRecord.objects.filter(key="first", status="done").exists)
    second_may_end.set()
    await left(task)
    steps = await in_database(lambda: dict(models.StepRecord.objects.values_list("key", "status")))
    assert steps == {"first": "done", "second": "done", "inner": "done"}
    await second.execute([run_id])
    assert (await finished(run_id))["status"] == "completed"
    assert calls == {"inner": 1, "third": 1}


async def test_a_run_that_would_end_with_its_step_is_ended_by_the_next(
    process: Processes, threads: Executor
) -> None:
    """Its execution is cancelled, so that nobody takes the run for done; its end is not lost."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    @orchestration("execution_drained_at_the_end")
    async def at_the_end(run: Run) -> Any:
        async def effect() -> int:
            begun.set()
            await may_end.wait()
            return 1

        return await run.step("effect", effect)

    second = await process()
    run_id = await OrchestrationManager().astart("execution_drained_at_the_end")
    execution, task = await executed(run_id, threads)
    await begun.wait()
    execution.drain()
    may_end.set()
    await left(task)
    assert (await in_database(queries.run_by_id, run_id)).status == "running"
    await second.execute([run_id])
    assert (await finished(run_id))["result"] == 1


async def test_a_run_that_has_not_begun_does_not_begin(process: Processes, threads: Executor) -> None:
    """It was claimed a moment before the process was told to stop."""

    @orchestration("execution_drained_before")
    async def before(run: Run) -> str:
        return str(await run.step("count", str, 1))

    second = await process()
    run_id = await OrchestrationManager().astart("execution_drained_before")
    execution, task = await executed(run_id, threads)
    execution.drain()
    await left(task)
    assert not await in_database(models.StepRecord.objects.exists)
    await second.execute([run_id])
    assert (await finished(run_id))["result"] == "1"
