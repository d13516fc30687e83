"""Environments for scenarios that fill a database."""

from __future__ import annotations

from pathlib import Path

from orchestration.benchmark.installation import Stack as Measured
from orchestration.benchmark.processes import Environment
from tests.stacks import Stack


def own_environment(stack: Stack, directory: Path) -> Environment:
    """An environment with a database of its own beside the stack's."""
    measured = Measured(
        database="given" if stack.engine == "postgresql" else "embedded",
        layer="given" if stack.layer == "redis" else "embedded",
    )
    return Environment(
        measured, stack.fresh_environment(directory), loop="asyncio", progress=lambda done, expected: None
    )
