"""What can go wrong, each with a stable `code`: problems (RFC 9457), refusals by people, silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sayso_client.answers import Asked, Outcome


class SaysoError(Exception):
    """Base of all errors of this client."""

    code = "error"


class NotSetUp(SaysoError):
    """No address or no token was given: `SAYSO_URL` and `SAYSO_TOKEN`, or the client's arguments."""

    code = "not_set_up"


class Unreachable(SaysoError):
    """The server did not answer, or not as a Sayso server, for as long as the client was to try."""

    code = "unreachable"


class UnfitValue(SaysoError):
    """A value can't be sent as JSON, or came back as something that its type can't be made of."""

    code = "unfit_value"

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path} {rule}.")
        self.path = path


class StillPending(SaysoError):
    """Patience is over; the request stays open. `request` is as it was last seen."""

    code = "still_pending"

    def __init__(self, request_id: str, request: Asked | None = None) -> None:
        super().__init__(f"Request {request_id} is still pending.")
        self.request_id = request_id
        self.request = request


class Problem(SaysoError):
    """The server refused: `status`, `detail`, and for single fields `errors`; all of it is in `problem`."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code", "error"))
        self.detail = str(problem.get("detail", ""))
        self.errors: list[dict[str, str]] = list(problem.get("errors") or [])
        super().__init__(f"{self.code}: {self.detail}")


class Invalid(Problem):
    """The question or the answer breaks a rule; `errors` names each field. Nothing was recorded."""


class Unauthenticated(Problem):
    """The token is unknown, expired or revoked."""


class NotPermitted(Problem):
    """The token's user may not do this, or the token lacks the scope."""


class UnknownRequest(Problem):
    """There is no such request, or its user may not see it."""


class KeyConflict(Problem):
    """The key was used for another question."""

    @property
    def id(self) -> str:
        """Return the id of the request that has the key."""
        return str(self.problem["id"])

    @property
    def differs(self) -> list[str]:
        """Return the names of the fields in which it differs."""
        return list(self.problem.get("differs") or [])


class Decided(Problem):
    """Another decision, or the deadline, was first; `outcome` is on record."""

    @property
    def outcome(self) -> Outcome | None:
        """Return what is on record."""
        from sayso_client.answers import Outcome

        told = self.problem.get("outcome")
        return Outcome.of(told) if told else None


PROBLEMS: Mapping[str, type[Problem]] = {
    "invalid": Invalid,
    "unauthenticated": Unauthenticated,
    "not_permitted": NotPermitted,
    "unknown_request": UnknownRequest,
    "key_conflict": KeyConflict,
    "already_decided": Decided,
    "too_late": Decided,
}


class NotApproved(SaysoError):
    """The answer is not yes; `outcome` says why."""

    code = "not_approved"

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason())
        self.outcome = outcome


class Rejected(NotApproved):
    """Somebody said no."""

    code = "rejected"


class Responded(Rejected):
    """Somebody gave a text instead of a yes: `outcome.answer`."""

    code = "responded"


class TimedOut(NotApproved):
    """Nobody decided in time."""

    code = "timed_out"


class Withdrawn(NotApproved):
    """The question was taken back."""

    code = "withdrawn"
