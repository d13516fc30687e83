"""Real processes under test: started, read line by line, frozen, killed; never left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import httpx

from orchestration.benchmark.installation import DIES_WITH_PARENT
from tests.forks import Fork
from tests.prepared import require_mark

PROJECT = Path(__file__).resolve().parent.parent
MANAGE = PROJECT / "manage.py"

# Among how many workers of one run the ports are divided.
WORKERS = 8

# Seconds between two re-checks of a process under test that no hint reaches.
RECHECK = "0.2"
# Outside the range that outgoing connections are given.
PORTS = range(15_000, 30_000)


def free_port() -> int:
    """A loopback port nobody listens on, of those that are this worker's among the workers of the run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(100):
        port = random.choice(PORTS[worker % WORKERS :: WORKERS])
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port in a hundred tries")


class ProcessEnded(AssertionError):
    """The process ended while something was still expected of it."""


class Output:
    """What a process has printed so far. Waiting is by condition, so nobody polls or sleeps."""

    def __init__(self, stream: IO[str], name: str) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), name=f"output-{name}", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 30.0) -> str:
        """Block until the text so far contains (or satisfies) `wanted`; returns the text so far."""
        holds = wanted if callable(wanted) else lambda text: wanted in text
        with self._changed:
            self._changed.wait_for(lambda: self._ended or holds("".join(self._lines)), timeout)
            text, ended = "".join(self._lines), self._ended
        if holds(text):
            return text
        reason = "the process ended" if ended else f"{timeout} s passed"
        raise ProcessEnded(f"{reason} without {wanted!r} in its output:\n{text}")

    def close(self) -> None:
        self._thread.join(10)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in iter(stream.readline, ""):
                self._add(line)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, text: str) -> None:
        with self._changed:
            self._lines.append(text)
            self._changed.notify_all()


class Process:
    """One child process with its output; a context manager that kills what still runs.

    Any program, started anew: where it is Python it reads all its packages again, so `manage.py` is better
    started by `manage`.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        name: str,
        directory: Path = PROJECT,
    ) -> None:
        require_mark()
        self.name = name
        input_, self._stdin = _pipe_to_child()
        output, stdout = _pipe_from_child()
        try:
            self._child = self._start([*map(str, arguments)], dict(environment), directory, input_, output)
        finally:
            os.close(input_)
            os.close(output)
        self.output = Output(stdout, name)

    def _start(
        self, arguments: list[str], environment: dict[str, str], directory: Path, input_: int, output: int
    ) -> subprocess.Popen[bytes] | Fork:
        return subprocess.Popen(
            [*DIES_WITH_PARENT, *arguments],
            cwd=directory,
            env=environment,
            stdin=input_,
            stdout=output,
            stderr=output,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def type(self, text: str) -> None:
        """Write to its standard input, as a person would in a terminal that is none."""
        self._stdin.write(text)
        self._stdin.flush()

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit status. A process that does not end in time fails the test, with what it printed."""
        status = self._ended(timeout)
        assert status is not None, f"{self.name} still runs after {timeout} s:\n{self.output.text}"
        self._close()
        return status

    def wait_briefly(self, seconds: float) -> None:
        """Give it `seconds`; raises if it ends meanwhile. For polling what has no other signal."""
        status = self._ended(seconds)
        if status is None:
            return
        self._close()
        raise ProcessEnded(f"{self.name} ended with {status}:\n{self.output.text}")

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def terminate(self, timeout: float = 30.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """`kill -9`: no clean-up of its own runs. Harmless when it has already ended."""
        self._child.kill()
        self._child.wait()
        self._close()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def _ended(self, within: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._child.wait(within)
        return None

    def _close(self) -> None:
        with suppress(BrokenPipeError):  # what was still buffered has no reader any more
            self._stdin.close()
        self.output.close()


class Forked(Process):
    """A Python program of ours, in a fork: see tests/forks.py."""

    def _start(
        self, arguments: list[str], environment: dict[str, str], directory: Path, input_: int, output: int
    ) -> Fork:
        return Fork(
            arguments,
            environment=told_at_once(environment),
            directory=directory,
            streams=(input_, output, output),
        )


def manage(*arguments: str | Path, environment: Mapping[str, str], name: str | None = None) -> Process:
    """Start `manage.py` with `arguments`. `environment` is all it gets: see `Stack.environment`."""
    return Forked([MANAGE, *arguments], environment=environment, name=name or str(arguments[0]))


def manage_anew(*arguments: str | Path, environment: Mapping[str, str]) -> Process:
    """The same in an interpreter of its own, as people start it: slower by a second of processor time."""
    return Process([sys.executable, MANAGE, *arguments], environment=environment, name=str(arguments[0]))


def run_manage(
    *arguments: str | Path, environment: Mapping[str, str], timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` to its end; what it wrote to standard output and standard error, apart."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), out.fileno(), err.fileno())
        command = [str(MANAGE), *map(str, arguments)]
        child = Fork(command, environment=told_at_once(environment), directory=PROJECT, streams=streams)
        status = child.wait(timeout)
        child.kill()
        assert status is not None, f"manage.py {arguments[0]} still runs after {timeout} s"
        return subprocess.CompletedProcess(command, status, _content(out), _content(err))


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


class Server(Forked):
    """A real `manage.py serve` that answers. Ends like any process; `again()` starts its successor."""

    def __init__(self, *, environment: Mapping[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self.environment = dict(environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.websocket_url = f"ws://127.0.0.1:{self.port}"
        super().__init__([MANAGE, "serve", "--port", str(self.port)], environment=environment, name="serve")

    def again(self) -> Server:
        """The same server started anew after its end, at the same address."""
        assert not self.running
        return Server(environment=self.environment, port=self.port).ready()

    def ready(self, timeout: float = 60.0) -> Self:
        """Block until it answers HTTP. What it answers is the test's business."""
        deadline = time.monotonic() + timeout
        while not self._answers():
            self.wait_briefly(0.05)
            assert time.monotonic() < deadline, f"{self.url} does not answer:\n{self.output.text}"
        return self

    def _answers(self) -> bool:
        try:
            _http().get(f"{self.url}/accounts/login/")
        except httpx.TransportError:
            return False
        return True


@cache
def _http() -> httpx.Client:
    """Kept, because each client makes a TLS context of its own; connections are not, servers come and go."""
    return httpx.Client(timeout=10, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def _pipe_to_child() -> tuple[int, IO[str]]:
    """What the child reads from, and what is written to it."""
    read, write = os.pipe()
    return read, open(write, "w")  # noqa: PTH123  closed with the process


def _pipe_from_child() -> tuple[int, IO[str]]:
    """What the child writes to, and what is read from it."""
    read, write = os.pipe()
    return write, open(read, errors="replace")  # noqa: PTH123  closed with the process


def told_at_once(environment: Mapping[str, str]) -> dict[str, str]:
    """Where no Redis carries hints, a process learns by its re-check what another has done: here at once,
    and not every other second, unless the test says when."""
    at_once = {} if "REDIS_URL" in environment else {"SAYSO_RECHECK_INTERVAL": RECHECK}
    return at_once | dict(environment)


def bare_environment() -> dict[str, str]:
    """What any program needs, and none of the settings this test run itself was started with."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "LD_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name in kept} | {"PYTHONUNBUFFERED": "1"}
