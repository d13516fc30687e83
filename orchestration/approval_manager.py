"""HumanApprovalManager: nothing of a plan begins before a person has approved exactly its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from approvals.gate import OMITTED
from approvals.lifecycle import Outcome
from orchestration.exceptions import InvalidInput, Rejected
from orchestration.plans import InvalidPlan, Plan, Planner, Team, plan_from
from orchestration.proxy_agent import title_of
from orchestration.runs import Run

ROUNDS = 30


class HumanApprovalManager:
    """Stands between a planner and the work.

        manager = HumanApprovalManager(run, planner)
        plan = await manager.approved_plan("Tidy up the archive", team)

    A person approves the plan's steps, may edit them, or rejects them. A rejection with a comment goes back
    to the planner as feedback, and what it makes of it needs an approval of its own; a rejection without one
    ends the run, and so does the rejection of the last of `rounds` plans.

    The planner is called within a step of the run, so each of its plans is made once, even if the process
    dies. A planner that asks people itself, through the run, says so: `asks_people = True`. One that knows no
    other plan returns a plan without steps; the run ends as rejected then.
    """

    def __init__(
        self,
        run: Run,
        planner: Planner,
        *,
        rounds: int = ROUNDS,
        assignees: Collection[Any] | None = None,
        timeout: float | None = OMITTED,
    ) -> None:
        self._run = run
        self._planner = planner
        self._rounds = rounds
        self._assignees = assignees
        self._timeout = timeout

    async def approved_plan(self, task: str, team: Team) -> Plan:
        """The plan as approved; Rejected, with the last outcome, where none is."""
        plan = await self._made("plan", partial(self._planner.plan, task, team), team)
        for number in range(1, self._rounds + 1):
            await self._run.show_plan(plan.as_json()["steps"])
            try:
                return await self._approved(plan, team, number)
            except Rejected as rejected:
                if not (feedback := _feedback(rejected.outcome)):
                    raise
                if number == self._rounds:
                    raise _no_plan(f"None of {number} plans was approved", rejected) from rejected
                plan = await self._made(
                    "replan", partial(self._planner.replan, task, team, plan, feedback), team
                )
                if not plan.steps:
                    raise _no_plan("There is no other plan", rejected) from rejected
        raise AssertionError("the last round returns or raises")

    async def _made(self, name: str, planning: Callable[[], Awaitable[Plan]], team: Team) -> Plan:
        async def on_record() -> dict[str, Any]:
            return (await planning()).as_json()

        asks_people = getattr(self._planner, "asks_people", False)
        made = await on_record() if asks_people else await self._run.step(name, on_record)
        return Plan(task=made["task"], steps=()) if not made["steps"] else _read(made, team)

    async def _approved(self, plan: Plan, team: Team, number: int) -> Plan:
        outcome = await self._run.approve(
            title_of(f"Plan: {plan.task}" if number == 1 else f"Plan {number}: {plan.task}"),
            details="Nothing begins before you approve. You may edit the steps; a rejection with a comment"
            " asks for another plan.",
            arguments=plan.as_json(),
            editable=_plan_schema(plan.task, team),
            assignees=self._assignees,
            timeout=self._timeout,
        )
        approved = _read(outcome.arguments, team)
        if approved != plan:
            await self._run.show_plan(approved.as_json()["steps"])
        return approved


def steps_schema(team: Team, *, fewest: int = 1) -> dict[str, Any]:
    """JSON Schema of a plan's steps for this team."""
    return {
        "type": "array",
        "minItems": fewest,
        "items": {
            "type": "object",
            "properties": {
                "agent": {"type": "string", "enum": sorted(team)},
                "action": {"type": "string", "pattern": r"\S"},
                "arguments": {"type": "object"},
                "approval": {"type": "boolean"},
            },
            "required": ["agent", "action"],
            "additionalProperties": False,
        },
    }


def _plan_schema(task: str, team: Team) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"task": {"const": task}, "steps": steps_schema(team)},
        "required": ["task", "steps"],
        "additionalProperties": False,
    }


def _read(value: object, team: Team) -> Plan:
    try:
        return plan_from(value, team)
    except InvalidPlan as error:
        raise InvalidInput(f"{error.field}: {error.detail}", field=error.field) from error


def _feedback(outcome: Outcome) -> str:
    """What to do better, if a person said so."""
    return "" if outcome.timed_out or outcome.withdrawn else outcome.comment.strip()


def _no_plan(message: str, rejected: Rejected) -> Rejected:
    return Rejected(f"{message}. {rejected.detail}", outcome=rejected.outcome)
