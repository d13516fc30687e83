"""What a request can be and become: kinds, states, votes, quorum, what a timeout decides.

Pure words and rules, without Django, database or clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

DEFAULT_ANSWER = "No response received within timeout period"
# Stands where a title was, before retention took it away.
REMOVED = "(content removed)"
# How long after a request was closed it may still be talked about.
AFTERWARDS = timedelta(days=30)


class Kind(StrEnum):
    APPROVAL = "approval"
    CLARIFICATION = "clarification"


class Status(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    ANSWERED = "answered"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"


class Verdict(StrEnum):
    """What a person says to an approval."""

    APPROVE = "approve"
    REJECT = "reject"


# Answers an approval with a text, instead of approving it: whoever knows only yes and no reads a no.
RESPOND = "respond"
DECISIONS = (*map(str, Verdict), RESPOND)


def usual_decisions() -> list[str]:
    """Return how an approval can be decided that says nothing about it."""
    return list(map(str, Verdict))


class Severity(StrEnum):
    """How much a request matters to whoever decides it."""

    NORMAL = "normal"
    HIGH = "high"


CLOSED = frozenset(Status) - {Status.PENDING}

LEGAL_MOVES: Mapping[Kind, frozenset[Status]] = {
    Kind.APPROVAL: frozenset(Status) - {Status.PENDING},
    Kind.CLARIFICATION: frozenset({Status.ANSWERED, Status.TIMED_OUT, Status.WITHDRAWN}),
}


def missing_reason(reason_required: bool, comment: str) -> str:
    """Say that a person who approves or rejects has to say why; empty where this one did, or need not."""
    missing = reason_required and not comment.strip()
    return "comment must say why: this request needs a reason." if missing else ""


def may_become(kind: Kind, status: Status, target: Status) -> bool:
    """Only a pending request moves, and only to an end that its kind has."""
    return status is Status.PENDING and target in LEGAL_MOVES[kind]


def tally(votes: Iterable[Verdict], required: int) -> Status:
    """Where the votes of an approval leave it: one rejection rejects, `required` approvals approve.

    Only votes of those count who may decide at that moment: the caller leaves out the others.
    """
    approvals = 0
    for vote in votes:
        if vote is Verdict.REJECT:
            return Status.REJECTED
        approvals += 1
    return Status.APPROVED if approvals >= required else Status.PENDING


def is_overdue(deadline: datetime | None, now: datetime) -> bool:
    """Tell whether the deadline has passed; a decision made at the deadline itself is late."""
    return deadline is not None and now >= deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a request has come to, as recorded. `status` "pending" means: nothing yet."""

    request_id: str
    kind: str
    status: str
    approved: bool | None = None
    answer: Any = None
    arguments: dict[str, Any] | None = None
    comment: str = ""
    decided_by: str | None = None
    decided_at: datetime | None = None
    timed_out: bool = False
    withdrawn: bool = False

    @property
    def closed(self) -> bool:
        return self.status != Status.PENDING


def approved(kind: Kind, status: Status, on_timeout: Verdict | None) -> bool | None:
    """Return whether an approval was approved, which it was not where somebody answered with a text.

    None while it is pending, and for clarifications.
    """
    if kind is not Kind.APPROVAL or status is Status.PENDING:
        return None
    if status is Status.TIMED_OUT:
        return on_timeout is Verdict.APPROVE
    return status is Status.APPROVED
