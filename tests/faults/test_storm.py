"""The storm: its schedule is its seed's, its audit finds what it should, and a short one does no harm."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.runs.interruptions import CHOICES, title_for_run
from tests.faults.ledger import Ledger
from tests.faults.storm import tellings
from tests.faults.storm.audit import audit, from_the_ice
from tests.faults.storm.errands import (
    ASKER,
    AWAY,
    BEGINNING,
    HEARS,
    LEFT,
    PEOPLE,
    PROGRAM,
    QUIET,
    READERS,
    RUN,
    STANDIN,
    Errand,
    Question,
    errand,
    errand_of,
    program,
    question_of,
)
from tests.faults.storm.failures import FAILURES, PLACES, reason_of, words_of
from tests.faults.storm.interruptions import AGAIN, STOP, answer
from tests.faults.storm.known import Findings, Known, unexplained
from tests.faults.storm.letters import Letter
from tests.faults.storm.records import (
    NotificationRow,
    Records,
    RequestRow,
    ResponseRow,
    RunRow,
    StepRow,
)
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
            assert {move.person for move in question.moves} <= set(PEOPLE)


def test_among_few_errands_there_is_everything_that_a_run_may_do() -> None:
    errands = [errand(1, number, thinking=30) for number in range(2000)]
    assert {(one.fails, one.place) for one in errands} >= {
        (name, place) for name in FAILURES for place in PLACES
    }
    questions = [question for one in errands for question in one.questions]
    assert {bool(question.nap) for question in questions} == {True, False}
    assert {question.patience is None for question in questions} == {True, False}
    assert {one.resumed for one in errands} == {True, False}
    moves = [move for question in questions for move in question.moves]
    assert {move.person for move in moves} == set(PEOPLE)
    assert {move.person for move in moves if move.by_link} == set(READERS)
    assert all(errand_of(one.key, 1, thinking=30) == one for one in errands[:50])


def test_people_know_what_to_say_of_a_run_whose_processes_died(tmp_path: Path) -> None:
    request = {"title": title_for_run("Errand in a storm", 3)}
    ledger = Ledger(tmp_path / "ledger")
    assert [answer(request, ledger, stop=stop) for stop in (False, True)] == CHOICES


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
        self.resumed: set[str] = set()
        self.asleep: dict[tuple[str, str], set[float]] = {}
        self.newest = {"1": 1, "2": 2}
        self.notifications: list[NotificationRow] = []
        self.responses: list[ResponseRow] = []
        self.letters: list[Letter] = []
        self.questions: dict[str, Question] = {}

    @property
    def records(self) -> Records:
        return Records(
            requests={row.id: row for row in self.requests},
            runs={row.id: row for row in self.runs},
            steps=tuple(self.steps),
            notifications=tuple(self.notifications),
            responses=tuple(self.responses),
        )

    def audit(self, broken: Sequence[tuple[float, float]] = ()) -> Findings:
        known = Known(
            notes=self.notes,
            errands={"run": self.errand},
            programs=self.programs,
            cancelled=self.cancelled,
            resumed=self.resumed,
            asleep=self.asleep,
            newest=self.newest,
            questions=self.questions,
            letters=self.letters,
            broken=broken,
        )
        return audit(known, self.records, bound=30)

    def problems(self) -> str:
        return "\n".join(self.audit().problems)


def effect(step: str, at: float, pid: int = 1) -> dict[str, Any]:
    return {"what": "performed", "run": "run", "step": step, "effect": f"{pid} {at}", "at": at}


def _is_plain(one: Errand) -> bool:
    special = one.fails or any(each.nap or each.patience for each in one.questions)
    return len(one.questions) == 2 and not (one.repeatable or special) and one.questions[0].kind == "approval"


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
    small.requests[-1] = replace(small.requests[-1], answer=STOP)
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


def test_a_run_that_does_not_wait_any_longer_goes_on_without_an_answer(small: Small) -> None:
    first, second = small.errand.questions
    small.errand = replace(small.errand, questions=(replace(first, patience=1.0), second))
    small.requests[0] = replace(small.requests[0], status="withdrawn")
    small.runs[0] = replace(small.runs[0], result=[LEFT, *small.runs[0].result[1:]])
    findings = small.audit()
    assert (findings.problems, findings.waits_left) == ([], 1)
    small.requests[0] = replace(small.requests[0], status="pending")
    assert "makes it open" in small.problems()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_that_is_not_on_record_as_it_was_is_found(small: Small, name: str, place: str) -> None:
    small.errand = replace(small.errand, fails=name, place=place)
    assert "what it was told makes it failed" in small.problems()
    reason = reason_of(name, place)
    small.runs[0] = replace(small.runs[0], status="failed", reason="replay_mismatch", result=None)
    assert "is failed (replay_mismatch); what it was told makes it failed" in small.problems()
    small.runs[0] = replace(small.runs[0], reason=reason)
    assert f"has failed of {name}, but the record says ''" in small.problems()
    small.runs[0] = replace(small.runs[0], error=f"So: {words_of(name, place)}.")
    findings = small.audit()
    assert (findings.problems, findings.failures) == ([], {name: 1})


def test_a_resumption_that_was_acknowledged_and_is_not_there_is_found(small: Small) -> None:
    small.resumed = {"run"}
    assert "lost: the resumption of run run" in small.problems()
    small.runs[0] = replace(small.runs[0], resumed=1)
    assert small.problems() == ""


def test_a_run_that_asked_anew_ends_as_the_last_answer_says(small: Small) -> None:
    small.requests.insert(0, replace(small.requests[0], id="before", status="rejected"))
    assert small.problems() == ""


def test_a_run_that_was_executed_by_a_process_that_does_not_know_it_is_found(small: Small) -> None:
    small.runs[0] = replace(small.runs[0], version=2)
    assert "lost: run run is of version 2, and has not begun as that does" in small.problems()
    small.steps.append(replace(small.steps[1], key=BEGINNING, begun_by="host:2"))
    small.notes.append(effect(BEGINNING, BEGAN, pid=2))
    assert "process 1 executed effect-0 of run run, whose version 2 it does not know" in small.problems()
    small.notes = [effect(note["step"], note["at"], pid=2) for note in small.notes]
    assert small.problems() == ""
    small.steps[-1] = replace(small.steps[-1], begun_by="host:1")
    assert f"process 1 executed {BEGINNING} of run run" in small.problems()


def test_a_run_of_the_older_version_that_did_what_the_newer_one_does_is_found(small: Small) -> None:
    small.steps.append(replace(small.steps[1], key=BEGINNING))
    small.notes.append(effect(BEGINNING, BEGAN))
    assert "is of version 1, and did what only version 2 does" in small.problems()


@pytest.fixture
def asleep(small: Small) -> Small:
    """Its run has slept for ten seconds, until it asked."""
    first, second = small.errand.questions
    small.errand = replace(small.errand, questions=(replace(first, nap=10.0), second))
    small.steps.append(
        StepRow(
            run_id="run",
            key="nap-0",
            kind="sleep",
            status="done",
            request_id=None,
            due_at=BEGAN - 2,
            finished_at=BEGAN - 1.9,
        )
    )
    small.notes += [nap("sleeps", BEGAN - 12.1), nap("woke", BEGAN - 1.8)]
    small.asleep = {("run", "nap-0"): {BEGAN - 2}}
    return small


def nap(what: str, at: float) -> dict[str, Any]:
    return {"what": what, "run": "run", "step": "nap-0", "at": at}


def test_a_run_that_slept_as_it_was_to_is_counted(asleep: Small) -> None:
    findings = asleep.audit()
    assert (findings.problems, findings.sleeps, findings.seen_asleep) == ([], 1, 1)
    # Started again: it finds that it has slept.
    asleep.notes += [nap("sleeps", BEGAN + 5), nap("woke", BEGAN + 5)]
    assert asleep.problems() == ""


def test_a_sleep_that_is_not_there_is_found(asleep: Small) -> None:
    asleep.steps.pop()
    assert "lost: the sleep nap-0 of run run" in asleep.problems()
    asleep.asleep.clear()
    assert "lost: run run never slept at nap-0" in asleep.problems()


def test_a_run_that_woke_before_its_moment_is_found(asleep: Small) -> None:
    asleep.notes.append(nap("woke", BEGAN - 2.5))
    assert "the sleep nap-0 of run run ended 0.500 s before its moment" in asleep.problems()


def test_a_sleep_that_began_anew_is_found(asleep: Small) -> None:
    asleep.asleep["run", "nap-0"].add(BEGAN - 5)
    findings = asleep.audit()
    assert findings.doubled == 1
    assert "doubled: the sleep nap-0 of run run was to end at" in findings.problems[0]


def test_a_sleep_that_was_too_short_is_found(asleep: Small) -> None:
    asleep.notes = [note for note in asleep.notes if note["what"] != "sleeps"]
    asleep.notes.append(nap("sleeps", BEGAN - 11))
    assert "the sleep nap-0 of run run was to end 1.000 s early" in asleep.problems()


def test_a_run_that_woke_late_is_found_unless_something_was_broken(asleep: Small) -> None:
    asleep.steps[-1] = replace(asleep.steps[-1], finished_at=BEGAN + 60)
    assert "late: the sleep nap-0 of run run ended after 62.0 s" in asleep.problems()
    assert asleep.audit(broken=[(BEGAN - 1, BEGAN + 40)]).problems == []


def test_a_run_that_went_on_although_its_sleep_is_not_over_is_found(asleep: Small) -> None:
    asleep.steps[-1] = replace(asleep.steps[-1], status="sleeping", finished_at=None)
    assert "the sleep nap-0 of run run is sleeping, and its run woke" in asleep.problems()


@pytest.fixture
def told(small: Small) -> Small:
    """A hundred seconds long people could decide; who had to hear of that did, and who asked of the end."""
    small.questions = {one.title: replace(one, assignees=()) for one in small.errand.questions}
    small.requests = [replace(row, requester=ASKER, opened_at=BEGAN - 100) for row in small.requests]
    for request in small.requests:
        able = [one for one in PEOPLE if small.questions[request.title].may_decide(one)]
        tell(small, request, "opened", [one for one in able if "opened" in HEARS.get(one, ())])
        tell(small, request, "closed", [ASKER])
    return small


def tell(small: Small, request: RequestRow, event: str, people: Sequence[str]) -> None:
    for person in people:
        id_, quiet = f"{event} {request.id} {person}", person == QUIET
        row = NotificationRow(
            id=id_,
            request_id=request.id,
            event=event,
            person=person,
            status="waiting" if quiet else "delivered",
        )
        small.notifications.append(row)
        if not quiet:
            letter = Letter(id=id_, person=person, request_id=request.id, link="", at=BEGAN - 50)
            small.letters.append(letter)


def change(rows: list[Any], number: int, **columns: Any) -> None:
    rows[number] = replace(rows[number], **columns)


def test_where_everybody_was_told_once_nothing_is_found(told: Small) -> None:
    findings = told.audit()
    assert findings.problems == []
    assert findings.told == {"opened delivered": 4, "opened waiting": 2, "closed delivered": 2}


def test_who_was_not_told_is_found_unless_it_was_over_before(told: Small) -> None:
    for row in told.notifications[:3]:
        told.letters = [letter for letter in told.letters if letter.id != row.id]
    kept, told.notifications = told.notifications, told.notifications[3:]
    assert f"lost: {sorted(['ann', QUIET, STANDIN])} were not told of opened of request 0" in told.problems()
    assert told.audit(broken=[(BEGAN - 90, BEGAN - 20)]).problems == []
    change(told.requests, 0, opened_at=BEGAN - 20)
    assert told.problems() == ""
    told.notifications.insert(0, kept[1])
    assert "were not told of opened of request 0" in told.problems()


def test_who_asked_and_did_not_hear_of_the_end_is_found(told: Small) -> None:
    told.notifications = [row for row in told.notifications if row.event != "closed"]
    told.letters = [letter for letter in told.letters if not letter.id.startswith("closed")]
    assert f"lost: ['{ASKER}'] were not told of closed of request 1" in told.problems()
    told.requests = [replace(row, closed_by_asker=True) for row in told.requests]
    assert told.problems() == ""


def test_who_may_not_hear_of_it_and_was_told_is_found(told: Small) -> None:
    tell(told, told.requests[0], "opened", ["bob"])
    assert "told of opened of request 0, and not to be: ['bob']" in told.problems()
    tell(told, told.requests[0], "question", ["ann"])
    assert "['ann'] told of question of request 0, which nobody hears of" in told.problems()


def test_a_message_to_another_or_of_nothing_is_found(told: Small) -> None:
    change(told.letters, 0, person="bob")
    assert "told to others: opened of request 0 to ann" in told.problems()
    told.letters.append(replace(told.letters[1], id="another"))
    assert "messages 'another'" in told.problems()


def test_a_message_that_came_twice_is_found_unless_something_was_broken(told: Small) -> None:
    told.letters.append(replace(told.letters[0], at=BEGAN - 10))
    findings = told.audit()
    assert findings.doubled == 1
    assert "came again after 40.0 s" in findings.problems[0]
    assert told.audit(broken=[(BEGAN - 30, BEGAN - 20)]).problems == []
    tell(told, told.requests[0], "closed", [ASKER])
    assert "doubled: closed of request 0 was told 2 times" in told.problems()


@pytest.mark.parametrize("status", ["waiting", "given_up"])
def test_a_message_that_was_not_sent_is_found(told: Small, status: str) -> None:
    change(told.notifications, 0, status=status)
    del told.letters[0]
    assert f"lost: opened of request 0 to ann (opened request 0 ann) is {status}" in told.problems()
    change(told.notifications, 0, status="delivered")
    assert "is said to be sent, and never came" in told.problems()
    change(told.notifications, 0, status="moot")
    assert told.problems() == ""


def test_what_is_too_much_for_an_hour_may_wait_for_the_next(
    told: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together with others; who was told little has to hear of it now."""
    change(told.notifications, 0, status="waiting", together=True)
    del told.letters[0]
    assert "(opened request 0 ann) is waiting" in told.problems()
    monkeypatch.setattr(tellings, "ALONE_IN_AN_HOUR", 1)
    findings = told.audit()
    assert findings.problems == []
    assert findings.told["opened waiting together"] == 1


