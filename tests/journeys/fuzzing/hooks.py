"""What schemathesis can't know of this API: that a wait takes its time, and which ids there are."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import Any
from uuid import UUID

import schemathesis

LONGEST = 60
BRIEFLY = 0.01

# The ids of what was asked and started last. Some of what is generated shall be about these.
_asked: dict[str, deque[str]] = {"request_id": deque(maxlen=20), "run_id": deque(maxlen=20)}
_turns = cycle((True, True, False))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """What must be refused for its form is sent as it is."""
    query = case.query or {}
    if _seconds(query.get("wait")) > BRIEFLY:
        query["wait"] = BRIEFLY
    for name, value in (case.path_parameters or {}).items():
        if _asked[name] and _is_id(value) and next(_turns):
            case.path_parameters[name] = _asked[name][-1]
            _asked[name].rotate()


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if response.status_code == 201:
        _asked["run_id" if case.path.endswith("/runs") else "request_id"].append(response.json()["id"])


def _seconds(wait: Any) -> float:
    try:
        seconds = float(wait)
    except (TypeError, ValueError):
        return 0
    return seconds if 0 <= seconds <= LONGEST else 0


def _is_id(value: Any) -> bool:
    try:
        return isinstance(UUID(value), UUID)
    except (AttributeError, TypeError, ValueError):
        return False
