"""Processes that have loaded an installation, to be forked into its commands and servers.

Tests start many processes in one environment: that of the stack. The second one makes a process that loads
Django's apps with the settings of just that environment, and as much more as every command of the kind loads
before it begins; those that follow are forks of it. What loads other code than the checkout's, or reads a
file that a test may change, is started without.
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
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.prepared import Descriptor, context, die_with_parent, flush, run, settle, take_streams

PROJECT = Path(__file__).resolve().parent.parent
MANAGE = str(PROJECT / "manage.py")

# At most so many of them in one worker: each holds some 40 MB of its own.
MOST = 6
# These lead to code that a test may change between two processes; without this key it is read from a file.
OWN_CODE, KEY = ("PYTHONPATH", "SAYSO_APPS"), "SAYSO_SECRET_KEY"
# Its settings differ by the command.
OTHERWISE = "runserver"
SERVING = ("demo", "serve", "work")
# What these load, as far as it makes no reactor.
SERVED = (
    "approvals.web.routing",
    "approvals.web.wrapping",
    "orchestration.runtime",
    "orchestration.web.routing",
)
LONGEST, READY = 60_000, b"ready"


class Loads(IntEnum):
    """What a command has loaded when it begins: each as much as those before, and more."""

    APPS = 1
    PAGES = 2
    SERVER = 3


class _Key(NamedTuple):
    environment: tuple[tuple[str, str], ...]
    loads: Loads
    terminal: bool


_seen: set[_Key] = set()
_unusable: set[_Key] = set()
_installations: dict[_Key, Installation] = {}
_lock = threading.Lock()


def find(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, *, terminal: bool = False
) -> Installation | None:
    """The process that has loaded what such a program loads, if there is one by now."""
    loads = _loads(arguments[1:2])
    if arguments[0] != MANAGE or directory != PROJECT or loads is None:
        return None
    if any(environment.get(name) for name in OWN_CODE) or not environment.get(KEY):
        return None
    key = _Key(tuple(sorted(environment.items())), loads, terminal)
    with _lock:
        installation = _installations.pop(key, None)
        if installation is None and key in _seen - _unusable and _make_room():
            installation = Installation(environment, loads, terminal=terminal)
        _seen.add(key)
        if installation is None:
            return None
        if installation.is_lost:
            _unusable.add(key)
            return None
        _installations[key] = installation  # the latest comes last
    return installation if installation.is_ready() else None


def _loads(command: Sequence[str]) -> Loads | None:
    """What this command has loaded when it begins; None if that is not known."""
    from django.core.management import get_commands, load_command_class

    app = get_commands().get(command[0]) if command and command[0] != OTHERWISE else None
    if app is None:
        return None
    if command[0] in SERVING:
        return Loads.SERVER
    checked = load_command_class(app, command[0]).requires_system_checks
    # `migrate` says that it needs no checks, for it runs all of them itself.
    return Loads.PAGES if checked == "__all__" or command[0] == "migrate" else Loads.APPS


def _make_room() -> bool:
    """End the one that was least recently used, if there are as many as there may be, and one may end."""
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
    """A process that has loaded this site with the settings of an environment, in a terminal or without."""

    def __init__(self, environment: Mapping[str, str], loads: Loads, *, terminal: bool = False) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._started: list[Started] = []
        self._ready = self.is_lost = False
        told = (Descriptor(theirs.fileno()), dict(environment), loads, terminal)
        self._process = context.Process(target=_hold, args=told)
        self._process.start()
        theirs.close()

    def is_ready(self, timeout: float = 0) -> bool:
        """Tell whether it has loaded all, after `timeout` seconds at most. If it never can, it is lost."""
        with self._lock:
            if not self._ready and not self.is_lost and _has_news(self._socket.fileno(), timeout):
                self._ready = self._socket.recv(len(READY)) == READY
                if not self._ready:
                    self.end()
            return self._ready

    def start(self, arguments: Sequence[str], streams: tuple[int, int, int]) -> Started | None:
        """Start a program; None if that fails, as when the installation has been killed."""
        request = pickle.dumps(tuple(arguments))
        assert len(request) <= LONGEST
        status, theirs = os.pipe()
        pid = b""
        with self._lock:
            try:
                socket.send_fds(self._socket, [request], [*streams, theirs])
                pid = self._socket.recv(32)
            except ConnectionError:
                self.end()
            except BaseException:
                self.end()  # the answer that still comes would be taken for another's
                raise
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
        self.is_lost = True
        self._socket.close()


class Started:
    """A program that was started; `exitcode` and `join` are as in `multiprocessing`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self._status = status
        self._ended: int | None = None
        self._lock = threading.Lock()

    @property
    def exitcode(self) -> int | None:
        self.join(0)
        return self._ended

    def join(self, timeout: float | None) -> None:
        if self._ended is None and _has_news(self._status, timeout):
            with self._lock:
                if self._ended is None:
                    said = os.read(self._status, 32)
                    self._ended = int(said) if said else -signal.SIGKILL
                    os.close(self._status)


def _has_news(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


# --- In that process ---


def _hold(descriptor: Descriptor, environment: dict[str, str], loads: Loads, terminal: bool) -> NoReturn:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Log lines are in colours if standard error is a terminal, which is asked while the settings are loaded.
    stream = pty.openpty()[1] if terminal else os.open(os.devnull, os.O_RDWR)
    take_streams([stream, os.dup(stream), os.dup(stream)], terminal=False)
    settle(environment, str(PROJECT))
    with suppress(BaseException):
        _load(loads)
        requests = socket.socket(fileno=descriptor.number())
        requests.send(READY)
        _fork_on_request(requests, terminal)
    os._exit(0)


def _load(loads: Loads) -> None:
    """Load what such a command loads, without threads, connections and reactor."""
    import django
    from django.db import connections
    from django.urls import get_resolver

    sys.argv = [MANAGE]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    if loads >= Loads.PAGES:
        assert get_resolver().url_patterns
    if loads >= Loads.SERVER:
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
        request, descriptors, *_ = socket.recv_fds(requests, LONGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            _start(pickle.loads(request), requests, descriptors, terminal)
        for each in descriptors:
            os.close(each)


def _start(
    arguments: tuple[str, ...], requests: socket.socket, descriptors: list[int], terminal: bool
) -> NoReturn:
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        *streams, told = descriptors
        pid = os.fork()
        if pid == 0:
            requests.close()
            os.close(told)
            _become(arguments, streams, terminal)
        requests.send(str(pid).encode())
    except BaseException:
        requests.send(b"")  # nothing was started
        os._exit(1)
    requests.close()
    for each in streams:
        os.close(each)
    _, status = os.waitpid(pid, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: tuple[str, ...], streams: Sequence[int], terminal: bool) -> NoReturn:
    status = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        take_streams(streams, terminal=terminal)
        status = run(arguments)
        flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status & 0xFF)
