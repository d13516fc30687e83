"""Sentences about a request: its outcome, what happens if nobody decides, each entry of its trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.domain.lifecycle import Kind, Status
from approvals.queries import NextStep, Standing, TimelineEntry

KINDS = {Kind.APPROVAL: "Approval", Kind.CLARIFICATION: "Question"}

# What the heading over the exact action says, by the state of the request.
ACTION_HEADINGS = {
    Status.PENDING: "What exactly will happen",
    Status.APPROVED: "What was approved",
    Status.REJECTED: "What was rejected",
}

EVENTS = {
    "opened": "Asked",
    "viewed": "Seen",
    "answered": "Answered",
    "withdrawn": "Withdrawn",
    "reassigned": "Reassigned",
    "rescheduled": "Deadline moved",
    "purged": "Content removed",
}

REFUSALS = {
    "already_decided": "it was already closed",
    "too_late": "the deadline had passed",
    "not_permitted": "not permitted",
    "unknown_request": "not permitted",
}

# Refusals of people who have no say in a request: their words are on the trail, and not on its page.
UNHEARD = {"not_permitted", "unknown_request"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of the trail in words. `said` is a comment or an answer (a JSON value), or None."""

    entry: TimelineEntry
    text: str
    said: Any = None


def outcome_in_words(asked: Any) -> str:
    """Say how a request ended and by whom: `Approved by ann`."""
    if asked.status == Status.PENDING:
        return "Pending"
    if asked.status == Status.TIMED_OUT:
        return f"Timed out, {_by_default(asked)}"
    word = str(asked.status).capitalize()
    if asked.kind == Kind.APPROVAL and asked.status == Status.ANSWERED:
        word = "Answered, not approved,"
    return f"{word} by {asked.decided_by.get_username()}" if asked.decided_by else f"{word} by a program"


def status_in_words(asked: Any) -> str:
    """Say how a request ended, in a word or two: `Timed out`."""
    return str(asked.status).replace("_", " ").capitalize()


def action_heading(asked: Any) -> str:
    return ACTION_HEADINGS.get(asked.status, "What was asked")


def deciders_in_words(asked: Any) -> str:
    """Name who decides: people, groups, or any reviewer."""
    names = [user.get_username() for user in asked.assigned_users.all()]
    names += [f"the group {group.name}" for group in asked.assigned_groups.all()]
    return ", ".join(sorted(names)) or "Any reviewer"


def step_in_words(step: NextStep) -> str:
    """Say who decides from a step of the escalation on: `also ann, the group leads`."""
    names = ", ".join([*step.users, *(f"the group {name}" for name in step.groups)]) or "nobody"
    return f"only {names}" if step.replace else f"also {names}"


def too_few(required: object, able: object) -> str:
    """Say that a pending request can't be approved: `required` people must approve it, only `able` may."""
    who = f"only {able}" if able else "nobody"
    return f"Too few people may decide this: {required} must approve, but {who} may"


def standing_in_words(standing: Standing) -> str:
    """Say which approvals do not count, and whether too few may decide; empty if neither is the case."""
    said = []
    if standing.void:
        said.append(
            f"Not counted: the approval of {_join_names(standing.void)}, who may no longer decide this."
        )
    if standing.stuck:
        said.append(f"{too_few(standing.required, standing.able)}. Reassign or withdraw it.")
    return " ".join(said)


def if_nobody_decides(asked: Any) -> str:
    """Say what happens at the deadline; after a colon, the default answer is to follow."""
    if asked.deadline is None:
        return "It keeps waiting: there is no deadline."
    if asked.kind == Kind.APPROVAL:
        return f"{_passive(asked.on_timeout).capitalize()} automatically at the deadline."
    if asked.default is None:
        return "It ends without an answer at the deadline."
    return "This answer is recorded automatically at the deadline:"


def with_labels(answer: Any, choices: Any) -> Any:
    """Return an answer with the labels of its choices, `Europe (eu)`, if they have any."""
    if isinstance(answer, list):
        return [with_labels(one, choices) for one in answer]
    if not isinstance(choices, Mapping) or not isinstance(answer, str) or answer not in choices:
        return answer
    return f"{choices[answer]} ({answer})"


