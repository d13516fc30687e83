"""The orchestrations and agents that are registered in this process, by name."""

from orchestration.catalog.entries import Orchestration, RegisteredAgent
from orchestration.catalog.registry import (
    Kind,
    agent,
    agents,
    app_of,
    find_orchestration,
    kind_name,
    not_imported,
    orchestration,
    orchestrations,
    registered_kinds,
)

__all__ = [
    "Kind",
    "Orchestration",
    "RegisteredAgent",
    "agent",
    "agents",
    "app_of",
    "find_orchestration",
    "kind_name",
    "not_imported",
    "orchestration",
    "orchestrations",
    "registered_kinds",
]
