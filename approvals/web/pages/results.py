"""What has come of several decisions made together: one result for each, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, TooLate


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result for one request, in words. `address` is the request's page; empty if it may not be seen."""

    title: str
    words: str
    address: str = ""
    status: str = ""
    code: str = ""

    @classmethod
    def of(cls, title: str, address: str, result: Outcome | ApprovalError) -> Result:
        if isinstance(result, ApprovalError):
            return cls(title=title, words=_refusal(result), address=address, code=result.code)
        return cls(title=title, words=_outcome_words(result), address=address, status=result.status)

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code else ""
        return f"{self.title}: {self.words}{code}"


def _refusal(error: ApprovalError) -> str:
    """Describe a refusal, with the recorded outcome if its own text does not have it."""
    if isinstance(error, TooLate) and error.outcome is not None:
        return f"{error.detail} On record: {_outcome_words(error.outcome)}."
    return error.detail


def _outcome_words(outcome: Outcome) -> str:
    if not outcome.closed:
        return "your approval is on record; more are needed"
    if outcome.timed_out and outcome.approved is not None:
        return f"timed out, {'approved' if outcome.approved else 'rejected'} by default"
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    return f"{outcome.status.replace('_', ' ')}{by}"
