"""Why Sayso refuses: one class per reason, each with a stable code.

Edges map codes to HTTP, WebSocket or exit status once; nobody matches on texts.
"""

from __future__ import annotations

from approvals.domain.lifecycle import Outcome


class ApprovalError(Exception):
    """Base of everything that Sayso refuses. `code` is stable, `field` names the argument at fault."""

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None, outcome: Outcome | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.outcome = outcome


class InvalidRequest(ApprovalError):
    """What was asked can't be: `field` and the rule it breaks. Nothing was recorded."""

    code = "invalid"


class InvalidAnswer(ApprovalError):
    """The answer or the edited arguments break the request's own rule. The request stays as it was."""

    code = "invalid"


class UnknownRequest(ApprovalError, KeyError):
    """There is no such request, or none that this actor may see. A KeyError too, for those who wait by id."""

    code = "unknown_request"

    def __str__(self) -> str:
        return self.detail


class NotPermitted(ApprovalError):
    """The actor may see the request, but not do this to it."""

    code = "not_permitted"


class AlreadyDecided(ApprovalError):
    """Somebody was first; `outcome` is what is on record."""

    code = "already_decided"


class TooLate(ApprovalError):
    """The deadline had passed; `outcome` is the recorded timeout."""

    code = "too_late"


class KeyConflict(ApprovalError):
    """The same key was used for another question: `outcome` is what has come of that one.

    `differs` names the fields in which the two differ; empty where the other's content was removed.
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
        """The id of the request that has the key."""
        return None if self.outcome is None else self.outcome.request_id


class QuotaExceeded(ApprovalError):
    """The account has as much pending as it may ask over HTTP. Nothing was recorded."""

    code = "quota_exceeded"


class StillPending(ApprovalError):
    """The caller's patience ran out; the request stays open. `outcome` says so."""

    code = "still_pending"


class Busy(ApprovalError):
    """More decisions are queued than may wait; nothing was recorded, try again."""

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
        Unavailable,
    )
}
