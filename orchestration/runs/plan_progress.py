"""The plan that a run shows to people, and the state of each of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from approvals.domain.payloads import check_json, check_text
from orchestration.models import Run
from orchestration.plans import NOT_BEGUN, OVER, StepState
from orchestration.runs import call_records
from orchestration.runs.recorder import Recorder

TEXT_LIMIT = 1_000_000


class PlanProgress:
    """The plans that one execution of a run shows; a replay does not show earlier ones again."""

    def __init__(self, run: Run, record: Recorder) -> None:
        self.steps: list[dict[str, Any]] = run.plan
        self._record = record
        self._round: int = run.plan_round
        self._shown = 0

    async def show(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Record a plan, in place of the one before."""
        await self._record.admit()
        self._shown += 1
        if self._shown <= self._round:
            return  # a replay: this plan or a later one is on record already, with the states of its steps
        plan = [_plan_step(index, step) for index, step in enumerate(steps)]
        await self._record.write(call_records.record_plan, self._shown, plan)
        self.steps, self._round = plan, self._shown

    async def mark(self, index: int, state: StepState | str, note: str, request_id: str | None) -> None:
        """Record the state of a step. A step that is over stays so."""
        await self._record.admit()
        if self._shown < self._round:
            return  # a replay of an earlier plan
        step = self.steps[index]
        if step["state"] in OVER or (state == StepState.PENDING != step["state"]):
            return
        self.steps[index] = step | {
            "state": StepState(state).value,
            "note": check_text(note, "note", max_length=TEXT_LIMIT) or step["note"],
            "request_id": request_id or step["request_id"],
        }
        self.steps = await self._record.write(call_records.record_plan_step, self.steps, index)


def _plan_step(index: int, step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": index + 1,
        "title": check_text(step.get("title") or step.get("action", ""), "title", max_length=TEXT_LIMIT),
        "agent": step.get("agent", ""),
        "action": step.get("action", ""),
        "arguments": check_json(step.get("arguments", {}), "arguments", stable=False),
        **NOT_BEGUN,
    }
