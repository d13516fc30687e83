"""The storm: its schedule is its seed's, its audit finds what it should, and a short one does no harm."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.storm.audit import Findings, Known, audit, from_the_ice, unexplained
from tests.faults.storm.errands import ASKER, DECIDERS, PROGRAM, RUN, errand, program, question_of
from tests.faults.storm.interruptions import AGAIN, STOP
from tests.faults.storm.records import Records, RequestRow, RunRow, StepRow
from tests.faults.storm.schedule import SERVERS, Kind, schedule
from tests.processes import PROJECT, bare_environment

MINUTES = 10.0


# --- The schedule ---


def test_the_same_seed_breaks_the_same_things_at_the_same_seconds() -> None:
    assert schedule(7, MINUTES) == schedule(7, MINUTES)
    assert schedule(7, MINUTES) != schedule(8, MINUTES)


@pytest.mark.parametrize("seed", range(20))
def test_ten_minutes_break_everything_in_every_way(seed: int) -> None:
    plan = schedule(seed, MINUTES)
    kinds = {(fault.kind, fault.target.rstrip("-12")) for fault in plan}
    parts = {(kind, part) for kind in (Kind.KILL, Kind.FREEZE, Kind.RESTART) for part in ("server", "worker")}
    redis = {(kind, "redis") for kind in (Kind.KILL, Kind.FREEZE, Kind.FLUSH)}
    assert kinds == parts | redis | {(kind, "postgres") for kind in (Kind.KILL, Kind.FREEZE, Kind.CUT)}
    # A process is frozen past its lease.
    assert any(fault.kind is Kind.FREEZE and fault.lasts > 35 for fault in plan)


@pytest.mark.parametrize("minutes", [0.4, 3.0, MINUTES])
def test_nothing_is_broken_while_it_is_broken_or_after_the_end(minutes: float) -> None:
    for seed in range(20):
        over = dict[str, float]()
        for fault in schedule(seed, minutes):
            assert over.get(fault.target, 0.0) <= fault.second
            over[fault.target] = fault.second + fault.lasts
        assert max(over.values()) <= minutes * 60


def test_without_workers_only_what_there_is_breaks() -> None:
    targets = {fault.target for fault in schedule(1, MINUTES, parts=SERVERS)}
    assert targets == {*SERVERS, "redis", "postgres"}


@pytest.mark.processes
def test_the_plan_is_printed_without_a_storm() -> None:
    command = [sys.executable, "-m", "tests.faults.storm", "--plan", "--minutes", "1", "--seed", "3"]
    printed = subprocess.run(
        command, cwd=PROJECT, env=bare_environment(), check=True, capture_output=True, text=True, timeout=60
    )
    assert printed.stdout.splitlines() == [str(fault) for fault in schedule(3, 1)]


# --- What is asked ---


def test_a_title_is_all_that_people_need_to_know_what_they_mean_to_do() -> None:
    for number in range(200):
        for make, kind in ((errand, RUN), (program, PROGRAM)):
            for index, question in enumerate(make(1, number, thinking=30).questions):
                assert question.title == f"{kind} {number} question {index}"
                assert question_of(question.title, 1, thinking=30) == question
    assert question_of("Interrupted: was “effect” done?", 1, thinking=30) is None


def test_every_question_comes_to_an_end() -> None:
    """By the clock, by enough people who may, or by the run that does not wait any longer."""
    for number in range(500):
        for question in errand(1, number, thinking=30).questions:
            able = [move for move in question.moves if question.may_decide(move.person)]
            enough = len({move.person for move in able}) >= question.terms.get("required", 1)
            assert enough or question.terms["timeout"] is not None or question.patience is not None
            assert {move.person for move in question.moves} <= {ASKER, *DECIDERS}


# --- The audit ---

BEGAN = 1_000_000.0


class Small:
    """A world in which one errand of two questions went well; to be tampered with."""

    def __init__(self, number: int = 0) -> None:
        self.errand = next(
            one for one in (errand(1, each, thinking=30) for each in range(number, 500)) if _is_plain(one)
        )
        self.requests = [
            RequestRow(
                id=f"request {index}",
                title=question.title,
                kind=question.kind,
                status="approved" if question.kind == "approval" else "answered",
                answer=None if question.kind == "approval" else "red",
                on_timeout="reject",
                run_id="run",
                key=f"{index}",
                details="",
                deadline=None,
                closed_at=BEGAN + index,
            )
            for index, question in enumerate(self.errand.questions)
        ]
        told = [row.status if row.kind == "approval" else row.answer for row in self.requests]
        self.runs = [
            RunRow(
                id="run",
                key=self.errand.key,
                status="completed",
                reason="",
                result=told,
                finished_at=BEGAN + 9,
            )
        ]
        self.steps = [
            StepRow(run_id="run", key=key, kind=kind, status="done", request_id=asked, finished_at=at)
            for index, request in enumerate(self.requests)
            for key, kind, asked, at in (
                (f"ask {index}", "approve", request.id, BEGAN + index + 0.1),
                (f"effect-{index}", "step", None, BEGAN + index + 0.3),
            )
        ]
        self.notes: list[dict[str, Any]] = [
            effect(f"effect-{index}", BEGAN + index + 0.2) for index in range(len(self.requests))
        ]
        self.programs: dict[str, str] = {}
        self.cancelled: set[str] = set()

    @property
    def records(self) -> Records:
        return Records(
            requests={row.id: row for row in self.requests},
            runs={row.id: row for row in self.runs},
            steps=tuple(self.steps),
        )

    def audit(self, broken: Sequence[tuple[float, float]] = ()) -> Findings:
        known = Known(
            notes=self.notes,
            errands={"run": self.errand},
            programs=self.programs,
            cancelled=self.cancelled,
            broken=broken,
        )
        return audit(known, self.records, bound=30)

    def problems(self) -> str:
        return "\n".join(self.audit().problems)


def effect(step: str, at: float, pid: int = 1) -> dict[str, Any]:
    return {"what": "performed", "run": "run", "step": step, "effect": f"{pid} {at}", "at": at}


def _is_plain(one: Any) -> bool:
    return len(one.questions) == 2 and not one.repeatable and one.questions[0].kind == "approval"


@pytest.fixture
def small() -> Small:
    return Small()


def test_where_nothing_went_wrong_nothing_is_found(small: Small) -> None:
    findings = small.audit()
    assert (findings.problems, findings.doubled, findings.ends) == ([], 0, {"completed": 1})


def test_a_run_that_was_started_and_is_not_there_is_found(small: Small) -> None:
    small.runs.clear()
    assert "lost: run run" in small.problems()


def test_a_key_that_started_two_runs_is_found(small: Small) -> None:
    small.runs.append(replace(small.runs[0], id="another"))
    assert f"doubled: {small.errand.name} has 2 runs" in small.problems()


def test_a_key_that_asked_twice_is_found(small: Small) -> None:
    asked = replace(small.requests[0], id="one", run_id="", key="program-0")
    small.requests += [asked, replace(asked, id="two")]
    small.programs = {"program-0": "one"}
    assert "doubled: program-0 asked one" in small.problems()


def test_a_run_that_ended_otherwise_than_its_answers_say_is_found(small: Small) -> None:
    small.requests[0] = replace(small.requests[0], status="rejected")
    assert "is completed (); what it was told makes it rejected" in small.problems()


def test_a_run_that_ended_before_its_question_was_asked_is_found(small: Small) -> None:
    del small.requests[1]
    assert "makes it open" in small.problems()


def test_a_result_that_is_not_what_people_said_is_found(small: Small) -> None:
    small.runs[0] = replace(small.runs[0], result=["approved", "another"])
    assert "has the result ['approved', 'another']" in small.problems()


def test_a_run_that_is_cancelled_and_that_nobody_cancelled_is_found(small: Small) -> None:
    small.runs[0] = replace(small.runs[0], status="cancelled")
    assert "was cancelled, and nobody wanted that" in small.problems()
    small.cancelled = {"run"}
    assert small.problems() == ""


def test_a_run_that_stopped_at_a_step_without_anybody_saying_so_is_found(small: Small) -> None:
    small.runs[0] = replace(small.runs[0], status="failed", reason="interrupted")
    assert "nobody said so" in small.problems()
    small.requests.append(_about_the_step(small, {"decision": STOP}))
    assert small.problems() == ""


def test_a_step_that_had_its_effect_twice_is_found(small: Small) -> None:
    small.notes.append(effect("effect-0", BEGAN + 0.25))
    findings = small.audit()
    assert findings.doubled == 1
    assert "step effect-0 of run run had 2 effects" in findings.problems[0]


def test_a_step_that_may_be_repeated_is_counted_apart(small: Small) -> None:
    small.errand = replace(small.errand, repeatable=True)
    small.notes.append(effect("effect-0", BEGAN + 0.25))
    findings = small.audit()
    assert (findings.problems, findings.repeated_as_allowed) == ([], 1)


def test_a_step_that_somebody_wanted_done_again_is_counted_apart(small: Small) -> None:
    small.requests.append(_about_the_step(small, {"decision": AGAIN}))
    small.notes.append(effect("effect-0", BEGAN + 0.25))
    findings = small.audit()
    assert (findings.problems, findings.repeated_as_told) == ([], 1)
    small.notes.append(effect("effect-0", BEGAN + 0.26))
    assert small.audit().doubled == 1


def test_a_recorded_step_without_an_effect_is_found(small: Small) -> None:
    del small.notes[0]
    assert "lost: step effect-0 of run run had no effect" in small.problems()


def test_what_a_thawed_process_still_does_of_a_call_from_before_is_told_apart(small: Small) -> None:
    late = effect("effect-0", BEGAN + 50, pid=2)
    small.notes.append(late)
    assert from_the_ice(small.notes, small.records, [("2", BEGAN + 49)]) == [late]
    assert from_the_ice(small.notes, small.records, [("2", BEGAN + 10)]) == []
    assert from_the_ice(small.notes, small.records, [("3", BEGAN + 49)]) == []


def test_what_a_thawed_process_did_and_recorded_is_none_of_that(small: Small) -> None:
    """It had taken the run over from another, and repeated what it may."""
    again = effect("effect-0", BEGAN + 50, pid=2)
    small.notes.append(again)
    small.steps[1] = replace(small.steps[1], result={"effect": again["effect"]})
    assert from_the_ice(small.notes, small.records, [("2", BEGAN + 49)]) == []


def test_a_deadline_that_took_effect_late_is_found_unless_something_was_broken(small: Small) -> None:
    row = replace(small.requests[0], status="timed_out", on_timeout="approve", deadline=BEGAN - 100)
    small.requests[0], small.runs[0] = (
        row,
        replace(small.runs[0], result=["timed_out", *small.runs[0].result[1:]]),
    )
    assert "late: the deadline of request 0 took effect after 100.0 s" in small.problems()
    assert small.audit(broken=[(BEGAN - 110, BEGAN - 10)]).problems == []


def test_a_waiter_that_was_told_late_is_found_unless_something_was_broken(small: Small) -> None:
    small.steps[0] = replace(small.steps[0], finished_at=BEGAN + 60)
    assert "late: who waited for request 0 was told after 60.0 s" in small.problems()
    assert small.audit(broken=[(BEGAN - 1, BEGAN + 40)]).problems == []


def test_only_what_is_broken_in_between_explains_a_delay() -> None:
    assert unexplained(10, 20, []) == 10
    assert unexplained(10, 20, [(0, 9), (21, 30)]) == 10
    assert unexplained(10, 20, [(5, 12), (11, 18)]) == 2
    assert unexplained(10, 20, [(15, 60)]) == 0


def _about_the_step(small: Small, answer: dict[str, str]) -> RequestRow:
    return replace(
        small.requests[0],
        id="question",
        title="Interrupted: was “effect” done?",
        kind="clarification",
        status="answered",
        answer=answer,
        details='Arguments: {"name": "effect-0"}',
    )


# --- The storm ---


@pytest.mark.alone
@pytest.mark.processes
@pytest.mark.timeout(400)
def test_a_short_storm_loses_nothing_and_doubles_nothing() -> None:
    """Servers, workers, PostgreSQL and Redis of its own; the long one is for people to start."""
    command = [sys.executable, "-m", "tests.faults.storm", "--minutes", "0.4", "--seed", "1", "--open", "60"]
    storm = subprocess.run(
        [*command, "--recheck", "5", "--lease", "6", "--allowance", "60"],
        cwd=PROJECT,
        env=bare_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert "lost 0, doubled 0, problems 0" in storm.stdout
