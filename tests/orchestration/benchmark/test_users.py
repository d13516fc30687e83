"""The scenario `users`, small: real servers, real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.benchmark.scenarios import users
from tests.orchestration.benchmark.environments import own_environment
from tests.stacks import Stack


@pytest.fixture(autouse=True)
def few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ROUNDS": 2, "EVENTS": 2, "EVENTS_A_ROUND": 1, "IDLE": 0.1, "SETTLING": 0.1}.items():
        monkeypatch.setattr(users, name, value)


@pytest.mark.one_stack
@pytest.mark.processes
@pytest.mark.usefixtures("forked_children")
async def test_each_person_is_shown_what_concerns_her_and_nobody_else_is(
    stack: Stack, tmp_path: Path
) -> None:
    async with own_environment(stack, tmp_path) as environment:
        report = await users.USERS.measure(environment, [12])
    assert report.check.passed
    # Warming up, alone and among all, two each; then in each round one for one and one for all.
    assert report.check.waits == 3 * 2 + 2 * (1 + 12)
    frames = next(goal for goal in report.goals if goal.unit == "frames")
    assert (frames.measured, frames.met) == (0, True)
    (table,) = report.tables
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_its_files_are_asked_for_beforehand() -> None:
    assert users.USERS.files == 2
