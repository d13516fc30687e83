"""The orchestration `plan`: carry out steps by agents, after a person has approved exactly these steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from approvals.domain.masking import hide_headers
from orchestration.agents.proxy_agent import title_of
from orchestration.catalog import agents, orchestration
from orchestration.exceptions import Rejected, plain_words
from orchestration.plans import Agent, Plan, Planner, PlanStep, StepState, Team, plan_from
from orchestration.policies.allowlists import is_checked_at_start
from orchestration.policies.deciders import OWNER
from orchestration.ready_made.approval_manager import (
    HumanApprovalManager,
    check_steps,
    flaw_of,
    steps_form,
    steps_schema,
)
from orchestration.runs.run import Run


def check_plan(given: Mapping[str, Any]) -> None:
    """Check the steps before the run starts."""
    check_steps(plan_from(given, team := agents()), team, here=is_checked_at_start())


class _Steps:
    """The schema of the steps in forms and API; `check_plan` checks them."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return steps_form(agents())


@orchestration("plan", check=check_plan)
async def plan(run: Run, *, task: str, steps: Annotated[list[dict[str, Any]], _Steps()]) -> str:
    """Have a plan approved, then carry out its steps, one after the other.

    A step with `"approval": true` asks again, right before it is done; `http` (except GET and HEAD) and
    `email` always do. The approver can edit the plan, or reject it with a comment: then the owner is asked
    for other steps, which need an approval of their own.

    Input: `{"task": "See how full the disk is", "steps": [{"agent": "command", "action": "run",
    "arguments": {"program": "df", "arguments": ["-h"]}, "approval": false}]}`
    """
    team = agents()
    return await carry_out(run, task, GivenPlan(run, plan_from({"task": task, "steps": steps}, team)), team)


async def carry_out(run: Run, task: str, planner: Planner, team: Team | None = None) -> str:
    """Have a plan of your own planner approved, and carry it out.

        @orchestration("tidy_up")
        async def tidy_up(run: Run, *, task: str) -> str:
            return await carry_out(run, task, MyPlanner())

    `team` None: all registered agents.
    """
    team = agents() if team is None else team
    approved = await HumanApprovalManager(run, planner).approved_plan(task, team)
    results = [await _try_step(run, team, approved, index) for index in range(len(approved.steps))]
    return _final_answer(approved, results)


class GivenPlan:
    """The default planner: it returns the given plan; after a rejection it asks the owner for other steps.

    If the owner gives no steps, or no answer in time, there is no other plan.
    """

    asks_people = True

    def __init__(self, run: Run, given: Plan) -> None:
        self._run = run
        self._given = given

    async def plan(self, task: str, team: Team) -> Plan:
        return self._given

    async def replan(self, task: str, team: Team, plan: Plan, feedback: str) -> Plan:
        flaw = ""
        while True:
            steps = await self._run.ask(
                title_of(f"Which steps instead? {task}"),
                details=_replan_details(plan, feedback, flaw),
                schema=steps_schema(fewest=0),
                default=[],
                assignees=OWNER,
            )
            if not steps:
                return Plan(task=task, steps=())
            other = {"task": task, "steps": steps}
            flaw = await flaw_of(self._run, other, team)
            if not flaw:
                return plan_from(other, team)


async def _try_step(run: Run, team: Team, plan: Plan, index: int) -> str:
    """Carry out one step, and show its state in the plan."""
    try:
        result = await _carry_out_step(run, team[plan.steps[index].agent], plan.steps[index], index)
    except Exception as error:
        ended = StepState.REJECTED if isinstance(error, Rejected) else StepState.FAILED
        await run.mark_step(index, ended, plain_words(error))
        for later in range(index + 1, len(run.plan)):
            await run.mark_step(later, StepState.SKIPPED)
        raise
    await run.mark_step(index, StepState.COMPLETED, _brief(result))
    return result


async def _carry_out_step(run: Run, agent: Agent, step: PlanStep, index: int) -> str:
    if step.approval:
        await run.mark_step(index, StepState.WAITING)
        await run.approve(
            title_of(f"Step {index + 1}: {step.agent}, {step.action}"),
            arguments={"agent": step.agent, "action": step.action, "arguments": step.arguments},
        )
    await run.mark_step(index, StepState.RUNNING)
    result = await agent(run, step.action, step.arguments)
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _replan_details(plan: Plan, feedback: str, flaw: str) -> str:
    quoted = "\n".join(f"> {line}" for line in feedback.splitlines())
    steps = json.dumps(hide_headers(plan.as_json()["steps"]), ensure_ascii=False, indent=2)
    problem = f"The steps of your last answer can't be carried out: {flaw}\n\n" if flaw else ""
    return (
        f"{problem}The plan was rejected:\n\n{quoted}\n\nIts steps were:\n\n```json\n{steps}\n```\n\n"
        "Answer with other steps, which will need approval, or with an empty list to end the run."
    )


def _final_answer(plan: Plan, results: list[str]) -> str:
    lines = [
        f"{number}. {step.agent}, {step.action}: {_brief(result)}"
        for number, (step, result) in enumerate(zip(plan.steps, results, strict=True), 1)
    ]
    return "\n".join([f"Done: {plan.task}", *lines])


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299].rstrip()}…"
