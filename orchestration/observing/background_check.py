"""Runs a check that may hang, for callers that can't wait for it.

Each check runs on a daemon thread of its own, so one that hangs blocks no other thread. Only one runs at a
time, however many ask, and its result is kept for a second, so asking causes no load. Errors are logged when
they change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

from approvals.waiting.outages import describe

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 2.0
KEPT = 1.0


class FailureLog:
    """Logs the first error, each change to an error of another class, and the first success after it.

    Can be used from any thread.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._kind: type[Exception] | None = None
        self._lock = Lock()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note what is raised inside, and raise it again; without an error, note the success."""
        try:
            yield
        except Exception as error:
            self.note(error)
            raise
        self.note(None)

    def note(self, error: Exception | None) -> None:
        """Log an error, or a success, unless the last one was of the same class."""
        kind = None if error is None else type(error)
        with self._lock:
            before, self._kind = self._kind, kind
        if error is not None and kind is not before:
            log.warning("%s failed error=%s", self._what, describe(error))
        elif error is None and before is not None:
            log.info("%s answers again", self._what)


class BackgroundCheck(Generic[T]):
    """Calls `check` in the background. Its result can be awaited from any loop and thread.

    `patience` and `kept` are seconds.
    """

    def __init__(
        self, name: str, check: Callable[[], T], *, patience: float = PATIENCE, kept: float = KEPT
    ) -> None:
        self._name = name
        self._check = check
        self._failures = FailureLog(name)
        self._patience = patience
        self._kept = kept
        self._lock = Lock()
        self._answer: Future[T] | None = None
        self._began = 0.0
        self._ended = 0.0

    async def result(self) -> T:
        """Return or raise what the check does. Raises TimeoutError after `patience`."""
        answer, patience = self._current_answer()
        if not answer.done():
            waiting = asyncio.wrap_future(answer)
            waiting.add_done_callback(_retrieve)
            await asyncio.wait([waiting], timeout=patience)
        if not answer.done():
            error = TimeoutError(f"no answer within {self._patience:g} s")
            self._failures.note(error)
            raise error
        return answer.result()

    def _current_answer(self) -> tuple[Future[T], float]:
        """Return the running, kept or else a new check's answer, and how many seconds to wait for it."""
        with self._lock:
            now = monotonic()
            if self._answer is None or (self._answer.done() and now - self._ended > self._kept):
                self._answer, self._began = _uncancellable(), now
                Thread(target=self._work, args=(self._answer,), name=self._name, daemon=True).start()
            return self._answer, max(0.0, self._began + self._patience - now)

    def _work(self, answer: Future[T]) -> None:
        try:
            with self._failures.watch():
                found = self._check()
        except Exception as error:  # noqa: BLE001  passed on to whoever asks
            self._ended = monotonic()
            answer.set_exception(error)
        else:
            self._ended = monotonic()
            answer.set_result(found)


def _retrieve(waiting: asyncio.Future[T]) -> None:
    """Mark an error as seen, which asyncio would log as lost; callers get it from the answer."""
    if not waiting.cancelled():
        waiting.exception()


def _uncancellable() -> Future[T]:
    """Make a future that stays when one of its waiters is cancelled."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()
    return answer
