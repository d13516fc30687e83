"""Read lines typed on a terminal by the event loop, without blocking and without a thread."""

from __future__ import annotations

import asyncio
import os
import termios
from typing import TextIO

_CHUNK = 65_536


class Keyboard:
    """The terminal that a command was started from, in line mode."""

    def __init__(self, terminal: TextIO) -> None:
        self._descriptor = terminal.fileno()

    @classmethod
    def of(cls, stream: TextIO) -> Keyboard | None:
        """Return the keyboard of `stream`; None if nobody can type: no terminal, or a background job."""
        try:
            present = stream.isatty() and os.tcgetpgrp(stream.fileno()) == os.getpgrp()
        except (OSError, ValueError):
            return None
        return cls(stream) if present else None

    def forget(self) -> None:
        """Drop what was typed before a question is shown."""
        termios.tcflush(self._descriptor, termios.TCIFLUSH)

    async def read_line(self) -> str | None:
        """Read the next line, without its end; None at the end of input (Ctrl-D)."""
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[bytes] = loop.create_future()
        loop.add_reader(self._descriptor, self._read, typed)
        try:
            content = await typed
        finally:
            loop.remove_reader(self._descriptor)
        return content.decode(errors="replace").rstrip("\r\n") if content else None

    def _read(self, typed: asyncio.Future[bytes]) -> None:
        if typed.done():
            return
        try:
            typed.set_result(os.read(self._descriptor, _CHUNK))
        except OSError:  # the terminal has gone
            typed.set_result(b"")
