"""A step that was interrupted between its effect and its record: what a person is asked, and what follows."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.web.pages.forms import AnswerForm
from orchestration import OrchestrationManager, Run, agent, models, orchestration, queries
from orchestration.plans import Plan, PlanStep, Team
from orchestration.ready_made.plan import carry_out
from orchestration.runs import call_records
from orchestration.runs.interruptions import SCHEMA, Decision, decision_of, details_for
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, idle, until_recorded

QUESTION = "Interrupted: was “pay” done?"

effects: Counter[str] = Counter()
# Set once an effect is there whose record a test holds back; and the way on from there.
performed: asyncio.Event
recordable: asyncio.Event


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    global performed, recordable
    effects.clear()
    performed, recordable = asyncio.Event(), asyncio.Event()


async def pay(order: int, *, amount: str) -> dict[str, Any]:
    """The first effect never gets to its record."""
    effects["pay"] += 1
    if effects["pay"] == 1:
        performed.set()
        await recordable.wait()
    return {"paid": order, "effects": effects["pay"]}


@orchestration("interruptions_refund")
async def refund(run: Run, *, terms: dict[str, Any] | None = None) -> Any:
    paid = await run.step("pay", pay, 812, amount="12.00", **(terms or {}))
    return [paid, await run.step("note", str, "noted")]


async def interrupted(process: Processes, name: str, owner: User | None, **given: Any) -> UUID:
    """A run whose step had its effect when its process died, before that was on record."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart(name, given, owner)
    await performed.wait()
    await died(engine)
    return run_id


async def died(engine: Any) -> None:
    await engine.let_go()
    await in_database(models.Run.objects.update, process=None)


async def goes_on(process: Processes, run_id: UUID) -> Any:
    engine = await process()
    await engine.execute([run_id])
    return engine


async def answer(owner: User, request: dict[str, Any], decision: Decision, **more: Any) -> None:
    await deciding.aanswer(factories.actor(owner), request["id"], {"decision": decision, **more})


# The question


async def test_whoever_owns_the_run_is_asked_and_sees_exactly_what_is_known(
    process: Processes, owner: User
) -> None:
    """The step, its arguments, when it began and in which process; no clock decides; the run waits."""
    run_id = await interrupted(process, "interruptions_refund", owner)
    begun = await in_database(call_records.find_step, run_id, "pay#1")
    await goes_on(process, run_id)
    request = await asked(run_id)
    assert request["title"] == QUESTION
    assert (request["requester"], request["assignees"]) == ("olga", {"users": ["olga"], "groups": []})
    assert request["deadline"] is None
    for known in (
        "it may have had its effect, or not",
        "Step: `pay`, attempt 1",
        f"Begun: {begun.started_at:%Y-%m-%d %H:%M:%S} UTC by the process `{begun.begun_by}`",
        "Function: `tests.orchestration.runs.test_interruptions.pay`",
        '```json\n{\n  "order": 812,\n  "amount": "12.00"\n}\n```',
        *Decision,
    ):
        assert known in request["details"]
    run = queries.run_on_the_wire(await in_database(queries.run_by_id, run_id))
    assert (run["status"], run["waiting_for"]) == ("waiting", [request["id"]])
    assert effects["pay"] == 1


async def test_without_owner_whoever_has_the_permission_is_asked(process: Processes) -> None:
    reviewer = await in_database(factories.reviewer)
    run_id = await interrupted(process, "interruptions_refund", None)
    await goes_on(process, run_id)
    request = await asked(run_id)
    assert request["assignees"] == {"users": [], "groups": []}
    await answer(reviewer, request, Decision.DONE, result="by hand")
    assert (await finished(run_id))["result"] == ["by hand", "noted"]


