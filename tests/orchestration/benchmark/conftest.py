"""A benchmark makes databases, schemas and tables of its own, as the application may not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.core.management import CommandError, call_command

from orchestration.benchmark.processes import Process
from tests import in_process
from tests.database_roles import SUPERUSER
from tests.orchestration.benchmark import forked
from tests.stacks import Stack


class Measure(Protocol):
    def __call__(self, name: str, **options: Any) -> tuple[dict[str, Any], CommandError | None]: ...


@pytest.fixture(autouse=True)
def as_somebody_who_may(request: pytest.FixtureRequest) -> Iterator[None]:
    if "stack" not in request.fixturenames:
        yield
        return
    with in_process.acting_as(SUPERUSER, request.getfixturevalue("stack")):
        yield


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a scenario are forks of one that has read the packages."""
    monkeypatch.setattr(Process, "start", classmethod(forked.start))


@pytest.fixture
def measure(
    stack: Stack, tmp_path: Path, forked_children: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Measure]:
    """Call the command `benchmark` on servers of the stack; returns its JSON, and how it was refused."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "config.settings")  # of its processes; ours are kept
    for name in ("DATABASE_URL", "REDIS_URL"):
        if name in stack.environment:
            monkeypatch.setenv(name, stack.environment[name])

    def measure(name: str, **options: Any) -> tuple[dict[str, Any], CommandError | None]:
        file, refusal = tmp_path / "run.json", None
        options |= {"embedded": stack.engine == "sqlite", "json": file, "stdout": StringIO()}
        try:
            call_command("benchmark", name, **options)
        except CommandError as error:
            refusal = error
        return json.loads(file.read_text(encoding="utf-8")), refusal

    level = logging.getLogger().level
    yield measure
    logging.getLogger().setLevel(level)
