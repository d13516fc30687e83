"""The audit finds what it promises to find: each kind of loss and doubling, made by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from approvals import deciding, queries
from approvals.database.clock import database_now
from approvals.domain.commands import Accepted, Expire
from approvals.writer import queue
from orchestration.models import Run, StepRecord
from tests import factories as make
from tests.faults.ledger import PRECISION, Ledger, Report, audit
from tests.in_process import as_superuser
from tests.looking import blocked_until
from tests.marks import both_databases
from tests.stacks import Stack

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PROMPT = 60.0
UNKNOWN = "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def audited(stack: Stack, ledger: Ledger, *, resolved: bool = True, prompt: float | None = None) -> Report:
    environment = stack.environment
    url = environment.get("DATABASE_URL") or Path(environment["SAYSO_VAR"]) / "sayso.sqlite3"
    return audit(ledger, url, resolved=resolved, prompt=prompt)


def decided(ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """A request of ann's that bob has approved, everybody told and noted; its id and outcome."""
    bob = make.reviewer("bob")
    request_id = make.approval(arguments={"amount": 1e21, "name": "Zoë"})
    ledger.asked("ann", request_id)
    outcome = deciding.decide(make.actor(bob), request_id, "approve", comment="Yes")
    told = queries.outcome_on_the_wire(outcome)
    ledger.decided("bob", request_id, "approve", told)
    ledger.waited("ann", request_id, told)
    return request_id, told


