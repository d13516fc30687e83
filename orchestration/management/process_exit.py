"""End a command's process, even if its threads still wait for something, and handle Ctrl-C in a terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, NoReturn

from approvals.writer import queue

# Seconds for submitted writes to be committed.
LAST_WRITES = 5.0
# Seconds between the two Ctrl-C that end a terminal at once.
AT_ONCE = 2.0


def exit_process(status: int = 0) -> NoReturn:
    """End this process after its submitted writes are on record.

    A request that was inside Django, or a long step, may hold a thread that waits for a stopped event loop.
    Python would wait for such threads, and the process would not end.
    """
    writing = threading.Thread(target=queue.close_writer, daemon=True)
    writing.start()
    writing.join(LAST_WRITES)
    exit_at_once(status)


def exit_at_once(status: int) -> NoReturn:
    """End this process without waiting for anything."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader may be gone
            stream.flush()
    os._exit(status)


async def first_of(*awaitables: Awaitable[Any]) -> None:
    """Return when the first of these is done; cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Interrupts:
    """Counts Ctrl-C in a terminal that shows a run: `first` is set by the first, which lets go of the run.

    `end` is called for one within `AT_ONCE` seconds of the one before, `say` for all others.
    """

    def __init__(
        self, say: Callable[[], None], end: Callable[[], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self.first = asyncio.Event()
        self._say = say
        self._end = end
        self._clock = clock
        self._last: float | None = None

    def interrupt(self) -> None:
        now, last = self._clock(), self._last
        self._last = now
        if last is not None and now - last <= AT_ONCE:
            self._end()
        else:
            self._say()
        self.first.set()

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Handle Ctrl-C within the block, on the running loop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
