"""Database threads: they keep their connections, but no dead ones."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from django.db import Error, connection, transaction
from pytest_django import Settings

from approvals.database import threads
from approvals.database.threads import LOST, in_database
from tests.looking import blocked_until
from tests.stacks import Stack

pytestmark = [pytest.mark.django_db, pytest.mark.stacks("postgresql-redis")]


@pytest.fixture(autouse=True)
def one_thread(settings: Settings) -> None:
    """So that each call meets the connection that the last one left."""
    settings.SAYSO_DATABASE_THREADS = 1


async def test_calls_one_after_the_other_share_a_connection() -> None:
    assert await in_database(backend) == await in_database(backend)


async def test_a_connection_that_met_an_error_and_is_dead_is_given_up() -> None:
    """The call that meets it fails, the next does not."""
    killed = await in_database(kill_own_backend)
    with pytest.raises(Error):
        await in_database(backend)
    assert await in_database(backend) != killed


async def test_also_where_the_call_has_caught_the_error() -> None:
    killed = await in_database(kill_own_backend)
    assert await in_database(backend_or_nothing) is None
    assert await in_database(backend_or_nothing) not in {None, killed}


async def test_a_connection_that_has_rested_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What died meanwhile fails nobody."""
    killed = await in_database(kill_own_backend)
    monkeypatch.setattr(threads, "TRUSTED", -1.0)
    assert await in_database(backend) != killed


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        return int(pid)


def backend_or_nothing() -> int | None:
    with suppress(Error):
        return backend()
    return None


def kill_own_backend() -> int:
    """As a database that restarts does, without this side's noticing."""
    pid = backend()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        other.close()
    return pid


@pytest.mark.parametrize("ending", ["terminated", "idle for too long"])
def test_a_transaction_that_was_ended_from_outside_counts_as_lost(stack: Stack, ending: str) -> None:
    """Whoever was frozen in the midst of one has to try again, like anybody whose connection broke."""
    with pytest.raises(LOST):
        write_after(ending, stack.environment["DATABASE_URL"])
    connection.close()


def write_after(ending: str, url: str) -> None:
    """Begin a transaction, which ends from outside, and go on with it."""
    with (
        psycopg.connect(url, autocommit=True) as other,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        if ending == "terminated":
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        else:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
        blocked_until(
            lambda: other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is None
        )
        cursor.execute("SELECT 1")
