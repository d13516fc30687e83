"""The installation in the storm: PostgreSQL, Redis, servers and workers, each to be broken and mended.

Servers and workers are looked after as by systemd: whatever ends is started again after a second.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import httpx
import psycopg

from orchestration.benchmark.installation import DIES_WITH_PARENT, create_database
from tests.faults.storm.clock import passes
from tests.faults.storm.letters import ADDRESS
from tests.processes import PROJECT, bare_environment, free_port
from tests.servers import PostgresServer, RedisServer

T = TypeVar("T")

RESTART_SECONDS = 1.0
# What a part is given to stop by itself, and to answer after a start.
STOPPING, STARTING = 30.0, 120.0

# As while a release is rolled out: the newest version of the storm's orchestration that each knows.
NEWEST = {"server-1": 1, "server-2": 2, "worker-1": 1, "worker-2": 2}

ENDED_BY_ITSELF, DID_NOT_STOP = "ended by itself", "did not stop in time"


class Database(PostgresServer):
    """A test's PostgreSQL that gathers statistics, as every other does.

    Without any, the job queue looks at all jobs to find the first: a thousand runs are not taken up in time.
    """

    options = {**PostgresServer.options, "autovacuum_naptime": "15s"}


class Part:
    """One server or worker, kept running until it is told to end."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.ends = Counter[str]()
        # The process ids of all its lives.
        self.pids: set[str] = set()
        # Process ids that were frozen, and when they went on.
        self.thaws: list[tuple[str, float]] = []
        self._arguments = arguments
        self._environment = dict(environment)
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._expected = ""
        self._down = 0.0
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()

    async def keep_running(self) -> None:
        """Until cancelled; then it is told to stop, and killed if it does not."""
        try:
            while True:
                await self._run_once()
                await passes(max(self._down, RESTART_SECONDS if not self._expected else 0.0))
                self._expected, self._down = "", 0.0
        finally:
            await self._stop()

    async def ready(self) -> None:
        async with asyncio.timeout(STARTING):
            await self._ready.wait()

    async def kill(self, down: float) -> None:
        """kill -9, and start it again after so many seconds; returns when it is there again."""
        await self._end(signal.SIGKILL, "killed", down)

    async def restart(self) -> None:
        """SIGTERM, and its successor."""
        await self._end(signal.SIGTERM, "restarted", 0.0)

    async def freeze(self, lasts: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        if self._process is None:
            return
        frozen = self._process
        with suppress(ProcessLookupError):  # it has just ended by itself
            frozen.send_signal(signal.SIGSTOP)
            await passes(lasts)
            self.thaws.append((str(frozen.pid), now()))
            frozen.send_signal(signal.SIGCONT)

    async def _run_once(self) -> None:
        self._ready.clear()
        self._ended.clear()
        with self._log.open("ab") as log:
            begin = log.tell()
            process = self._process = await asyncio.create_subprocess_exec(
                *DIES_WITH_PARENT,
                sys.executable,
                "manage.py",
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=PROJECT,
                env=self._environment,
                # A Ctrl-C is for the storm, which ends its parts itself.
                process_group=0,
            )
        self.pids.add(str(process.pid))
        watching = asyncio.create_task(self._watch(begin))
        try:
            await process.wait()
        finally:
            watching.cancel()
        was_ready = self._ready.is_set()
        self._ready.clear()
        self._ended.set()
        self.ends[self._expected or (ENDED_BY_ITSELF if was_ready else "did not start")] += 1

    async def _watch(self, begin: int) -> None:
        while not await self._answers(begin):
            await passes(0.2)
        self._ready.set()

    async def _answers(self, begin: int) -> bool:
        raise NotImplementedError

    def _printed(self, begin: int) -> str:
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read(100_000).decode(errors="replace")

    async def _end(self, number: signal.Signals, word: str, down: float) -> None:
        self._expected, self._down = word, down
        self._signal(number)
        try:
            async with asyncio.timeout(STOPPING):
                await self._ended.wait()
        except TimeoutError:
            self._give_up()
            await self._ended.wait()
        await self.ready()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOPPING):
                await self._process.wait()
        except TimeoutError:
            self._give_up()
            await self._process.wait()

    def _give_up(self) -> None:
        """It has not stopped in time: the log gets what each of its threads does."""
        self.ends[DID_NOT_STOP] += 1
        self._signal(signal.SIGABRT)


class Server(Part):
    """`manage.py serve`, at one address for all its lives."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(name, ["serve", "--port", str(port)], environment, folder)

    async def _answers(self, begin: int) -> bool:
        if "listens on" not in self._printed(begin):
            return False
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            try:
                await client.get(f"{self.url}/accounts/login/")
            except httpx.TransportError:
                return False
        return True


class Worker(Part):
    """`manage.py work`."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        super().__init__(name, ["work"], environment, folder)

    async def _answers(self, begin: int) -> bool:
        return "works" in self._printed(begin)


