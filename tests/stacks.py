"""The stacks that tests run on: a database and a channel layer, beneath code that sees only 'default'.

The settings of a stack are not written down here: they are what config/settings.py makes of the environment
that an installation of that kind would have.
"""

from __future__ import annotations

import os
import runpy
import secrets
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql

from orchestration.benchmark.installation import create_database, drop_database, postgres_programs
from tests.database_roles import APPLICATION, SUPERUSER, restrain, url_as
from tests.processes import PROJECT, bare_environment
from tests.servers import ForeignServer, PostgresServer, RedisServer

STACKS = ("sqlite-memory", "sqlite-redis", "postgresql-memory", "postgresql-redis")
# Runs execute in workers of the job queue; elsewhere in the processes that serve.
WITH_WORKERS = "postgresql-redis-workers"

SECRET_KEY = secrets.token_urlsafe(64)

# Made by migrating, not by tests.
KEPT_TABLES = ("django_migrations", "django_content_type", "auth_permission")
# Some rows of these are made by migrating, others by tests; in the order of their references.
RESTORED_TABLES = ("auth_group", "auth_group_permissions")


class LeftOpen(AssertionError):
    """A test ended while a transaction of its own still held locks."""


class Database(ABC):
    """A database that is migrated once and made as new after each test."""

    environment: dict[str, str]

    @abstractmethod
    def migrated(self) -> None:
        """Remember this state as new. Nobody is connected."""

    @abstractmethod
    def keep(self, kept: Path) -> None:
        """Write the state that `migrated` remembered to this file, for other workers."""

    @abstractmethod
    def take(self, kept: Path) -> None:
        """Have the state that another worker kept, instead of migrating; `migrated` comes next."""

    @abstractmethod
    def clean(self) -> None:
        """Bring back the state that `migrated` remembered. No thread of this process is connected."""

    def act_as(self, role: str) -> None:  # noqa: B027  SQLite knows none
        """Have tests and the processes they start be this role, where the database knows roles."""

    @abstractmethod
    def copy(self, directory: Path) -> dict[str, str]:
        """A migrated, empty database of its own beside this one; the environment that names it."""

    @abstractmethod
    def remove(self) -> None: ...


class SqliteDatabase(Database):
    """A file, never in memory: the threads of a process must share it."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(tempfile.mkdtemp(prefix="sayso-tests-"))
        self._file = self._directory / "sayso.sqlite3"
        self._migrated = self._directory / "migrated.sqlite3"
        self.environment = {"SAYSO_VAR": str(self._directory)}

    def migrated(self) -> None:
        shutil.copy(self._file, self._migrated)

    def keep(self, kept: Path) -> None:
        shutil.copy(self._migrated, kept)

    def take(self, kept: Path) -> None:
        shutil.copy(kept, self._file)

    def clean(self) -> None:
        """Put a new file in the old one's place; a connection that was forgotten writes to nobody."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        shutil.copy(self._migrated, self._file)

    def copy(self, directory: Path) -> dict[str, str]:
        shutil.copy(self._migrated, directory / "sayso.sqlite3")
        return {"SAYSO_VAR": str(directory)}

    def remove(self) -> None:
        shutil.rmtree(self._directory)


