"""What a test does in the place of people: look what is pending, decide, answer, let time pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from approvals import deciding, queries
from approvals.database import clock
from approvals.database.triggers import in_tests
from approvals.domain.commands import Actor, Channel, Expire
from approvals.domain.lifecycle import Outcome
from approvals.writer import queue

# Timeouts that are recorded at once.
AT_ONCE = 500


def pending() -> list[Any]:
    """Return the pending requests, the oldest first."""
    return list(queries.pending_requests())


def decide(
    request: Any,
    verdict: str = "approve",
    *,
    by: Any = None,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
    answer: str | None = None,
) -> Outcome:
    """Approve or reject a request, given as itself or by its id; return the outcome on record.

    With "respond" the `answer` is a text instead, where the request takes one.

    `by` is the user who decides, and must be allowed to; None: this installation's own code, which always is.
    Raises as `approvals.deciding.decide` does.
    """
    return deciding.decide(
        _actor(by), _id_of(request), verdict, comment=comment, arguments=arguments, answer=answer
    )


def answer(request: Any, answer: Any, *, by: Any = None, comment: str = "") -> Outcome:
    """Answer a question, as `decide`."""
    return deciding.answer(_actor(by), _id_of(request), answer, comment=comment)


def move_time(by: float | timedelta) -> None:
    """Let so many seconds pass until the end of the test, and record the timeouts that are due then.

    It moves the clock by which this process judges deadlines, no other. RuntimeError outside of tests.
    """
    if not in_tests():
        raise RuntimeError("Time is moved in tests only.")
    clock.move(by if isinstance(by, timedelta) else timedelta(seconds=by))
    while due := queries.overdue(AT_ONCE):
        for future in queue.submit_many([Expire(request_id=request_id) for request_id in due]):
            future.result()


apending = sync_to_async(pending)
adecide = sync_to_async(decide)
aanswer = sync_to_async(answer)
amove_time = sync_to_async(move_time)


def _actor(by: Any) -> Actor:
    return Actor.program() if by is None else Actor(user_id=by.pk, channel=Channel.PROGRAM)


def _id_of(request: Any) -> UUID | str:
    found: UUID | str = getattr(request, "pk", request)
    return found
