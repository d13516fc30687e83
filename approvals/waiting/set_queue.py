"""A queue without duplicates, filled by many threads and emptied by one task. asyncio only.

`put` never waits, and wakes the event loop at most once until the task has taken everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class SetQueue(Generic[K]):
    """`put` may be called from any thread, `take` by one task of `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self._lock = Lock()
        self._items: dict[K, None] = {}
        self._woken = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[K]) -> None:
        """Add items, each once. Call it from any thread."""
        with self._lock:
            self._items.update(dict.fromkeys(items))
            if self._woken or not self._items:
                return
            try:
                self._loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:  # the loop was closed: nobody will take anything
                self._items.clear()
            else:
                self._woken = True

    async def take(self, most: int) -> list[K]:
        """Wait for items, then remove and return up to `most` of them, in the order they came."""
        while True:
            await self._event.wait()
            with self._lock:
                taken = list(islice(self._items, most))
                for item in taken:
                    del self._items[item]
                if not self._items:
                    self._items = {}  # an emptied dictionary keeps its memory
                    self._event.clear()
                    self._woken = False
            if taken:
                return taken

    def drop(self) -> list[K]:
        """Remove and return all items without waiting."""
        with self._lock:
            dropped = list(self._items)
            self._items.clear()
        return dropped
