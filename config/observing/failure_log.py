"""What goes wrong with something that is looked at again and again, told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from approvals.waiting.outages import describe

log = logging.getLogger(__name__)


class FailureLog:
    """Logs an error when it begins, when one of another class takes its place, and when all is well again.

    Called from any thread.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._kind: type[Exception] | None = None
        self._lock = Lock()

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Log what is raised here, and let it pass."""
        try:
            yield
        except Exception as error:
            self.note(error)
            raise
        self.over()

    def note(self, error: Exception) -> None:
        with self._lock:
            if type(error) is self._kind:
                return
            self._kind = type(error)
        log.warning("%s failed error=%s", self._what, describe(error))

    def over(self) -> None:
        with self._lock:
            if self._kind is None:
                return
            self._kind = None
        log.info("%s answers again", self._what)
