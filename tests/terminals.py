"""A person at a real terminal: a process on a pty of its own, read as it prints, typed into, interrupted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.forks import Fork
from tests.patience import patience
from tests.processes import PROJECT, ProcessEnded, told_at_once

INTERRUPT, END_OF_INPUT = "\x03", "\x04"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """`manage.py` in a terminal of 100 columns. A context manager that kills what still runs."""

    def __init__(
        self, *arguments: str | Path, environment: Mapping[str, str], output: Path | None = None
    ) -> None:
        self._main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        with Path(output or os.devnull).open("wb") as redirected:
            self._child = Fork(
                [str(PROJECT / "manage.py"), *map(str, arguments)],
                environment={**told_at_once(environment), "TERM": "xterm-256color"},
                directory=PROJECT,
                streams=(terminal, redirected.fileno() if output else terminal, terminal),
                terminal=True,
            )
        os.close(terminal)
        self._text = ""
        self._read = 0
        self._ended = False
        self._changed = threading.Condition(threading.RLock())
        self._thread = threading.Thread(target=self._follow, name="output-terminal")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()
        self._thread.join(10)
        os.close(self._main)

    @property
    def text(self) -> str:
        """All that the screen has shown, without colours."""
        with self._changed:
            return _COLOURS.sub("", self._text).replace("\r\n", "\n")

    def wait_for(self, words: str) -> str:
        """Block until `words` appear after what was waited for before; returns what was shown up to there."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._found(words) >= 0, patience())
            ended = self._ended
        start, found = self._read, self._found(words)
        if found < 0:
            reason = "the process ended" if ended else "time passed"
            raise ProcessEnded(f"{reason} without {words!r} on the screen:\n{self.text}")
        self._read = found + len(words)
        return self.text[start : self._read]

    def type(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def wait(self) -> int:
        """Its exit status, once all that it printed has been read."""
        timeout = patience()
        status = self._child.wait(timeout)
        assert status is not None, f"it still runs after {timeout} s:\n{self.text}"
        self._thread.join(10)
        return status

    def _found(self, words: str) -> int:
        return self.text.find(words, self._read)

    def _follow(self) -> None:
        while content := self._next():
            with self._changed:
                self._text += content.decode(errors="replace")
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _next(self) -> bytes:
        try:
            return os.read(self._main, 65_536)
        except OSError:  # a pty whose other end is closed says so by an error
            return b""
