"""A run of the benchmark: one scenario after the other, each on a new database of its own installation."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import redis
from django.conf import settings
from django.db import connection

from approvals.conf import approval_settings
from approvals.database.threads import in_database
from orchestration.benchmark.installation import EMBEDDED, Installation, Stack
from orchestration.benchmark.processes import Environment, Progress, Remote
from orchestration.benchmark.report import Report, Scenario, read_line

FORMAT = 1
FAILED = "On {} it failed its check, so there are no figures."
WITHOUT_SERVERS = "SQLite and in memory, one process"

_PACKAGES = ("sayso", "django", "channels", "channels-redis", "redis", "psycopg", "daphne", "uvloop")
_APPROVALS = ("database_threads", "recheck_interval", "full_reread_interval", "writer_batch", "writer_queue")
_POSTGRES = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")
# By database: how to read its version and its settings, and which settings.
_DATABASE = {
    "postgresql": ("SHOW server_version", "SHOW {}", _POSTGRES),
    "sqlite": ("SELECT sqlite_version()", "PRAGMA {}", ("journal_mode", "synchronous")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scenario's report, the sizes measured and the seconds that it took."""

    scenario: Scenario
    sizes: tuple[int, ...]
    seconds: float
    report: Report

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        return {
            "name": self.scenario.name,
            "summary": self.scenario.summary,
            "method": self.scenario.method,
            "size_counts": self.scenario.unit,
            "sizes": list(self.sizes),
            "seconds": round(self.seconds, 1),
            **self.report.as_json(judged=judged),
        }


@dataclass(slots=True, kw_only=True)
class Run:
    """The results so far, and how they are measured. `progress` shows a bar with the given name."""

    installation: Installation
    loop: str
    progress: Callable[[str], AbstractContextManager[Progress]]
    size: int | None
    rounds: int | None
    results: list[Result] = field(default_factory=list)
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _facts: dict[str, Any] = field(default_factory=dict)

    async def read_facts(self) -> None:
        """Ask the installation for its versions and settings."""
        with self.installation.fresh() as variables:
            stack = self.installation.stack
            async with self._environment(variables, lambda done, expected: None, stack) as environment:
                self._facts = await (await environment.start(Facts)).read()

    async def measure(self, scenario: Scenario) -> Result:
        sizes = scenario.sizes_up_to(self.size)
        started = time.monotonic()
        report = await self._measure_on(self.installation, scenario, sizes)
        if scenario.embedded_too and self.installation.stack != EMBEDDED:
            with Installation(embedded=True) as embedded:
                report.include(await self._measure_on(embedded, scenario, sizes), WITHOUT_SERVERS)
        seconds = time.monotonic() - started
        self.results.append(Result(scenario=scenario, sizes=sizes, seconds=seconds, report=report))
        return self.results[-1]

    async def _measure_on(
        self, installation: Installation, scenario: Scenario, sizes: tuple[int, ...]
    ) -> Report:
        with installation.fresh() as variables, self.progress(scenario.name) as progress:
            async with self._environment(variables, progress, installation.stack) as environment:
                report = await scenario.measure(environment, sizes)
        if not report.tables:
            report.notes = [FAILED.format(installation.stack)]
        return report

    def as_json(self) -> dict[str, Any]:
        """Return the whole run, as docs/benchmark.schema.json describes it."""
        stack = self.installation.stack
        return {
            "format": FORMAT,
            "started_at": self._started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 1),
            "machine": machine(),
            "stack": {
                "database": stack.engine,
                "database_server": stack.database,
                "channel_layer": "memory" if stack.layer == "embedded" else "redis",
                "channel_layer_server": stack.layer,
                "two_processes": stack.two_processes,
                "event_loop": self.loop,
            },
            **self._facts,
            "size": self.size,
            "rounds": self.rounds,
            "passed": all(result.report.check.passed for result in self.results),
            "scenarios": [result.as_json(judged=stack.two_processes) for result in self.results],
        }

    def _environment(self, variables: Mapping[str, str], progress: Progress, stack: Stack) -> Environment:
        return Environment(stack, variables, loop=self.loop, progress=progress, rounds=self.rounds)


def machine() -> dict[str, Any]:
    """Describe the machine for readers of the figures, without its names and paths."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": read_line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


class Facts(Remote):
    """Reads what an installation consists of, in a process of it."""

    async def read(self) -> dict[str, Any]:
        """Return the `versions` of Python, the packages and the servers, and the `settings`."""
        version, setting, names = _DATABASE[connection.vendor]
        versions = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
        for package in _PACKAGES:
            with suppress(metadata.PackageNotFoundError):
                versions[package] = metadata.version(package)
        versions |= {"sqlite": sqlite3.sqlite_version, connection.vendor: await in_database(_value, version)}
        if settings.REDIS_URL:
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                versions["redis server"] = client.info("server")["redis_version"]
        return {
            "versions": versions,
            "settings": {
                "database": {name: await in_database(_value, setting.format(name)) for name in names},
                **{name: getattr(approval_settings(), name) for name in _APPROVALS},
                "channel_layer": settings.CHANNEL_LAYERS["default"]["BACKEND"],
            },
        }


def _value(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])
