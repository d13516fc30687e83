"""Handle Ctrl-C in a terminal that shows a run: the first lets go of it, a second one ends at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

AT_ONCE = 2.0


class Interrupts:
    """Counts Ctrl-C: `first` is set by the first.

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
        """Take note of a Ctrl-C."""
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
