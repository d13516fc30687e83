"""How a scenario is described, and the values that it reports."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from orchestration.benchmark.processes import Environment
from orchestration.benchmark.report import (
    Check,
    Goal,
    NotMeasurable,
    Ratio,
    Report,
    Samples,
    Scenario,
    free_memory,
    percentiles,
    spread,
)
from orchestration.benchmark.scenarios import decisions, scenarios


class TestCheck:
    RECORDED = {"a": "approved", "b": "rejected", "c": "approved"}

    def test_passes_where_each_wait_was_told_once_what_is_on_record(self) -> None:
        check = Check.of([("a", "approved"), ("b", "rejected"), ("c", "approved")], self.RECORDED)
        assert check == Check(waits=3, resolved=3)
        assert check.passed

    def test_names_a_wait_that_nobody_resumed(self) -> None:
        check = Check.of([("a", "approved"), ("c", "approved")], self.RECORDED)
        assert (check.lost, check.passed) == (("b",), False)

    def test_names_a_wait_whose_request_is_still_pending(self) -> None:
        """Its waiter can't have been told the recorded outcome: there is none."""
        check = Check.of([("a", "approved")], {"a": "pending"})
        assert (check.lost, check.wrong) == (("a",), ("a",))

    def test_names_a_wait_that_was_resumed_twice(self) -> None:
        told = [("a", "approved"), ("b", "rejected"), ("c", "approved"), ("b", "rejected")]
        assert Check.of(told, self.RECORDED).doubled == ("b",)

    def test_names_a_wait_that_was_told_something_else(self) -> None:
        told = [("a", "approved"), ("b", "approved"), ("c", "approved")]
        assert Check.of(told, self.RECORDED).wrong == ("b",)

    def test_names_a_wait_that_was_resumed_although_nobody_decided(self) -> None:
        told = [("a", "approved"), ("b", "rejected"), ("c", "approved"), ("d", "approved")]
        assert Check.of(told, self.RECORDED).wrong == ("d",)

    def test_of_two_stacks_is_passed_where_both_are(self) -> None:
        passed, failed = Check(waits=2, resolved=2), Check(waits=1, lost=("b",))
        assert passed + passed == Check(waits=4, resolved=4)
        assert passed + failed == Check(waits=3, resolved=2, lost=("b",))
        assert not (passed + failed).passed

    def test_takes_what_came_as_json(self) -> None:
        assert Check.of([["a", "approved"]], {"a": "approved"}).passed


class TestGoal:
    @pytest.mark.parametrize(("measured", "met"), [(1.9, True), (2.0, True), (2.1, False), (None, None)])
    def test_is_met_up_to_its_limit(self, measured: float | None, met: bool | None) -> None:
        assert Goal("", 2, measured, "×", at_least=False).met is met

    @pytest.mark.parametrize(("measured", "met"), [(1.9, False), (2.0, True), (2.1, True)])
    def test_is_met_from_its_limit_on(self, measured: float, met: bool) -> None:
        assert Goal("", 2, measured, "×", at_least=True).met is met

    def test_is_judged_only_on_the_stack_that_it_is_for(self) -> None:
        report = Report(Check())
        report.at_most("", 1, 0)
        assert report.as_json(judged=True)["goals"][0]["met"] is True
        assert report.as_json(judged=False)["goals"][0]["met"] is None


async def measure(environment: Environment, sizes: Sequence[int]) -> Report:
    """Measure what it is.

    In this
    way.
    """
    return Report(Check())


def scenario_of(**needs: Any) -> Scenario:
    needed = {"memory": (0, 0), **needs}
    return Scenario("one", measure, unit="waits", sizes=(3, 5), most=10**12, **needed)


def test_a_scenario_says_what_it_measures_and_how() -> None:
    scenario = scenario_of()
    assert (scenario.summary, scenario.method) == ("what it is", "In this way.")


