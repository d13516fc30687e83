"""The outbox of notifications: rows only; approvals.delivery.notifications makes the words and sends them.

A notification is written in the transaction that notes in the request's watch what was looked at. Its key is
the event and the destination, so that it is written once, whoever looks, and whatever dies while they do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.domain.quiet_hours import QuietHours
from approvals.domain.telling import Told
from approvals.models import (
    Destination,
    DestinationKind,
    Notification,
    NotificationAttempt,
    NotificationStatus,
    Watch,
)
from approvals.process import hints, telemetry
from approvals.queries.notices import Notice, notices
from approvals.queries.preferences import quiet_hours_of
from approvals.queries.tellings import Look, Telling
from approvals.writer import outboxes, watches
from approvals.writer.outboxes import Answer, Attempt, bounded_transaction

TOPIC = "notifications"
# Under way in one process; all go to one mail server.
AT_ONCE = 16
# What is told later than this helps nobody.
LONGEST_TRY = timedelta(hours=24)
# What was sent, given up or had no point any more is removed after this.
KEPT = timedelta(days=30)
REMOVED_AT_ONCE = 1000
ERROR_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(outboxes.Due):
    """A claimed notification, with what its message may say at that moment, and `others` of its digest."""

    notice: Notice
    others: tuple[Notice, ...] = ()

    @property
    def live(self) -> list[Notice]:
        """Those that still have a point."""
        return [notice for notice in (self.notice, *self.others) if not notice.moot]


def enqueue(claimed: Sequence[Watch], looks: Mapping[UUID, Look]) -> None:
    """Write what these watches have led to, and note in them what was looked at; then wake who sends."""
    told = [telling for look in looks.values() for telling in look.tellings]
    people = {user_id for telling in told for user_id in telling.user_ids}
    known = _Known(now=database_now(), destinations=_destinations(people), quiet=quiet_hours_of(people))
    new = [each for telling in told for each in _to_all(telling, known)]
    with bounded_transaction():
        Notification.writing.bulk_create(new, ignore_conflicts=True)
        watches.settle(claimed, looks)
        if new:
            ids = [each.pk for each in new]
            transaction.on_commit(partial(hints.send, TOPIC, ids), robust=True)


class NotificationOutbox(outboxes.Outbox[Due]):
    """Notifications: tried for a day, and removed a month after they were settled.

    Those of one digest are claimed, delivered and tried again together.
    """

    TOPIC, AT_ONCE, model = TOPIC, AT_ONCE, Notification

    def choose(self, due: QuerySet[Any], limit: int, under_way: Mapping[str, int]) -> list[UUID]:
        first = list(due.values_list("pk", "destination_id", "digest")[:limit])
        digests = {(destination_id, digest) for _, destination_id, digest in first if digest}
        found = [pk for pk, _, digest in first if digest is None]
        if digests:
            rows = due.filter(
                destination__in={destination_id for destination_id, _ in digests},
                digest__in={digest for _, digest in digests},
            )
            columns = rows.values_list("pk", "destination_id", "digest")
            found += [pk for pk, destination_id, digest in columns if (destination_id, digest) in digests]
        return found

    def read(self, ids: Collection[UUID], now: datetime, until: datetime) -> list[Due]:
        together: defaultdict[object, list[Notice]] = defaultdict(list)
        for notice in notices(ids):
            together[_digest_of(notice.notification) or notice.notification.pk].append(notice)
        return [
            Due(
                id=first.notification.pk, claimed_at=now, claimed_until=until, notice=first, others=(*others,)
            )
            for first, *others in together.values()
        ]

    def record(self, attempts: Sequence[Attempt[Due]]) -> None:
        super().record([one for attempt in attempts for one in _of_each(attempt)])

    def note(
        self, rows: Mapping[UUID, Notification], attempts: Sequence[Attempt[Due]], now: datetime
    ) -> None:
        made = []
        due_again: dict[object, datetime] = {}
        again: list[tuple[Notification, Notice]] = []
        for attempt in attempts:
            # A notification is deleted with the account of its person, at any moment.
            if row := rows.get(attempt.due.id):
                if not attempt.answer.moot:
                    row.attempts += 1
                    made.append(_on_record(attempt, row.attempts, now))
                outboxes.settle(row, attempt, row.attempts, now)
                if row.due_at is not None and row.claimed_until is None:
                    row.due_at = due_again.setdefault(_digest_of(row) or row.pk, row.due_at)
                    again.append((row, attempt.due.notice))
        _leave_in_peace(again)
        NotificationAttempt.writing.bulk_create(made)
        _remove_old(now)
        fates = [_fate(attempt.answer) for attempt in attempts]
        transaction.on_commit(partial(_count, fates), robust=True)


outbox = NotificationOutbox()


def send_again(notification_id: UUID) -> bool:
    """Send this notification again, whether it was sent or not, and try for another day; False: it is gone.

    It goes in a message of its own.
    Whether there is still a point in it is asked when it is sent, as ever.
    """
    now = database_now()
    with transaction.atomic():
        updated = Notification.writing.filter(pk=notification_id).update(
            status=NotificationStatus.WAITING,
            due_at=now,
            give_up_at=now + LONGEST_TRY,
            digest=None,
            claimed_until=None,
            changed_at=now,
        )
        transaction.on_commit(partial(hints.send, TOPIC, [notification_id]), robust=True)
    return bool(updated)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read about all people who are told something together."""

    now: datetime
    destinations: Mapping[int, Sequence[Destination]]
    quiet: Mapping[int, QuietHours]

    def due_at(self, user_id: int, telling: Telling) -> tuple[datetime, datetime | None]:
        """Return when to tell this person, and the same where that is in a digest; reminders never are."""
        quiet = self.quiet.get(user_id)
        if quiet is None:
            return self.now, None
        digest = None if telling.event == Told.REMINDER else quiet.digest(self.now, telling.deadline)
        return digest or quiet.due_at(self.now, telling.deadline), digest


