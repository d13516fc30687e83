"""What a message about a request says, whether it still has a point, and what was told so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, Subquery

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status, is_overdue
from approvals.domain.payloads import parse_object
from approvals.domain.quiet_hours import QuietHours
from approvals.domain.telling import ASKING, Told
from approvals.models import (
    AuditEntry,
    Destination,
    Event,
    HumanRequest,
    Notification,
    NotificationAttempt,
    NotificationStatus,
    Response,
)
from approvals.queries import deciders, people_reads, permissions
from approvals.queries.permissions import Audience, Person
from approvals.queries.preferences import quiet_hours_of
from approvals.queries.quorum import has_voted, votes_on
from approvals.queries.visibility import visible_to

# The columns that name for whom a notification is.
WITH_OWNER = ("destination__user", "destination__group")

CLOSED = "The request was closed before."


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification with what its message may say to this person, at the moment of reading, `read_at`.

    `person` is who gets it, as stored now (None: they are gone, or it is for a group), and `audience` who may
    decide now, after others were named to `handed_on` times; `zone` is that of the person.
    `said` is the text of the comment or question that it tells, and `by` who wrote it (None: a program, or
    nobody); both are of its entry. `limited`: it comes in a digest because there was too much within an hour.
    `moot` says why nothing is to be sent; "" where it is.
    """

    notification: Notification
    request: HumanRequest
    read_at: datetime
    zone: tzinfo
    person: Person | None
    audience: Audience
    handed_on: int = 0
    said: str = ""
    by: str | None = None
    limited: bool = False
    moot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTo:
    """One notification as it stands; `error` is that of its last attempt, "" where that went well."""

    created_at: datetime
    event: str
    owner: str
    kind: str
    status: str
    attempts: int
    error: str
    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A destination whose attempts fail, since when, and for whom it is."""

    owner: str
    kind: str
    label: str
    since: datetime


def list_failing(user_id: int, *, limit: int) -> list[Failing]:
    """Return destinations that fail, the first to fail first, where this user may see what was told there."""
    told = Notification.objects.filter(request__in=visible_to(user_id)).values("destination")
    rows = Destination.objects.filter(failing_since__isnull=False, pk__in=told)
    return [
        Failing(owner=row.owner, kind=row.kind, label=row.label, since=row.failing_since)
        for row in rows.select_related("user", "group").order_by("failing_since", "pk")[:limit]
        if row.failing_since
    ]


def list_told(user_id: int, *, failed: bool, limit: int) -> list[ToldTo]:
    """Return notifications about requests that this user may see, the newest first.

    With `failed`, those that were given up, or have an attempt behind them and still wait.
    """
    told = Notification.objects.filter(request__in=visible_to(user_id))
    if failed:
        waiting = Q(status=NotificationStatus.WAITING, attempts__gt=0)
        told = told.filter(Q(status=NotificationStatus.GIVEN_UP) | waiting)
    last = NotificationAttempt.objects.filter(notification=OuterRef("pk")).order_by("-number")
    rows = told.annotate(error=Subquery(last.values("error")[:1])).select_related(*WITH_OWNER)
    return [
        ToldTo(
            created_at=row.created_at,
            event=row.event,
            owner=row.destination.owner,
            kind=row.destination.kind,
            status=row.status,
            attempts=row.attempts,
            error=row.error or "",
            request_id=row.request_id,
        )
        for row in rows.order_by("-created_at", "-pk")[:limit]
    ]


def notices(ids: Collection[UUID]) -> list[Notice]:
    """Read these notifications, the oldest first, in a constant number of queries."""
    rows = Notification.objects.filter(pk__in=ids).select_related(*WITH_OWNER)
    notifications = list(rows.order_by("created_at", "pk"))
    requests = HumanRequest.objects.select_related("requester", "decided_by").in_bulk(
        {row.request_id for row in notifications}
    )
    destinations = [row.destination for row in notifications]
    user_ids = {one.user_id for one in destinations if one.user_id is not None}
    group_ids = {one.group_id for one in destinations if one.group_id is not None}
    audiences = people_reads.audiences(list(requests.values()))
    known = _Known(
        audiences=audiences,
        groups=deciders.groups_of_each(audiences, group_ids),
        people=people_reads.persons(user_ids),
        hours=quiet_hours_of(user_ids),
        votes=votes_on(requests.keys()),
        now=(now := database_now()),
        overdue={pk for pk, request in requests.items() if is_overdue(request.deadline, now)},
        entries=_entries(notifications),
        handed_on=_times_handed_on(requests.keys()),
    )
    return [_notice(row, requests[row.request_id], known) for row in notifications]


def link_was_used(notification_id: UUID) -> bool:
    """Tell whether this notification's personal link has decided.

    Ask after the request was read as closed: the writer notes the use in the transaction that closes it.
    """
    return Notification.objects.filter(pk=notification_id, used_at__isnull=False).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read about all notifications together."""

    audiences: Mapping[UUID, Audience]
    groups: Mapping[UUID, frozenset[int]]
    people: Mapping[int, Person]
    hours: Mapping[int, QuietHours]
    votes: Mapping[UUID, Collection[Response]]
    now: datetime
    overdue: Collection[UUID]
    entries: Mapping[tuple[UUID, int], AuditEntry]
    handed_on: Mapping[UUID, int]

    def person(self, row: Notification) -> Person | None:
        user_id = row.destination.user_id
        return None if user_id is None else self.people.get(user_id)


