"""Ctrl-C in a terminal that shows a run: the first lets go of it, a second soon after ends at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

AT_ONCE = 2.0


class Interrupts:
    """`first` is set by the first Ctrl-C. `say` is called for each that does not end the process, `end` for
    one that comes within `AT_ONCE` seconds of the one before."""

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
        """Ctrl-C comes here as long as this lasts. On the running loop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