def test_the_form_has_the_three_ways_and_a_field_for_any_json() -> None:
    """One act: the way on, and the result where there is one. What is no JSON is refused there and then."""

    class Asked:
        choices, multiple, schema = None, False, SCHEMA

    def answered(decision: str, result: str) -> AnswerForm:
        return AnswerForm(Asked(), {"answer.decision": decision, "answer.result": result})

    for text, value in [("812", 812), ('"a text"', "a text"), ('{"paid": [true]}', {"paid": [True]})]:
        form = answered(Decision.DONE, text)
        assert form.is_valid(), form.errors
        assert form.cleaned_data["answer"] == {"decision": Decision.DONE, "result": value}
    form = answered(Decision.AGAIN, "")
    assert form.is_valid()
    assert form.cleaned_data["answer"] == {"decision": Decision.AGAIN}
    assert "not JSON" in answered(Decision.DONE, '{"paid": ').errors["answer.result"][0]
    assert not answered("", "").is_valid()


def details(deed: partial[Any], **known: Any) -> str:
    known = {"attempt": 1, "begun_at": datetime.now(UTC), "begun_by": "host:1", "error": "", **known}
    return details_for("a step", deed, **known)


def test_arguments_are_shown_whatever_they_are() -> None:
    """By name where the function tells; by number otherwise; of what is no JSON, the type."""
    assert "It has no arguments." in details(partial(dict))
    assert '"1": 812,\n  "base": 10' in details(partial(int, 812, base=10))
    assert '"1": "<builtins.object>"' in details(partial(str, object()))
    assert "\\ud800" in details(partial(pay, 1, amount="\ud800"))
    long = details(partial(pay, 1, amount="long " * 10_000))
    assert "… and more" in long
    assert len(long) < 25_000


def test_no_argument_can_pass_for_what_sayso_says() -> None:
    """A fence in a value does not end the block it is shown in; nor a tick the line of code."""
    text = details(partial(pay, 1, amount="```\n# Approved"), error="`**all is well**`")
    assert "````json\n" in text
    assert "`` `**all is well**` ``" in text


def test_what_nobody_answered_stops_the_run() -> None:
    """A question that was taken back is no permission to go on."""
    withdrawn = Outcome(request_id="1", kind="clarification", status="withdrawn", withdrawn=True)
    assert decision_of(withdrawn) is Decision.STOP


# What follows


@pytest.mark.parametrize(
    ("decision", "more", "result", "times"),
    [
        (Decision.AGAIN, {}, {"paid": 812, "effects": 2}, 2),
        (Decision.DONE, {"result": {"paid": "by hand"}}, {"paid": "by hand"}, 1),
        (Decision.DONE, {"result": "a text"}, "a text", 1),
        (Decision.DONE, {}, None, 1),
    ],
)
async def test_the_run_goes_on_as_the_person_says(
    process: Processes, owner: User, decision: Decision, more: dict[str, Any], result: Any, times: int
) -> None:
    """Done again; or done, with the result that the person gives, which may be none."""
    run_id = await interrupted(process, "interruptions_refund", owner)
    await goes_on(process, run_id)
    await answer(owner, await asked(run_id), decision, **more)
    run = await finished(run_id)
    assert (run["status"], run["result"]) == ("completed", [result, "noted"])
    assert effects["pay"] == times
    steps = {step.key: step for step in await in_database(lambda: list(models.StepRecord.objects.all()))}
    assert (steps["pay#1"].status, steps["pay#1"].attempts) == ("done", 2)
    assert (steps["pay#1/interrupted/1"].kind, steps["pay#1/interrupted/1"].status) == ("interrupted", "done")
    assert "note#2" in steps, "asking takes no number"


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_the_run_stops_where_the_person_says_so_and_asks_again_when_resumed(
    process: Processes, owner: User, withdrawn: bool
) -> None:
    """It says why, for a reason of its own, whatever the orchestration catches. A question that was taken
    back stops it, too. Resuming is no answer: nothing is done again without one."""

    @orchestration("interruptions_stubborn")
    async def stubborn(run: Run) -> Any:
        try:
            return await run.step("pay", pay, 812, amount="12.00")
        except Exception:
            return "all is well"

    run_id = await interrupted(process, "interruptions_stubborn", owner)
    engine = await goes_on(process, run_id)
    first = await asked(run_id)
    if withdrawn:
        await deciding.awithdraw(factories.actor(owner), first["id"], "later")
    else:
        await answer(owner, first, Decision.STOP)
    run = await finished(run_id)
    assert (run["status"], run["reason"]) == ("failed", "interrupted")
    how = "the question about it was withdrawn by olga: later" if withdrawn else "stopped by olga"
    assert run["error"] == f"Step 'pay' was interrupted and has no result on record; {how}"
    await idle(engine)

    await OrchestrationManager().aresume(factories.actor(owner), run_id)
    await engine.execute([run_id])
    second = await asked(run_id)
    assert second["id"] != first["id"]
    await answer(owner, second, Decision.DONE, result=1)
    assert (await finished(run_id))["result"] == 1
    assert effects["pay"] == 1