class Installation:
    """Everything that may break. `folder` gets the logs."""

    def __init__(
        self, folder: Path, *, engine: str, recheck: float, lease: float, claim: float | None
    ) -> None:
        self.folder = folder
        self.postgres = Database()
        self.redis = RedisServer()
        # A thread that lives as long as the servers: they die with whoever started them.
        self._operator = ThreadPoolExecutor(1, "operator")
        self._engine, self._recheck, self._lease, self._claim = engine, recheck, lease, claim
        self.parts: dict[str, Part] = {}

    def start_databases(self, mail: str) -> None:
        """Start them, and say where mail goes."""
        for server in (self.postgres, self.redis):
            self._operator.submit(server.start).result()
        self.url = create_database(self.postgres.url, "storm")
        self.ledger = self.folder / "ledger.jsonl"
        var = self.folder / "var"
        var.mkdir(mode=0o700)
        self.environment = bare_environment() | {
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis.url,
            "SAYSO_VAR": str(var),
            "SAYSO_SECRET_KEY": secrets.token_urlsafe(64),
            "SAYSO_ENGINE": self._engine,
            "SAYSO_RECHECK_INTERVAL": str(self._recheck),
            "SAYSO_LEASE": str(self._lease),
            "SAYSO_NOTIFY": "on",
            "SAYSO_LINKS": "personal",
            "SAYSO_URL": ADDRESS,
            "EMAIL_URL": mail,
            "SAYSO_TEST_STORM_CLAIM": str(self._claim or 0),
            "SAYSO_TEST_STORM_LEDGER": str(self.ledger),
            "DJANGO_SETTINGS_MODULE": "tests.faults.storm.settings",
            "PYTHONFAULTHANDLER": "1",
        }

    def set_up_parts(self, names: Sequence[str]) -> None:
        for name in names:
            kind = Server if name.startswith("server") else Worker
            newest = {"SAYSO_TEST_STORM_NEWEST": str(NEWEST[name])}
            self.parts[name] = kind(name, self.environment | newest, self.folder)

    def newest_known(self) -> dict[str, int]:
        """The newest version of the storm's orchestration that each process knew, by its id."""
        known: dict[str, int] = {}
        for name, part in self.parts.items():
            for pid in part.pids:
                known[pid] = max(known.get(pid, 0), NEWEST[name])
        return known

    @property
    def servers(self) -> list[Server]:
        return [part for part in self.parts.values() if isinstance(part, Server)]

    async def operate(self, deed: Callable[[], T]) -> T:
        """Do something to PostgreSQL or Redis."""
        return await asyncio.get_running_loop().run_in_executor(self._operator, deed)

    async def still_open(self) -> tuple[int, int] | None:
        """Runs and requests that are; None while PostgreSQL does not tell."""
        try:
            async with asyncio.timeout(5):
                async with await psycopg.AsyncConnection.connect(self.url) as connection:
                    answer = await connection.execute(
                        "SELECT (SELECT count(*) FROM orchestration_run"
                        "  WHERE status IN ('queued', 'running', 'waiting')),"
                        " (SELECT count(*) FROM approvals_humanrequest WHERE status = 'pending')"
                    )
                    return await answer.fetchone()
        except (TimeoutError, psycopg.Error):
            return None

    async def still_to_tell(self) -> int | None:
        """How much somebody is still to hear of before long; None while PostgreSQL does not tell."""
        found = await self._rows(
            "SELECT (SELECT count(*) FROM approvals_watch WHERE due_at IS NOT NULL) + (SELECT count(*)"
            " FROM approvals_notification WHERE status = 'waiting' AND digest IS NULL"
            " AND due_at < now() + interval '1 hour')"
        )
        return int(found[0][0]) if found else None

    async def asleep(self) -> list[tuple[str, str, float]]:
        """Run, key and end of each sleep under way; nothing while PostgreSQL does not tell."""
        return await self._rows(
            "SELECT run_id::text, key, extract(epoch FROM due_at)::float8 FROM orchestration_steprecord"
            " WHERE status = 'sleeping'"
        )

    async def ended_badly(self) -> list[tuple[str, str]]:
        """Id and key of runs that failed or were rejected, and were never resumed; likewise."""
        return await self._rows(
            "SELECT id::text, key FROM orchestration_run"
            " WHERE status IN ('failed', 'rejected') AND resumed = 0"
        )

    async def _rows(self, query: LiteralString) -> list[Any]:
        try:
            async with asyncio.timeout(5):
                async with await psycopg.AsyncConnection.connect(self.url) as connection:
                    return await (await connection.execute(query)).fetchall()
        except (TimeoutError, psycopg.Error):
            return []

    def remove_databases(self) -> None:
        for server in (self.postgres, self.redis):
            self._operator.submit(server.remove).result()
        self._operator.shutdown()


def now() -> float:
    """The machine's clock, which PostgreSQL has, too."""
    return time.time()
