"""The ground that tests stand on: each stack is what it says, shared by all threads, empty every time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis
from channels.layers import get_channel_layer
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, connections, transaction
from playwright.async_api import Page

from approvals.database import triggers
from approvals.database.threads import in_database
from tests import in_process
from tests.conftest import Manage
from tests.patience import patience
from tests.processes import Process, ProcessEnded
from tests.servers import PostgresServer, RedisServer
from tests.stacks import KEPT_TABLES, RESTORED_TABLES, LeftOpen, Stack

# Groups that are made by migrating.
ROLES = ["requester", "reviewer", "auditor", "administrator"]


@pytest.mark.every_stack
def test_the_database_is_the_one_that_the_stack_names(stack: Stack) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()" if stack.engine == "postgresql" else "SELECT sqlite_version()")
        (version,) = cursor.fetchone()
    assert connection.vendor == stack.engine
    assert version.startswith("PostgreSQL") == (stack.engine == "postgresql")


@pytest.mark.every_stack
async def test_the_layer_is_the_one_that_the_stack_names(stack: Stack) -> None:
    layer = get_channel_layer()
    assert type(layer).__name__.startswith("Redis") == (stack.layer == "redis")
    channel = await layer.new_channel()
    await layer.group_add("ground", channel)
    await layer.group_send("ground", {"type": "look", "ids": ["1"]})
    assert await layer.receive(channel) == {"type": "look", "ids": ["1"]}


def test_the_database_has_the_options_of_an_installation(stack: Stack) -> None:
    """The busy timeout and the journal of SQLite, and PostgreSQL's pool, are those that ship."""
    if stack.engine == "postgresql":
        assert connections["default"].settings_dict["OPTIONS"]["pool"]["max_size"] >= 8
        return
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA busy_timeout").fetchone() == (20_000,)
    assert Path(connection.settings_dict["NAME"]).is_file()


def test_all_threads_see_the_same_database(stack: Stack) -> None:
    Group.objects.create(name="seen")
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(_names_of_groups).result() == [*ROLES, "seen"]
        thread.submit(in_process.close_connection).result()


@pytest.mark.stacks("postgresql-redis")
def test_a_connection_that_a_thread_forgot_is_noticed(stack: Stack) -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(_names_of_groups).result() == ROLES
    in_process.close_connection()
    assert not in_process.all_connections_came_back(seconds=0.1)


async def test_coroutines_see_the_same_database(stack: Stack) -> None:
    await in_database(Group.objects.create, name="seen")
    assert await in_database(_names_of_groups) == [*ROLES, "seen"]


def test_other_processes_see_the_same_database(stack: Stack, manage: Manage) -> None:
    Group.objects.create(name="seen")
    code = "from django.contrib.auth.models import Group; print('found', Group.objects.last().name)"
    process = manage("shell", "--no-imports", "-c", code)
    assert process.wait() == 0
    assert "found seen" in process.output.text


def test_a_process_may_have_a_database_of_its_own(stack: Stack, manage: Manage, tmp_path: Path) -> None:
    Group.objects.create(name="unseen")
    code = "from django.contrib.auth.models import Group; print('found', Group.objects.count())"
    environment = stack.fresh_environment(tmp_path)
    process = manage("shell", "--no-imports", "-c", code, environment=environment)
    assert process.wait() == 0
    assert f"found {len(ROLES)}" in process.output.text


@pytest.mark.parametrize("time", ["first", "second"])
def test_every_test_begins_without_rows(stack: Stack, time: str) -> None:
    """Whatever the one before wrote, the mark of migrations stays and nothing else."""
    assert not User.objects.exists()
    assert _names_of_groups() == ROLES
    assert Permission.objects.filter(codename="decide_humanrequest").exists()
    assert Group.objects.get(name="auditor").permissions.filter(codename="view_report").exists()
    User.objects.create_user("somebody").groups.add(Group.objects.create(name="some"))
    Group.objects.get(name="auditor").permissions.clear()
    Group.objects.get(name="reviewer").delete()


