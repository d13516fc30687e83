"""Make forks safe: a child process starts without its parent's threads, locks and connections.

A child inherits all memory, but only the thread that forked. Locks that other threads held stay locked, their
work is done by nobody, and two processes would use one connection. So every part that has threads, locks or
connections registers here how a child forgets it; its next use in the child makes a new one.

A fork waits up to `PATIENCE` seconds until these parts have finished what they read or write. Then no lock is
held and no file of SQLite is open: a child would inherit SQLite's knowledge of its locks, not the locks.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

PATIENCE = 10.0

log = logging.getLogger(__name__)

T = TypeVar("T")


Step: TypeAlias = Callable[[], object]

# What each part does in the child, before the fork, and after it in the parent.
_parts: list[tuple[Step, Step, Step]] = []
_inherited: list[object] = []
_forking = threading.Lock()


def register(forget: Step, *, pause: Step = lambda: None, resume: Step = lambda: None) -> None:
    """Call `forget` in each child process, `pause` before a fork, and `resume` after it in the parent.

    `pause` is called in the order of registration: register before the parts that yours waits for.
    """
    _parts.append((forget, pause, resume))


class Slot(Generic[T]):
    """Holds a value that a process has at most once; a forked child begins without it."""

    def __init__(self) -> None:
        self.value: T | None = None
        register(self._forget)

    def _forget(self) -> None:
        keep(self.value)
        self.value = None


def keep(inherited: object) -> None:
    """Keep a reference for ever: cleaning this up in the child would end it for the parent, too."""
    _inherited.append(inherited)


class Activity:
    """Work that threads do inside `with activity:`, and that can be paused."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the parent's threads in a child: one of them may have held the lock."""
        self._changed = threading.Condition()
        self._threads: list[int] = []
        self._paused = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            # A thread that is inside already is being waited for, so it must not wait.
            self._changed.wait_for(lambda: not self._paused or me in self._threads)
            self._threads.append(me)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._threads.remove(threading.get_ident())
            if self._paused:
                self._changed.notify_all()

    def pause(self, patience: float = PATIENCE) -> bool:
        """Let no thread enter until `resume`, and wait for the other threads inside to leave.

        Return False if some are still inside after `patience` seconds.
        """
        me = threading.get_ident()
        with self._changed:
            self._paused = True
            return self._changed.wait_for(lambda: all(each == me for each in self._threads), patience)

    def resume(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()


def _before() -> None:
    _forking.acquire()
    for _, pause, _ in _parts:
        _attempt(pause)


def _in_parent() -> None:
    for *_, resume in reversed(_parts):
        _attempt(resume)
    _forking.release()


def _in_child() -> None:
    _forking.release()
    for forget, *_ in _parts:
        _attempt(forget)


def _attempt(step: Step) -> None:
    """Call one step and log its error: a fork can't be refused, and the other parts must be prepared."""
    try:
        step()
    except Exception:
        log.exception("not prepared for a fork part=%s", getattr(step, "__module__", step))


if hasattr(os, "register_at_fork"):  # there is neither on Windows
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
