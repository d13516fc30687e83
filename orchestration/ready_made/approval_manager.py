"""HumanApprovalManager: have a person approve a plan's exact steps before any of them begins."""

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
ADVICE = "Nothing begins before you approve. You can edit the steps, or reject with a comment to get others."


class HumanApprovalManager:
    """Asks a planner for a plan, and a person to approve it.

        manager = HumanApprovalManager(run, planner)
        plan = await manager.approved_plan("Tidy up the archive", team)

    A person approves the plan's steps, edits them, or rejects them. A rejection with a comment goes back to
    the planner as feedback, and its next plan needs an approval of its own. A rejection without a comment
    ends the run, and so does the rejection of the last of `rounds` plans.

    The planner is called in a step of the run, so each plan is made once; after a crash meanwhile it is
    called again. A planner that asks people through the run must have `asks_people = True`. A planner that
    has no other plan returns one without steps; then the run ends as rejected.
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
        """Return the approved plan; raise Rejected, with the last outcome, where no plan is approved."""
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
    """Check all steps by their agents; InvalidInput names the step and the field at fault.

    `here`: also check what this process can do, which may read the database.
    """
    for index, step in enumerate(plan.steps):
        try:
            check_agent(team[step.agent], step.action, step.arguments, here=here)
        except InvalidInput as error:
            field = f"steps[{index}].{error.field}"
            raise InvalidInput(f"steps[{index}].{error.detail}", field=field) from error


async def flaw_of(run: Run, plan: dict[str, Any], team: Team) -> str:
    """Return what is wrong with a plan that a person wrote, or an empty text. A step of the run."""

    def check() -> str:
        try:
            check_steps(plan_from(plan, team), team)
        except (InvalidPlan, InvalidInput) as error:
            return f"{error.field}: {error.detail.removeprefix(f'{error.field}: ')}"
        return ""

    return str(await run.step("check steps", check, idempotent=True))


def steps_schema(agents: Collection[str] = (), *, fewest: int = 1) -> dict[str, Any]:
    """Return the JSON Schema of a plan's steps: by these agents, or by any."""
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
    """Return the schema of a plan's steps with the texts that a form shows."""
    schema = steps_schema(agents)
    step = schema["items"]
    words = {
        "agent": {"description": "Who does it."},
        "action": {"description": "What to do, as the agent calls it: run, GET, a question."},
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
    """Return the comment of a person's rejection, or an empty text."""
    return "" if outcome.timed_out or outcome.withdrawn else outcome.comment.strip()


def _no_plan(message: str, rejected: Rejected) -> Rejected:
    return Rejected(f"{message}. {rejected.detail}", outcome=rejected.outcome)
