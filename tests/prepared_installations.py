"""Processes that have loaded an installation, to be forked into its commands and servers.

Tests start many processes in one environment: that of the stack. What is started there for the second time is
a fork of a process that has loaded Django's apps and this site's URLs with the settings of just that
environment, and so are all that follow. What loads other code than the checkout's starts without.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import pty
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tests.prepared import Descriptor, context, die_with_parent, run, settle, take_streams

PROJECT = Path(__file__).resolve().parent.parent
MANAGE = str(PROJECT / "manage.py")

# At most so many of them in one worker: each holds some 40 MB of its own.
MOST = 4
# Loads an app that no other command loads.
OTHERWISE = ("runserver",)
# These make a reactor; most of the rest of what they load.
SERVING = ("demo", "serve")
SERVED = (
    "approvals.web.routing",
    "approvals.web.wrapping",
    "orchestration.management.demo_data",
    "orchestration.runtime",
    "orchestration.web.routing",
)
# These lead to code that a test may change between two processes.
OWN_CODE = ("PYTHONPATH", "SAYSO_APPS")
REQUEST_LIMIT = 100_000

_Key = tuple[bool, tuple[tuple[str, str], ...]]

_seen: set[_Key] = set()
_installations: dict[_Key, Installation] = {}


def find(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, *, terminal: bool = False
) -> Installation | None:
    """The process that has loaded what such a program loads, if there is one."""
    if arguments[0] != MANAGE or directory != PROJECT or arguments[1] in OTHERWISE:
        return None
    if any(environment.get(name) for name in OWN_CODE):
        return None
    key = (terminal, tuple(sorted(environment.items())))
    installation = _installations.pop(key, None)
    if installation is None and key in _seen and _make_room():
        installation = Installation(environment, terminal=terminal)
    _seen.add(key)
    if installation:
        _installations[key] = installation  # the latest comes last
    return installation


def _make_room() -> bool:
    """End the one that was not used for longest, if there are as many as there may be and it may end."""
    if len(_installations) < MOST:
        return True
    unused = next((key for key, each in _installations.items() if each.is_idle()), None)
    if unused is not None:
        _installations.pop(unused).end()
    return unused is not None


@atexit.register
def _end_all() -> None:
    """Before `multiprocessing` waits for them."""
    for each in _installations.values():
        each.end()


class Installation:
    """A process that has loaded this site with the settings of an environment, or of one in a terminal."""

    def __init__(self, environment: Mapping[str, str], *, terminal: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._started: list[Started] = []
        told = (Descriptor(theirs.fileno()), dict(environment), terminal)
        self._process = context.Process(target=_hold, args=told)
        self._process.start()
        theirs.close()

    def start(self, arguments: Sequence[str], streams: tuple[int, int, int]) -> Started | None:
        """Start a program; None if the installation can't be loaded, which the program itself will say."""
        status, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._socket, [pickle.dumps(tuple(arguments))], [*streams, theirs])
                pid = self._socket.recv(32)
        except ConnectionError:
            pid = b""
        finally:
            os.close(theirs)
        if not pid:
            os.close(status)
            return None
        started = Started(int(pid), status)
        self._started = [each for each in self._started if each.exitcode is None] + [started]
        return started

    def is_idle(self) -> bool:
        return all(each.exitcode is not None for each in self._started)

    def end(self) -> None:
        self._socket.close()


class Started:
    """A program that was started; `exitcode` and `join` are as in `multiprocessing`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self._status = status
        self._ended: int | None = None

    @property
    def exitcode(self) -> int | None:
        self.join(0)
        return self._ended

    def join(self, timeout: float | None) -> None:
        if self._ended is None and select.select([self._status], [], [], timeout)[0]:
            said = os.read(self._status, 32)
            self._ended = int(said) if said else -signal.SIGKILL
            os.close(self._status)


# --- In that process ---


def _hold(descriptor: Descriptor, environment: dict[str, str], terminal: bool) -> NoReturn:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Log lines are in colours if standard error is a terminal, which is asked while the settings are loaded.
    stream = pty.openpty()[1] if terminal else os.open(os.devnull, os.O_RDWR)
    take_streams([stream, os.dup(stream), os.dup(stream)], terminal=False)
    settle(environment, str(PROJECT))
    with suppress(BaseException):
        _load()
        _fork_on_request(socket.socket(fileno=descriptor.number()), terminal)
    os._exit(0)


def _load() -> None:
    """Load what commands and servers load, without threads, connections and reactor."""
    import django
    from django.core.management import get_commands, load_command_class
    from django.db import connections
    from django.urls import get_resolver

    sys.argv = [MANAGE]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    assert get_resolver().url_patterns
    for name, app in get_commands().items():
        if app in {"approvals", "orchestration"} and name not in SERVING:
            load_command_class(app, name)
    for module in SERVED:
        importlib.import_module(module)
    assert "twisted.internet.reactor" not in sys.modules
    assert threading.active_count() == 1
    assert all(each.connection is None for each in connections.all(initialized_only=True))
    gc.collect()
    gc.freeze()


def _fork_on_request(requests: socket.socket, terminal: bool) -> None:
    """Fork twice for each request: the first child waits for the second, which is the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, REQUEST_LIMIT, 4)
        if not request:
            return
        if os.fork() == 0:
            try:
                _start(pickle.loads(request), requests, descriptors, terminal)
            finally:
                os._exit(1)
        for each in descriptors:
            os.close(each)


def _start(
    arguments: tuple[str, ...], requests: socket.socket, descriptors: list[int], terminal: bool
) -> None:
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = descriptors
    pid = os.fork()
    if pid == 0:
        requests.close()
        os.close(told)
        _become(arguments, streams, terminal)
    for each in streams:
        os.close(each)
    requests.send(str(pid).encode())
    requests.close()
    _, status = os.waitpid(pid, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: tuple[str, ...], streams: Sequence[int], terminal: bool) -> NoReturn:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_streams(streams, terminal=terminal)
    status = 1
    try:
        status = run(arguments)
    finally:
        os._exit(status & 0xFF)