def entry_in_words(
    entry: TimelineEntry, required: int, requester: str | None = None, choices: Any = None
) -> Line:
    """Describe an entry. The request needs `required` approvals; a program asked for `requester`."""
    said = entry.content or {}
    if entry.event == "opened" and entry.actor is None and requester:
        return Line(entry=entry, text=f"Asked by a program for {requester}{_by_override(entry)}")
    who = entry.actor or ("the deadline" if entry.channel == "deadline" else "a program")
    if entry.on_behalf_of and entry.event in {"decided", "answered"}:
        who = f"{who}, on behalf of {entry.on_behalf_of}"
    return Line(
        entry=entry, text=_sentence(entry, who, said, required), said=_comment_or_answer(said, choices)
    )


def _sentence(entry: TimelineEntry, who: str, said: dict[str, Any], required: int) -> str:
    if remark := _remark_in_words(entry, who, said):
        return remark
    if entry.event == "decided":
        return _decision_in_words(entry, who, said, required)
    if by_rule := _rule_in_words(entry, said):
        return by_rule
    if entry.event == "refused":
        reason = REFUSALS.get(str(said.get("code")), "refused")
        return f"{who} tried to {_attempt(said)}: {reason}"
    said_so = _by_override(entry)
    return f"{EVENTS.get(entry.event, entry.event.replace('_', ' ').capitalize())} by {who}{said_so}"


def _remark_in_words(entry: TimelineEntry, who: str, said: dict[str, Any]) -> str:
    """Say who commented or asked, or tried to; empty for every other entry."""
    if entry.event in {"commented", "questioned"}:
        return f"{'Question' if entry.event == 'questioned' else 'Comment'} by {who}"
    if entry.event != "refused" or "question" not in said:
        return ""
    reasons = {"too_late": "it was closed long ago", "rate_limited": "too many comments in an hour"}
    reason = reasons.get(str(said.get("code")), "not permitted")
    return f"{who} tried to {'ask about it' if said['question'] else 'comment on it'}: {reason}"


def _by_override(entry: TimelineEntry) -> str:
    return f"; {entry.overridden_by} set who decides" if entry.overridden_by else ""


def _decision_in_words(entry: TimelineEntry, who: str, said: dict[str, Any], required: int) -> str:
    verdict = str(said.get("verdict", ""))
    word = _passive(verdict).capitalize() if verdict else "Decided"
    edited = ", with changes" if said.get("arguments") is not None else ""
    more = f", one of {required} that are needed" if not entry.outcome and required > 1 else ""
    counted = f"; the approvals of {_join_names(entry.counted)} count" if entry.counted else ""
    return f"{word} by {who}{edited}{more}{counted}"


def _rule_in_words(entry: TimelineEntry, said: dict[str, Any]) -> str:
    """Say what happened by itself; empty for what somebody did."""
    if entry.event == "timed_out":
        return _timeout_in_words(said)
    if entry.event == "escalated":
        return _escalation_in_words(entry, said)
    return too_few(said.get("required"), said.get("able")) if entry.event == "stuck" else ""


def _escalation_in_words(entry: TimelineEntry, said: dict[str, Any]) -> str:
    users, groups = entry.added
    names = [*users, *(f"the group {name}" for name in groups)]
    if not names:
        return "Escalated" if entry.content is None else "Escalated: nobody was added"
    if said.get("replace"):
        return f"Escalated: only {_join_names(names)} may decide now"
    return f"Escalated to {_join_names(names)}"


def _timeout_in_words(said: dict[str, Any]) -> str:
    verdict = said.get("on_timeout")
    return f"The deadline passed: {_passive(verdict)} by default" if verdict else "The deadline passed"


def _attempt(said: dict[str, Any]) -> str:
    if "verdict" in said:
        return str(said["verdict"])
    if "answer" in said:
        return "answer"
    if "users" in said:
        return "reassign it"
    if "link_of" in said:
        return "decide by somebody else's link"
    return "withdraw it" if "reason" in said else "do something"


def _join_names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _comment_or_answer(said: dict[str, Any], choices: Any) -> Any:
    if said.get("code") in UNHEARD:
        return None
    if "answer" in said and "code" not in said:
        return with_labels(said["answer"], choices)
    return said.get("comment") or said.get("reason") or None


def _by_default(asked: Any) -> str:
    if asked.kind == Kind.CLARIFICATION:
        return "no answer" if asked.answer is None else "answered by default"
    return f"{_passive(asked.on_timeout)} by default"


def _passive(verdict: str) -> str:
    return {"approve": "approved", "reject": "rejected"}.get(verdict, verdict)
