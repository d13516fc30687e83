"""The scenarios `growth` and `report`, small: places side by side, measured in turns; a year of requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from approvals.reports import By
from orchestration.benchmark.scenarios import record
from tests.orchestration.benchmark.environments import own_environment
from tests.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("forked_children")]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "ROUNDS", 2)
    monkeypatch.setattr(record, "REPORT_ROUNDS", 1)


@pytest.mark.one_stack
async def test_costs_are_told_of_each_size(stack: Stack, tmp_path: Path) -> None:
    async with own_environment(stack, tmp_path) as environment:
        report = await record.GROWTH.measure(environment, [100, 400])
    assert report.check.passed
    assert report.check.waits == 2 * 3 * record.TIMES
    (table,) = report.tables
    assert [row[:3] for row in table.rows] == [
        (cost, size, pending) for cost in record.COSTS for size, pending in ((100, 30), (400, 40))
    ]
    assert "admin, requests [50], admin, entries [50]" in report.notes[0]
    assert [goal.limit for goal in report.goals] == [1.2] * len(record.COSTS)


@pytest.mark.one_stack
async def test_one_size_alone_promises_nothing(stack: Stack, tmp_path: Path) -> None:
    async with own_environment(stack, tmp_path) as environment:
        report = await record.GROWTH.measure(environment, [100])
    assert {goal.met for goal in report.goals} == {None}


async def test_each_grouping_is_timed_on_all_that_was_put_on_record(stack: Stack, tmp_path: Path) -> None:
    async with own_environment(stack, tmp_path) as environment:
        report = await record.REPORT.measure(environment, [300])
    (table,) = report.tables
    assert [row[0] for row in table.rows] == [by.value for by in By for _ in record.PERIODS]
    assert {row[3] for row in table.rows if row[2] == "a year"} == {300}
    assert report.check.passed
    assert {goal.met for goal in report.goals} == {None}
