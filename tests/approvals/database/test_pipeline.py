"""Statements that go together: in order, each with its own answer, and nothing of them after an error."""

from __future__ import annotations

import pytest
from django.db import DataError, InternalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg.pq import TransactionStatus

from approvals.database.clock import database_now
from approvals.database.pipeline import execute, together, together_in_a_snapshot
from approvals.models import HumanRequest
from tests import factories
from tests.other_threads import elsewhere

pytestmark = pytest.mark.django_db

TWICE = "SELECT 2 * CAST(%s AS integer)"
TEXT = "SELECT CAST(%s AS text), CAST(%s AS text)"


def test_each_answer_is_its_statement_s_own() -> None:
    with transaction.atomic(), together():
        answers = [execute(TWICE, [number]) for number in range(5)]
        none = execute("SELECT 1 WHERE 1 = 0")
        words = execute(TEXT, ["a 'quoted' $1; %s", None])
    assert [answer.rows() for answer in answers] == [[(2 * number,)] for number in range(5)]
    assert none.rows() == []
    assert words.rows() == [("a 'quoted' $1; %s", None)]


def test_an_answer_that_is_needed_before_the_end_is_there() -> None:
    with transaction.atomic(), together():
        first = execute(TWICE, [1])
        ((two,),) = first.rows()
        second = execute(TWICE, [two])
    assert second.rows() == [(4,)]


def test_what_goes_together_within_what_goes_together_keeps_its_order() -> None:
    factories.approval("As it was")
    rename = "UPDATE approvals_humanrequest SET title = %s"
    with transaction.atomic(), together():
        execute(rename, ["First"])
        with together():
            execute(rename, ["Second"])
    assert HumanRequest.objects.get().title == "Second"


def test_alone_a_statement_is_carried_out_at_once() -> None:
    assert execute(TWICE, [21]).rows() == [(42,)]


@pytest.mark.stacks("postgresql-redis")
def test_what_goes_together_is_one_message() -> None:
    with transaction.atomic():
        execute(TWICE, [0])
        with CaptureQueriesContext(connection) as messages, together():
            for number in range(10):
                execute(TWICE, [number])
    assert len(messages) == 1


@pytest.mark.stacks("postgresql-redis")
def test_a_statement_is_planned_once_a_connection() -> None:
    """PostgreSQL counts how often each prepared statement was used."""
    numbers = "SELECT CAST(%s AS bigint) + 0"
    for number in range(10):
        execute(numbers, [number])
    used = execute(
        "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE %s",
        ["%AS bigint) + 0"],
    )
    assert used.rows() == [(10,)]


@pytest.mark.stacks("postgresql-redis")
def test_a_new_connection_plans_anew() -> None:
    assert execute(TWICE, [1]).rows() == [(2,)]
    connection.close()
    assert execute(TWICE, [2]).rows() == [(4,)]


@pytest.mark.stacks("postgresql-redis")
def test_behind_a_pooler_it_does_without_plans_of_its_own() -> None:
    connection.ensure_connection()
    usual = connection.connection.prepare_threshold
    connection.connection.prepare_threshold = None
    try:
        with CaptureQueriesContext(connection) as messages:
            assert execute(TWICE, [3]).rows() == [(6,)]
    finally:
        connection.connection.prepare_threshold = usual
    assert "EXECUTE" not in str(messages.captured_queries)


@pytest.mark.stacks("postgresql-redis")
def test_after_an_error_nothing_more_is_carried_out_and_the_next_message_is_fine() -> None:
    """Neither what was asked after the failing statement, nor what came before it stays."""
    insert = "UPDATE approvals_humanrequest SET title = %s WHERE id = %s"
    request_id = factories.approval("As it was")
    with pytest.raises(DataError):
        failing(insert, request_id)
    assert HumanRequest.objects.get(pk=request_id).title == "As it was"
    assert execute(TWICE, [5]).rows() == [(10,)]


def failing(statement: str, request_id: str) -> None:
    with transaction.atomic(), together():
        execute(statement, ["Changed", request_id])
        execute(statement, ["x" * 300, request_id])
        execute(statement, ["Changed again", request_id])


def test_what_raises_while_asking_sends_nothing() -> None:
    request_id = factories.approval("As it was")
    with pytest.raises(KeyError):
        interrupted(request_id)
    assert HumanRequest.objects.get(pk=request_id).title == "As it was"


def interrupted(request_id: str) -> None:
    with transaction.atomic(), together():
        execute("UPDATE approvals_humanrequest SET title = %s WHERE id = %s", ["Changed", request_id])
        raise KeyError


@pytest.mark.stacks("postgresql-redis")
def test_the_clock_of_a_message_goes_on_between_its_statements() -> None:
    """A clock read after a lock that was waited for must not say when the message was sent."""
    with transaction.atomic(), together():
        before = execute("SELECT clock_timestamp()")
        execute("SELECT pg_sleep(0.01)")
        after = execute("SELECT clock_timestamp()")
    assert after.rows()[0][0] > before.rows()[0][0]
    assert database_now() > after.rows()[0][0]


def test_a_statement_that_begins_with_with_keeps_its_rows() -> None:
    assert execute("WITH two AS (SELECT 2 AS number) SELECT number FROM two").rows() == [(2,)]


def test_what_is_read_in_a_snapshot_is_of_one_moment() -> None:
    titles = "SELECT title FROM approvals_humanrequest"
    factories.approval("As it was")
    with together_in_a_snapshot():
        first = execute(titles).rows()
        elsewhere(factories.approval, "Later")
        second, third = execute(titles), execute(titles)
    assert first == second.rows() == third.rows() == [("As it was",)]
    assert len(execute(titles).rows()) == 2


@pytest.mark.stacks("postgresql-redis")
def test_a_snapshot_that_ends_with_an_error_is_over() -> None:
    with pytest.raises(InternalError), together_in_a_snapshot():
        execute("UPDATE approvals_humanrequest SET title = 'Changed'").rows()
    with pytest.raises(KeyError):
        interrupted_snapshot()
    assert execute(TWICE, [2]).rows() == [(4,)]
    factories.approval("Written after it")
    assert connection.connection.info.transaction_status == TransactionStatus.IDLE


def interrupted_snapshot() -> None:
    with together_in_a_snapshot():
        execute(TWICE, [1])
        raise KeyError
