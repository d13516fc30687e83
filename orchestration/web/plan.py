"""The steps of a plan as pages show them, with times and the current step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestration.plans import UNDER_WAY, StepState

MINUTE, HOUR = 60, 3_600


def shown_steps(plan: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_shown(step) for step in plan]


def _shown(step: Mapping[str, Any]) -> dict[str, Any]:
    started_at, finished_at = _moment(step.get("started_at")), _moment(step.get("finished_at"))
    return {
        "agent": str(step.get("agent", "")),
        "action": str(step.get("action") or step.get("title", "")),
        "arguments": dict(step.get("arguments") or {}),
        "state": str(step.get("state", StepState.PENDING)),
        "current": step.get("state") in UNDER_WAY,
        "started_at": started_at,
        "finished_at": finished_at,
        "took": time_taken(started_at, finished_at) if started_at and finished_at else "",
    }


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
