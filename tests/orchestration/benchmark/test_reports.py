"""The scenario `report`, small: a year of requests, read by each grouping."""

from __future__ import annotations

from pathlib import Path

import pytest

from approvals.reports import By
from orchestration.benchmark.scenarios import reports
from tests.orchestration.benchmark.stages import own_stage
from tests.stacks import Stack

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "ROUNDS", 1)


async def test_each_grouping_is_timed_on_all_that_was_put_on_record(stack: Stack, tmp_path: Path) -> None:
    """Copies are requests of the year like any other."""
    async with own_stage(stack, tmp_path) as stage:
        report = await reports.run(stage, [300])
    (table,) = report.tables
    assert [row[0] for row in table.rows] == [by.value for by in By for _ in reports.PERIODS]
    assert {row[3] for row in table.rows if row[2] == "a year"} == {300}
    assert report.check.passed
    assert {goal.met for goal in report.goals} == {None}
