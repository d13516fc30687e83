"""The steps of one run that are being performed, and how no further one begins where a process stops.

A step is under way from before its function is called until its result is on record; neither while a person
is asked about it, nor in the pause before it is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class ActiveSteps:
    """Counts them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._number = 0
        self._then: Callable[[], None] | None = None

    @property
    def any(self) -> bool:
        return self._number > 0

    def stop_admitting(self, then: Callable[[], None]) -> None:
        """Let no step begin from now on; `then` is called once none is under way, which may be at once."""
        self._then = then
        self._look()

    async def admit_step(self) -> None:
        """Return if a step may begin. Else never: whoever waits here is about to be cancelled.

        What a step under way does by steps of its own belongs to it, and it could not end without.
        """
        if self._then is not None and not _within_a_step.get():
            await asyncio.get_running_loop().create_future()

    @contextmanager
    def track(self) -> Iterator[None]:
        self._number += 1
        token = _within_a_step.set(True)
        try:
            yield
        finally:
            _within_a_step.reset(token)
            self._number -= 1
            self._look()

    def _look(self) -> None:
        if self._then is not None and self._number == 0:
            self._then()


_within_a_step: ContextVar[bool] = ContextVar("sayso_within_a_step", default=False)
