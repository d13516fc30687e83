"""The errors that Sayso refuses with: one class for each reason, each with a stable code.

Edges map codes to HTTP, WebSocket or exit status once; nothing matches on texts.
"""

from __future__ import annotations

from approvals.domain.lifecycle import Outcome


class ApprovalError(Exception):
    """Base of all refusals. `code` is stable; `field` names the argument at fault; `outcome` is on record."""

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None, outcome: Outcome | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.outcome = outcome


class InvalidRequest(ApprovalError):
    """The request breaks a rule: `field` says where, the text which. Nothing was recorded."""

    code = "invalid"


class InvalidAnswer(ApprovalError):
    """The answer or the edited arguments break the request's own rule. The request stays as it was."""

    code = "invalid"


class UnknownRequest(ApprovalError, KeyError):
    """There is no such request, or none that this actor may see. A KeyError too, for those who wait by id."""

    code = "unknown_request"

    def __str__(self) -> str:
        return self.detail


class UnknownDelegation(ApprovalError):
    """There is no such delegation, or it is not this person's to end."""

    code = "unknown_delegation"


class NotPermitted(ApprovalError):
    """The actor may see the request, but not do this to it."""

    code = "not_permitted"


class AlreadyDecided(ApprovalError):
    """The request was decided before; `outcome` is what is on record."""

    code = "already_decided"


class TooLate(ApprovalError):
    """The deadline had passed; `outcome` is the recorded timeout."""

    code = "too_late"


class KeyConflict(ApprovalError):
    """The key was used for another question; `outcome` is that question's.

    `differs` names the fields in which the two differ; it is empty where the other's content was removed.
    """

    code = "key_conflict"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        outcome: Outcome | None = None,
        differs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail, field=field, outcome=outcome)
        self.differs = differs

    @property
    def request_id(self) -> str | None:
        """Id of the request that has the key."""
        return None if self.outcome is None else self.outcome.request_id


class QuotaExceeded(ApprovalError):
    """The account has as many requests pending as it may ask over HTTP. Nothing was recorded."""

    code = "quota_exceeded"


class RateLimited(ApprovalError):
    """The caller does more than it may. `retry_after`: whole seconds after which it may again."""

    code = "rate_limited"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        outcome: Outcome | None = None,
        retry_after: int = 1,
    ) -> None:
        super().__init__(detail, field=field, outcome=outcome)
        self.retry_after = retry_after


class LinkDead(ApprovalError):
    """The personal link decides nothing any more; the text says why."""

    code = "link_dead"


class LinkUsed(ApprovalError):
    """The personal link has decided before, which it does once."""

    code = "link_used"


class StillPending(ApprovalError):
    """The caller's patience is over; the request stays open, and `outcome` is pending."""

    code = "still_pending"


class Busy(ApprovalError):
    """Too much is queued or under way. Nothing was recorded; try again."""

    code = "busy"


class Unavailable(ApprovalError):
    """The database did not answer; whether the command is on record is unknown. Repeating it is safe."""

    code = "unavailable"


REFUSALS: dict[str, type[ApprovalError]] = {
    error.code: error
    for error in (
        InvalidRequest,
        UnknownRequest,
        NotPermitted,
        AlreadyDecided,
        TooLate,
        KeyConflict,
        QuotaExceeded,
        RateLimited,
        Unavailable,
    )
}