def _to_all(telling: Telling, known: _Known) -> Iterable[Notification]:
    """Build a notification for each destination of these people that hears of such events.

    It waits while the person wants to hear nothing.
    """
    for user_id in sorted(telling.user_ids):
        due_at, digest = known.due_at(user_id, telling)
        for destination in known.destinations[user_id]:
            if telling.event in destination.events:
                yield Notification(
                    request_id=telling.request_id,
                    event=telling.event,
                    sequence=telling.sequence,
                    destination=destination,
                    digest=digest,
                    created_at=known.now,
                    due_at=due_at,
                    give_up_at=due_at + LONGEST_TRY,
                    changed_at=known.now,
                )


def _destinations(user_ids: Collection[int]) -> dict[int, list[Destination]]:
    """Read the destinations of these people; whoever has none gets the address of the account as one."""
    found = _read_destinations(user_ids)
    if without := set(user_ids) - found.keys():
        new = [Destination(user_id=user_id, kind=DestinationKind.EMAIL) for user_id in sorted(without)]
        Destination.objects.bulk_create(new, ignore_conflicts=True)
        found |= _read_destinations(without)
    return found


def _read_destinations(user_ids: Collection[int]) -> dict[int, list[Destination]]:
    found: defaultdict[int, list[Destination]] = defaultdict(list)
    for destination in Destination.objects.filter(user_id__in=user_ids).order_by("pk"):
        found[destination.user_id].append(destination)
    return dict(found)


def _digest_of(row: Notification) -> tuple[int, datetime] | None:
    """Return what the notifications of one digest have in common; None: it is told alone."""
    return None if row.digest is None else (row.destination_id, row.digest)


def _leave_in_peace(again: Sequence[tuple[Notification, Notice]]) -> None:
    """Let those that are to be tried again wait while their people want to hear nothing."""
    if not again:
        return
    quiet = quiet_hours_of({notice.notification.destination.user_id for _, notice in again})
    for row, notice in again:
        hours = quiet.get(notice.notification.destination.user_id)
        if hours is not None and row.due_at is not None:
            urgent = row.digest is None and notice.request.status == Status.PENDING
            row.due_at = hours.due_at(row.due_at, notice.request.deadline if urgent else None)


def _of_each(attempt: Attempt[Due]) -> Iterable[Attempt[Due]]:
    """Return the attempt for each notification of its message; what had no point was not in it."""
    for notice in (attempt.due.notice, *attempt.due.others):
        due = replace(attempt.due, id=notice.notification.pk, notice=notice, others=())
        moot = Answer(error=notice.moot, moot=True)
        yield replace(attempt, due=due, answer=moot if notice.moot else attempt.answer)


def _fate(answer: outboxes.Answer) -> str:
    if answer.moot:
        return "moot"
    return "failed" if answer.error else "sent"


def _count(fates: Iterable[str]) -> None:
    for fate in fates:
        telemetry.notifications.labels(fate).inc()


def _remove_old(now: datetime) -> None:
    settled = Notification.writing.filter(~Q(status=NotificationStatus.WAITING), changed_at__lt=now - KEPT)
    Notification.writing.filter(pk__in=list(settled.values_list("pk", flat=True)[:REMOVED_AT_ONCE])).delete()


def _on_record(attempt: Attempt[Due], number: int, now: datetime) -> NotificationAttempt:
    return NotificationAttempt(
        notification_id=attempt.due.id,
        number=number,
        ended_at=now,
        seconds=attempt.seconds,
        status_code=attempt.answer.status_code,
        error=attempt.answer.error[:ERROR_LIMIT],
    )
