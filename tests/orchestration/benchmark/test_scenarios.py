"""Every scenario as the command measures it, at a small size, on an installation of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestration.benchmark.report import Scenario
from orchestration.benchmark.run import WITHOUT_SERVERS
from orchestration.benchmark.scenarios import scenarios
from tests.conftest import Manage
from tests.orchestration.benchmark.conftest import Measure
from tests.processes import PROJECT
from tests.stacks import Stack

SCHEMA = json.loads((PROJECT / "docs" / "benchmark.schema.json").read_text(encoding="utf-8"))

# As small as a scenario goes, but no smaller than what still is several.
SEVERAL = 20

# What two processes do together, on one database.
TOGETHER = ("latency", "decisions", "restart")


@pytest.mark.processes
@pytest.mark.timeout(300)
@pytest.mark.one_stack
@pytest.mark.parametrize("name", [name for name in scenarios() if name not in TOGETHER])
def test_a_small_run_passes_its_own_check(stack: Stack, measure: Measure, name: str) -> None:
    """Its JSON is what its schema says; every wait was resolved once, as recorded."""
    passes(name, stack, measure)


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_the_command_ends_with_0_when_all_has_passed(stack: Stack, manage: Manage, tmp_path: Path) -> None:
    """As people call it, with interpreters of its own: a server, or two processes on one database."""
    file = tmp_path / "run.json"
    here = ["telling", "--embedded"] if stack.engine == "sqlite" else ["restart"]
    command = manage("benchmark", *here, "--size", "20", "--rounds", "1", "--json", file)
    assert command.wait(280) == 0, command.output.text
    assert json.loads(file.read_text(encoding="utf-8"))["passed"]


@pytest.mark.processes
@pytest.mark.timeout(300)
@pytest.mark.stacks("postgresql-redis")
@pytest.mark.parametrize("name", TOGETHER)
def test_a_small_run_in_two_processes_passes_its_own_check(stack: Stack, measure: Measure, name: str) -> None:
    """What is measured on the embedded stack, too, is told so of each of its tables and charts."""
    scenario = passes(name, stack, measure)
    for figures in (scenario["tables"], scenario["charts"]):
        titles = [each["title"] for each in figures]
        here = [title for title in titles if WITHOUT_SERVERS not in title]
        there = [f"{title} ({WITHOUT_SERVERS})" for title in here if scenarios()[name].embedded_too]
        assert titles == here + there


def passes(name: str, stack: Stack, measure: Measure) -> dict[str, Any]:
    """Have it measured, and return what its JSON says of it."""
    run, refusal = measure(name, size=max(scenarios()[name].least, SEVERAL), rounds=1)
    assert refusal is None
    jsonschema.validate(run, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert run["stack"]["two_processes"] is (stack.engine == "postgresql")
    scenario: dict[str, Any]
    (scenario,) = run["scenarios"]
    assert scenario["name"] == name
    assert scenario["check"]["passed"]
    assert scenario["check"]["resolved"] == scenario["check"]["waits"]
    assert_is_whole(scenario)
    if stack.engine == "sqlite":
        assert {goal["met"] for goal in scenario["goals"]} <= {None}
    return scenario


def assert_is_whole(scenario: dict[str, Any]) -> None:
    """What the schema can't say: rows fit their columns, series their ticks."""
    for table in scenario["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    for chart in scenario["charts"]:
        assert {len(series["values"]) for series in chart["series"]} == {len(chart["ticks"])}


@pytest.mark.parametrize("scenario", scenarios().values(), ids=lambda scenario: scenario.name)
class TestWhatAScenarioSaysOfItself:
    def test_sizes_grow_and_stay_within_its_limits(self, scenario: Scenario) -> None:
        assert list(scenario.sizes) == sorted(set(scenario.sizes))
        assert scenario.least <= scenario.sizes[0]
        assert scenario.sizes[-1] <= scenario.most

    def test_a_size_is_measured_beside_the_smaller_ones(self, scenario: Scenario) -> None:
        sizes = scenario.sizes_up_to(scenario.most)
        assert sizes[-1] == scenario.most
        assert list(sizes) == sorted(set(sizes))

    def test_the_default_fits_a_small_machine(self, scenario: Scenario) -> None:
        """Whatever is free here now: a gigabyte, and as many files as systems allow unasked."""
        (anyway, each), size = scenario.memory, scenario.sizes[-1]
        assert anyway + each * size <= 1_000_000_000
        assert scenario.files * size + 100 <= 1024

    def test_its_method_is_told(self, scenario: Scenario) -> None:
        assert len(scenario.method) > 200
        assert scenario.summary
        assert scenario.unit
