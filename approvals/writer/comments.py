"""What is said about requests: how much one person has said lately, and whether it was said a moment ago."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

from django.db.models import Count, Min, OuterRef, Subquery

from approvals.domain.commands import Comment, Refused
from approvals.domain.payloads import parse_object
from approvals.models import REMARKS, AuditEntry, Event, HumanRequest
from approvals.queries.comments import reply_in

# How much one person may say in a WINDOW. This installation's own code may say more.
LIMIT = 60
# Within it, a comment that is said again, with nothing said in between, is the same one: its answer was lost.
WINDOW = timedelta(hours=1)


@dataclass(slots=True)
class _Spoken:
    """How much one person has said in the window before now, and when first."""

    number: int
    first: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remark:
    actor_id: int | None
    event: str
    text: str | None
    """None: it was removed."""


class Comments:
    """What the people of a batch have said lately, kept up to date as the batch goes on.

    The caller has locked the requests, and the accounts against other processes.
    """

    def __init__(self, commands: Sequence[Comment], now: datetime) -> None:
        self._now = now
        people = {one.actor.user_id for one in commands if one.actor.user_id is not None}
        self._spoken = _count_spoken(people, now - WINDOW)
        self._last = _read_last({one.request_id for one in commands}, now - WINDOW)
        self._replied = _read_replied({one.request_id for one in commands if one.reply_to is not None})

    def is_repeated(self, command: Comment) -> bool:
        """Whether this was the last thing said about the request, by the same actor.

        A reply is repeated where its question has one.
        """
        if command.reply_to is not None:
            return (command.request_id, command.reply_to) in self._replied
        return self._last.get(command.request_id) == _remark_of(command)

    def refuse(self, command: Comment) -> Refused | None:
        """Return the refusal if this would be too much for its actor."""
        spoken = None if command.actor.user_id is None else self._spoken.get(command.actor.user_id)
        if spoken is None or spoken.number < LIMIT:
            return None
        seconds = max(1, ceil((spoken.first + WINDOW - self._now).total_seconds()))
        detail = f"text: you may write {LIMIT} comments an hour; try again in {ceil(seconds / 60)} min."
        return Refused(code="rate_limited", detail=detail, field="text", retry_after=seconds)

    def count(self, command: Comment) -> None:
        """Count a comment that will be on record."""
        if command.reply_to is not None:
            self._replied.add((command.request_id, command.reply_to))
        self._last[command.request_id] = _remark_of(command)
        if command.actor.user_id is not None:
            self._spoken.setdefault(command.actor.user_id, _Spoken(0, self._now)).number += 1


def event_of(command: Comment) -> Event:
    return Event.QUESTIONED if command.question else Event.COMMENTED


def _remark_of(command: Comment) -> _Remark:
    return _Remark(actor_id=command.actor.user_id, event=event_of(command).value, text=command.text)


def _count_spoken(user_ids: Collection[int], since: datetime) -> dict[int, _Spoken]:
    if not user_ids:
        return {}
    recent = AuditEntry.objects.filter(actor_id__in=user_ids, event__in=REMARKS, recorded_at__gt=since)
    counted = recent.values_list("actor_id").annotate(number=Count("pk"), first=Min("recorded_at"))
    return {actor_id: _Spoken(number, first) for actor_id, number, first in counted}


def _read_last(request_ids: Collection[UUID], since: datetime) -> dict[UUID, _Remark]:
    """Return the last thing that was said about each of these requests, where that was since then."""
    if not request_ids:
        return {}
    said = AuditEntry.objects.filter(request_id=OuterRef("pk"), event__in=REMARKS).order_by("-sequence")
    requests = HumanRequest.objects.filter(pk__in=request_ids)
    last = AuditEntry.objects.filter(
        pk__in=requests.annotate(last=Subquery(said.values("pk")[:1])).values("last"), recorded_at__gt=since
    )
    return {
        request_id: _Remark(actor_id=actor_id, event=event, text=_text_in(content))
        for request_id, actor_id, event, content in last.values_list(
            "request_id", "actor_id", "event", "shown__content"
        )
    }


def _read_replied(request_ids: Collection[UUID]) -> set[tuple[UUID, int]]:
    """Return the questions about these requests that have a reply, by request and number of the entry."""
    if not request_ids:
        return set()
    said = AuditEntry.objects.filter(request_id__in=request_ids, event=Event.COMMENTED)
    replies = said.values_list("request_id", "canonical")
    return {(pk, number) for pk, text in replies if (number := reply_in(text)) is not None}


def _text_in(content: str | None) -> str | None:
    return None if content is None else (parse_object(content) or {}).get("comment")
