"""The writer's own connection: its limits and plans hold for as long as it lives, and for it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals.database.pipeline import execute, limit_transaction_time
from approvals.database.sessions import leave_the_pool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.stacks("postgresql-redis")]

SETTINGS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode")
OF_THE_WRITER = ["2s", "5s", "5s", "force_generic_plan"]


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Any]]:
    """Run functions one after another on a thread that has left the pool."""
    with ThreadPoolExecutor(1, initializer=leave_the_pool) as thread:
        yield lambda function: thread.submit(function).result()
        thread.submit(close).result()


def close() -> None:
    connection.close()  # looked up on the thread that calls this


def settings() -> list[str]:
    with connection.cursor() as cursor:
        return [str(cursor.execute(f"SHOW {name}").fetchone()[0]) for name in SETTINGS]


def test_they_hold_and_after_the_connection_was_lost_they_hold_again(elsewhere: Callable[..., Any]) -> None:
    assert elsewhere(settings) == OF_THE_WRITER
    elsewhere(close)
    assert elsewhere(settings) == OF_THE_WRITER


def test_others_have_them_for_one_transaction(elsewhere: Callable[..., Any]) -> None:
    elsewhere(settings)
    before = settings()
    with transaction.atomic():
        limit_transaction_time()
        assert settings()[:3] == OF_THE_WRITER[:3]
    assert settings() == before != OF_THE_WRITER


def test_what_holds_already_is_not_said_again(elsewhere: Callable[..., Any]) -> None:
    def messages() -> int:
        connection.ensure_connection()
        with CaptureQueriesContext(connection) as sent, transaction.atomic():
            limit_transaction_time()
        return sum("EXECUTE" in one["sql"] for one in sent)

    assert elsewhere(messages) == 0
    assert messages() == 1


def test_behind_a_pooler_nothing_outlasts_a_transaction(elsewhere: Callable[..., Any]) -> None:
    def limited() -> tuple[list[str], list[str]]:
        connection.settings_dict["OPTIONS"]["prepare_threshold"] = None
        before = settings()
        with transaction.atomic():
            limit_transaction_time()
            return before, settings()

    before, inside = elsewhere(limited)
    assert before == settings()
    assert inside[:3] == OF_THE_WRITER[:3]


def test_a_statement_is_planned_once_whatever_its_values(elsewhere: Callable[..., Any]) -> None:
    def plans() -> list[tuple[int, int]]:
        for number in range(10):
            execute("SELECT count(*) FROM generate_series(1, 9) AS n WHERE n = ANY(%s)", [f"{{{number}}}"])
        kept = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s"
        return execute(kept, ["%generate_series(1, 9)%"]).rows()

    assert elsewhere(plans) == [(10, 0)]