@pytest.mark.parametrize("while_away", [False, True])
async def test_a_process_that_dies_while_asking_has_asked_once(
    process: Processes, owner: User, while_away: bool
) -> None:
    """The next one waits for the same answer; one that came while nobody executed the run counts."""
    run_id = await interrupted(process, "interruptions_refund", owner)
    second = await goes_on(process, run_id)
    request = await asked(run_id)
    await died(second)
    if while_away:
        await answer(owner, request, Decision.AGAIN)
    await goes_on(process, run_id)
    if not while_away:
        assert (await asked(run_id))["id"] == request["id"]
        await answer(owner, request, Decision.AGAIN)
    assert (await finished(run_id))["result"] == [{"paid": 812, "effects": 2}, "noted"]
    assert await in_database(queries.request_ids_of, run_id) == [UUID(request["id"])]


async def test_a_question_that_was_opened_but_not_noted_is_found_by_its_key(
    process: Processes, owner: User
) -> None:
    """The process died between asking and recording that it had asked."""
    run_id = await interrupted(process, "interruptions_refund", owner)
    second = await goes_on(process, run_id)
    request = await asked(run_id)
    await died(second)
    await in_database(models.StepRecord.objects.filter(kind="interrupted").delete)
    await goes_on(process, run_id)
    assert (await asked(run_id))["id"] == request["id"]


@pytest.mark.parametrize("decision", [Decision.AGAIN, Decision.DONE])
async def test_an_answer_is_followed_once_wherever_the_process_dies(
    process: Processes, owner: User, decision: Decision
) -> None:
    """Between the answer and what follows from it: the answer is on record, and is not asked for again."""
    run_id = await interrupted(process, "interruptions_refund", owner)
    second = await goes_on(process, run_id)
    await answer(owner, await asked(run_id), decision, result="by hand")
    before = await finished(run_id)
    await idle(second)
    await in_database(back_at_the_answer, run_id)
    effects["pay"] = 1
    await goes_on(process, run_id)
    after = await finished(run_id)
    assert after["result"] == before["result"]
    assert effects["pay"] == (2 if decision is Decision.AGAIN else 1)
    assert len(await in_database(queries.request_ids_of, run_id)) == 1


def back_at_the_answer(run_id: UUID) -> None:
    """Leave the rows as a death right after the answer was recorded would have left them."""
    steps = models.StepRecord.objects.filter(run_id=run_id)
    steps.filter(name="note").delete()
    steps.filter(kind="step").update(status="started", attempts=1, result=None, finished_at=None)
    models.Run.objects.filter(pk=run_id).update(
        status="running", finished_at=None, result=None, process=None, leaves_requests=False
    )


async def test_a_second_interruption_is_a_question_of_its_own(process: Processes, owner: User) -> None:
    """An answer holds for the attempt that it was about."""
    again = asyncio.Event()

    @orchestration("interruptions_twice")
    async def twice(run: Run) -> Any:
        async def effect() -> int:
            effects["effect"] += 1
            (performed if effects["effect"] == 1 else again).set()
            if effects["effect"] < 3:
                await recordable.wait()
            return effects["effect"]

        return await run.step("effect", effect)

    run_id = await interrupted(process, "interruptions_twice", owner)
    second = await goes_on(process, run_id)
    first = await asked(run_id)
    await answer(owner, first, Decision.AGAIN)
    await again.wait()
    await died(second)
    await goes_on(process, run_id)
    request = await asked(run_id)
    assert request["id"] != first["id"]
    assert "attempt 2" in request["details"]
    await answer(owner, request, Decision.AGAIN)
    assert (await finished(run_id))["result"] == 3


