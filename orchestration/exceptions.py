"""What goes wrong with runs: one class per reason, each with a stable code; edges map the codes once."""

from __future__ import annotations

from approvals.domain.lifecycle import Outcome
from approvals.domain.masking import LIMIT, mask
from approvals.exceptions import ApprovalError


class OrchestrationError(Exception):
    """Base of everything that orchestration refuses. `field` names the argument at fault."""

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(OrchestrationError):
    """The input does not fit the orchestration's signature. Nothing was started.

    `errors` has every (field, message); `field` and `detail` speak of the first.
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
    """No list of this process allows it; the detail names the setting that would."""


class UnknownRun(OrchestrationError):
    """There is no such run, or none that this user may see."""

    code = "unknown_run"


class NotPermitted(OrchestrationError):
    """The actor may see the run, but not do this to it."""

    code = "not_permitted"


class KeyConflict(OrchestrationError):
    """The same key was used for another orchestration or input."""

    code = "key_conflict"


class AlreadyFinished(OrchestrationError):
    """The run has ended, in a way that stands."""

    code = "already_finished"


class Unanswered(OrchestrationError):
    """A person's part is missing; `outcome` says what is on record instead. Base of the three below."""

    def __init__(self, detail: str, *, outcome: Outcome) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Rejected(Unanswered):
    """Not approved: a person said no, or the deadline did (`outcome.timed_out`)."""

    code = "rejected"


class TimedOut(Unanswered):
    """The deadline passed without an answer, and there was no default."""

    code = "timed_out"


class Withdrawn(Rejected):
    """The question was taken back before anybody answered."""

    code = "withdrawn"


class StepFailed(OrchestrationError):
    """A step's function raised; this is on record, so a replay raises the same again."""

    code = "step_failed"


class Interrupted(OrchestrationError):
    """A step may or may not have had its effect, and who was asked about it has stopped the run."""

    code = "interrupted"


class ReplayMismatch(OrchestrationError):
    """A run that starts again met another call than the one on record: the code or its input changed."""

    code = "replay_mismatch"


class NeedsKey(OrchestrationError):
    """Two calls at once, without keys: a replay could not tell which is which."""

    code = "needs_key"


class Fenced(OrchestrationError):
    """This process no longer owns the run, or the run has ended: nothing more may be written."""

    code = "fenced"


class Cancelled(Fenced):
    """Somebody has cancelled the run: nothing more may begin."""

    code = "cancelled"


WORDS_LIMIT = 2000


def plain_words(error: BaseException) -> str:
    """What went wrong, for people and for the record: no traceback, no secret of a known shape, nothing a
    database can't keep.

    There are always some, whatever the error's own code does when it is asked for its text.
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