def test_a_message_that_had_no_point_and_came_is_found(told: Small) -> None:
    change(told.notifications, 0, status="moot")
    assert "is said to have no point, and came" in told.problems()
    assert told.audit(broken=[(BEGAN - 60, BEGAN - 40)]).problems == []


def test_a_message_after_the_end_is_found_unless_something_was_broken(told: Small) -> None:
    change(told.letters, 0, at=BEGAN + 40)
    assert "came 40.0 s after it was closed" in told.problems()
    assert told.audit(broken=[(BEGAN - 1, BEGAN + 20)]).problems == []


def test_a_message_in_quiet_hours_is_found(told: Small) -> None:
    at = next(at for at, row in enumerate(told.notifications) if row.person == QUIET)
    change(told.notifications, at, status="delivered")
    assert "told in quiet hours" in told.problems()


def test_a_link_that_was_used_and_decided_nothing_is_found(told: Small) -> None:
    change(told.notifications, 0, used=True)
    assert "links used and decisions by link differ" in told.problems()
    response = ResponseRow(request_id="request 0", person="ann", on_behalf_of=None, channel="link")
    told.responses.append(response)
    assert told.problems() == ""


def test_whoever_decided_for_somebody_without_standing_for_them_is_found(told: Small) -> None:
    response = ResponseRow(request_id="request 0", person=STANDIN, on_behalf_of=AWAY, channel="api")
    told.responses.append(response)
    assert told.problems() == ""
    for wrong in ({"on_behalf_of": None}, {"person": "bob"}):
        told.responses[0] = replace(response, **wrong)
        assert "on behalf of" in told.problems()


def _about_the_step(small: Small, said: dict[str, str]) -> RequestRow:
    return replace(
        small.requests[0],
        id="question",
        title="Interrupted: was “effect” done?",
        kind="clarification",
        status="answered",
        answer=said,
        details='Arguments: {"name": "effect-0"}',
    )


# --- The storm ---


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_a_short_storm_loses_nothing_and_doubles_nothing() -> None:
    """Servers, workers, PostgreSQL, Redis and mail of its own; the long one is for people to start."""
    command = [sys.executable, "-m", "tests.faults.storm", "--minutes", "0.4", "--seed", "1", "--open", "60"]
    storm = subprocess.run(
        [*command, "--recheck", "5", "--lease", "6", "--claim", "6", "--allowance", "60"],
        cwd=PROJECT,
        env=bare_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert "lost 0, doubled 0, problems 0" in storm.stdout
    # Not by chance: people were told, decided by links, and for who was away.
    for what in ("closed delivered", "opened delivered", "decisions by link", "decisions on behalf"):
        assert re.search(rf"\b{what} [1-9]", storm.stdout), storm.stdout