@pytest.mark.parametrize("terms", [{"idempotent": True}, {"retries": 1}])
async def test_a_step_that_says_so_is_repeated_unasked(
    process: Processes, owner: User, terms: dict[str, Any]
) -> None:
    """Because twice is as good as once, or because it had another attempt."""
    run_id = await interrupted(process, "interruptions_refund", owner, terms=terms)
    await goes_on(process, run_id)
    assert (await finished(run_id))["result"] == [{"paid": 812, "effects": 2}, "noted"]
    assert await in_database(queries.request_ids_of, run_id) == []


async def test_an_interrupted_step_beside_others_asks_while_they_go_on(
    process: Processes, owner: User
) -> None:
    """Calls at once, each with its key: only the one that was under way is asked about."""

    @orchestration("interruptions_beside")
    async def beside(run: Run) -> Any:
        return await asyncio.gather(
            run.step("pay", pay, 1, amount="1", key="pay"),
            run.step("other", str, "other", key="other"),
            run.ask("Which?", key="which"),
        )

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("interruptions_beside", owner=owner)
    await performed.wait()
    question = await asked(run_id, "Which?")
    await until_recorded(models.StepRecord.objects.filter(key="other", status="done").exists)
    await died(engine)
    await goes_on(process, run_id)
    await deciding.aanswer(factories.actor(owner), question["id"], "this")
    await answer(owner, await asked(run_id, QUESTION), Decision.DONE, result="paid")
    assert (await finished(run_id))["result"] == ["paid", "other", "this"]


async def test_resuming_a_failed_run_does_not_repeat_what_was_under_way(
    runtime: Runtime, owner: User
) -> None:
    """A failure beside a step ends it in the middle; whether it had its effect, nobody knows then either."""
    broken = [True]

    @orchestration("interruptions_failed_beside")
    async def failed_beside(run: Run) -> Any:
        async with asyncio.TaskGroup() as tasks:
            paying = tasks.create_task(run.step("pay", pay, 1, amount="1", key="pay"))
            await performed.wait()
            if broken[0]:
                raise OSError("away")
        return paying.result()

    run_id = await runtime.manager.astart("interruptions_failed_beside", owner=owner)
    assert (await finished(run_id))["status"] == "failed"
    broken[0] = False
    await runtime.manager.aresume(factories.actor(owner), run_id)
    await answer(owner, await asked(run_id, QUESTION), Decision.DONE, result="paid")
    assert (await finished(run_id))["result"] == "paid"
    assert effects["pay"] == 1


# Agents


@agent("interruptions_careless", description="Pays", idempotent=True)
async def careless(run: Run, action: str, arguments: dict[str, Any]) -> str:
    return str((await run.step("pay", pay, 1, amount="1"))["effects"])


class OneStep:
    async def plan(self, task: str, team: Team) -> Plan:
        return Plan(task=task, steps=(PlanStep(agent="interruptions_careless", action="pay"),))

    async def replan(self, task: str, team: Team, plan: Plan, feedback: str) -> Plan:
        return plan


async def test_an_agents_steps_are_repeated_as_the_agent_says(process: Processes, owner: User) -> None:
    """In a plan, too: its planning is on record, its approval attached to, its step done again unasked."""

    @orchestration("interruptions_plan")
    async def planned(run: Run) -> str:
        return await carry_out(run, "Pay", OneStep())

    engine = await process()
    run_id = await OrchestrationManager(engine).astart("interruptions_plan", owner=owner)
    await deciding.adecide(factories.actor(owner), (await asked(run_id))["id"], "approve")
    await performed.wait()
    await died(engine)
    await goes_on(process, run_id)
    assert "pay: 2" in (await finished(run_id))["result"]
