"""The values that a scenario reports."""

from __future__ import annotations

import pytest

from orchestration.benchmark.report import Check, Goal, Report
from orchestration.benchmark.scenarios import deadlines, latency


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


def test_who_loses_every_wait_is_told_which_and_no_figures() -> None:
    """There is nothing then of which a median could be taken."""
    check = Check(waits=1, resolved=0, lost=("a",))
    rounds: dict[str, list[list[latency.Way]]] = {one: [[]] for one in ("Sayso", "raw floor", "polling")}
    told = latency._report(10, rounds, check)
    assert (told.check, told.tables, told.goals) == (check, (), ())
    assert deadlines._report(10, [], [], check).check.lost == ("a",)
