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

from orchestration.benchmark.servers import (
    PostgresServer,
    RedisServer,
    Server,
    ServerFailed,
    answers,
    create_database,
    drop_database,
    find_redis,
    has_postgres,
    may_create_databases,
)

PROJECT = Path(__file__).resolve().parents[2]

# What makes an installation what it is: ours has its own, and nothing else that could change a measurement.
_OF_AN_INSTALLATION = ("DATABASE_URL", "REDIS_URL", "WEB_CONCURRENCY", "EMAIL_URL", "SAYSO_")

# All its callers are one computer's, and some measure how much there is to limit.
_LIMITS = ("RATE_LIMIT", "ADDRESS_RATE_LIMIT", "SOCKETS_PER_USER", "SOCKETS_PER_ADDRESS")
UNLIMITED = {f"SAYSO_{limit}": "0" for limit in _LIMITS}


class Unreachable(RuntimeError):
    """A server that was given by its address does not answer, or not to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is measured on. Each is "given", "own" (a server of ours) or "embedded" (SQLite, in memory)."""

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


class Installation:
    """Servers and a migrated database; a context manager. `fresh()` makes a database for one scenario.

    It is on the servers that this installation's settings name, else on those of the wheels, else on SQLite
    and in memory. `embedded`: on these, whatever else there is.
    """

    def __init__(self, *, embedded: bool) -> None:
        database = settings.DATABASES["default"]
        postgresql = database["ENGINE"] == "django.db.backends.postgresql"
        self._postgres = _url_of(database) if postgresql else ""
        self._redis = settings.REDIS_URL
        self.stack = Stack(database="embedded", layer="embedded")
        if not embedded:
            self.stack = Stack(
                database="given" if self._postgres else "own" if has_postgres() else "embedded",
                layer="given" if self._redis else "own" if find_redis() else "embedded",
            )
        self._name = f"sayso_benchmark_{secrets.token_hex(4)}"
        self._ending = ExitStack()
        self._copies = 0

    def require_servers(self) -> None:
        """Raise Unreachable, naming the given server that does not answer, or allow a database."""
        if self.stack.database == "given":
            server = f"DATABASE_URL: PostgreSQL at {_place(self._postgres)}"
            if not answers(self._postgres):
                raise Unreachable(f"{server} does not answer.")
            if not may_create_databases(self._postgres):
                raise Unreachable(f"{server}: permission denied to create database.")
        if self.stack.layer == "given" and not answers(self._redis):
            raise Unreachable(f"REDIS_URL: Redis at {_place(self._redis)} does not answer.")

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
        """Make a new database, migrated and without rows; the environment of processes that share it."""
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
            yield self._environment(folder, create_database(self._postgres, name, template=self._name))

    def _build(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sayso-benchmark-"))
        self._ending.callback(shutil.rmtree, self._folder)
        if self.stack.layer == "own":
            self._redis = self._start(RedisServer())
        if self.stack.database == "own":
            self._postgres = self._start(PostgresServer())
        url = None
        if self.stack.engine == "postgresql":
            self._ending.callback(drop_database, self._postgres, self._name)
            url = create_database(self._postgres, self._name)
        migrated = subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity=0", "--skip-checks"],
            env=self._environment(self._folder, url),
            cwd=PROJECT,
            check=False,
            capture_output=True,
            text=True,
            process_group=0,
        )
        if migrated.returncode:
            raise ServerFailed(f"the new database could not be migrated:\n{migrated.stderr[-2000:]}")

    def _start(self, server: Server) -> str:
        self._ending.callback(server.remove)
        server.start()
        return server.url

    def _environment(self, folder: Path, database_url: str | None) -> Mapping[str, str]:
        """Return the variables of our processes: of this process's, what is not of its installation."""
        taken = {
            name: value for name, value in os.environ.items() if not name.startswith(_OF_AN_INSTALLATION)
        }
        own = {"SAYSO_VAR": str(folder), "SAYSO_CHANNEL_PREFIX": f"{self._name}_{self._copies}", **UNLIMITED}
        if database_url:
            own["DATABASE_URL"] = database_url
        if self.stack.layer != "embedded":
            own["REDIS_URL"] = self._redis
        return {**taken, **own}

    def _remove(self) -> None:
        """Remove everything in one go: who is impatient has already said so."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            self._ending.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _url_of(database: Mapping[str, Any]) -> str:
    """Write Django's settings as a URL again, without what config/settings.py has added."""
    user, password, host = (
        quote(database["USER"], safe=""),
        quote(database["PASSWORD"], safe=""),
        database["HOST"],
    )
    options = {name: value for name, value in database["OPTIONS"].items() if isinstance(value, str)}
    if host.startswith("/"):
        options["host"], host = host, ""
    place = f"[{host}]" if ":" in host else host
    port = f":{database['PORT']}" if database["PORT"] else ""
    credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{credentials}{place}{port}/{quote(database['NAME'], safe='')}{query}"


def _place(url: str) -> str:
    """Return where a server is, without who logs in there."""
    return urlsplit(url).netloc.rpartition("@")[2] or "localhost"
