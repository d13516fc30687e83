"""HumanApprovalManager: nothing of a plan begins before a person has approved exactly its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import Any

from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.gate import OMITTED
from orchestration.agents.arguments import check_agent
from orchestration.agents.proxy_agent import title_of
from orchestration.exceptions import InvalidInput, Rejected
from orchestration.plans import InvalidPlan, Plan, Planner, Team, plan_from
from orchestration.runs.run import Run

ROUNDS = 30
ADVICE = (
    "Nothing begins before you approve. You may edit the steps; a rejection with a comment asks for others."
)


class HumanApprovalManager:
    """Stands between a planner and the work.

        manager = HumanApprovalManager(run, planner)
        plan = await manager.approved_plan("Tidy up the archive", team)

    A person approves the plan's steps, may edit them, or rejects them. A rejection with a comment goes back
    to the planner as feedback, and what it makes of it needs an approval of its own; a rejection without one
    ends the run, and so does the rejection of the last of `rounds` plans.

    The planner is called within a step of the run, so each of its plans is made once; but it plans anew if
    the process died meanwhile, for planning changes nothing. A planner that asks people itself, through the
    run, says so: `asks_people = True`. One that knows no other plan returns a plan without steps; the run
    ends as rejected then.
    """

    def __init__(
        self,
        run: Run,
        planner: Planner,
        *,
        rounds: int = ROUNDS,
        assignees: Collection[Any] | None = None,
        timeout: float | timedelta | None = OMITTED,
    ) -> None:
        self._run = run
        self._planner = planner
        self._rounds = rounds
        self._assignees = assignees
        self._timeout = timeout

    async def approved_plan(self, task: str, team: Team) -> Plan:
        """The plan as approved; Rejected, with the last outcome, where none is."""
        plan = await self._make_plan("plan", partial(self._planner.plan, task, team), team)
        flaw = ""
        for number in range(1, self._rounds + 1):
            try:
                approved = await self._ask_approval(plan, team, number, flaw)
            except Rejected as rejected:
                plan, flaw = await self._other_plan(task, team, plan, number, rejected), ""
                continue
            if approved == plan or not (flaw := await flaw_of(self._run, approved.as_json(), team)):
                return approved
            plan = approved
        raise InvalidInput(f"After {self._rounds} plans: {flaw}", field="steps")

    async def _ask_approval(self, plan: Plan, team: Team, number: int, flaw: str) -> Plan:
        await self._run.show_plan(plan.as_json()["steps"])
        outcome = await self._run.approve(
            title_of(f"Plan: {plan.task}" if number == 1 else f"Plan {number}: {plan.task}"),
            details=f"These steps can't be carried out: {flaw}" if flaw else ADVICE,
            arguments=plan.as_json(),
            editable=_plan_schema(plan.task, team),
            assignees=self._assignees,
            timeout=self._timeout,
        )
        approved = plan_from(outcome.arguments, team)
        if approved != plan:
            await self._run.show_plan(approved.as_json()["steps"])
        return approved

    async def _other_plan(self, task: str, team: Team, plan: Plan, number: int, rejected: Rejected) -> Plan:
        feedback = _feedback(rejected.outcome)
        if not feedback:
            raise rejected
        if number == self._rounds:
            raise _no_plan(f"None of {number} plans was approved", rejected) from rejected
        replan = partial(self._planner.replan, task, team, plan, feedback)
        other = await self._make_plan("replan", replan, team)
        if not other.steps:
            raise _no_plan("There is no other plan", rejected) from rejected
        return other

    async def _make_plan(self, name: str, planning: Callable[[], Awaitable[Plan]], team: Team) -> Plan:
        if getattr(self._planner, "asks_people", False):
            return await planning()
        made = await self._run.step(name, partial(_plan_and_check, planning, team), idempotent=True)
        return plan_from(made, team) if made["steps"] else Plan(task=made["task"], steps=())


def check_steps(plan: Plan, team: Team, *, here: bool = True) -> None:
    """Let each agent look at its steps; InvalidInput names the step and the field that can't be.

    `here`: as this process would carry them out. That may ask the database.
    """
    for index, step in enumerate(plan.steps):
        try:
            check_agent(team[step.agent], step.action, step.arguments, here=here)
        except InvalidInput as error:
            field = f"steps[{index}].{error.field}"
            raise InvalidInput(f"steps[{index}].{error.detail}", field=field) from error


async def flaw_of(run: Run, plan: dict[str, Any], team: Team) -> str:
    """What is wrong with a plan that a person wrote, in words; empty if nothing is. Recorded."""

    def check() -> str:
        try:
            check_steps(plan_from(plan, team), team)
        except (InvalidPlan, InvalidInput) as error:
            return f"{error.field}: {error.detail.removeprefix(f'{error.field}: ')}"
        return ""

    return str(await run.step("check steps", check, idempotent=True))


def steps_schema(agents: Collection[str] = (), *, fewest: int = 1) -> dict[str, Any]:
    """JSON Schema of a plan's steps, whoever carries them out or only by these agents."""
    return {
        "type": "array",
        "minItems": fewest,
        "items": {
            "type": "object",
            "properties": {
                "agent": {"type": "string", "enum": sorted(agents)} if agents else {"type": "string"},
                "action": {"type": "string", "pattern": r"\S"},
                "arguments": {"type": "object"},
                "approval": {"type": "boolean"},
            },
            "required": ["agent", "action"],
            "additionalProperties": False,
        },
    }


def steps_form(agents: Collection[str]) -> dict[str, Any]:
    """The schema of a plan's steps with the words that a form shows for them."""
    schema = steps_schema(agents)
    step = schema["items"]
    words = {
        "agent": {"description": "Who does it."},
        "action": {"description": "What is to be done, in the agent's words: run, GET, a question."},
        "arguments": {"description": "What the agent needs to know, as a JSON object."},
        "approval": {"title": "Ask once more right before it is done"},
    }
    described = {name: {**rule, **words[name]} for name, rule in step["properties"].items()}
    return {**schema, "items": {**step, "title": "Step", "properties": described}}


def _plan_schema(task: str, team: Team) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"task": {"const": task}, "steps": steps_form(team)},
        "required": ["task", "steps"],
        "additionalProperties": False,
    }


async def _plan_and_check(planning: Callable[[], Awaitable[Plan]], team: Team) -> dict[str, Any]:
    plan = await planning()
    if plan.steps:
        plan_from(plan.as_json(), team)
        await in_database(copy_context().run, partial(check_steps, plan, team))
    return plan.as_json()


def _feedback(outcome: Outcome) -> str:
    """What to do better, if a person said so."""
    return "" if outcome.timed_out or outcome.withdrawn else outcome.comment.strip()


def _no_plan(message: str, rejected: Rejected) -> Rejected:
    return Rejected(f"{message}. {rejected.detail}", outcome=rejected.outcome)
