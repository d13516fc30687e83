"""One look at something that may hang, for those who can't wait for it.

Each look runs on a daemon thread of its own, so what hangs takes nobody's thread but that one; there is one
at a time, however many ask; and its answer is kept for a moment, so that asking is no load. What goes
wrong is logged when it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

from config.observing.failure_log import FailureLog

T = TypeVar("T")

PATIENCE = 2.0
KEPT = 1.0


class BackgroundCheck(Generic[T]):
    """Asks `look`, from any loop and thread."""

    def __init__(
        self, name: str, look: Callable[[], T], *, patience: float = PATIENCE, kept: float = KEPT
    ) -> None:
        self._name = name
        self._look = look
        self._trouble = FailureLog(name)
        self._patience = patience
        self._kept = kept
        self._lock = Lock()
        self._answer: Future[T] | None = None
        self._began = 0.0
        self._ended = 0.0

    async def answer(self) -> T:
        """What the look returns or raises; TimeoutError where it takes longer than `patience`."""
        answer, patience = self._current_answer()
        if not answer.done():
            waiting = asyncio.wrap_future(answer)
            waiting.add_done_callback(_retrieve)
            await asyncio.wait([waiting], timeout=patience)
        if not answer.done():
            error = TimeoutError(f"no answer within {self._patience:g} s")
            self._trouble.note(error)
            raise error
        return answer.result()

    def _current_answer(self) -> tuple[Future[T], float]:
        """The answer under way or kept, else a new one; and how long it is worth waiting for it."""
        with self._lock:
            now = monotonic()
            if self._answer is None or (self._answer.done() and now - self._ended > self._kept):
                self._answer, self._began = _uncancellable(), now
                Thread(target=self._work, args=(self._answer,), name=self._name, daemon=True).start()
            return self._answer, max(0.0, self._began + self._patience - now)

    def _work(self, answer: Future[T]) -> None:
        try:
            with self._trouble.noticed():
                found = self._look()
        except Exception as error:  # noqa: BLE001  whoever asks gets it
            self._ended = monotonic()
            answer.set_exception(error)
        else:
            self._ended = monotonic()
            answer.set_result(found)


def _retrieve(waiting: asyncio.Future[T]) -> None:
    """What the look raised is taken from its answer; asyncio would log it as lost."""
    if not waiting.cancelled():
        waiting.exception()


def _uncancellable() -> Future[T]:
    """Many wait for it; that one of them gives up is none of the others' business."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()
    return answer
