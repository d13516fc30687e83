"""An installation of the benchmark's own: folder, databases, channel prefix, servers where none are given.

Made for one run of the command and removed at its end, whatever happens. The installation that the command is
called in lends the addresses of its servers, nothing else: no row and no key of it is read or written.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings

from orchestration.benchmark.players import PROJECT
from orchestration.benchmark.servers import (
    PostgresServer,
    RedisServer,
    ServerFailed,
    create_database,
    drop_database,
    has_postgres,
    has_redis,
    may_create_databases,
    postgres_answers,
    redis_answers,
)

# What makes an installation what it is: ours has its own, and nothing else that could change a measurement.
_OF_AN_INSTALLATION = ("DATABASE_URL", "REDIS_URL", "WEB_CONCURRENCY", "EMAIL_URL", "SAYSO_")

# All its callers are one computer's, and some measure how much there is to limit.
UNLIMITED = {
    "SAYSO_RATE_LIMIT": "0",
    "SAYSO_ADDRESS_RATE_LIMIT": "0",
    "SAYSO_SOCKETS_PER_USER": "0",
    "SAYSO_SOCKETS_PER_ADDRESS": "0",
}


class Unreachable(RuntimeError):
    """A server that was given by its address does not answer, or not to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Addresses of servers; None: none was given."""

    postgres: str | None = None
    redis: str | None = None

    def require(self, stack: Stack) -> None:
        """Unreachable, naming the one that the stack needs and that does not answer, or allow a database."""
        if stack.database == "given" and self.postgres:
            server = f"DATABASE_URL: PostgreSQL at {_place(self.postgres)}"
            if not postgres_answers(self.postgres):
                raise Unreachable(f"{server} does not answer.")
            if not may_create_databases(self.postgres):
                raise Unreachable(f"{server}: permission denied to create database.")
        if stack.layer == "given" and self.redis and not redis_answers(self.redis):
            raise Unreachable(f"REDIS_URL: Redis at {_place(self.redis)} does not answer.")


def given_servers() -> Servers:
    """Those that this installation's settings name."""
    database = settings.DATABASES["default"]
    postgres = database["ENGINE"] == "django.db.backends.postgresql"
    return Servers(postgres=_url_of(database) if postgres else None, redis=settings.REDIS_URL or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is measured on, in words. Each is "given", "own" (a server of ours) or "embedded"."""

    database: str
    layer: str

    @property
    def two_processes(self) -> bool:
        """Does it carry more than one process?"""
        return "embedded" not in (self.database, self.layer)

    @property
    def engine(self) -> str:
        return "sqlite" if self.database == "embedded" else "postgresql"

    def __str__(self) -> str:
        words = {"given": "as given", "own": "started for this run"}
        database = "SQLite" if self.database == "embedded" else f"PostgreSQL ({words[self.database]})"
        layer = "the in-memory channel layer" if self.layer == "embedded" else f"Redis ({words[self.layer]})"
        return f"{database} and {layer}"


def stack_for(servers: Servers, *, embedded: bool) -> Stack:
    """What there is to measure on. `embedded`: SQLite and the in-memory layer, whatever else there is."""
    if embedded:
        return Stack(database="embedded", layer="embedded")
    return Stack(
        database="given" if servers.postgres else "own" if has_postgres() else "embedded",
        layer="given" if servers.redis else "own" if has_redis() else "embedded",
    )


class Installation:
    """Servers and a migrated database; a context manager. `fresh()` makes a database for one scenario."""

    def __init__(self, stack: Stack, servers: Servers) -> None:
        self.stack = stack
        self._servers = servers
        self._name = f"sayso_benchmark_{secrets.token_hex(4)}"
        self._ending = ExitStack()
        self._copies = 0

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._remove()

    @contextmanager
    def fresh(self) -> Iterator[Mapping[str, str]]:
        """The environment of processes that share a new database, migrated and without rows."""
        self._copies += 1
        folder = self._folder / str(self._copies)
        folder.mkdir(mode=0o700)
        if self.stack.engine == "sqlite":
            shutil.copy(self._folder / "sayso.sqlite3", folder)
            yield self._environment(folder, None)
            shutil.rmtree(folder)
            return
        name = f"{self._name}_{self._copies}"
        with ExitStack() as ending:
            ending.callback(drop_database, self._postgres, name)
            url = create_database(self._postgres, name, template=self._name)
            yield self._environment(folder, url)

    def _build(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sayso-benchmark-"))
        self._ending.callback(shutil.rmtree, self._folder)
        self._redis = self._servers.redis if self.stack.layer == "given" else None
        if self.stack.layer == "own":
            self._redis = self._started(RedisServer(prefix="sayso-benchmark-")).url
        url = None
        if self.stack.engine == "postgresql":
            self._postgres = (
                self._servers.postgres or self._started(PostgresServer(prefix="sayso-benchmark-")).url
            )
            self._ending.callback(drop_database, self._postgres, self._name)
            url = create_database(self._postgres, self._name)
        self._migrate(self._environment(self._folder, url))

    def _started(self, server: Any) -> Any:
        self._ending.callback(server.remove)
        server.start()
        return server

    def _migrate(self, environment: Mapping[str, str]) -> None:
        migrated = subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity=0", "--skip-checks"],
            env=environment,
            cwd=PROJECT,
            check=False,
            capture_output=True,
            text=True,
            process_group=0,
        )
        if migrated.returncode:
            raise ServerFailed(f"the new database could not be migrated:\n{migrated.stderr[-2000:]}")

    def _environment(self, folder: Path, database_url: str | None) -> Mapping[str, str]:
        own = {"SAYSO_VAR": str(folder), "SAYSO_CHANNEL_PREFIX": f"{self._name}_{self._copies}", **UNLIMITED}
        if database_url:
            own["DATABASE_URL"] = database_url
        if self.stack.layer != "embedded" and self._redis:
            own["REDIS_URL"] = self._redis
        return {**_inherited(), **own}

    def _remove(self) -> None:
        """Everything, in one go: who is impatient has already said so."""
        with _undisturbed():
            self._ending.close()


def _inherited() -> dict[str, str]:
    """What any program needs of this process's environment, and nothing of its installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_AN_INSTALLATION)}


@contextmanager
def _undisturbed() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url_of(database: Mapping[str, Any]) -> str:
    """The address in Django's words, as a URL again, without what config/settings.py has added."""
    user, password = quote(database["USER"], safe=""), quote(database["PASSWORD"], safe="")
    host = database["HOST"]
    options = {name: value for name, value in database["OPTIONS"].items() if isinstance(value, str)}
    if host.startswith("/"):
        options["host"], host = host, ""
    place = f"[{host}]" if ":" in host else host
    port = f":{database['PORT']}" if database["PORT"] else ""
    credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{credentials}{place}{port}/{quote(database['NAME'], safe='')}{query}"


def _place(url: str) -> str:
    """Where a server is, without who logs in there."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port}" if parts.port else parts.hostname or "localhost"
