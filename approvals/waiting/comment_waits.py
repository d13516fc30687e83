"""Waits for the next comment on a request: whoever asked something waits for what is said about it.

A wait is woken by a comment after the entry that it knows, or by the end of the request. Those who wait for
one request may know different entries, so each wait has an id of its own in the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from uuid import UUID

from approvals import queries
from approvals.database.fields import new_id
from approvals.queries import Discussed
from approvals.waiting.outages import Outage
from approvals.waiting.reader import Reader
from approvals.waiting.registry import Registry, Waiter


class CommentWaits:
    """Who waits for a comment. `wait` on the waiter's loop, the rest from any thread."""

    def __init__(self) -> None:
        # Reentrant, as the registry's: dropping a wait of a closed loop runs its `finally`, here and now.
        self._lock = RLock()
        self._waiters: Registry[None] = Registry()
        # By request and wait: the last entry of the trail that the waiter knows.
        self._known: dict[UUID, dict[UUID, int]] = {}

    def __len__(self) -> int:
        """Count the waits."""
        return len(self._waiters)

    def ids(self) -> list[UUID]:
        """Return the requests that are waited for."""
        self._waiters.ids()  # forgets closed loops
        with self._lock:
            return list(self._known)

    def waited_for(self, ids: Iterable[UUID]) -> list[UUID]:
        """Return those of these requests that somebody waits for."""
        return [request_id for request_id in ids if request_id in self._known]

    @contextmanager
    def wait(self, request_id: UUID, known: int, patience: float | None) -> Iterator[Waiter[None]]:
        """Give a future that is done when there is something after the entry that is `known`.

        After `patience` seconds it raises TimeoutError. Have the request read within the block, so that no
        change before it is missed.
        """
        wait_id = new_id()
        waiter = self._waiters.register(wait_id, patience)
        try:
            with self._lock:
                self._known.setdefault(request_id, {})[wait_id] = known
            yield waiter
        finally:
            with self._lock:
                waits = self._known[request_id]
                del waits[wait_id]
                if not waits:
                    del self._known[request_id]
            self._waiters.deregister(waiter, wait_id)

    def tell(self, discussed: Mapping[UUID, Discussed | None]) -> None:
        """Wake whoever waits for these requests and does not know it yet; None: there is no such request."""
        with self._lock:
            news = {
                wait_id: None
                for request_id, found in discussed.items()
                for wait_id, known in self._known.get(request_id, {}).items()
                if found is None or found.closed or found.last > known
            }
        self._waiters.wake(news)


class CommentReader(Reader):
    """Reads how far requests have been discussed, and wakes those who wait for more."""

    def __init__(self, waits: CommentWaits, database: Outage, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(waits, database, loop)
        self._waits = waits

    def _read_and_wake(self, ids: Sequence[UUID]) -> None:
        found = queries.discussed(ids)
        self._waits.tell({request_id: found.get(request_id) for request_id in ids})
