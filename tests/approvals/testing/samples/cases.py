"""Tests of a project's own, by Django's test runner: what docs/testing.md promises beside its examples."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase

from approvals.domain.commands import Actor
from approvals.exceptions import AlreadyDecided
from approvals.gate import open_approval, outcome
from approvals.testing import (
    SaysoTestCase,
    SaysoTestMixin,
    SaysoTransactionTestCase,
    answer,
    decide,
    move_time,
    pending,
)
from approvals.trail.verification import verify_request
from orchestration import Run, orchestration, start
from orchestration.manager import OrchestrationManager
from orchestration.testing import execute_runs


class Enclosed(SaysoTestCase):
    def test_what_one_test_asks_the_next_does_not_see(self) -> None:
        self.assertEqual(pending(), [])
        open_approval("Refund order 812", key="once")

    test_what_one_test_asks_the_next_does_not_see_again = test_what_one_test_asks_the_next_does_not_see

    def test_a_transaction_of_the_tests_own_is_what_it_is_elsewhere(self) -> None:
        with transaction.atomic(), self.assertRaisesRegex(RuntimeError, r"In tests, see approvals\.testing"):
            open_approval("Refund order 812")
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: open_approval("Refund order 812"))
        self.assertEqual(len(pending()), 1)

    def test_a_refused_decision_leaves_the_transaction_usable(self) -> None:
        request_id = open_approval("Refund order 812")
        decide(request_id)
        with self.assertRaises(AlreadyDecided):
            decide(request_id, "reject")
        self.assertTrue(outcome(request_id).approved)

    def test_the_record_of_a_test_verifies(self) -> None:
        request_id = open_approval("Refund order 812")
        decide(request_id, by=User.objects.create_superuser("root"))
        self.assertEqual(verify_request(UUID(request_id)), [])

    def test_runs_are_queued_in_the_tests_transaction(self) -> None:
        release = {"title": "Release", "items": ["green"]}
        once = [OrchestrationManager().start("checklist", release, key="once") for _ in range(2)]
        self.assertEqual(once[0], once[1])

    def test_time_moves_until_the_end_of_the_test(self) -> None:
        move_time(10_000_000)
        soon = open_approval("Refund order 812", timeout=60)
        self.assertFalse(outcome(soon).closed)

    def test_a_request_has_its_own_time_again(self) -> None:
        open_approval("Refund order 812", timeout=60)
        (request,) = pending()
        user = User.objects.create(username="now")
        self.assertLess(abs((request.opened_at - user.date_joined).total_seconds()), 3600)


class WithTestData(SaysoTestCase):
    request_id: str

    @classmethod
    def setUpTestData(cls) -> None:
        cls.request_id = open_approval("Refund order 812")

    def test_what_was_asked_for_the_class_is_pending(self) -> None:
        assert decide(self.request_id).approved

    test_in_each_of_its_tests = test_what_was_asked_for_the_class_is_pending


class WithMoreTestData(WithTestData):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        open_approval("Refund order 813")

    def test_what_its_base_asks_is_pending_too(self) -> None:
        assert len(pending()) == 2


class WithRuns:
    """Runs that the code under test starts are executed as far as they come."""

    def test_a_run_goes_on_with_each_decision(self) -> None:
        rita = User.objects.create_user("rita")
        start("staged release", {"name": "2.4"}, owner=rita)
        (run,) = execute_runs()
        assert run.status == "waiting"
        decide(pending()[0], by=rita)
        (run,) = execute_runs()
        assert (run.status, pending()) == ("waiting", [])
        move_time(3600)
        execute_runs()
        answer(pending()[0], "none", by=rita)
        (run,) = execute_runs()
        assert (run.status, run.result) == ("completed", ["released 2.4 for 1", "none"])
        assert execute_runs() == []

    def test_a_run_that_is_cancelled_leaves_nothing_pending(self) -> None:
        run_id = start("staged release", {"name": "2.4"})
        execute_runs()
        OrchestrationManager().cancel(Actor.program(), run_id)
        assert pending() == []


class RunsInTheTransaction(WithRuns, SaysoTestCase):
    pass


class RunsThatCommit(WithRuns, SaysoTransactionTestCase):
    pass


attempts: list[str] = []


@orchestration("staged release")
async def release(run: Run, *, name: str) -> list[str]:
    await run.approve(f"Release {name}")
    await run.sleep(3600)
    released = await run.step("release", act, name, retries=1)
    return [released, await run.ask("What went wrong?")]


def act(name: str) -> str:
    attempts.append(name)
    if len(attempts) % 2:
        raise OSError("away")
    return f"released {name} for {User.objects.count()}"


class EmptiedWithItsTrail(TransactionTestCase):
    """Django's own: nothing of it knows the kit."""

    def test_that_asks_nothing(self) -> None:
        self.assertEqual(User.objects.count(), 0)


class Committed(SaysoTransactionTestCase):
    def test_what_was_asked_is_gone(self) -> None:
        self.assertEqual(pending(), [])
        rita = User.objects.create_user("rita")
        decide(open_approval("Refund order 812", assignees=["rita"]), by=rita)
        open_approval("Refund order 813")

    test_what_was_asked_again_is_gone = test_what_was_asked_is_gone


class Served(SaysoTestMixin, LiveServerTestCase):
    def test_a_live_server_decides_as_well(self) -> None:
        self.assertTrue(decide(open_approval("Refund order 812")).approved)


class Unaware(TestCase):
    def test_without_the_kit_the_refusal_says_where_it_is(self) -> None:
        with self.assertRaisesRegex(RuntimeError, r"In tests, see approvals\.testing"):
            open_approval("Refund order 812")
