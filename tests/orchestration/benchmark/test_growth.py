"""The scenario `growth`, small: places side by side, measured in turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.benchmark.scenarios import growth
from tests.orchestration.benchmark.stages import own_stage
from tests.stacks import Stack

pytestmark = [pytest.mark.one_stack, pytest.mark.processes]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "ROUNDS", 2)


async def test_costs_are_told_of_each_size(stack: Stack, tmp_path: Path) -> None:
    async with own_stage(stack, tmp_path) as stage:
        report = await growth.run(stage, [100, 400])
    assert report.check.passed
    assert report.check.waits == 2 * 3 * growth.TIMES
    (table,) = report.tables
    assert [row[:3] for row in table.rows] == [
        (cost, size, pending) for cost in growth.COSTS for size, pending in ((100, 30), (400, 40))
    ]
    assert "admin, requests [50], admin, entries [50]" in report.notes[0]
    assert [goal.limit for goal in report.goals] == [1.2] * len(growth.COSTS)


async def test_one_size_alone_promises_nothing(stack: Stack, tmp_path: Path) -> None:
    async with own_stage(stack, tmp_path) as stage:
        report = await growth.run(stage, [100])
    assert {goal.met for goal in report.goals} == {None}
