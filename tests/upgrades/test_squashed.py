"""A new database is made in two steps instead of dozens, and is the same as one that took all of them."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from orchestration.observing.health import Readiness
from tests import in_process
from tests.conftest import Servers
from tests.marks import both_databases
from tests.stacks import Database, PostgresDatabase, SqliteDatabase, Stack

SQUASHED = {
    "approvals": "0001_squashed_0032_new_addresses",
    "orchestration": "0001_squashed_0010_pages_of_runs",
}


@pytest.fixture
def new(stack: Stack, servers: Servers) -> Iterator[Database]:
    """A new database, migrated here: one that was restored from a copy words its rules otherwise."""
    with _migrated(stack, servers, "new") as database:
        yield database


@pytest.fixture
def stepwise(stack: Stack, servers: Servers, new: Database, without_squashed: None) -> Iterator[Database]:
    """A database that took one migration after the other."""
    with _migrated(stack, servers, "stepwise") as database:
        yield database


@contextmanager
def _migrated(stack: Stack, servers: Servers, name: str) -> Iterator[Database]:
    database: Database
    if stack.engine == "sqlite":
        database = SqliteDatabase()
    else:
        database = PostgresDatabase(servers.postgres, f"{servers.postgresql_database.name}_{name}")
    in_process.migrate(database)
    yield database
    in_process.join(stack)
    database.remove()


@pytest.fixture
def without_squashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Django knows the single migrations alone, and those that came later as their successors."""
    settings.MIGRATION_MODULES = {}
    for app, squashed in SQUASHED.items():
        package = f"single_migrations_of_{app}"
        shutil.copytree(_folder_of(app), tmp_path / package)
        (tmp_path / package / f"{squashed}.py").unlink()
        for file in (tmp_path / package).glob("*.py"):
            last = squashed.removeprefix("0001_squashed_")
            file.write_text(file.read_text(encoding="utf-8").replace(squashed, last), encoding="utf-8")
        settings.MIGRATION_MODULES[app] = package
    monkeypatch.syspath_prepend(tmp_path)


def _folder_of(app: str) -> Path:
    (folder,) = import_module(f"{app}.migrations").__path__
    return Path(folder)


@both_databases
@pytest.mark.django_db
def test_a_new_database_is_the_one_that_took_each_migration_and_that_stays_as_it_is(
    stack: Stack, new: Database, stepwise: Database, settings: Any
) -> None:
    """Its tables, rules, indexes and triggers, and what its groups may do; the order of columns is free."""
    made_new = everything_of(new, stack)
    assert applied() >= set(SQUASHED.items())
    assert everything_of(stepwise, stack) == made_new
    assert not applied() & set(SQUASHED.items())

    settings.MIGRATION_MODULES = {}
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    with in_process.as_superuser():
        call_command("migrate", verbosity=0)
    assert everything_of(stepwise, stack) == made_new
    assert applied() >= set(SQUASHED.items())


@pytest.mark.one_stack
@pytest.mark.django_db
def test_a_database_of_an_earlier_version_goes_on_with_the_single_ones(
    stack: Stack, new: Database, stepwise: Database, settings: Any
) -> None:
    """Also where one app has all of its own, and is migrated before the other."""
    made_new = everything_of(new, stack)
    in_process.join(Stack(stack.name, stepwise, stack.redis))
    call_command("migrate", "approvals", "0031", verbosity=0)
    settings.MIGRATION_MODULES = {}
    assert unapplied() == "1 not applied"
    for app in ("auth", "orchestration"):
        call_command("migrate", app, verbosity=0)
    assert not applied() & {("approvals", SQUASHED["approvals"])}
    call_command("migrate", verbosity=0)
    assert everything_of(stepwise, stack) == made_new
    assert unapplied() is None


def unapplied() -> str | None:
    """What whoever asks about the health of the installation is told."""
    return asyncio.run(Readiness().faults())["migrations"]


def applied() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connection).applied_migrations())


def everything_of(database: Database, stack: Stack) -> dict[str, set[Any]]:
    in_process.join(Stack(stack.name, database, stack.redis))
    read = _of_sqlite() if connection.vendor == "sqlite" else _of_postgresql()
    return read | {
        "role": {
            (group.name, frozenset(group.permissions.values_list("content_type__app_label", "codename")))
            for group in Group.objects.all()
        },
        "permission": set(Permission.objects.values_list("content_type__app_label", "codename", "name")),
    }


def _of_sqlite() -> dict[str, set[Any]]:
    """Each definition, a table's taken apart: columns that came later stand at the end of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        defined = cursor.fetchall()
    return {
        kind: {
            (name, frozenset(_parts(sql) if kind == "table" else [sql]))
            for each, name, sql in defined
            if each == kind
        }
        for kind in ("table", "index", "trigger")
    }


def _parts(table: str) -> Iterator[str]:
    """The columns and rules of a CREATE TABLE: what commas outside of parentheses and texts divide."""
    inner = table[table.index("(") + 1 : table.rindex(")")]
    depth, part = 0, ""
    for token in re.findall(r"'[^']*'|\"[^\"]*\"|[(),]|[^'\"(),]+", inner):
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            yield part.strip()
            part = ""
        else:
            part += token
    yield part.strip()


def _of_postgresql() -> dict[str, set[Any]]:
    asked = {
        "column": """
            SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default,
                   is_identity
            FROM information_schema.columns WHERE table_schema = 'public'""",
        "rule": """
            SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
        "index": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "trigger": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "function": """
            SELECT proname, pg_get_functiondef(oid)
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    }
    with connection.cursor() as cursor:
        read = {}
        for kind, question in asked.items():
            cursor.execute(question)
            read[kind] = set(cursor.fetchall())
    return read
