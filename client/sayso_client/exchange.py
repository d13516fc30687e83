"""How a call reaches the server, without reading or writing: what to send, when to try again, what it says.

A call is a generator that yields what to do next and is sent what came of it, so that one text serves the
client that blocks and the one that is awaited. Only what may be repeated is sent again: every call of this
client may, because questions carry a key and the server answers a decision that is on record with its
outcome.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import httpx

from sayso_client.errors import PROBLEMS, Problem, Unreachable

T = TypeVar("T")

# Seconds between two attempts: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
# Statuses that say that it may work in a moment: of a server that is busy or starts, and of its proxies.
_SOON = frozenset({502, 503, 504})
# Seconds that the server may take beyond those that it was asked to wait.
SLACK = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send this; the answer is its response, or the error of the connection."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """For how long the server was asked to hold the answer back."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Step: TypeAlias = Send | Pause
Reply: TypeAlias = httpx.Response | httpx.TransportError | None
Call: TypeAlias = Generator[Step, Reply, T]


def exchange(send: Send, give_up_after: float | None) -> Call[httpx.Response]:
    """Send until the server answers; raise its refusal as a `Problem`.

    Lost connections, 429 and a server that is away are tried again, for `give_up_after` seconds (None:
    without end); then Unreachable.
    """
    began, pause = time.monotonic(), FIRST_PAUSE
    while True:
        reply = yield send
        if isinstance(reply, httpx.Response) and not _is_passing(reply):
            return _checked(reply)
        if give_up_after is not None and time.monotonic() - began >= give_up_after:
            raise Unreachable(_why(reply)) from (reply if isinstance(reply, Exception) else None)
        asked = _retry_after(reply) if isinstance(reply, httpx.Response) else 0.0
        yield Pause(max(asked, pause * random.uniform(0.5, 1.0)))  # noqa: S311  so that many do not come together
        pause = min(2 * pause, LONGEST_PAUSE)


def _is_passing(reply: httpx.Response) -> bool:
    if reply.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return "retry-after" in reply.headers  # a quota has none: people must decide first
    return reply.status_code in _SOON


def _retry_after(reply: httpx.Response) -> float:
    try:
        return max(0.0, float(reply.headers.get("retry-after", 0)))
    except ValueError:  # a date, of a proxy
        return 0.0


def _why(reply: Reply) -> str:
    if isinstance(reply, httpx.Response):
        return f"The server is away: it answers {reply.status_code}."
    return f"The server can't be reached: {reply}"


def _checked(reply: httpx.Response) -> httpx.Response:
    if reply.is_success:
        return reply
    problem = _problem_in(reply)
    raise PROBLEMS.get(str(problem.get("code")), Problem)(reply.status_code, problem)


def _problem_in(reply: httpx.Response) -> Mapping[str, Any]:
    try:
        problem = reply.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return problem
    return {
        "code": "error",
        "detail": f"{reply.request.url} answers {reply.status_code}: is it a Sayso server?",
    }
