"""Python programs in forks of processes that have loaded what such programs load."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests import prepared_installations
from tests.prepared import Descriptor, become, context, require_mark


class Child(Protocol):
    """As `multiprocessing` has it."""

    @property
    def pid(self) -> int | None: ...

    @property
    def exitcode(self) -> int | None: ...

    def join(self, timeout: float | None) -> None: ...


class Fork:
    """A Python program in a fork of a prepared process; speaks like `subprocess.Popen`.

    `arguments` are those of `python`: the path of a script, or `-m` and a module, and what it is told. The
    `streams` become its standard input, output and error. With `terminal` its standard input is a pty that
    becomes the process's own, so that Ctrl-C there interrupts it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        streams: tuple[int, int, int],
        terminal: bool = False,
    ) -> None:
        require_mark()
        installation = prepared_installations.find(arguments, environment, directory, terminal=terminal)
        started = installation.start(arguments, streams) if installation else None
        self._child: Child = started or _start(arguments, environment, directory, streams, terminal)
        self.pid = self._child.pid or 0

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._child.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Block until it ends, `timeout` seconds at most; the exit status, None if it still runs."""
        self._child.join(timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    streams: tuple[int, int, int],
    terminal: bool,
) -> Child:
    told = (tuple(arguments), dict(environment), str(directory), tuple(map(Descriptor, streams)), terminal)
    process = context.Process(target=become, args=told)
    process.start()
    return process
