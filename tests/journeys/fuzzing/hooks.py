"""What schemathesis can't know of this API: that a wait takes its time, and which ids there are."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import Any
from uuid import UUID

import schemathesis

LONGEST = 60
BRIEFLY = 0.01

# By what paths call them: the ids of what was asked, started and made last. Some of what is generated shall
# be about these.
_asked: dict[str, deque[str]] = {name: deque(maxlen=20) for name in ("request_id", "run_id", "delegation_id")}
# By the end of the path that makes it; of any other, it is a request.
_MADE_BY = {"/runs": "run_id", "/delegations": "delegation_id"}
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
        made = next((name for end, name in _MADE_BY.items() if case.path.endswith(end)), "request_id")
        _asked[made].append(response.json()["id"])


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
