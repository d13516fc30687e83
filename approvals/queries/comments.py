"""What was said about requests: comments and questions, read from their trails."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from approvals.domain.lifecycle import Status
from approvals.domain.payloads import parse_object
from approvals.models import REMARKS, AuditEntry, Event, HumanRequest
from approvals.queries.requests import as_id, unknown_request
from approvals.queries.serialization import moment_on_the_wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """What somebody said. `author` None: a program; `text` None: its words were removed."""

    sequence: int
    author: str | None
    at: datetime
    text: str | None
    question: bool


class Discussed(NamedTuple):
    """How far a request has been discussed: the number of the last comment's entry, 0 if there is none."""

    last: int
    closed: bool


def comments_on(request_id: UUID, *, after: int, limit: int) -> tuple[list[Comment], bool]:
    """Return the comments after that entry of the trail, in order, and whether there are more."""
    said = _said_about(request_id).filter(sequence__gt=after).order_by("sequence")
    found = list(said[: limit + 1])
    return [_comment(entry) for entry in found[:limit]], len(found) > limit


def last_comment_by(user_id: int, request_id: UUID | str, text: str) -> Comment:
    """Return the last comment of this user on the request that has this text.

    UnknownRequest if there is none: its words may have been removed meanwhile.
    """
    said = _said_about(as_id(request_id)).filter(actor_id=user_id).order_by("-sequence")
    for found in map(_comment, said.iterator()):
        if found.text == text:
            return found
    raise unknown_request(request_id)


def open_questions(request_id: UUID, after: int) -> tuple[list[Comment], int] | None:
    """Return the questions after that entry which no program has replied to, and the last entry looked at.

    None if the request is closed, or missing: nothing is to be replied to any more.
    """
    found = discussed([request_id]).get(request_id)
    if found is None or found.closed:
        return None
    said = list(_said_about(request_id).filter(sequence__gt=after).order_by("sequence"))
    replied = {reply_in(entry.canonical) for entry in said}
    questions = [entry for entry in said if entry.event == Event.QUESTIONED and entry.sequence not in replied]
    return [_comment(entry) for entry in questions], said[-1].sequence if said else after


def reply_in(canonical: str) -> int | None:
    """Return the number of the entry to which an entry with this text replies; None: to none."""
    facts = (parse_object(canonical) or {}).get("facts")
    number = facts.get("reply_to") if isinstance(facts, dict) else None
    return number if isinstance(number, int) else None


def discussed(ids: Collection[UUID]) -> dict[UUID, Discussed]:
    """Return how far each of these requests has been discussed; unknown ids are left out. One query."""
    said = AuditEntry.objects.filter(request_id=OuterRef("pk"), event__in=REMARKS).order_by("-sequence")
    rows = HumanRequest.objects.filter(pk__in=ids).annotate(last=Subquery(said.values("sequence")[:1]))
    return {
        pk: Discussed(last=last or 0, closed=status != Status.PENDING)
        for pk, status, last in rows.values_list("pk", "status", "last")
    }


def comment_on_the_wire(comment: Comment) -> dict[str, Any]:
    return {
        "sequence": comment.sequence,
        "author": comment.author,
        "at": moment_on_the_wire(comment.at),
        "text": comment.text,
        "question": comment.question,
    }


def _said_about(request_id: UUID) -> QuerySet[AuditEntry]:
    said = AuditEntry.objects.filter(request_id=request_id, event__in=REMARKS)
    return said.select_related("actor", "shown")


def _comment(entry: AuditEntry) -> Comment:
    # Where the words were removed, there is no row of them.
    shown = getattr(entry, "shown", None)
    content = {} if shown is None else parse_object(shown.content) or {}
    return Comment(
        sequence=entry.sequence,
        author=entry.actor.get_username() if entry.actor else None,
        at=entry.recorded_at,
        text=content.get("comment"),
        question=entry.event == Event.QUESTIONED,
    )
