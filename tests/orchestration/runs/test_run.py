"""What an orchestration can do by its Run, and what is recorded of it."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from orchestration import Rejected, Responded, Run, StepFailed, TimedOut, Withdrawn, orchestration, queries
from orchestration.catalog import retries
from orchestration.exceptions import NeedsKey
from orchestration.models import StepRecord
from orchestration.runtime import Runtime
from tests import factories
from tests.marks import both_databases
from tests.orchestration.watching import asked, finished

pytestmark = both_databases


async def test_a_run_asks_its_owner_and_goes_on(runtime: Runtime, owner: User, settings: Settings) -> None:
    """The whole way: approval, question, message, step, result; waiting in between."""
    settings.SAYSO_URL = "https://example.com/desk"

    @orchestration("runs_refund")
    async def refund(run: Run, *, order: int, amount: str) -> Any:
        outcome = await run.approve(f"Refund {amount}", arguments={"order": order, "amount": amount})
        labels = {"duplicate": "Delivered twice", "damaged": "Arrived broken"}
        reason = await run.ask("Why?", choices=labels)
        await run.say("payments", f"Refunding because: {reason}")
        return await run.step("refund", lambda number: {"paid": number, "by": outcome.decided_by}, order)

    run_id = await runtime.manager.astart("runs_refund", {"order": 812, "amount": "12.00"}, owner)
    request = await asked(run_id)
    assert request["requester"] == "olga"
    assert request["assignees"] == {"users": ["olga"], "groups": []}
    link = f"https://example.com/desk/runs/{run_id}/"
    assert request["origin"] == {"kind": "run", "id": str(run_id), "url": link}
    run = queries.run_on_the_wire(await in_database(queries.run_by_id, run_id))
    assert run["status"] == "waiting"
    assert run["waiting_for"] == [request["id"]]
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    question = await asked(run_id, "Why?")
    await deciding.aanswer(factories.actor(owner), question["id"], "damaged")
    run = await finished(run_id)
    assert (run["status"], run["result"]) == ("completed", {"paid": 812, "by": "olga"})
    assert run["waiting_for"] == []
    said = await in_database(queries.messages_of, run_id)
    assert [(message.agent, message.text) for message in said] == [("payments", "Refunding because: damaged")]
    steps = await in_database(queries.steps_of, await in_database(queries.run_by_id, run_id))
    assert [(step.key, step.status) for step in steps] == [
        ("approve#1", "done"),
        ("ask#2", "done"),
        ("say#3", "done"),
        ("refund#4", "done"),
    ]


async def test_an_edited_approval_returns_what_was_approved(runtime: Runtime, owner: User) -> None:
    """`outcome.arguments` is the action to be done, not the one that was proposed."""

    @orchestration("runs_edited")
    async def edited(run: Run) -> Any:
        return (await run.approve("Pay", arguments={"amount": 12}, editable=True)).arguments

    run_id = await runtime.manager.astart("runs_edited", owner=owner)
    request = await asked(run_id)
    await deciding.adecide(factories.actor(owner), request["id"], "approve", arguments={"amount": 10})
    assert (await finished(run_id))["result"] == {"amount": 10}


async def test_requests_say_how_much_they_matter(runtime: Runtime, owner: User) -> None:
    """And a call that says nothing of it has the fingerprint that runs had recorded before calls could."""
    beside: dict[str, Any] = {
        "context": "*Twice.*",
        "links": [{"title": "The order", "url": "https://shop.example/812"}],
        "metadata": {"tenant": "acme"},
        "group": {"key": "turn-7", "title": "Refunds"},
    }

    @orchestration("runs_mattering")
    async def mattering(run: Run) -> None:
        await run.approve("Refund", arguments={"order": 812})
        arguments = {"order": 812, "to": "ACME", "amount": 12}
        await run.approve(
            "Refund more", arguments=arguments, severity="high", highlight=("amount",), **beside
        )
        await run.ask("Sure?", severity="high", **beside)

    run_id = await runtime.manager.astart("runs_mattering", owner=owner)
    actor, asked_of = factories.actor(owner), []
    for title in ("Refund", "Refund more", "Sure?"):
        asked_of.append(request := await asked(run_id, title))
        decide = deciding.aanswer if title == "Sure?" else deciding.adecide
        await decide(actor, request["id"], "approve")
    await finished(run_id)
    assert [(each["severity"], each["highlight"]) for each in asked_of] == [
        ("normal", []),
        ("high", ["amount"]),
        ("high", []),
    ]
    for said, each in zip(
        ({"context": "", "links": [], "metadata": {}, "group": None}, beside, beside),
        asked_of,
        strict=True,
    ):
        assert {name: each[name] for name in beside} == said
    first = await in_database(StepRecord.objects.get, run_id=run_id, position=1)
    assert first.fingerprint == "2:IPmH_QFQ4g8iXiI2PVTWH2lBJb-I4zNiZ7MGxFWN6iw"


@orchestration("runs_asking")
async def asking(run: Run, *, approval: bool = False, terms: dict[str, Any]) -> Any:
    """Report what came of one request."""
    try:
        if approval:
            return (await run.approve("May I?", **terms)).status
        return await run.ask("What?", **terms)
    except (Rejected, TimedOut) as error:
        return [type(error).__name__, error.outcome.status, str(error)]


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({"approval": True, "terms": {"timeout": 0.001, "on_timeout": "approve"}}, "timed_out"),
        (
            {"approval": True, "terms": {"timeout": 0.001}},
            ["Rejected", "timed_out", "May I?: nobody decided in time"],
        ),
        ({"terms": {"timeout": 0.001, "default": "nothing"}}, "nothing"),
        ({"terms": {"timeout": 0.001}}, "No response received within timeout period"),
        (
            {"terms": {"timeout": 0.001, "choices": ["a", "b"]}},
            ["TimedOut", "timed_out", "What?: nobody answered in time"],
        ),
    ],
)
async def test_a_deadline_decides_as_the_request_says(
    runtime: Runtime, owner: User, given: dict[str, Any], result: Any
) -> None:
    """Approve, reject, a default, the default text, or no answer at all."""
    run_id = await runtime.manager.astart("runs_asking", given, owner)
    assert (await finished(run_id))["result"] == result


async def test_a_rejection_tells_who_and_why(runtime: Runtime, owner: User) -> None:
    """The text says it; the outcome has it all."""
    run_id = await runtime.manager.astart("runs_asking", {"approval": True, "terms": {}}, owner)
    request = await asked(run_id)
    await deciding.adecide(factories.actor(owner), request["id"], "reject", comment="too much")
    assert (await finished(run_id))["result"] == [
        "Rejected",
        "rejected",
        "May I?: rejected by olga: too much",
    ]


async def test_a_text_instead_of_a_yes_is_a_no_that_has_it(runtime: Runtime, owner: User) -> None:
    """Responded, which is a Rejected; the outcome has the text."""
    terms = {"decisions": ["approve", "reject", "respond"], "reason_required": True}
    run_id = await runtime.manager.astart("runs_asking", {"approval": True, "terms": terms}, owner)
    request = await asked(run_id)
    assert {name: request[name] for name in terms} == terms
    await deciding.adecide(factories.actor(owner), request["id"], "respond", answer="Ask Ann first.")
    assert issubclass(Responded, Rejected)
    assert (await finished(run_id))["result"] == [
        "Responded",
        "answered",
        "May I?: answered instead by olga: Ask Ann first.",
    ]


@pytest.mark.parametrize("approval", [True, False])
async def test_a_withdrawn_request_is_no_answer(runtime: Runtime, owner: User, approval: bool) -> None:
    """Neither approved nor answered: Withdrawn, which is a Rejected."""
    run_id = await runtime.manager.astart("runs_asking", {"approval": approval, "terms": {}}, owner)
    request = await asked(run_id)
    await deciding.awithdraw(factories.actor(owner), request["id"], "not any more")
    assert issubclass(Withdrawn, Rejected)
    assert (await finished(run_id))["result"][:2] == ["Withdrawn", "withdrawn"]


async def test_a_run_without_owner_asks_whoever_has_the_permission(runtime: Runtime) -> None:
    """Nobody is named, so the permission decides."""
    reviewer = await in_database(factories.reviewer)
    run_id = await runtime.manager.astart("runs_asking", {"approval": True, "terms": {}})
    request = await asked(run_id)
    assert request["assignees"] == {"users": [], "groups": []}
    await deciding.adecide(factories.actor(reviewer), request["id"], "approve")
    assert (await finished(run_id))["result"] == "approved"


async def test_a_refused_request_is_the_orchestrations_to_handle(runtime: Runtime, owner: User) -> None:
    """What can't be asked raises naming the field, and fails the run if nobody catches it."""
    run_id = await runtime.manager.astart("runs_asking", {"terms": {"timeout": -1}}, owner)
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", "invalid")
    assert "timeout" in run["error"]


