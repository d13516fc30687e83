"""Describe requests and outcomes for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from approvals.domain.lifecycle import Kind, Outcome, Severity, Status
from approvals.domain.masking import hide_headers
from approvals.exceptions import ApprovalError
from approvals.management.screen import Refused, Screen, as_text, visible
from approvals.queries import outcome_on_the_wire

KIND_MARKS = {Kind.APPROVAL: "☑ approve", Kind.CLARIFICATION: "? answer"}
# The mark and the style of each status.
STATUS_LOOKS = {
    Status.PENDING: ("○ pending", "cyan"),
    Status.APPROVED: ("✓ approved", "green"),
    Status.REJECTED: ("✗ rejected", "red"),
    Status.ANSWERED: ("✓ answered", "green"),
    Status.TIMED_OUT: ("◷ timed out", "yellow"),
    Status.WITHDRAWN: ("↩ withdrawn", "dim"),
}
MORE_NEEDED = "Your approval is on record; more are needed."
_URGENT = timedelta(minutes=1)


def facts(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person must know before deciding, from a request on the wire."""
    known: dict[str, Any] = {
        "asked by": request["requester"] or "this installation",
        "decides": assignees(request["assignees"]),
        "deadline": deadline(request),
    }
    if request["severity"] == Severity.HIGH:
        known["severity"] = "high"
    if request["required"] > 1:
        known["approvals"] = f"{request['approvals']} of {request['required']}"
    if request["details"]:
        known["details"] = request["details"]
    if request["arguments"]:
        known["arguments"] = hide_headers(request["arguments"])
    return known


def assignees(named: Mapping[str, list[str]]) -> str:
    people = [*named["users"], *(f"group {name}" for name in named["groups"])]
    return ", ".join(people) or "any reviewer"


def deadline(request: Mapping[str, Any]) -> str:
    """Return the deadline, the time to it, and what happens then."""
    if request["deadline"] is None:
        return "none"
    left, _ = time_left(request["deadline"], datetime.now(UTC))
    return f"{moment(request['deadline'])} ({left}), then: {if_nobody_decides(request)}"


def if_nobody_decides(request: Mapping[str, Any]) -> str:
    if request["kind"] == Kind.APPROVAL:
        return "approved" if request["on_timeout"] == "approve" else "rejected"
    return "no answer" if request["default"] is None else f"the answer {_quote(request['default'])}"


def time_left(deadline: str | None, now: datetime) -> tuple[str, bool]:
    """Return the time to the deadline in words, and whether it is urgent."""
    if deadline is None:
        return "no deadline", False
    left = datetime.fromisoformat(deadline) - now
    if left <= timedelta(0):
        return "overdue", True
    return f"{duration(left)} left", left < _URGENT


def duration(length: timedelta) -> str:
    """Format a duration in its two largest units: 2 d 3 h, 4 min 10 s."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def moment(at: str | datetime) -> str:
    """Format a moment in UTC, to the second."""
    point = datetime.fromisoformat(at) if isinstance(at, str) else at
    return point.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def outcome_sentence(outcome: Outcome) -> str:
    """Return a sentence that says who decided what, when, and the comment."""
    said = f": {outcome.comment}" if outcome.comment else "."
    at = f" at {moment(outcome.decided_at)}" if outcome.decided_at else ""
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    match Status(outcome.status):
        case Status.PENDING:
            return "Still pending."
        case Status.ANSWERED:
            instead = " instead of approved" if outcome.kind == Kind.APPROVAL else ""
            return f"Answered{instead}{by}{at}: {as_text(outcome.answer)}"
        case Status.TIMED_OUT:
            return f"Timed out{at}; {_timeout_effect(outcome)}."
        case status:
            return f"{status.value.capitalize()}{by}{at}{said}"


def refusal(error: Any) -> Refused:
    """Convert an error to the command's: code, rule, field, and the outcome on record, if it has these."""
    field = f" ({error.field})" if error.field else ""
    outcome = getattr(error, "outcome", None)
    recorded = "" if outcome is None else f" {outcome_sentence(outcome)}"
    return Refused(visible(f"{error.code}: {error.detail}{field}{recorded}"))


def show_outcome(screen: Screen, outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        screen.json(outcome_on_the_wire(outcome))
    elif outcome.closed:
        screen.say(outcome_sentence(outcome), style=STATUS_LOOKS[Status(outcome.status)][1])
    else:
        screen.say(MORE_NEEDED)


@contextmanager
def raise_as_refusal(*others: type[Exception]) -> Iterator[None]:
    """Turn an ApprovalError, or one of `others`, within the block into the command's error."""
    errors: tuple[type[Exception], ...] = (ApprovalError, *others)
    try:
        yield
    except errors as error:
        raise refusal(error) from error


def _timeout_effect(outcome: Outcome) -> str:
    if outcome.kind == Kind.APPROVAL:
        return "approved by default" if outcome.approved else "rejected by default"
    return "there is no answer" if outcome.answer is None else f"the answer is {_quote(outcome.answer)}"


def _quote(value: Any) -> str:
    return repr(value) if isinstance(value, str) else as_text(value)
