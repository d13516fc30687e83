"""How a scenario is described, and the values that it reports."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestration.benchmark.installation import Stack
from orchestration.benchmark.processes import Environment
from orchestration.benchmark.report import (
    Check,
    Findings,
    Goal,
    Ratio,
    Report,
    Scenario,
    Table,
    percentiles,
    spread,
)
from orchestration.benchmark.scenarios import latency

ENVIRONMENT = Environment(
    Stack(database="embedded", layer="embedded"), {}, loop="asyncio", progress=lambda done, expected: None
)


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

    def test_takes_what_came_as_json(self) -> None:
        assert Check.of([["a", "approved"]], {"a": "approved"}).passed

    def test_of_several_is_the_sum(self) -> None:
        one, other = Check(waits=2, resolved=1, lost=("x",)), Check(waits=1, resolved=1, doubled=("y",))
        assert one + other == Check(waits=3, resolved=2, lost=("x",), doubled=("y",))


class TestGoal:
    @pytest.mark.parametrize(("measured", "met"), [(1.9, True), (2.0, True), (2.1, False), (None, None)])
    def test_is_met_up_to_its_limit(self, measured: float | None, met: bool | None) -> None:
        assert Goal(text="", limit=2, measured=measured).met is met

    @pytest.mark.parametrize(("measured", "met"), [(1.9, False), (2.0, True), (2.1, True)])
    def test_is_met_from_its_limit_on(self, measured: float, met: bool) -> None:
        assert Goal(text="", limit=2, measured=measured, at_least=True).met is met

    def test_is_judged_only_on_the_stack_that_it_is_for(self) -> None:
        report = Report(
            tables=(), check=Check(waits=0, resolved=0), goals=(Goal(text="", limit=1, measured=0),)
        )
        assert report.as_json(judged=True)["goals"][0]["met"] is True
        assert report.as_json(judged=False)["goals"][0]["met"] is None


class TestScenario:
    CHECK = Check(waits=1, resolved=0, lost=("a",))

    def scenario(self, findings: Findings) -> Scenario:
        async def measure(environment: Environment, sizes: Sequence[int]) -> Findings:
            """Measure what it is.

            In this
            way.
            """
            return findings

        return Scenario(
            name="one",
            unit="waits",
            sizes=(3, 5),
            most=9,
            measure=measure,
            tables=(Table("Up to {size:,}", "; p50|ms; × smallest"),),
            goals=(Goal("from {least:,} on", 2),),
        )

    async def test_reports_what_it_declares_with_what_was_measured(self) -> None:
        findings = Findings(check=Check(), tables=[[("Sayso", 1.0, None)]], goals=[3.0])
        scenario = self.scenario(findings)
        report = await scenario.run(ENVIRONMENT, [3, 5000])
        assert (scenario.summary, scenario.method) == ("what it is", "In this way.")
        assert report.as_json(judged=True) == {
            "tables": [
                {
                    "title": "Up to 5,000",
                    "columns": [
                        {"name": "", "unit": ""},
                        {"name": "p50", "unit": "ms"},
                        {"name": "× smallest", "unit": ""},
                    ],
                    "rows": [("Sayso", 1.0, None)],
                }
            ],
            "charts": [],
            "goals": [
                {
                    "text": "from 3 on",
                    "limit": 2,
                    "unit": "×",
                    "at_least": False,
                    "measured": 3.0,
                    "met": False,
                }
            ],
            "check": {"waits": 0, "resolved": 0, "lost": (), "doubled": (), "wrong": (), "passed": True},
            "notes": [],
        }

    async def test_whose_waits_were_lost_tells_which_and_no_figures(self) -> None:
        """There is nothing then of which a median could be taken."""
        report = await self.scenario(Findings(check=self.CHECK)).run(ENVIRONMENT, [3])
        assert (report.check, report.tables, report.goals) == (self.CHECK, (), ())

    async def test_that_measured_less_than_it_declares_is_refused(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            await self.scenario(Findings(check=Check())).run(ENVIRONMENT, [3])


def test_a_latency_without_a_resumed_wait_has_no_parts() -> None:
    assert latency.split([(1, 2)], [(None, None, None)]) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_sample(share: float, expected: int) -> None:
    assert percentiles(range(100, 0, -1), share) == [expected]


def test_a_spread_ends_with_the_largest() -> None:
    assert spread(range(100, 0, -1)) == [51, 91, 100, 100]


def test_a_ratio_is_of_figures_of_the_same_round() -> None:
    ratio = Ratio.of([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (ratio.median, ratio.least, ratio.most) == (3.0, 2.0, 4.0)
    assert str(ratio) == "3.00 (2.00-4.00)"
