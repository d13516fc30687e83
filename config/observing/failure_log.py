"""Logs the errors of a repeated check once, not each time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from approvals.waiting.outages import describe

log = logging.getLogger(__name__)


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
        """Log what is raised inside, and raise it again; without an error, log the recovery."""
        try:
            yield
        except Exception as error:
            self.record(error)
            raise
        self.clear()

    def record(self, error: Exception) -> None:
        """Log an error, unless the last one was of the same class."""
        with self._lock:
            if type(error) is self._kind:
                return
            self._kind = type(error)
        log.warning("%s failed error=%s", self._what, describe(error))

    def clear(self) -> None:
        """Log the recovery, if there was an error."""
        with self._lock:
            if self._kind is None:
                return
            self._kind = None
        log.info("%s answers again", self._what)
