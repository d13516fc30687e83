"""The writer's transaction: two messages to PostgreSQL, and all or nothing, as with Django's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals.database.pipeline import begin, commit, execute, together
from approvals.database.transactions import begun_inside
from approvals.domain.commands import Actor, Decision
from approvals.domain.lifecycle import Verdict
from approvals.models import HumanRequest
from approvals.writer import execution
from tests import factories

pytestmark = pytest.mark.django_db

RENAME = "UPDATE approvals_humanrequest SET title = %s"
MISTAKE = "SELECT CAST('no number' || %s AS integer)"


def rename_and(then: Callable[[], object]) -> None:
    """In one transaction, and one message."""
    with begun_inside(), together():
        begin()
        execute(RENAME, ["Renamed"])
        then()


def title() -> str:
    return str(HumanRequest.objects.get().title)


def test_what_was_written_is_committed_then_the_hooks_run() -> None:
    factories.approval("As it was")
    seen: list[tuple[str, bool]] = []
    with begun_inside():
        with together():
            begin()
            execute(RENAME, ["Renamed"])
        transaction.on_commit(lambda: seen.append((title(), connection.in_atomic_block)))
        commit()
    assert seen == [("Renamed", False)]
    connection.close()
    assert title() == "Renamed"


def test_what_raises_undoes_all_and_leaves_the_connection_usable() -> None:
    factories.approval("As it was")
    ran: list[str] = []

    def promise_and_raise() -> None:
        transaction.on_commit(partial(ran.append, "hook"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rename_and(promise_and_raise)
    assert (title(), ran, connection.in_atomic_block) == ("As it was", [], False)


@pytest.mark.stacks("postgresql-redis")
def test_a_statement_that_fails_keeps_the_commit_of_its_message_from_being_carried_out() -> None:
    factories.approval("As it was")

    def mistake_and_commit() -> None:
        execute(MISTAKE, [""])
        commit()

    with pytest.raises(DatabaseError, match="no number"):
        rename_and(mistake_and_commit)
    assert title() == "As it was"


@pytest.mark.stacks("postgresql-redis")
def test_a_transaction_that_nobody_committed_is_undone_and_told() -> None:
    """SQLite's is committed by Django."""
    factories.approval("As it was")
    with pytest.raises(RuntimeError, match="not committed"):
        rename_and(lambda: None)
    assert title() == "As it was"


def test_it_is_refused_inside_another() -> None:
    with transaction.atomic(), pytest.raises((RuntimeError, TransactionManagementError)), begun_inside():
        pass


@pytest.mark.stacks("postgresql-redis")
@pytest.mark.parametrize("told", ["on", "off"])
def test_a_decision_takes_two_messages(settings: Settings, told: str) -> None:
    """One that begins, locks and reads; one that writes and commits, also what wakes who tells people."""
    settings.SAYSO_NOTIFY = told
    first, second = (UUID(factories.approval()) for _ in range(2))
    decide(first)  # statements are prepared once a connection
    with CaptureQueriesContext(connection) as messages:
        decide(second)
    assert len(messages) == 2
    assert HumanRequest.objects.get(pk=second).status == "approved"


@pytest.mark.stacks("postgresql-redis")
def test_without_prepared_statements_it_takes_the_same_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a pooler that gives each transaction another connection."""
    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)
    request_id = UUID(factories.approval())
    with CaptureQueriesContext(connection) as messages:
        decide(request_id)
    assert [each["sql"].count("EXECUTE") for each in messages] == [0, 0]
    assert HumanRequest.objects.get(pk=request_id).status == "approved"


def decide(request_id: UUID) -> None:
    execution.execute([Decision(request_id=request_id, actor=Actor.program(), verdict=Verdict.APPROVE)])
