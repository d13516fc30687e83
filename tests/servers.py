"""Real PostgreSQL and Redis under test: to use, stop, start, freeze and empty. How they are started, see
orchestration/benchmark/installation.py.

`DATABASE_URL` (PostgreSQL) and `REDIS_URL` name servers to use instead; those are never stopped or emptied.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Self

import psutil
import psycopg
import redis

from orchestration.benchmark import installation
from tests.patience import patience
from tests.processes import bare_environment, free_port


class Breakable(installation.Server):
    """A server of our own; a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self.surroundings["env"] = bare_environment()
        self.port = free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.remove()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError(f"{type(self).__name__} does not run")
        return self.process.pid

    def start(self) -> None:
        """Start, or start again with the same address and data; returns when it accepts connections."""
        if self.running:
            raise RuntimeError(f"{type(self).__name__} runs already")
        super().start()

    def stop(self) -> None:
        """Cut every connection and end at once, also where it is frozen."""
        if self.running:
            self.thaw()
        super().stop()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        main = psutil.Process(self.pid)
        for process in [main, *main.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # sessions end at any time
                process.send_signal(number)


class RedisServer(Breakable, installation.RedisServer):
    """Redis without persistence: what `stop()` interrupts is gone after `start()`."""

    def flush(self) -> None:
        """FLUSHALL, as an empty failover would look."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


class PostgresServer(Breakable, installation.PostgresServer):
    """PostgreSQL that never syncs to disk: it survives `stop()`, not a power cut."""

    options = {
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "300",
        "shared_buffers": "64MB",
        "io_method": "sync",
        "autovacuum_naptime": "1h",
    }

    def mend(self) -> None:
        """Have it run as if nobody had ever used it, but for what its databases hold.

        A server that was started by another thread ends with that thread, as if it was killed: then its
        sessions may take a moment to notice, and until then it can't start again.
        """
        given_up = time.monotonic() + patience()
        while not self.running:
            try:
                self.start()
            except installation.ServerFailed:
                if time.monotonic() > given_up:
                    raise
        self.thaw()
        self.flush()

    def flush(self) -> None:
        """End every client's session, as a failover would."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
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
