"""Count the steps of one run that execute, and let no further step begin when the process stops.

A step executes from before its function is called until its result is on record; not while a person is asked
about it, nor in the pause before it is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class ActiveSteps:
    """The executing steps of one run. Belongs to one event loop."""

    def __init__(self) -> None:
        self._number = 0
        self._then: Callable[[], None] | None = None

    @property
    def any(self) -> bool:
        return self._number > 0

    @property
    def number(self) -> int:
        return self._number

    def stop_admitting(self, then: Callable[[], None]) -> None:
        """Let no step begin from now on; call `then` once none executes, which may be now."""
        self._then = then
        self._look()

    async def admit_step(self) -> None:
        """Return if a step may begin; otherwise wait for ever, since the run is about to be cancelled.

        A step within an executing step always begins: the outer one could not end otherwise.
        """
        if self._then is not None and not is_within_a_step():
            await asyncio.get_running_loop().create_future()

    @contextmanager
    def track(self) -> Iterator[None]:
        """Count a step while the block executes."""
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


def is_within_a_step() -> bool:
    """Tell whether this task executes a step, or was started by one."""
    return _within_a_step.get()


_within_a_step: ContextVar[bool] = ContextVar("sayso_within_a_step", default=False)
