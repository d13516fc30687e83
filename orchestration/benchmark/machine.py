"""What is measured on: the machine and whether it has room for a size; versions, and settings."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connection

from approvals.conf import approval_settings
from approvals.database.threads import in_database
from orchestration.benchmark.processes import Remote

# Of what is free, so much may be used.
_SHARE_OF_MEMORY = 0.8
# Files that a process has open before anything is measured.
_FILES_ANYWAY = 100

_PACKAGES = ("sayso", "django", "channels", "channels-redis", "redis", "psycopg", "daphne", "uvloop")
_APPROVALS = ("database_threads", "recheck_interval", "full_reread_interval", "writer_batch", "writer_queue")
_POSTGRES = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")
_DATABASE = {
    "postgresql": ("SHOW {}", _POSTGRES),
    "sqlite": ("PRAGMA {}", ("journal_mode", "synchronous")),
}


class TooBig(RuntimeError):
    """A size is over this machine's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a size takes: open files in one process, bytes of memory in all."""

    files: int = 0
    memory: int = 0

    def require(self, what: str) -> None:
        """Raise TooBig where this machine does not have it."""
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY and self.files + _FILES_ANYWAY > files:
            raise TooBig(
                f"{what} need {self.files + _FILES_ANYWAY:,} open files, and this machine allows a process"
                f" {files:,}. Raise it with `ulimit -n`, or choose a smaller --size."
            )
        free = free_memory()
        if free is not None and self.memory > free * _SHARE_OF_MEMORY:
            raise TooBig(
                f"{what} need {self.memory / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free here."
                " Choose a smaller --size."
            )


def free_memory() -> int | None:
    """Return the bytes that programs may still have; None where the system does not say."""
    free = _line("/proc/meminfo", "MemAvailable")
    return int(free.split()[0]) * 1024 if free else None


def facts() -> dict[str, Any]:
    """Describe the machine as a reader of the figures must know it; no names or paths of it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


class Facts(Remote):
    """What an installation is made of, asked in a process of it."""

    async def versions(self) -> dict[str, str]:
        """Return the versions of Python, the packages and the servers."""
        found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
        for package in _PACKAGES:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        version = "SHOW server_version" if connection.vendor == "postgresql" else "SELECT sqlite_version()"
        found[connection.vendor] = await in_database(_value, version)
        if settings.REDIS_URL:
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                found["redis server"] = client.info("server")["redis_version"]
        return found

    async def settings(self) -> dict[str, Any]:
        approvals = approval_settings()
        statement, names = _DATABASE[connection.vendor]
        return {
            "database": {name: await in_database(_value, statement.format(name)) for name in names},
            **{name: getattr(approvals, name) for name in _APPROVALS},
            "channel_layer": settings.CHANNEL_LAYERS["default"]["BACKEND"],
        }


def _value(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])


def _line(file: str, name: str) -> str:
    """Return the value of the first line of this name; "" where the system does not say."""
    try:
        lines = [line.partition(":") for line in Path(file).read_text().splitlines()]
    except OSError:
        return ""
    return next((value.strip() for found, _, value in lines if found.strip() == name), "")
