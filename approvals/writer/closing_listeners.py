"""Tell this process's waiters what its writer has closed, once that is committed.

They need no hint and no reading: the rows that were written are at hand, and the database has acknowledged
its COMMIT. Where that is unclear nothing is told, and the rows are read as any others. The UPDATE that closes
requests is in `Batch.write`, see batch.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TypeAlias
from uuid import UUID

from approvals.domain.lifecycle import Outcome
from approvals.process import forks

log = logging.getLogger(__name__)

# Gets the ids of a batch, and a function that returns the outcome of each.
Listener: TypeAlias = Callable[[Collection[UUID], Callable[[UUID], Outcome]], None]

_listeners: list[Listener] = []
# A child's waiters are not its parent's.
forks.register(_listeners.clear)


def attach(listener: Listener) -> None:
    """Call `listener` with what each batch has closed, on the writer's thread, which it must not block."""
    _listeners.append(listener)


def detach(listener: Listener) -> None:
    """Stop calling `listener`, if it is attached."""
    if listener in _listeners:
        _listeners.remove(listener)


def tell(closed: Collection[UUID], outcome: Callable[[UUID], Outcome]) -> None:
    """Tell every listener. Never raises: who was not told hears of it by the hint."""
    for listener in tuple(_listeners):
        try:
            listener(closed, outcome)
        except Exception:
            log.exception("closings not told requests=%d", len(closed))