def test_cleaning_empties_every_table_but_what_migrations_made(stack: Stack) -> None:
    user = User.objects.create_user("somebody")
    _write_an_audit_entry(user)
    connection.close()
    stack.database.clean()
    there = connection.introspection.table_names()  # on SQLite there is no queue of jobs
    for model in apps.get_models(include_auto_created=True):
        if model._meta.db_table not in there:
            continue
        assert model._base_manager.exists() == (model._meta.db_table in (*KEPT_TABLES, *RESTORED_TABLES)), (
            model
        )


def test_cleaning_leaves_the_triggers_as_they_were(stack: Stack) -> None:
    user = User.objects.create_user("somebody")
    _write_an_audit_entry(user)
    connection.close()
    stack.database.clean()
    assert triggers.faults(connection) == []


@pytest.mark.stacks("postgresql-redis")
def test_a_transaction_left_open_is_named(stack: Stack) -> None:
    """A thread that forgot its transaction fails its own test, not the next one."""
    Group.objects.create(name="committed")
    forgotten = psycopg.connect(stack.environment["DATABASE_URL"])
    forgotten.execute("UPDATE auth_group SET name = 'forgotten' WHERE name = 'committed'")
    with pytest.raises(LeftOpen, match="SET name = 'forgotten'"):
        stack.database.clean()
    forgotten.close()
    assert _names_of_groups() == ROLES


@pytest.mark.django_db
def test_the_mark_alone_opens_the_database_on_both() -> None:
    assert not transaction.get_connection().in_atomic_block
    assert not User.objects.exists()


def test_without_the_mark_the_database_stays_shut() -> None:
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        User.objects.exists()


def test_a_private_postgres_can_be_stopped_and_comes_back(
    stack: Stack, private_postgres: PostgresServer
) -> None:
    Group.objects.create(name="kept")
    private_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(private_postgres.url)
    private_postgres.start()
    connection.close()
    assert _names_of_groups() == [*ROLES, "kept"]


def test_a_frozen_postgres_answers_nobody_until_it_thaws(
    stack: Stack, private_postgres: PostgresServer
) -> None:
    answered = threading.Event()
    private_postgres.freeze()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(_ask, private_postgres, answered)
        assert not answered.wait(0.3)
        private_postgres.thaw()
        answer.result(patience())


async def test_a_private_redis_forgets_what_it_is_told_to(stack: Stack, private_redis: RedisServer) -> None:
    assert stack.redis is private_redis
    with redis.Redis.from_url(private_redis.url) as client:
        client.set("a", "b")
        private_redis.flush()
        assert client.get("a") is None
    private_redis.stop()
    private_redis.start()
    await get_channel_layer().send("anybody", {"type": "look"})


@pytest.mark.processes
def test_a_process_that_ends_early_says_what_it_printed() -> None:
    with (
        Process(["python3", "-c", "print('only this')"], environment={}, name="short") as process,
        pytest.raises(ProcessEnded, match="only this"),
    ):
        process.output.wait_for("more")


async def test_a_browser_shows_a_page(page: Page) -> None:
    await page.set_content("<title>Here</title>")
    assert await page.title() == "Here"


def _names_of_groups() -> list[str]:
    return list(Group.objects.order_by("pk").values_list("name", flat=True))


def _ask(server: PostgresServer, answered: threading.Event) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("SELECT 1")
    answered.set()


def _write_an_audit_entry(user: User) -> None:
    """A row in the one table that refuses to lose rows."""
    from django.utils import timezone

    from approvals.models import AuditEntry, HumanRequest

    now = timezone.now()
    request = HumanRequest(
        kind="clarification", title="Which?", opened_at=now, changed_at=now, requester=user
    )
    entry = AuditEntry(request=request, sequence=1, event="opened", channel="program", recorded_at=now)
    HumanRequest.writing.bulk_create([request])
    AuditEntry.writing.bulk_create([entry])
