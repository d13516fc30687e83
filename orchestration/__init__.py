"""Orchestrations that pause for people: `from orchestration import Run, agent, orchestration`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from approvals.domain.questions import REVIEWERS

if TYPE_CHECKING:
    from orchestration.catalog import agent as agent
    from orchestration.catalog import orchestration as orchestration
    from orchestration.exceptions import Rejected as Rejected
    from orchestration.exceptions import Responded as Responded
    from orchestration.exceptions import StepFailed as StepFailed
    from orchestration.exceptions import TimedOut as TimedOut
    from orchestration.exceptions import Withdrawn as Withdrawn
    from orchestration.manager import OrchestrationManager as OrchestrationManager
    from orchestration.manager import astart as astart
    from orchestration.manager import start as start
    from orchestration.policies.deciders import OWNER as OWNER
    from orchestration.runs.run import Run as Run

# Imported on first use: importing models while Django still loads its apps would fail.
_HOMES = {
    "agent": "catalog",
    "orchestration": "catalog",
    "OWNER": "policies.deciders",
    "Rejected": "exceptions",
    "Responded": "exceptions",
    "StepFailed": "exceptions",
    "TimedOut": "exceptions",
    "Withdrawn": "exceptions",
    "OrchestrationManager": "manager",
    "Run": "runs.run",
    "astart": "manager",
    "start": "manager",
}

__all__ = [
    "OWNER",
    "REVIEWERS",
    "OrchestrationManager",
    "Rejected",
    "Responded",
    "Run",
    "StepFailed",
    "TimedOut",
    "Withdrawn",
    "agent",
    "astart",
    "orchestration",
    "start",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