async def test_steps_run_where_they_block_nobody(runtime: Runtime) -> None:
    """Coroutines on the loop, plain functions in threads, also where they return an awaitable."""

    async def on_the_loop() -> bool:
        return threading.current_thread() is threading.main_thread()

    def in_a_thread() -> bool:
        return threading.current_thread() is threading.main_thread()

    class Callable:
        async def __call__(self, one: int, *, two: int) -> int:
            return one + two

    @orchestration("runs_threads")
    async def threads(run: Run) -> Any:
        return [
            await run.step("loop", on_the_loop),
            await run.step("thread", in_a_thread),
            await run.step("object", Callable(), 1, two=2),
        ]

    run = await finished(await runtime.manager.astart("runs_threads"))
    assert run["result"] == [True, False, 3]


async def test_a_failed_step_can_be_handled(runtime: Runtime) -> None:
    """It comes as StepFailed with the function's error in plain words; the original is its cause."""

    def fails() -> None:
        raise LookupError("no such order")

    @orchestration("runs_failing")
    async def failing(run: Run) -> Any:
        try:
            await run.step("find", fails)
        except StepFailed as error:
            return [str(error), type(error.__cause__).__name__]

    run = await finished(await runtime.manager.astart("runs_failing"))
    assert run["result"] == ["Step 'find' failed: LookupError: no such order", "LookupError"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are tried again without a pause."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.0)


async def test_a_step_is_tried_again_as_often_as_it_says(runtime: Runtime, at_once: None) -> None:
    """Each attempt is on record, with the last error; its result comes as if it were the first."""
    attempts = []

    def third_time_lucky(order: int) -> int:
        attempts.append(order)
        if len(attempts) < 3:
            raise OSError(f"away {len(attempts)}")
        return len(attempts)

    @orchestration("runs_retrying")
    async def retrying(run: Run) -> Any:
        return await run.step("find", third_time_lucky, 812, retries=3)

    run_id = await runtime.manager.astart("runs_retrying")
    assert (await finished(run_id))["result"] == 3
    (step,) = await in_database(queries.steps_of, await in_database(queries.run_by_id, run_id))
    assert (step.status, step.attempts, step.error) == (
        "done",
        3,
        "Step 'find' failed at attempt 2: OSError: away 2",
    )


async def test_a_step_that_never_succeeds_fails_after_its_last_attempt(
    runtime: Runtime, at_once: None
) -> None:
    """As StepFailed, which says how often it was tried."""

    def fails() -> None:
        raise OSError("away")

    @orchestration("runs_failing_always")
    async def failing_always(run: Run) -> Any:
        await run.step("find", fails, retries=2)

    run_id = await runtime.manager.astart("runs_failing_always")
    run = await finished(run_id)
    assert (run["reason"], run["error"]) == ("step_failed", "Step 'find' failed at attempt 3: OSError: away")
    (step,) = await in_database(queries.steps_of, await in_database(queries.run_by_id, run_id))
    assert (step.status, step.attempts) == ("failed", 3)


@pytest.mark.parametrize(
    ("terms", "field"), [({"retries": -1}, "retries"), ({"idempotent": 1}, "idempotent")]
)
async def test_what_a_step_says_of_being_repeated_must_make_sense(
    runtime: Runtime, terms: dict[str, Any], field: str
) -> None:
    """It is refused by name, and nothing is called."""
    called: list[int] = []

    @orchestration("runs_repeating")
    async def repeating(run: Run, *, terms: dict[str, Any]) -> Any:
        return await run.step("note", called.append, 1, **terms)

    run = await finished(await runtime.manager.astart("runs_repeating", {"terms": terms}))
    assert (run["status"], run["reason"]) == ("failed", "invalid")
    assert run["error"].startswith(f"{field}: ")
    assert not called


async def test_a_result_that_is_not_json_is_not_asked_for_again(runtime: Runtime, at_once: None) -> None:
    """The step has had its effect; having it again would not help."""
    called = []

    def unrecordable() -> object:
        called.append(1)
        return object()

    @orchestration("runs_unrecordable_retried")
    async def retried(run: Run) -> Any:
        return await run.step("count", unrecordable, retries=5)

    assert (await finished(await runtime.manager.astart("runs_unrecordable_retried")))[
        "reason"
    ] == "step_failed"
    assert len(called) == 1


async def test_a_result_that_is_not_json_fails_its_step(runtime: Runtime) -> None:
    """What can't be recorded can't be replayed."""

    @orchestration("runs_unrecordable")
    async def unrecordable(run: Run) -> Any:
        return await run.step("count", lambda: {"amount": Decimal(1)})

    run = await finished(await runtime.manager.astart("runs_unrecordable"))
    assert (run["status"], run["reason"]) == ("failed", "step_failed")
    assert "result.amount" in run["error"]


async def test_a_result_may_be_a_number_that_no_request_may_have(runtime: Runtime) -> None:
    """Results are not on a trail; as arguments of a request such a number is refused, by name."""

    @orchestration("runs_large_number")
    async def large_number(run: Run, *, ask: bool) -> Any:
        wei = await run.step("count", lambda: {"wei": 1e18})
        if ask:
            await run.approve("Pay", arguments=wei, key="pay")
        return wei

    done = await finished(await runtime.manager.astart("runs_large_number", {"ask": False}))
    assert (done["status"], done["result"]) == ("completed", {"wei": 1e18})
    refused = await finished(await runtime.manager.astart("runs_large_number", {"ask": True}))
    assert (refused["status"], refused["reason"]) == ("failed", "invalid")
    assert refused["error"].startswith("arguments.wei is a number from 2**53")


async def test_a_key_makes_a_step_once_only(runtime: Runtime) -> None:
    """The same key, twice in one run: the first result stands."""
    calls = []

    @orchestration("runs_keyed")
    async def keyed(run: Run) -> Any:
        return [await run.step("note", lambda: calls.append(1), key="order 812") for _ in range(2)]

    run = await finished(await runtime.manager.astart("runs_keyed"))
    assert run["result"] == [None, None]
    assert len(calls) == 1


async def test_calls_at_once_need_keys(runtime: Runtime, owner: User) -> None:
    """Without, a replay could not tell them apart: the run fails, even if it swallows the error."""

    @orchestration("runs_concurrent")
    async def concurrent(run: Run) -> Any:
        both = [asyncio.ensure_future(run.step(name, str)) for name in "ab"]
        done = await asyncio.gather(*both, return_exceptions=True)
        return [type(each).__name__ for each in done]

    run = await finished(await runtime.manager.astart("runs_concurrent", owner=owner))
    assert (run["status"], run["reason"]) == ("failed", NeedsKey.code)
    assert "key=" in run["error"]


async def test_calls_at_once_with_keys_go_well(runtime: Runtime, owner: User) -> None:
    """Two people-facing waits and a step at the same time; the run waits while one of them does."""

    @orchestration("runs_concurrent_keyed")
    async def concurrent(run: Run) -> Any:
        first, second, third = await asyncio.gather(
            run.approve("First?", key="first"),
            run.ask("Second?", key="second"),
            run.step("third", str, 3, key="third"),
        )
        return [first.approved, second, third]

    run_id = await runtime.manager.astart("runs_concurrent_keyed", owner=owner)
    for title in ("First?", "Second?"):
        request = await asked(run_id, title)
        current = await in_database(queries.run_by_id, run_id)
        assert current.status == "waiting"
        if title == "First?":
            await deciding.adecide(factories.actor(owner), request["id"], "approve")
        else:
            await deciding.aanswer(factories.actor(owner), request["id"], "yes")
    assert (await finished(run_id))["result"] == [True, "yes", "3"]


async def test_a_step_within_a_step_needs_a_key(runtime: Runtime) -> None:
    """Its number would be missing in a replay that skips the outer one."""

    @orchestration("runs_nested")
    async def nested(run: Run) -> Any:
        async def outer() -> Any:
            return await run.step("inner", str, 1)

        return await run.step("outer", outer)

    run = await finished(await runtime.manager.astart("runs_nested"))
    assert run["reason"] == NeedsKey.code


async def test_a_message_grows_as_it_is_spoken(runtime: Runtime) -> None:
    """Each chunk reaches the record while the rest is still to come; other calls go on meanwhile."""
    heard = asyncio.Event()

    @orchestration("runs_speaking")
    async def speaking(run: Run) -> Any:
        async with run.speaking("writer") as speak:
            await speak("Once ")
            await run.step("look up", str)
            await heard.wait()
            await speak("upon a time")
        return speak.text

    run_id = await runtime.manager.astart("runs_speaking")
    chunks = []
    async for event in runtime.manager.watch(run_id):
        if event.type == "agent_message_chunk":
            chunks.append(event.data["text"])
            heard.set()
    assert chunks == ["Once ", "upon a time"]
    (message,) = await in_database(queries.messages_of, run_id)
    assert (message.agent, message.text, message.complete) == ("writer", "Once upon a time", True)


async def test_a_speech_that_breaks_off_is_closed(runtime: Runtime) -> None:
    """What was said stays; nobody waits for the rest."""

    @orchestration("runs_interrupted")
    async def interrupted(run: Run) -> None:
        async with run.speaking("writer") as speak:
            await speak("Once ")
            raise ValueError("no more ideas")

    run_id = await runtime.manager.astart("runs_interrupted")
    assert (await finished(run_id))["error"] == "ValueError: no more ideas"
    (message,) = await in_database(queries.messages_of, run_id)
    assert (message.text, message.complete) == ("Once ", True)


async def test_a_plan_is_shown_with_its_states(runtime: Runtime) -> None:
    """Steps carry state, times, request and note; what is over stays over."""

    @orchestration("runs_plan")
    async def planned(run: Run) -> None:
        await run.show_plan([{"title": "First", "agent": "a", "action": "x", "arguments": {"n": 1}}, {}])
        await run.mark_step(0, "running")
        await run.mark_step(0, "completed", "went well", request_id="r")
        await run.mark_step(0, "running")
        await run.mark_step(1, "running")

    run = await finished(await runtime.manager.astart("runs_plan"))
    first, second = run["plan"]
    assert first.pop("started_at") <= first.pop("finished_at")
    assert first == {
        "id": 1,
        "title": "First",
        "agent": "a",
        "action": "x",
        "arguments": {"n": 1},
        "state": "completed",
        "request_id": "r",
        "note": "went well",
    }
    assert (second["state"], second["finished_at"]) == ("running", None)


async def test_asking_survives_a_busy_writer(
    runtime: Runtime, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key makes asking again safe, so a run does not fail because the writer's queue was full once."""
    from approvals.exceptions import Busy

    real, failures = gate.aopen_approval, [Busy("full"), Busy("full")]

    async def sometimes(*args: Any, **kwargs: Any) -> str:
        if failures:
            raise failures.pop()
        return await real(*args, **kwargs)

    monkeypatch.setattr(gate, "aopen_approval", sometimes)
    run_id = await runtime.manager.astart("runs_asking", {"approval": True, "terms": {}}, owner)
    request = await asked(run_id)
    await deciding.adecide(Actor.program(), request["id"], "approve")
    assert (await finished(run_id))["result"] == "approved"
    assert not failures