class PostgresDatabase(Database):
    """A database on a server; its rows are deleted past the triggers that protect the trail.

    Once it is migrated, tests and the processes they start are the application of docs/deployment.md, which
    can only add to the record; on a server that isn't ours, where no roles are made, whoever they came as: a
    superuser.
    """

    def __init__(self, server: PostgresServer | ForeignServer, name: str) -> None:
        self._server = server
        self.name = name
        self._var = tempfile.mkdtemp(prefix="sayso-tests-")
        self._role = SUPERUSER
        self._copies: list[str] = []
        self._first_rows: dict[str, list[tuple[Any, ...]]] = {}
        self._cleaner: psycopg.Connection | None = None
        self._url = create_database(server.url, name)
        self.environment = {"DATABASE_URL": self._url, "SAYSO_VAR": self._var}

    def migrated(self) -> None:
        if not isinstance(self._server, ForeignServer):
            restrain(self._url)
            self.act_as(APPLICATION)
        create_database(self._server.url, f"{self.name}_migrated", template=self.name)
        with psycopg.connect(self._url) as connection:
            self._first_rows = {table: _rows(connection, table) for table in RESTORED_TABLES}

    def keep(self, kept: Path) -> None:
        self._run("pg_dump", "--format=custom", "--file", kept, self._url)

    def take(self, kept: Path) -> None:
        self._run("pg_restore", "--exit-on-error", "--dbname", self._url, kept)

    def _run(self, program: str, *arguments: str | Path) -> None:
        """Roles and what they may do are not part of it: they belong to a server."""
        command = [postgres_programs() / program, "--no-owner", "--no-privileges", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def act_as(self, role: str) -> None:
        if not isinstance(self._server, ForeignServer):
            self._role = role
            self.environment["DATABASE_URL"] = url_as(role, self._url)

    def clean(self) -> None:
        connection = self._session()
        try:
            connection.execute("SET LOCAL lock_timeout = '2s'")
            self._delete_rows(connection)
            connection.commit()
        except psycopg.errors.LockNotAvailable:
            connection.rollback()
            self._blame(connection)

    def _session(self) -> psycopg.Connection:
        """One for all cleaning, as long as it lives: a new one would read anew how each table is made."""
        try:
            if self._cleaner:
                self._cleaner.rollback()
                self._cleaner.execute("SELECT")
        except psycopg.OperationalError:
            self._close()
        self._cleaner = self._cleaner or psycopg.connect(self._url)
        return self._cleaner

    def _close(self) -> None:
        if self._cleaner:
            self._cleaner.close()
        self._cleaner = None

    def copy(self, directory: Path) -> dict[str, str]:
        name = f"{self.name}_copy_{len(self._copies)}"
        self._copies.append(name)
        url = create_database(self._server.url, name, template=f"{self.name}_migrated")
        return {"DATABASE_URL": url_as(self._role, url), "SAYSO_VAR": str(directory)}

    def remove(self) -> None:
        self._close()
        for name in (self.name, f"{self.name}_migrated", *self._copies):
            drop_database(self._server.url, name)
        shutil.rmtree(self._var)

    @cached_property
    def _tables(self) -> list[str]:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s)",
                [[*KEPT_TABLES, *RESTORED_TABLES]],
            )
            return [table for (table,) in rows]

    def _delete_rows(self, connection: psycopg.Connection) -> None:
        """Empty the tables that have rows, past their own triggers and those of references."""
        tables = self._dirty(connection)
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        for table in RESTORED_TABLES:
            if table in tables:
                self._restore(connection, table)

    def _restore(self, connection: psycopg.Connection, table: str) -> None:
        for row in self._first_rows[table]:
            values = sql.SQL(", ").join(map(sql.Literal, row))
            connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier(table), values))

    def _dirty(self, connection: psycopg.Connection) -> list[str]:
        """The tables that are otherwise than after migrating."""
        changed = [table for table, rows in self._first_rows.items() if _rows(connection, table) != rows]
        # What refers to a group goes with it.
        restored = RESTORED_TABLES if changed else ()
        return [*self._filled(connection), *restored]

    def _filled(self, connection: psycopg.Connection) -> list[str]:
        probe = sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")
        probes = [probe.format(sql.Literal(table), sql.Identifier(table)) for table in self._tables]
        return [table for (table,) in connection.execute(sql.SQL(" UNION ALL ").join(probes))]

    def _blame(self, connection: psycopg.Connection) -> None:
        """End the sessions that are in the way, clean, and fail the test that left them."""
        others = connection.execute(
            "SELECT pg_terminate_backend(pid), state, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        ).fetchall()
        connection.rollback()
        self._delete_rows(connection)
        connection.commit()
        raise LeftOpen(f"transactions were left open: {[(state, query) for _, state, query in others]}")


def _rows(connection: psycopg.Connection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(table))
    ).fetchall()


class Stack:
    """A database and a layer, as one of `STACKS` names them. `environment` makes a process join it."""

    def __init__(self, name: str, database: Database, redis: RedisServer | ForeignServer | None) -> None:
        self.name = name
        self.database = database
        self.redis = redis

    @property
    def engine(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self.name.split("-")[0]

    @property
    def layer(self) -> str:
        """ "memory" or "redis"."""
        return self.name.split("-")[1]

    @property
    def workers(self) -> bool:
        """Whether runs execute in workers of the job queue."""
        return self.name == WITH_WORKERS

    @property
    def environment(self) -> dict[str, str]:
        """All the environment of a process that shares this stack's database and layer."""
        return self._environment(self.database.environment)

    def fresh_environment(self, directory: Path) -> dict[str, str]:
        """The same for a process with a database of its own: on the same server, migrated, without rows."""
        return self._environment(self.database.copy(directory))

    def _environment(self, database: dict[str, str]) -> dict[str, str]:
        layer = {"REDIS_URL": self.redis.url} if self.redis else {}
        engine = {"SAYSO_ENGINE": "procrastinate"} if self.workers else {}
        return bare_environment() | {"SAYSO_SECRET_KEY": SECRET_KEY} | database | layer | engine


def installation_settings(environment: dict[str, str]) -> dict[str, Any]:
    """What config/settings.py says in an installation with this environment and no other."""
    with mock.patch.dict(os.environ, environment, clear=True):
        module = runpy.run_path(str(PROJECT / "config" / "settings.py"))
    return {name: value for name, value in module.items() if name.isupper()}
