"""The moments of a decision's way, taken from outside: functions that it passes are wrapped in this process.

    called -> committed -> heard -> read -> resumed

`committed`: the transaction is over and the hint is handed on. `heard`: the hint is in the waiting process.
`read`: the row has been read there. The clock is the machine's monotonic one, the same in all its processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import monotonic_ns
from typing import Any

from approvals import queries
from approvals.process import hints
from approvals.process.hints import Hint

Moments = dict[str, int]
"""By request id, in nanoseconds."""


def note_commits() -> Moments:
    """When the decisions of this process were committed, from now on."""
    moments: Moments = {}

    def note(topic: str, ids: Any) -> None:
        if topic == "requests":
            moments.update(dict.fromkeys(map(str, ids), monotonic_ns()))

    _wrap(hints, "send", before=note)
    return moments


def note_hints() -> Moments:
    """When this process heard of what others decided, from now on."""
    moments: Moments = {}

    def note(hint: Hint) -> None:
        if hint.topic == "requests":
            moments.update(dict.fromkeys(map(str, hint.ids), monotonic_ns()))

    _wrap(Hint, "from_wire", after=note)
    return moments


def note_reads() -> Moments:
    """When this process read that a request which is waited for is closed, from now on."""
    moments: Moments = {}

    def note(looks: Any) -> None:
        closed = [str(look.request_id) for look in looks if look.outcome.closed]
        moments.update(dict.fromkeys(closed, monotonic_ns()))

    _wrap(queries, "look", after=note)
    return moments


def _wrap(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[[Any], None] | None = None,
) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            before(*arguments, **named)
        result = original(*arguments, **named)
        if after:
            after(result)
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(owner, type) else wrapped)
