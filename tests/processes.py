"""Real processes under test: started, read line by line, frozen, killed; never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from orchestration.benchmark import servers

PROJECT = Path(__file__).resolve().parent.parent

free_port = servers.free_port


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
    """One child process with its output; a context manager that kills what still runs."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        name: str,
        directory: Path = PROJECT,
    ) -> None:
        self.name = name
        self._popen = subprocess.Popen(
            [*servers.DIES_WITH_PARENT, *map(str, arguments)],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._popen.stdout
        self.output = Output(self._popen.stdout, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def type(self, text: str) -> None:
        """Write to its standard input, as a person would in a terminal that is none."""
        assert self._popen.stdin
        self._popen.stdin.write(text)
        self._popen.stdin.flush()

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit status. A process that does not end in time fails the test, with what it printed."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout} s:\n{self.output.text}") from None
        self._close()
        return status

    def wait_briefly(self, seconds: float) -> None:
        """Give it `seconds`; raises if it ends meanwhile. For polling what has no other signal."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        self._close()
        raise ProcessEnded(f"{self.name} ended with {status}:\n{self.output.text}")

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def terminate(self, timeout: float = 30.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """`kill -9`: no clean-up of its own runs. Harmless when it has already ended."""
        self._popen.kill()
        self._popen.wait()
        self._close()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def _close(self) -> None:
        if self._popen.stdin and not self._popen.stdin.closed:
            with suppress(BrokenPipeError):  # what was still buffered has no reader any more
                self._popen.stdin.close()
        self.output.close()


def manage(*arguments: str | Path, environment: Mapping[str, str], name: str | None = None) -> Process:
    """Start `manage.py` with `arguments`. `environment` is all it gets: see `Stack.environment`."""
    return Process(
        [sys.executable, PROJECT / "manage.py", *arguments],
        environment=environment,
        name=name or str(arguments[0]),
    )


class Server(Process):
    """A real `manage.py serve` that answers. Ends like any process; `again()` starts its successor."""

    def __init__(self, *, environment: Mapping[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self.environment = dict(environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.websocket_url = f"ws://127.0.0.1:{self.port}"
        super().__init__(
            [sys.executable, PROJECT / "manage.py", "serve", "--port", str(self.port)],
            environment=environment,
            name="serve",
        )

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
            httpx.get(f"{self.url}/accounts/login/", timeout=10, trust_env=False)
        except httpx.TransportError:
            return False
        return True


def bare_environment() -> dict[str, str]:
    """What any program needs, and none of the settings this test run itself was started with."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "LD_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name in kept} | {"PYTHONUNBUFFERED": "1"}
