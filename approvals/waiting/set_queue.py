"""Things that many threads bring and one task takes in sets. asyncio only.

What comes while the task is busy gathers, each thing once; bringing never waits and rings the loop at most
once until the task has taken everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class SetQueue(Generic[K]):
    """`bring` from any thread, `take` by one task of `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._bell = asyncio.Event()
        self._lock = Lock()
        self._things: dict[K, None] = {}
        self._rung = False

    def __len__(self) -> int:
        return len(self._things)

    def put(self, things: Iterable[K]) -> None:
        with self._lock:
            self._things.update(dict.fromkeys(things))
            if self._rung or not self._things:
                return
            try:
                self._loop.call_soon_threadsafe(self._bell.set)
            except RuntimeError:  # The loop was closed: nobody will take anything.
                self._things.clear()
            else:
                self._rung = True

    async def take(self, most: int) -> list[K]:
        """Wait until there is something, and take it away, in the order it came."""
        while True:
            await self._bell.wait()
            with self._lock:
                taken = list(islice(self._things, most))
                for thing in taken:
                    del self._things[thing]
                if not self._things:
                    self._things = {}  # an emptied dictionary keeps the room that it once had
                    self._bell.clear()
                    self._rung = False
            if taken:
                return taken

    def drop(self) -> list[K]:
        """Take away everything that has gathered, without waiting."""
        with self._lock:
            dropped = list(self._things)
            self._things.clear()
        return dropped
