"""Plans as data: what can be read, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.plans import InvalidPlan, Plan, PlanStep, plan_from

STEP = {"agent": "payments", "action": "Refund", "arguments": {"order": 812}, "approval": True}
AGENTS = ["email", "payments"]


def test_a_plan_is_read_with_defaults() -> None:
    """Arguments and approval may be left out."""
    plan = plan_from(
        {"task": "Make good", "steps": [STEP, {"agent": "email", "action": "Say sorry"}]}, AGENTS
    )
    assert plan == Plan(
        task="Make good",
        steps=(
            PlanStep(agent="payments", action="Refund", arguments={"order": 812}, approval=True),
            PlanStep(agent="email", action="Say sorry"),
        ),
    )


def test_a_plan_survives_its_own_json() -> None:
    """as_json and plan_from are inverse."""
    plan = plan_from({"task": "Make good", "steps": [STEP]}, AGENTS)
    assert plan_from(plan.as_json(), AGENTS) == plan


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ([], "plan"),
        ({"task": "x"}, "steps"),
        ({"task": "x", "steps": []}, "steps"),
        ({"task": "x", "steps": STEP}, "steps"),
        ({"task": " ", "steps": [STEP]}, "task"),
        ({"steps": [STEP]}, "task"),
        ({"task": "x", "steps": [STEP], "more": 1}, "plan"),
        ({"task": "x", "steps": [STEP, "Refund"]}, "steps[1]"),
        ({"task": "x", "steps": [STEP | {"when": "now"}]}, "steps[0]"),
        ({"task": "x", "steps": [STEP | {"agent": "nobody"}]}, "steps[0].agent"),
        ({"task": "x", "steps": [STEP | {"agent": ["payments"]}]}, "steps[0].agent"),
        ({"task": "x", "steps": [STEP | {"action": ""}]}, "steps[0].action"),
        ({"task": "x", "steps": [STEP | {"arguments": [1]}]}, "steps[0].arguments"),
        ({"task": "x", "steps": [STEP | {"approval": "yes"}]}, "steps[0].approval"),
    ],
)
def test_a_malformed_plan_names_the_field(plan: Any, field: str) -> None:
    """Whatever is wrong, its path is named."""
    with pytest.raises(InvalidPlan) as refused:
        plan_from(plan, AGENTS)
    assert refused.value.field == field


def test_an_unknown_agent_is_told_the_known_ones() -> None:
    """Who mistypes a name learns the right ones."""
    with pytest.raises(InvalidPlan, match="Known agents: email, payments"):
        plan_from({"task": "x", "steps": [STEP | {"agent": "payment"}]}, AGENTS)
