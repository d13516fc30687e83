"""Values that belong to one event loop: semaphores, hubs, and what follows the waiting room.

A process serves on one loop at a time. What asyncio has made for a loop that is over must not be used on the
next one, as in a script that calls `asyncio.run` twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Calls `make` once for each event loop; keeps the value of the latest one alone."""

    __slots__ = ("_kept", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: tuple[asyncio.AbstractEventLoop, T] | None = None

    def __call__(self) -> T:
        """Return the running loop's value. RuntimeError where no loop runs."""
        loop = asyncio.get_running_loop()
        if self._kept is None or self._kept[0] is not loop:
            self._kept = loop, self._make()
        return self._kept[1]