def forged(statement: str, *values: Any) -> None:
    """Past all triggers, as a superuser could."""
    with as_superuser(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in cursor.fetchall():
                cursor.execute(f'DROP TRIGGER "{name}"')
            cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute(statement, values)
    connection.close()


class TestTheTruth:
    @both_databases
    def test_what_went_well_is_sound(self, stack: Stack, ledger: Ledger) -> None:
        decided(ledger)
        report = audited(stack, ledger)
        assert report.sound, report
        assert (report.requests, report.resolved, report.entries) == (1, 1, 2)
        assert (report.decisions_told, report.waits_told) == (1, 1)

    def test_what_is_open_is_lost_unless_it_may_be_open(self, stack: Stack, ledger: Ledger) -> None:
        ledger.asked("ann", make.approval())
        assert audited(stack, ledger).lost == 1
        assert audited(stack, ledger, resolved=False).sound


class TestLies:
    """Each is a problem."""

    def test_an_acknowledged_request_that_is_not_there(self, stack: Stack, ledger: Ledger) -> None:
        ledger.asked("ann", UNKNOWN)
        ledger.started("ann", UNKNOWN)
        assert audited(stack, ledger).lost == 2

    def test_an_acknowledged_decision_that_is_not_there(self, stack: Stack, ledger: Ledger) -> None:
        request_id, told = decided(ledger)
        ledger.decided("eve", request_id, "approve", told)
        assert audited(stack, ledger).lost == 1

    def test_a_decision_that_is_recorded_otherwise(self, stack: Stack, ledger: Ledger) -> None:
        request_id, told = decided(ledger)
        ledger.decided("bob", request_id, "reject", told)
        assert audited(stack, ledger).doubled == 1

    @pytest.mark.parametrize(
        "lie",
        [
            {"status": "rejected"},
            {"approved": False},
            {"arguments": {}},
            {"decided_by": "eve"},
            {"comment": "yes"},
            {"decided_at": "2026-11-22T09:31:12.407000Z"},
        ],
        ids=lambda lie: next(iter(lie)),
    )
    def test_a_wait_that_was_told_something_else(
        self, stack: Stack, ledger: Ledger, lie: dict[str, Any]
    ) -> None:
        request_id, told = decided(ledger)
        ledger.waited("eve", request_id, told | lie)
        ledger.refused("eve", request_id, "already_decided", told | lie)
        assert audited(stack, ledger).doubled == 2

    def test_a_wait_that_ended_with_nothing(self, stack: Stack, ledger: Ledger) -> None:
        request_id, told = decided(ledger)
        ledger.waited("eve", request_id, told | {"status": "pending"})
        assert not audited(stack, ledger).sound

    @pytest.mark.parametrize(
        "forgery",
        [
            "DELETE FROM approvals_auditentry WHERE sequence = 2",
            "UPDATE approvals_auditentry SET outcome = 'rejected' WHERE sequence = 2",
            "UPDATE approvals_auditentry SET canonical = '{}' WHERE sequence = 1",
            "UPDATE approvals_auditentry SET previous_hash = '' WHERE sequence = 2",
            "UPDATE approvals_showncontent SET content = '{}'",
            "UPDATE approvals_humanrequest SET trail_length = 3",
        ],
    )
    def test_a_forged_trail(self, stack: Stack, ledger: Ledger, forgery: str) -> None:
        decided(ledger)
        forged(forgery)
        assert not audited(stack, ledger).sound


class TestInTime:
    """Measured from when nothing was in the way any more."""

    def test_what_was_told_at_once_is_sound(self, stack: Stack, ledger: Ledger) -> None:
        decided(ledger)
        assert audited(stack, ledger, prompt=PROMPT).sound

    def test_a_wait_that_was_told_late(self, stack: Stack, ledger: Ledger) -> None:
        request_id, told = decided(ledger)
        later(ledger, 2 * PROMPT, what="waited", who="eve", request=request_id, outcome=told)
        assert "late: eve was told" in str(audited(stack, ledger, prompt=PROMPT))
        assert audited(stack, ledger).sound

    def test_a_wait_that_was_told_soon_after_the_fault(self, stack: Stack, ledger: Ledger) -> None:
        request_id, told = decided(ledger)
        later(ledger, 2 * PROMPT - 1, what="over", fault="any")
        later(ledger, 2 * PROMPT, what="waited", who="eve", request=request_id, outcome=told)
        later(ledger, 4 * PROMPT, what="over", fault="another")
        report = audited(stack, ledger, prompt=PROMPT)
        assert report.sound, report

    def test_a_deadline_that_took_effect_late(self, stack: Stack, ledger: Ledger) -> None:
        request_id = make.approval(timeout=0.001)
        blocked_until(lambda: expired(request_id))
        assert audited(stack, ledger, prompt=PROMPT).sound
        assert "late: the deadline" in str(audited(stack, ledger, prompt=-1.0))


def expired(request_id: str) -> bool:
    result = queue.submit(Expire(request_id=UUID(request_id))).result()
    assert isinstance(result, Accepted)
    return result.outcome.closed


def later(ledger: Ledger, seconds: float, **note: Any) -> None:
    """A note as it would have been written so many seconds from now."""
    ledger._note(at=time.time() + seconds, **note)


def run(ledger: Ledger, *, status: str = "completed", recorded: str | None = "effect") -> str:
    """A run of one step, which was performed, and recorded with this effect; its id."""
    row = Run.objects.create(
        orchestration="errand",
        title="An errand",
        status=status,
        created_at=database_now(),
        changed_at=database_now(),
        finished_at=database_now() if status == "completed" else None,
    )
    ledger.started("ann", str(row.pk))
    ledger.performed(str(row.pk), "begin", "effect")
    if recorded is not None:
        StepRecord.objects.create(
            run=row,
            key="begin",
            kind="step",
            name="begin",
            fingerprint="",
            status="done",
            result={"effect": recorded},
            started_at=database_now(),
            finished_at=database_now(),
        )
    return str(row.pk)


class TestRuns:
    @both_databases
    def test_what_went_well_is_sound(self, stack: Stack, ledger: Ledger) -> None:
        ledger.ended("ann", run(ledger), "completed")
        report = audited(stack, ledger)
        assert report.sound, report
        assert (report.runs, report.runs_finished, report.steps_performed) == (1, 1, 1)

    def test_a_step_may_be_repeated_before_its_record(self, stack: Stack, ledger: Ledger) -> None:
        run_id = run(ledger, status="running", recorded=None)
        ledger.performed(run_id, "begin", "again")
        report = audited(stack, ledger, resolved=False)
        assert report.sound, report
        assert report.steps_repeated == 1

    def test_a_run_that_never_ended(self, stack: Stack, ledger: Ledger) -> None:
        run(ledger, status="running")
        assert audited(stack, ledger).lost == 1

    def test_a_step_without_a_record_in_a_completed_run(self, stack: Stack, ledger: Ledger) -> None:
        run(ledger, recorded=None)
        assert audited(stack, ledger).lost == 1

    def test_a_step_performed_past_its_record(self, stack: Stack, ledger: Ledger) -> None:
        run_id = run(ledger)
        recorded = StepRecord.objects.get().finished_at
        assert recorded
        blocked_until(lambda: (database_now() - recorded).total_seconds() >= 2 * PRECISION)
        ledger.performed(run_id, "begin", "again")
        assert audited(stack, ledger).doubled == 1

    def test_a_record_of_what_nobody_did(self, stack: Stack, ledger: Ledger) -> None:
        run(ledger, recorded="another")
        assert not audited(stack, ledger).sound

    def test_a_watcher_who_was_told_another_end(self, stack: Stack, ledger: Ledger) -> None:
        ledger.ended("ann", run(ledger), "failed")
        assert audited(stack, ledger).doubled == 1
