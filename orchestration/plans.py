"""Plans: which agent does what, in which order. Values only, without Django, database or clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias


class StepState(StrEnum):
    """The state of a plan's step, as people see it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"


UNDER_WAY = frozenset({StepState.RUNNING, StepState.WAITING})
OVER = frozenset(StepState) - UNDER_WAY - {StepState.PENDING}


# What a plan's step shows before it is begun.
NOT_BEGUN: Mapping[str, Any] = {
    "state": StepState.PENDING.value,
    "started_at": None,
    "finished_at": None,
    "request_id": None,
    "note": "",
}


class InvalidPlan(ValueError):
    """The plan is invalid; `field` is the path of what is wrong, such as `steps[2].agent`."""

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One action of one agent. `approval`: the step needs an approval of its own, right before it is done."""

    agent: str
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)
    approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps for a task."""

    task: str
    steps: tuple[PlanStep, ...]

    def as_json(self) -> dict[str, Any]:
        return {"task": self.task, "steps": [asdict(step) for step in self.steps]}


class Agent(Protocol):
    """Carries out a plan's step. `run` is the orchestration.runs.run.Run."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    async def __call__(self, run: Any, action: str, arguments: dict[str, Any]) -> Any: ...


Team: TypeAlias = Mapping[str, Agent]


class Planner(Protocol):
    """Makes plans; `replan` makes another one after a person rejected `plan` with `feedback`."""

    async def plan(self, task: str, team: Team) -> Plan: ...

    async def replan(self, task: str, team: Team, plan: Plan, feedback: str) -> Plan: ...


def plan_from(value: object, known_agents: Collection[str]) -> Plan:
    """Read `{"task": …, "steps": [{"agent", "action", "arguments", "approval"}]}`, or raise InvalidPlan."""
    content = _mapping(value, "plan", {"task", "steps"})
    steps = content.get("steps")
    if not isinstance(steps, list | tuple) or not steps:
        raise InvalidPlan("A plan needs a list of at least one step.", field="steps")
    return Plan(
        task=_text(content.get("task"), "task"),
        steps=tuple(_step(step, f"steps[{index}]", known_agents) for index, step in enumerate(steps)),
    )


def _step(value: object, path: str, known_agents: Collection[str]) -> PlanStep:
    content = _mapping(value, path, {"agent", "action", "arguments", "approval"})
    agent = _text(content.get("agent"), f"{path}.agent")
    if agent not in known_agents:
        known = ", ".join(sorted(known_agents)) or "none"
        raise InvalidPlan(f"There is no agent {agent!r}. Known agents: {known}.", field=f"{path}.agent")
    approval = content.get("approval", False)
    if not isinstance(approval, bool):
        raise InvalidPlan("Must be true or false.", field=f"{path}.approval")
    return PlanStep(
        agent=agent,
        action=_text(content.get("action"), f"{path}.action"),
        arguments=dict(_mapping(content.get("arguments", {}), f"{path}.arguments", None)),
        approval=approval,
    )


def _mapping(value: object, path: str, known: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidPlan("Must be a JSON object.", field=path)
    unknown = [name for name in value if known is not None and name not in known]
    if known is not None and unknown:
        raise InvalidPlan(
            f"Unknown field {unknown[0]!r}. Known fields: {', '.join(sorted(known))}.", field=path
        )
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidPlan("Must be a text, and not empty.", field=path)
    return value