def test_a_report_is_told_as_json() -> None:
    report = Report(Check(), "Read it so.")
    report.table("Up to 5,000", "; p50|ms; × smallest", [("Sayso", 1.0, None)])
    report.at_most("from 3 on", 2, 3.0)
    report.chart("Up", "bars", "ms", ["3"], {"Sayso": [1.0]}, across="waits")
    columns = [{"name": "", "unit": ""}, {"name": "p50", "unit": "ms"}, {"name": "× smallest", "unit": ""}]
    goal = {"text": "from 3 on", "limit": 2, "unit": "×", "at_least": False, "measured": 3.0, "met": False}
    chart = {"title": "Up", "kind": "bars", "unit": "ms", "across": "waits", "logarithmic": False}
    assert report.as_json(judged=True) == {
        "tables": [{"title": "Up to 5,000", "columns": columns, "rows": [("Sayso", 1.0, None)]}],
        "charts": [{**chart, "ticks": ["3"], "series": [{"name": "Sayso", "values": [1.0]}]}],
        "goals": [goal],
        "check": {"waits": 0, "resolved": 0, "lost": (), "doubled": (), "wrong": (), "passed": True},
        "notes": ["Read it so."],
    }


def test_a_report_takes_in_what_was_measured_elsewhere_and_names_the_place() -> None:
    """But for the goals, which are for the stack that is measured first."""
    one, other = [Report(Check(waits=waits, resolved=waits), "Read it so.") for waits in (1, 2)]
    for report in (one, other):
        report.table("Decisions", "; p50|ms", [("Sayso", 1.0)])
        report.chart("Rates", "bars", "ms", ["3"], {"Sayso": [1.0]})
        report.at_most("p50", 2, 1.0)
    other.notes.append("Only there.")
    one.include(other, "there")
    assert [table.title for table in one.tables] == ["Decisions", "Decisions (there)"]
    assert [chart.title for chart in one.charts] == ["Rates", "Rates (there)"]
    assert (len(one.goals), one.notes) == (1, ["Read it so.", "Only there."])
    assert one.check == Check(waits=3, resolved=3)


def test_a_latency_without_a_resumed_wait_has_no_parts() -> None:
    assert decisions.split([(1, 2)], [(None, None, None)]) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_sample(share: float, expected: int) -> None:
    assert percentiles(range(100, 0, -1), share) == [expected]


def test_a_spread_ends_with_the_largest() -> None:
    assert spread(range(100, 0, -1)) == [51, 91, 100, 100]


def test_a_ratio_is_of_figures_of_the_same_round() -> None:
    ratio = Ratio.of([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (ratio.median, ratio.least, ratio.most) == (3.0, 2.0, 4.0)
    assert str(ratio) == "3.00 (2.00-4.00)"


def test_samples_of_rounds_have_a_median_and_a_ratio() -> None:
    samples = Samples()
    for sayso, floor in ((2.0, 1.0), (30.0, 10.0), (8.0, 2.0)):
        samples["Sayso"].append(sayso)
        samples["floor"].append(floor)
    assert samples.median("Sayso") == 8.0
    assert samples.ratio("Sayso", "floor").median == 3.0


def test_as_many_files_as_the_machine_allows_and_no_more() -> None:
    """Beside those that a process has open anyway."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(NotMeasurable, match=r"one: .* waits need .* open files, .*`ulimit -n`"):
        scenario_of(files=1).require(files - 99)
    scenario_of(files=1).require(files - 100)
    with pytest.raises(NotMeasurable, match="open files"):
        scenario_of(files=2).require((files - 100) // 2 + 1)


def test_more_memory_than_is_free_is_refused() -> None:
    free = free_memory()
    assert free is not None
    refused = r"one: 1 waits need .* GB of memory, and .* GB are free here"
    for memory in ((2 * free, 0), (0, 2 * free)):
        with pytest.raises(NotMeasurable, match=refused):
            scenario_of(memory=memory).require(1)
    scenario_of(memory=(free // 8, free // 8)).require(1)


def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert scenarios()["users"].package == "websockets"
    monkeypatch.setitem(sys.modules, "websockets", None)
    with pytest.raises(NotMeasurable, match=r"users needs websockets.* pip install -e '\.\[benchmark\]'"):
        scenarios()["users"].require(None)
