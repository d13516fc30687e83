"""What becomes of this process's parts when it forks: the child begins afresh.

A child inherits all memory, but of the threads only the one that forked. What the others held stays locked,
what they were to do is done by nobody, and two processes would talk on one connection. So every part that has
threads, locks or connections says here how a child forgets it; its next use in the child makes a new one.

A fork waits until what these parts write and read at that moment is done, `PATIENCE` at most. Then no lock is
held, and no file of SQLite's is open: a child inherits what SQLite knows of its locks, but not the locks.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

PATIENCE = 10.0

log = logging.getLogger(__name__)


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    forget: Callable[[], object]
    pause: Callable[[], object]
    resume: Callable[[], object]


_parts: list[_Part] = []
_inherited: list[object] = []
_forking = threading.Lock()


def register(
    forget: Callable[[], object],
    *,
    pause: Callable[[], object] = _nothing,
    resume: Callable[[], object] = _nothing,
) -> None:
    """Call `forget` in each child. Before a fork `pause` is called, in the order of registration: a part
    registers before those that it waits for; after it, in the parent, `resume`."""
    _parts.append(_Part(forget=forget, pause=pause, resume=resume))


def keep(inherited: object) -> None:
    """Never clean this up: to end it in the child would end it for the parent, too."""
    _inherited.append(inherited)


class Activity:
    """What threads do now and then, each time `with activity:`, and what can be paused."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []
        self._paused = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            # Who is at it already is waited for, and must not wait itself.
            self._changed.wait_for(lambda: not self._paused or me in self._threads)
            self._threads.append(me)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._threads.remove(threading.get_ident())
            if self._paused:
                self._changed.notify_all()

    def pause(self, patience: float = PATIENCE) -> bool:
        """Let nobody begin until `resume`, and wait for all other threads that are at it; False: some still
        are, after `patience` seconds."""
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
    for part in _parts:
        _attempt(part.pause)


def _in_parent() -> None:
    for part in reversed(_parts):
        _attempt(part.resume)
    _forking.release()


def _in_child() -> None:
    _forking.release()
    for part in _parts:
        _attempt(part.forget)


def _attempt(step: Callable[[], object]) -> None:
    """A fork can't be refused, and what fails in one part must not keep the others from theirs."""
    try:
        step()
    except Exception:
        log.exception("not prepared for a fork part=%s", getattr(step, "__module__", step))


if hasattr(os, "register_at_fork"):  # there is neither on Windows
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
