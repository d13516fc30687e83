"""The errors of orchestration: one class for each reason, with a stable code that edges map once."""

from __future__ import annotations

from approvals.domain.lifecycle import Outcome
from approvals.domain.masking import LIMIT, mask
from approvals.exceptions import ApprovalError


class OrchestrationError(Exception):
    """Base of all errors of orchestration. `field` names the argument at fault."""

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(OrchestrationError):
    """The input does not fit the orchestration's signature. Nothing was started.

    `errors` has each (field, message); `field` names the first.
    """

    code = "invalid"

    def __init__(
        self, detail: str, *, field: str | None = None, errors: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(detail, field=field)
        self.errors = errors or ((field or "input", detail),)


class UnknownOrchestration(InvalidInput):
    """No orchestration has this name; the detail lists those that are known."""


class NotAllowed(InvalidInput):
    """The settings of this process don't allow it; the detail names the setting that could."""


class UnknownRun(OrchestrationError):
    """The run does not exist, or this user may not see it."""

    code = "unknown_run"


class NotPermitted(OrchestrationError):
    """The actor may see the run, but may not do this."""

    code = "not_permitted"


class KeyConflict(OrchestrationError):
    """The key is already used, for another orchestration or input."""

    code = "key_conflict"


class AlreadyFinished(OrchestrationError):
    """The run has ended, and can't be resumed or cancelled."""

    code = "already_finished"


class Unanswered(OrchestrationError):
    """A request did not get the answer that the run needs; see `outcome`. Base of three errors."""

    def __init__(self, detail: str, *, outcome: Outcome) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Rejected(Unanswered):
    """The request was not approved: rejected, or timed out (`outcome.timed_out`)."""

    code = "rejected"


class Responded(Rejected):
    """Somebody gave a text instead of approving: `outcome.answer`. Who knows only yes and no reads a no."""

    code = "responded"


class TimedOut(Unanswered):
    """The deadline passed without an answer, and there was no default."""

    code = "timed_out"


class Withdrawn(Rejected):
    """The request was withdrawn before anybody answered."""

    code = "withdrawn"


class StepFailed(OrchestrationError):
    """A step's function raised. That is on record, so a replay raises the same error."""

    code = "step_failed"


class Interrupted(OrchestrationError):
    """A step or run was interrupted, and a person who was asked about it stopped the run."""

    code = "interrupted"


class ReplayMismatch(OrchestrationError):
    """A replay made another call than the one on record: the code has changed, or is not deterministic."""

    code = "replay_mismatch"


class NeedsKey(OrchestrationError):
    """Two calls were made at once without keys: a replay could not tell them apart."""

    code = "needs_key"


class Fenced(OrchestrationError):
    """This process may not write the run: another owns it, or it has ended."""

    code = "fenced"


class Cancelled(Fenced):
    """The run was cancelled: no further call may begin."""

    code = "cancelled"


WORDS_LIMIT = 2000


def because(outcome: Outcome) -> str:
    """Say who decided and why, as far as that is known, in words that follow a verb."""
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    why = outcome.answer if outcome.approved is False and outcome.answer else outcome.comment
    return f"{by}: {why}" if why else by


def plain_words(error: BaseException) -> str:
    """Describe an error for people and for the record.

    Without a traceback, secrets of a known form, or characters that a database can't store. Never raises,
    even if the error's own `__str__` does.
    """
    try:
        text = _words(error)
    except BaseException:  # noqa: BLE001 - its `__str__` may raise anything, and it is reported already
        text = f"{type(error).__name__}, which has no text: its own code failed"
    text = text[:LIMIT].replace("\0", "\\0").encode(errors="backslashreplace").decode()
    return mask(text)[:WORDS_LIMIT]


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(plain_words(each) for each in error.exceptions)
    if isinstance(error, OrchestrationError | ApprovalError):
        return f"{error.detail}"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
