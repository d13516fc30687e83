"""What a row says, as values and as JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from approvals import links
from approvals.domain.lifecycle import Kind, Outcome, Status, Verdict, approved
from approvals.domain.request_terms import Place, Term, terms_in
from approvals.models import HumanRequest
from approvals.queries.named_in_steps import names_for

# What a summary leaves out.
LARGE_IN_REQUEST = frozenset(
    {term.name for term in terms_in(Place.WIRE) if term.large} | {"assignees", "origin"}
)
# What an asker gets back with the outcome.
ECHOED = ("origin", "metadata", "context", "links")
LARGE_IN_OUTCOME = frozenset({"answer", "arguments", "comment"})
_OUTCOME = tuple(one.name for one in fields(Outcome))


def outcome_of(request: HumanRequest) -> Outcome:
    """Return the outcome that this row records. Reads `decided_by`: select it along."""
    return recorded_outcome(
        request_id=str(request.pk),
        kind=Kind(request.kind),
        status=Status(request.status),
        on_timeout=request.on_timeout,
        answer=request.answer,
        arguments=request.arguments if request.final_arguments is None else request.final_arguments,
        comment=request.comment,
        decided_by=request.decided_by.get_username() if request.decided_by else None,
        closed_at=request.closed_at,
    )


def recorded_outcome(
    *,
    request_id: str,
    kind: Kind,
    status: Status,
    on_timeout: str,
    answer: Any,
    arguments: Any,
    comment: str,
    decided_by: str | None,
    closed_at: datetime | None,
) -> Outcome:
    return Outcome(
        request_id=request_id,
        kind=kind.value,
        status=status.value,
        approved=approved(kind, status, Verdict(on_timeout) if on_timeout else None),
        answer=answer,
        arguments=arguments,
        comment=comment,
        decided_by=decided_by,
        decided_at=closed_at,
        timed_out=status is Status.TIMED_OUT,
        withdrawn=status is Status.WITHDRAWN,
    )


def on_the_wire(request: HumanRequest) -> dict[str, Any]:
    """Return a request as programs get it. Reads people: `with_people` first; of several, `name_steps`."""
    return {name: value(request) for name, value in _REQUEST.items()}


def summary_on_the_wire(request: HumanRequest) -> dict[str, Any]:
    """Return a request that is too large, without what may be large of it."""
    kept = {name: value(request) for name, value in _REQUEST.items() if name not in LARGE_IN_REQUEST}
    return kept | {"summary": True}


def outcome_on_the_wire(outcome: Outcome) -> dict[str, Any]:
    said = {name: getattr(outcome, name) for name in _OUTCOME}
    return said | {
        "decided_at": moment_on_the_wire(outcome.decided_at),
        "url": links.page_of(outcome.request_id),
    }


def echo_of(request: Any) -> dict[str, Any]:
    """Return what an asker gets back with the outcome, as it was asked."""
    return {name: _REQUEST[name](request) for name in ECHOED}


def outcome_summary_on_the_wire(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome that is too large, without what may be large of it."""
    kept = outcome_on_the_wire(outcome)
    return {name: kept[name] for name in kept if name not in LARGE_IN_OUTCOME} | {"summary": True}


def moment_on_the_wire(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC, with the letter Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _people(request: HumanRequest) -> dict[str, list[str]]:
    return {
        "users": sorted(user.get_username() for user in request.assigned_users.all()),
        "groups": sorted(group.name for group in request.assigned_groups.all()),
    }


def _steps(request: HumanRequest) -> list[dict[str, Any]]:
    """Return the steps of the escalation, with the names of those who would decide now."""
    if not request.escalation:
        return []
    names = names_for(request)
    steps = []
    for step in request.escalation:
        users, groups = names.of(step)
        steps.append({**step, "users": users, "groups": groups})
    return steps


def _reader(term: Term) -> Callable[[HumanRequest], Any]:
    read = attrgetter(term.name)
    return (lambda request: term.to_wire(read(request))) if term.empty is not ... else read


_REQUEST: Mapping[str, Callable[[HumanRequest], Any]] = {
    "id": lambda request: str(request.pk),
    "kind": attrgetter("kind"),
    **{term.name: _reader(term) for term in terms_in(Place.WIRE)},
    "status": attrgetter("status"),
    "requester": lambda request: request.requester.get_username() if request.requester else None,
    "assignees": _people,
    "escalation": _steps,
    "escalated": attrgetter("escalated"),
    "approvals": attrgetter("approvals"),
    "opened_at": lambda request: moment_on_the_wire(request.opened_at),
    "deadline": lambda request: moment_on_the_wire(request.deadline),
    "url": lambda request: links.page_of(request.pk),
}
