"""Nothing of a plan begins before exactly its steps are approved, whoever planned it: whole runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals import deciding, gate
from approvals.exceptions import InvalidAnswer
from orchestration.catalog import agent, agents, orchestration
from orchestration.exceptions import InvalidInput, StepFailed
from orchestration.plans import Plan, PlanStep, Team
from orchestration.ready_made.approval_manager import HumanApprovalManager
from orchestration.ready_made.plan import carry_out
from orchestration.runs.run import Run
from orchestration.runtime import Runtime, start_runtime, stop_runtime
from tests import factories
from tests.marks import both_databases, every_engine
from tests.orchestration import watching
from tests.orchestration.people import Attended, begin
from tests.stacks import Stack

pytestmark = pytest.mark.one_stack

# What the agents of these tests have done, and how often planners were asked.
done: list[str] = []
planned: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> Iterator[None]:
    yield
    done.clear()
    planned.clear()


@agent("tests_painter", description="Paints")
async def painter(run: Run, action: str, arguments: dict[str, Any]) -> str:
    if action == "break":
        raise StepFailed("the brush broke")
    if action == "ask":
        return str(await run.ask("Which colour?"))
    return str(await run.step("paint", _paint, action, arguments))


def _paint(action: str, arguments: dict[str, Any]) -> str:
    done.append(action)
    return f"{action} painted {arguments.get('colour', 'white')}"


def step(action: str = "door", **changes: Any) -> dict[str, Any]:
    return {"agent": "tests_painter", "action": action, "arguments": {}, "approval": False} | changes


async def start(runtime: Runtime, owner: User, *steps: dict[str, Any]) -> Attended:
    return await begin(runtime, "plan", owner, task="Paint", steps=list(steps))


def states(run: dict[str, Any]) -> list[str]:
    return [shown["state"] for shown in run["plan"]]


class TestPlan:
    @every_engine
    async def test_approved_steps_are_carried_out_in_order(self, runtime: Runtime, owner: User) -> None:
        """The approval is of exactly the steps, and nothing happens before it."""
        steps = [step("door", arguments={"colour": "red"}), step("wall")]
        run = await start(runtime, owner, *steps)
        request = await run.asked("Plan: Paint")
        assert done == []
        await run.approve()
        finished = await run.finished()

        assert request["arguments"] == {"task": "Paint", "steps": steps}
        assert done == ["door", "wall"]
        assert finished["status"] == "completed"
        assert finished["result"].splitlines() == [
            "Done: Paint",
            "1. tests_painter, door: door painted red",
            "2. tests_painter, wall: wall painted white",
        ]
        assert states(finished) == ["completed", "completed"]

    async def test_a_rejection_without_a_word_ends_the_run(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step())
        await run.reject()
        assert (await run.finished())["status"] == "rejected"
        assert done == []

    async def test_a_withdrawn_approval_ends_the_run(self, runtime: Runtime, owner: User) -> None:
        """With a reason too: nobody said that the plan was bad."""
        run = await start(runtime, owner, step())
        await gate.withdraw((await run.asked())["id"], "not today")
        assert (await run.finished())["status"] == "rejected"
        assert done == []

    async def test_edited_steps_are_carried_out(self, runtime: Runtime, owner: User) -> None:
        """What is done and shown is what was approved in the end."""
        run = await start(runtime, owner, step("door"), step("wall"))
        await run.approve(arguments={"task": "Paint", "steps": [step("roof")]})
        finished = await run.finished()
        assert done == ["roof"]
        assert [shown["action"] for shown in finished["plan"]] == ["roof"]

    @pytest.mark.parametrize(
        "edited",
        [
            {"task": "Burn", "steps": [step()]},
            {"task": "Paint", "steps": []},
            {"task": "Paint", "steps": [step(agent="nobody")]},
            {"task": "Paint", "steps": [step(action=" ")]},
            {"task": "Paint", "steps": [step() | {"more": 1}]},
        ],
    )
    async def test_an_edit_that_is_no_plan_is_refused(
        self, runtime: Runtime, owner: User, edited: dict[str, Any]
    ) -> None:
        """The request stays as it was."""
        run = await start(runtime, owner, step())
        request = await run.asked()
        with pytest.raises(InvalidAnswer):
            await deciding.adecide(factories.actor(owner), request["id"], "approve", arguments=edited)
        await run.approve()
        assert (await run.finished())["status"] == "completed"

    async def test_an_edit_that_an_agent_can_not_do_is_asked_about_again(
        self, runtime: Runtime, owner: User
    ) -> None:
        run = await start(runtime, owner, step())
        wrong = {"agent": "http", "action": "GET", "arguments": {"url": "ftp://somewhere"}}
        await run.approve(arguments={"task": "Paint", "steps": [wrong]})
        again = await run.asked("Plan 2: Paint")
        await run.approve(arguments={"task": "Paint", "steps": [step("door")]})

        assert "steps[0].arguments.url: must be an address" in again["details"]
        assert again["arguments"]["steps"][0]["agent"] == "http"
        assert (await run.finished())["status"] == "completed"
        assert done == ["door"]

    async def test_a_step_may_need_approval_of_its_own(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step("door"), step("wall", approval=True))
        await run.approve("Plan: Paint")
        request = await run.asked("Step 2: tests_painter, wall")
        assert done == ["door"]
        await run.approve()
        await run.finished()
        assert request["arguments"] == {"agent": "tests_painter", "action": "wall", "arguments": {}}
        assert done == ["door", "wall"]

    async def test_a_rejected_step_ends_the_run_there(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step("door"), step("wall", approval=True), step("roof"))
        await run.approve("Plan: Paint")
        await run.reject("too wet", "Step 2: tests_painter, wall")
        finished = await run.finished()
        assert (finished["status"], done) == ("rejected", ["door"])
        assert states(finished) == ["completed", "rejected", "skipped"]
        assert "too wet" in finished["plan"][1]["note"]

    async def test_a_failed_step_ends_the_run_there(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step("break"), step("wall"))
        await run.approve("Plan: Paint")
        finished = await run.finished()
        assert (finished["status"], finished["error"]) == ("failed", "the brush broke")
        assert states(finished) == ["failed", "skipped"]
        assert done == []

    async def test_an_agent_may_ask(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step("ask"))
        await run.approve()
        await run.answer("blue", "Which colour?")
        assert (await run.finished())["result"].endswith("ask: blue")

    @both_databases
    async def test_a_new_owner_of_the_run_goes_on_where_it_was(self, stack: Stack, owner: User) -> None:
        """Nothing is done twice, nothing is asked twice."""
        run = await start(await start_runtime(), owner, step("door"), step("wall", approval=True))
        await run.approve("Plan: Paint")
        request = await run.asked("Step 2: tests_painter, wall")
        await stop_runtime()
        await start_runtime()
        again = await run.approve()
        finished = await run.finished()
        await stop_runtime()

        assert again["id"] == request["id"]
        assert done == ["door", "wall"]
        assert states(finished) == ["completed", "completed"]


class TestMalformed:
    @pytest.mark.parametrize(
        ("steps", "field", "words"),
        [
            ([], "steps", "at least one step"),
            ([step(), step(agent="nobody")], "steps[1].agent", "Known agents: command"),
            ([step(action="")], "steps[0].action", ""),
            ([{"agent": "person"}], "steps[0].action", ""),
            ([step(approval="yes")], "steps[0].approval", ""),
            ([step(arguments=[])], "steps[0].arguments", ""),
            ([step() | {"args": {}}], "steps[0]", "args"),
            ([step(agent="command", action="run")], "steps[0].arguments.program", "is required"),
            (
                [step(agent="command", action="run", arguments={"program": "rm"})],
                "steps[0].arguments.program",
                "SAYSO_COMMANDS",
            ),
            ([step(agent="email", action="burn")], "steps[0].action", "Known actions: send"),
        ],
    )
    async def test_it_is_refused_before_anything_starts(
        self, runtime: Runtime, owner: User, steps: list[Any], field: str, words: str
    ) -> None:
        """The error names the field and the names that are known."""
        with pytest.raises(InvalidInput) as refused:
            await start(runtime, owner, *steps)
        assert refused.value.field == field
        assert field in refused.value.detail
        assert re.search(words, refused.value.detail)

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"steps": [step()]}, "task"),
            ({"task": "Paint"}, "steps"),
            ({"task": "", "steps": [step()]}, "task"),
        ],
    )
    async def test_task_and_steps_are_needed(
        self, runtime: Runtime, owner: User, given: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            await begin(runtime, "plan", owner, **given)
        assert refused.value.field == field


class TestSentBack:
    """The default planner has one plan: sent back, it asks the owner for other steps."""

    async def test_other_steps_need_an_approval_of_their_own(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step("door"))
        await run.reject("Not the door.\nThe wall!")
        question = await run.answer([step("wall")], "Which steps instead? Paint")
        request = await run.asked("Plan 2: Paint")
        assert done == []
        await run.approve()
        await run.finished()

        assert "> Not the door.\n> The wall!" in question["details"]
        assert '"action": "door"' in question["details"]
        assert request["arguments"] == {"task": "Paint", "steps": [step("wall")]}
        assert done == ["wall"]

    async def test_an_empty_list_ends_the_run(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, step())
        await run.reject("no")
        await run.answer([])
        finished = await run.finished()
        assert finished["status"] == "rejected"
        assert "There is no other plan. Plan: Paint: rejected by ana: no" in finished["error"]

    async def test_steps_that_can_not_be_done_are_asked_about_again(
        self, runtime: Runtime, owner: User
    ) -> None:
        run = await start(runtime, owner, step())
        await run.reject("no")
        first = await run.answer([step(agent="nobody")])
        second = await run.asked("Which steps instead? Paint")
        assert second["id"] != first["id"]
        assert "steps[0].agent: There is no agent 'nobody'" in second["details"]
        await run.answer([step("wall")])
        await run.approve()
        await run.finished()
        assert done == ["wall"]


class Listening:
    """A planner that does what it is told; a real one would ask a model."""

    async def plan(self, task: str, team: Team) -> Plan:
        planned.append("plan")
        return Plan(task=task, steps=(PlanStep(agent="tests_painter", action="door"),))

    async def replan(self, task: str, team: Team, plan: Plan, feedback: str) -> Plan:
        planned.append(feedback)
        if feedback == "forget it":
            return Plan(task=task, steps=())
        return Plan(task=task, steps=(*plan.steps, PlanStep(agent="tests_painter", action=feedback)))


class Confused(Listening):
    async def plan(self, task: str, team: Team) -> Plan:
        return Plan(task=task, steps=(PlanStep(agent="nobody", action="door"),))


@orchestration("tests_planner")
async def with_a_planner(run: Run, *, confused: bool = False) -> str:
    return await carry_out(run, "Paint", Confused() if confused else Listening())


@orchestration("tests_three_rounds")
async def three_rounds(run: Run) -> str:
    plan = await HumanApprovalManager(run, Listening(), rounds=3).approved_plan("Paint", agents())
    return plan.steps[-1].action


class TestPlanner:
    @every_engine
    async def test_feedback_leads_to_a_plan_that_is_approved_anew(
        self, runtime: Runtime, owner: User
    ) -> None:
        run = await begin(runtime, "tests_planner", owner)
        await run.reject("wall", "Plan: Paint")
        await run.reject("roof", "Plan 2: Paint")
        request = await run.approve("Plan 3: Paint")
        finished = await run.finished()

        assert [one["action"] for one in request["arguments"]["steps"]] == ["door", "wall", "roof"]
        assert planned == ["plan", "wall", "roof"]
        assert done == ["door", "wall", "roof"]
        assert states(finished) == ["completed"] * 3

    async def test_a_planner_may_give_up(self, runtime: Runtime, owner: User) -> None:
        run = await begin(runtime, "tests_planner", owner)
        await run.reject("forget it")
        finished = await run.finished()
        assert finished["status"] == "rejected"
        assert "forget it" in finished["error"]

    async def test_a_plan_that_can_not_be_is_shown_to_nobody(self, runtime: Runtime, owner: User) -> None:
        run = await begin(runtime, "tests_planner", owner, confused=True)
        finished = await run.finished()
        assert finished["status"] == "failed"
        assert "There is no agent 'nobody'" in finished["error"]

    async def test_each_plan_is_made_once(self, stack: Stack, owner: User) -> None:
        """A process dies while the second plan waits: the next one asks the same, without planning again."""
        run = await begin(await start_runtime(), "tests_planner", owner)
        await run.reject("wall", "Plan: Paint")
        request = await run.asked("Plan 2: Paint")
        await stop_runtime()
        await start_runtime()
        assert (await run.approve())["id"] == request["id"]
        await run.finished()
        await stop_runtime()
        assert planned == ["plan", "wall"]
        assert done == ["door", "wall"]

    async def test_after_the_last_round_the_run_is_rejected(self, runtime: Runtime, owner: User) -> None:
        run = await begin(runtime, "tests_three_rounds", owner)
        for number in range(1, 4):
            await run.reject(f"worse {number}")
        finished = await run.finished()
        assert finished["status"] == "rejected"
        assert finished["error"].startswith("None of 3 plans was approved.")
        assert planned == ["plan", "worse 1", "worse 2"]

    @pytest.mark.one_stack
    async def test_thirty_rounds_are_the_most(self, runtime: Runtime, owner: User) -> None:
        run = await begin(runtime, "tests_planner", owner)
        for number in range(30):
            await run.reject(f"worse {number}")
        finished = await watching.finished(run.run_id)
        assert finished["error"].startswith("None of 30 plans was approved.")