def _notice(row: Notification, request: HumanRequest, known: _Known) -> Notice:
    person, audience = known.person(row), known.audiences[request.pk]
    hours = None if person is None else known.hours.get(person.id)
    moot = _why_moot(row, request, known)
    notice = Notice(
        notification=row,
        request=request,
        read_at=known.now,
        person=person,
        audience=audience,
        handed_on=known.handed_on.get(request.pk, 0),
        zone=UTC if hours is None else hours.zone,
        limited=row.digest is not None and not row.greets and (hours is None or hours.digest_at is None),
        moot=moot,
    )
    entry = known.entries.get((row.request_id, row.sequence))
    if moot or entry is None or row.event == Told.REMINDER:
        return notice
    shown = getattr(entry, "shown", None)
    content: Mapping[str, Any] = (parse_object(shown.content) if shown else None) or {}
    by = entry.actor.get_username() if entry.actor else None
    return replace(notice, said=content.get("comment") or "", by=by)


def _why_moot(row: Notification, request: HumanRequest, known: _Known) -> str:
    if row.event not in row.destination.events:
        return "Its destination is not told of this any more."
    if request.purged_at is not None:
        return "The words of the request were removed."
    if row.destination.group_id is not None:
        return _why_not_asked_of_group(row.destination.group_id, request, known)
    person, audience = known.person(row), known.audiences[request.pk]
    if person is None or not permissions.may_see(person, audience):
        return "The person may not see the request any more."
    return _why_not_asked(person, request, known) if row.event in ASKING else ""


def _why_not_asked_of_group(group_id: int, request: HumanRequest, known: _Known) -> str:
    """Return why this group is not asked any more. It sees a request only as long as it may decide it."""
    if _is_over(request, known):
        return CLOSED
    may = group_id in known.groups[request.pk]
    return "" if may else "The group may not decide the request any more."


def _is_over(request: HumanRequest, known: _Known) -> bool:
    return request.status != Status.PENDING or request.pk in known.overdue


def _why_not_asked(person: Person, request: HumanRequest, known: _Known) -> str:
    """Return why this person is not asked to decide the request any more; "" if they are."""
    if _is_over(request, known):
        return CLOSED
    if not permissions.may_decide(person, known.audiences[request.pk]):
        return "The person may not decide the request any more."
    given = known.votes.get(request.pk, ())
    return "The person has voted." if has_voted(person, known.audiences[request.pk], given) else ""


def _entries(notifications: Collection[Notification]) -> dict[tuple[UUID, int], AuditEntry]:
    entries = AuditEntry.objects.filter(
        request_id__in={row.request_id for row in notifications},
        sequence__in={row.sequence for row in notifications},
    )
    found = entries.select_related("actor", "shown").defer("canonical")
    return {(entry.request_id, entry.sequence): entry for entry in found}


def _times_handed_on(request_ids: Collection[UUID]) -> dict[UUID, int]:
    named = AuditEntry.objects.filter(
        request_id__in=request_ids, event__in=(Event.REASSIGNED, Event.ESCALATED)
    )
    return dict(named.order_by().values_list("request_id").annotate(times=Count("pk")))
