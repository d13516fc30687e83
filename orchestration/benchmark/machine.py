"""What this machine is, and whether it has room for a size: open files and memory."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Of what is free, so much may be used.
_SHARE_OF_MEMORY = 0.8
# Files that a process has open before anything is measured.
_FILES_ANYWAY = 100

_PACKAGES = ("sayso", "django", "channels", "channels-redis", "redis", "psycopg", "daphne", "uvloop")


class TooBig(RuntimeError):
    """A size is over this machine's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a size takes: open files in one process, bytes of memory in all."""

    files: int = 0
    memory: int = 0

    @classmethod
    def nothing(cls, size: int) -> Needs:
        """Of any size, nothing worth mentioning."""
        return cls()

    def require(self, what: str) -> None:
        """TooBig where this machine does not have it."""
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY and self.files + _FILES_ANYWAY > files:
            raise TooBig(
                f"{what} need {self.files + _FILES_ANYWAY:,} open files, and this machine allows a process"
                f" {files:,}. Raise it with `ulimit -n`, or choose a smaller --size."
            )
        free = free_memory()
        if free is not None and self.memory > free * _SHARE_OF_MEMORY:
            raise TooBig(
                f"{what} need {_gigabytes(self.memory)} of memory, and {_gigabytes(free)} are free here."
                " Choose a smaller --size."
            )


def free_memory() -> int | None:
    """Bytes that programs may still have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024


def facts() -> dict[str, Any]:
    """The machine as a reader of the figures must know it; no names or paths of it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    }


def versions() -> dict[str, str]:
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
