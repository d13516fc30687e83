"""A process that has imported what needs no settings, to be forked into test processes.

Three quarters of what a test process costs is Python reading packages that are the same each time. Here one
parent in each test run reads them once. A fork of it (tests/forks.py) is a process like any other: its own
pid, environment, settings, connections, exit status and death. The parent itself has no settings, no thread,
no reactor and no loop.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import os
import runpy
import signal
import sys
import termios
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from typing import Any

# What `manage.py serve` imports, as far as there need be no settings for it. Not here: what makes a reactor
# (daphne) or asks for settings (ninja, all models).
PACKAGES = (
    "approvals.delivery.addresses",
    "approvals.domain.commands",
    "approvals.domain.masking",
    "approvals.domain.quiet_hours",
    "approvals.domain.request_terms",
    "autobahn.twisted.websocket",
    "channels.auth",
    "channels.consumer",
    "channels.db",
    "channels.generic.websocket",
    "channels.layers",
    "channels.routing",
    "channels.security.websocket",
    "channels.sessions",
    "channels_redis.pubsub",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization",
    "django.contrib.admin.helpers",
    "django.contrib.admin.options",
    "django.contrib.admin.sites",
    "django.contrib.admin.widgets",
    "django.contrib.auth.hashers",
    "django.contrib.auth.password_validation",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.core.asgi",
    "django.core.handlers.asgi",
    "django.core.mail",
    "django.core.management.commands.migrate",
    "django.core.management.commands.runserver",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.middleware.common",
    "django.template.backends.django",
    "django.test",
    "django.views.debug",
    "django.views.decorators.http",
    "django.views.generic",
    "environ",
    "httpx",
    "jsonschema.validators",
    "markdown_it",
    "nh3",
    "orchestration.catalog",
    "orchestration.plans",
    "orjson",
    "procrastinate.contrib.django",
    "procrastinate.psycopg_connector",
    "procrastinate.worker",
    "prometheus_client",
    "psycopg_pool",
    "pydantic.dataclasses",
    "pydantic.networks",
    "pydantic.types",
    "pygal",
    "re2",
    "redis.asyncio",
    "referencing.jsonschema",
    "rfc8785",
    "rich.live",
    "rich.markdown",
    "rich.progress",
    "rich.table",
    "rich.traceback",
    "standardwebhooks",
    "structlog.stdlib",
    "twisted.internet.asyncioreactor",
    "twisted.internet.endpoints",
    "twisted.internet.ssl",
    "twisted.web.http",
    "uuid_utils.compat",
    "whitenoise.middleware",
)

# The test that runs, if it isn't marked `processes`; outside of pytest there is none.
unmarked_test: str | None = None

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

context = get_context("forkserver")
context.set_forkserver_preload([f"{__name__}_packages"])


def require_mark() -> None:
    """Who starts processes without saying so would do it in runs that leave them out."""
    assert unmarked_test is None, f"{unmarked_test} starts a process and isn't marked `processes`"


class Descriptor:
    """A descriptor that goes along to the fork."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __getstate__(self) -> Any:
        return DupFd(self._number)

    def __setstate__(self, inherited: Any) -> None:
        self._number = inherited.detach()

    def number(self) -> int:
        return self._number


def preload() -> None:
    """Import the packages. Called once, in the parent of all forks."""
    for package in PACKAGES:
        importlib.import_module(package)
    assert "twisted.internet.reactor" not in sys.modules
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def become(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    directory: str,
    streams: tuple[Descriptor, ...],
    terminal: bool,
) -> None:
    """Be `python ARGUMENTS…` from here to the end of the process."""
    die_with_parent()
    take_streams([stream.number() for stream in streams], terminal=terminal)
    settle(environment, directory)
    raise SystemExit(run(arguments))


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def settle(environment: Mapping[str, str], directory: str) -> None:
    """Take what `python` finds where it starts: its folder, its variables, and what these lead to."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[:0] = [directory, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    _forget_what_is_found_elsewhere()


def _forget_what_is_found_elsewhere() -> None:
    """Where Sayso is installed in a project, its modules are those, not the checkout's."""
    importlib.invalidate_caches()
    for package in ("approvals", "orchestration"):
        found = PathFinder.find_spec(package)
        if found is None or found.origin != sys.modules[package].__file__:
            for name in [each for each in sys.modules if each.partition(".")[0] == package]:
                del sys.modules[name]


def take_streams(descriptors: Sequence[int], *, terminal: bool) -> None:
    """Have these as standard input, output and error; with `terminal` the first is the process's own."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115


def run(arguments: tuple[str, ...]) -> int:
    """Run the program and end as an interpreter does: threads, then exit functions, then the status."""
    status, interrupted = 0, False
    try:
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as exit_:
        status = _status(exit_)
    except KeyboardInterrupt:
        traceback.print_exc()
        interrupted = True
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what ends an interpreter's threads has no other name
    atexit._run_exitfuncs()
    sys.stdout.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


def flush() -> None:
    """Write what is still buffered, as an interpreter does at its end; who reads it may be gone."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()


def _status(exit_: SystemExit) -> int:
    if exit_.code is None or isinstance(exit_.code, int):
        return exit_.code or 0
    print(exit_.code, file=sys.stderr)
    return 1
