"""The waiters of each request, on any number of event loops. asyncio only.

A wait costs one future in a dictionary, nothing else: no timer, thread, connection or subscription.
Three things keep that true while 100,000 wait.

Waking is one `call_soon_threadsafe` for each loop and batch, from whichever thread read the rows. The loop
then resumes its waiters in slices, one slice a turn, so that a storm of outcomes never starves the sockets
that live on the same loop.

Patience (how long a caller wants to wait, which is not the request's deadline) is one heap and one timer
for each loop, and only for the waits that name one. Entries of finished waits are removed when they are
the majority; otherwise an hour of patience would keep each finished wait for an hour.

A wait that ended, however it ended, is deregistered by its own `finally`; so the length of the registry
returns to zero. A loop that was closed under its waiters is forgotten when somebody next tries to wake it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from threading import RLock
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

T = TypeVar("T")
Waiter: TypeAlias = asyncio.Future[T]

SLICE = 1000
SWEEP_FROM = 64


class Registry(Generic[T]):
    """Waiters by request id. `register` and `deregister` on the waiter's loop, the rest from any thread."""

    def __init__(self) -> None:
        # Reentrant: dropping the last reference to a wait of a closed loop runs its `finally`, here and now.
        self._lock = RLock()
        self._waiters: dict[UUID, Waiter[T] | list[Waiter[T]]] = {}
        self._loops: dict[asyncio.AbstractEventLoop, _LoopOfWaiters[T]] = {}

    def __len__(self) -> int:
        """Count the waits."""
        with self._lock:
            return sum(loop.waiting for loop in self._loops.values())

    def __contains__(self, request_id: UUID) -> bool:
        return request_id in self._waiters

    def ids(self) -> list[UUID]:
        """Return the ids that are waited for now. Closed loops are forgotten on the way."""
        with self._lock:
            for loop in [loop for loop in self._loops if loop.is_closed()]:
                self._forget(loop)
            return list(self._waiters)

    def waited_for(self, ids: Iterable[UUID]) -> list[UUID]:
        """Return those of `ids` that somebody waits for."""
        return [request_id for request_id in ids if request_id in self._waiters]

    def register(self, request_id: UUID, patience: float | None = None) -> Waiter[T]:
        """Return a future of the result of this id; await it, and deregister it in `finally`.

        After `patience` seconds it raises TimeoutError. Register before you read the row, so that no change
        in between is missed.
        """
        return self.register_for_any((request_id,), patience)

    def register_for_any(self, request_ids: Iterable[UUID], patience: float | None = None) -> Waiter[T]:
        """Return a future of the first result of one of these ids, as `register` does of one."""
        loop = asyncio.get_running_loop()
        waiter: Waiter[T] = loop.create_future()
        with self._lock:
            here = self._loops.get(loop)
            if here is None:
                here = self._loops[loop] = _LoopOfWaiters(loop)
            here.waiting += 1
            for request_id in request_ids:
                others = self._waiters.setdefault(request_id, waiter)
                if isinstance(others, list):
                    others.append(waiter)
                elif others is not waiter:
                    self._waiters[request_id] = [others, waiter]
        if patience is not None:
            here.patience.limit(waiter, patience)
        return waiter

    def deregister(self, waiter: Waiter[T], *request_ids: UUID) -> None:
        """Forget the wait for these ids. Call it once for each `register`, on the same loop."""
        loop = waiter.get_loop()
        with self._lock:
            for request_id in request_ids:
                self._remove(request_id, waiter)
            here = self._loops.get(loop)
            if here is None:
                return
            here.waiting -= 1
            if here.waiting == 0:
                del self._loops[loop]
        if here.waiting == 0:
            here.patience.clear()
        else:
            here.patience.one_finished()

    def wake(self, results: Mapping[UUID, T]) -> None:
        """Resume all waiters of these ids, each with its result."""
        batches: dict[asyncio.AbstractEventLoop, list[tuple[Waiter[T], T]]] = {}
        with self._lock:
            for request_id, result in results.items():
                waiters = self._waiters.pop(request_id, None)
                if waiters is None:
                    continue
                for waiter in waiters if isinstance(waiters, list) else (waiters,):
                    batches.setdefault(waiter.get_loop(), []).append((waiter, result))
            for loop, batch in batches.items():
                if not self._loops[loop].deliver(batch):
                    self._forget(loop)

    def _remove(self, request_id: UUID, waiter: Waiter[T]) -> None:
        waiters = self._waiters.get(request_id)
        if waiters is waiter:
            del self._waiters[request_id]
        elif isinstance(waiters, list) and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[request_id]

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remove the waiters of a closed loop: they can be neither woken nor deregistered."""
        del self._loops[loop]
        for request_id, waiters in list(self._waiters.items()):
            for waiter in list(waiters) if isinstance(waiters, list) else [waiters]:
                if waiter.get_loop() is loop:
                    self._remove(request_id, waiter)


class _LoopOfWaiters(Generic[T]):
    """The waiters of one event loop: results on their way, and patience."""

    __slots__ = ("_due", "_loop", "_on_its_way", "patience", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: deque[tuple[Waiter[T], T]] = deque()
        self._on_its_way = False
        self.patience = _Patience(loop)
        self.waiting = 0

    def deliver(self, batch: list[tuple[Waiter[T], T]]) -> bool:
        """Have the loop resume these waiters; False if it is closed. From any thread, under the lock."""
        self._due.extend(batch)
        if self._on_its_way:
            return not self._loop.is_closed()
        self._on_its_way = True
        try:
            self._loop.call_soon_threadsafe(self._resume)
        except RuntimeError:
            return False
        return True

    def _resume(self) -> None:
        # Before the first `popleft`: what is added from now on schedules another turn if needed.
        self._on_its_way = False
        for _ in range(min(SLICE, len(self._due))):
            waiter, result = self._due.popleft()
            if not waiter.done():
                waiter.set_result(result)
        if self._due and not self._on_its_way:
            self._on_its_way = True
            self._loop.call_soon(self._resume)


class _Patience:
    """The limits of one loop's waits: a heap, and one timer for the earliest."""

    __slots__ = ("_finished", "_heap", "_loop", "_order", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Waiter[Any]]] = []
        self._order = count()
        self._finished = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def limit(self, waiter: Waiter[Any], seconds: float) -> None:
        heappush(self._heap, (self._loop.time() + seconds, next(self._order), waiter))
        if self._heap[0][2] is waiter:
            self._set_timer()

    def one_finished(self) -> None:
        """Count a finished wait, and sweep when most entries may be stale."""
        self._finished += 1
        if self._heap and self._finished > max(SWEEP_FROM, len(self._heap) // 2):
            self._finished = 0
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapify(self._heap)
            self._set_timer()

    def clear(self) -> None:
        self._heap.clear()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._end) if self._heap else None

    def _end(self) -> None:
        now = self._loop.time()
        for _ in range(SLICE):
            if not self._heap or self._heap[0][0] > now:
                break
            waiter = heappop(self._heap)[2]
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._set_timer()
