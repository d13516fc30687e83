"""The steps of a plan as pages show them, with times and the current step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.plans import UNDER_WAY, StepState

MINUTE, HOUR = 60, 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStep:
    agent: str
    action: str
    arguments: dict[str, Any]
    state: str
    current: bool
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def took(self) -> str:
        return time_taken(self.started_at, self.finished_at) if self.started_at and self.finished_at else ""


def shown_steps(plan: Sequence[Mapping[str, Any]]) -> list[ShownStep]:
    return [
        ShownStep(
            agent=str(step.get("agent", "")),
            action=str(step.get("action") or step.get("title", "")),
            arguments=dict(step.get("arguments") or {}),
            state=str(step.get("state", StepState.PENDING)),
            current=step.get("state") in UNDER_WAY,
            started_at=_moment(step.get("started_at")),
            finished_at=_moment(step.get("finished_at")),
        )
        for step in plan
    ]


def time_taken(start: datetime, end: datetime) -> str:
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
