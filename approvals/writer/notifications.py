"""The outbox of notifications: rows only; approvals.delivery.notifications makes the words and sends them.

`dispatches` writes them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Coalesce

from approvals.database import bulk
from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.domain.telling import DestinationKind
from approvals.models import (
    Destination,
    Notification,
    NotificationAttempt,
    NotificationStatus,
)
from approvals.process import hints, telemetry
from approvals.queries.notices import Notice, notices
from approvals.queries.preferences import quiet_hours_of
from approvals.writer import outboxes
from approvals.writer.outboxes import Answer, Attempt

TOPIC = "notifications"
# The receiver of all mail.
MAIL = "mail"
# Under way in one process, and the seconds between two rounds: together they leave the database, and the
# processor, to those who decide.
AT_ONCE, GATHERING = 64, 0.15
# To one destination that is no mailbox, and to all of these: those that hang leave room for mail.
AT_ONE_RECEIVER, OTHERS_AT_ONCE = 2, 8
# How long mail waits where a chat or a program was told first.
AFTER_OTHERS = timedelta(seconds=120)
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
    def destination(self) -> Destination:
        """Where all of it goes, as it was when it was claimed."""
        return self.notice.notification.destination

    @property
    def live(self) -> list[Notice]:
        """Those that still have a point."""
        return [notice for notice in (self.notice, *self.others) if not notice.moot]

    @property
    def receiver(self) -> str:
        """The destination, unless it is reached by the installation's mail server."""
        kind = self.destination.kind
        return MAIL if kind == DestinationKind.EMAIL else str(self.destination.pk)


class NotificationOutbox(outboxes.Outbox[Due]):
    """Notifications: tried for a day, and removed a month after they were settled.

    Those of one digest are claimed, delivered and tried again together.
    """

    TOPIC, AT_ONCE, GATHERING, model = TOPIC, AT_ONCE, GATHERING, Notification

    def waiting(self, under_way: Mapping[str, int]) -> QuerySet[Any]:
        waiting = super().waiting(under_way)
        others = {receiver: count for receiver, count in under_way.items() if receiver != MAIL}
        if sum(others.values()) >= OTHERS_AT_ONCE:
            return waiting.filter(destination__kind=DestinationKind.EMAIL)
        busy = [int(receiver) for receiver, count in others.items() if count >= AT_ONE_RECEIVER]
        return waiting.exclude(destination__in=busy) if busy else waiting

    def choose(self, due: QuerySet[Any], limit: int, under_way: Mapping[str, int]) -> list[UUID]:
        columns = due.values_list("pk", "destination_id", "digest", "destination__kind")
        first = [row[:3] for row in _few_at_each(columns[: limit * AT_ONE_RECEIVER], limit, under_way)]
        digests = {(destination_id, digest) for _, destination_id, digest in first if digest}
        found = [pk for pk, _, digest in first if digest is None]
        if digests:
            rows = due.filter(
                destination__in={destination_id for destination_id, _ in digests},
                digest__in={digest for _, digest in digests},
            )
            together = rows.values_list("pk", "destination_id", "digest")
            found += [pk for pk, destination_id, digest in together if (destination_id, digest) in digests]
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
        _note_failing(attempts, now)
        _let_mail_go(attempts, rows, now)
        bulk.insert(NotificationAttempt, [vars(one) for one in made])
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
        rows = Notification.writing.filter(pk=notification_id)
        updated = rows.update(**due_again(now, now), digest=None)
        transaction.on_commit(partial(hints.send, TOPIC, [notification_id]), robust=True)
    return bool(updated)


def due_again(now: datetime, due_at: datetime) -> dict[str, Any]:
    """Return the columns of a notification that is due again: a day more to try, and no more for its link."""
    first_due_at = ExpressionWrapper(F("give_up_at") - LONGEST_TRY, output_field=DateTimeField())
    return {
        "status": NotificationStatus.WAITING,
        "due_at": due_at,
        "give_up_at": due_at + LONGEST_TRY,
        "first_due_at": Coalesce("first_due_at", first_due_at),
        "claimed_until": None,
        "changed_at": now,
    }


def message_number(row: Notification) -> UUID:
    """Return the id of the message of which this is the first: its own, the same at each attempt.

    Where it is told again among others that are new, that is another message: receivers drop what has an id
    that they know.
    """
    if row.digest is None or row.first_due_at is None:
        return row.pk
    return uuid5(row.pk, row.digest.isoformat())


def count_fetch(notification_id: UUID) -> None:
    """Count that the personal link of this notification was fetched, by whomever; one statement."""
    Notification.writing.filter(pk=notification_id).update(fetches=F("fetches") + 1)


def _few_at_each(
    rows: Iterable[tuple[UUID, int, datetime | None, str]], limit: int, under_way: Mapping[str, int]
) -> list[tuple[UUID, int, datetime | None, str]]:
    """Return at most `limit` of these, of which a few go to each destination that is no mailbox."""
    busy = Counter(under_way)
    others = sum(count for receiver, count in busy.items() if receiver != MAIL)
    found: list[tuple[UUID, int, datetime | None, str]] = []
    for row in rows:
        receiver = MAIL if row[3] == DestinationKind.EMAIL else str(row[1])
        if receiver != MAIL and (busy[receiver] >= AT_ONE_RECEIVER or others >= OTHERS_AT_ONCE):
            continue
        if len(found) == limit:
            break
        busy[receiver] += 1
        others += receiver != MAIL
        found.append(row)
    return found


def _digest_of(row: Notification) -> tuple[int, datetime] | None:
    """Return what the notifications of one digest have in common; None: it is told alone."""
    return None if row.digest is None else (row.destination_id, row.digest)


def _leave_in_peace(again: Sequence[tuple[Notification, Notice]]) -> None:
    """Let those that are to be tried again wait while their people want to hear nothing."""
    if not again:
        return
    people = {notice.person.id for _, notice in again if notice.person is not None}
    quiet = quiet_hours_of(people)
    for row, notice in again:
        hours = None if notice.person is None else quiet.get(notice.person.id)
        if hours is not None and row.due_at is not None:
            urgent = row.digest is None and notice.request.status == Status.PENDING
            row.due_at = hours.due_at(row.due_at, notice.request.deadline if urgent else None)


def _note_failing(attempts: Sequence[Attempt[Due]], now: datetime) -> None:
    """Note which destinations fail since now, and which no longer do."""
    tried = [attempt for attempt in attempts if not attempt.answer.moot]
    failed = {attempt.due.destination.pk for attempt in tried if attempt.answer.error}
    reached = {
        attempt.due.destination.pk
        for attempt in tried
        if not attempt.answer.error and attempt.due.destination.failing_since is not None
    }
    _set_failing(Destination.objects.filter(pk__in=failed, failing_since=None), now)
    _set_failing(Destination.objects.filter(pk__in=reached - failed), None)


def _set_failing(destinations: QuerySet[Destination], since: datetime | None) -> None:
    """Note this in the order in which all take locks; what another process has got, it is just noting."""
    locked = destinations.select_for_update(skip_locked=True).order_by("pk")
    if ids := list(locked.values_list("pk", flat=True)):
        Destination.objects.filter(pk__in=ids).update(failing_since=since)


def _let_mail_go(attempts: Sequence[Attempt[Due]], rows: Mapping[UUID, Notification], now: datetime) -> None:
    """Send mail now that waits for a chat or program which was not reached: nobody was told first."""
    failed = [
        rows[attempt.due.id]
        for attempt in attempts
        if attempt.due.id in rows
        and attempt.answer.error
        and not attempt.answer.moot
        and attempt.due.destination.kind != DestinationKind.EMAIL
    ]
    if not failed:
        return
    events = {(row.request_id, row.event, row.sequence) for row in failed}
    waiting = Notification.writing.filter(
        request__in={row.request_id for row in failed},
        status=NotificationStatus.WAITING,
        attempts=0,
        claimed_until=None,
        destination__kind=DestinationKind.EMAIL,
        due_at__gt=now,
        created_at__gt=now - AFTER_OTHERS,
    )
    columns = waiting.values_list("pk", "request_id", "event", "sequence", "created_at", "due_at")
    due = [
        pk
        for pk, request_id, event, sequence, created_at, due_at in columns
        if (request_id, event, sequence) in events and due_at == created_at + AFTER_OTHERS
    ]
    # In the order in which all take locks; what another process has got is on its way.
    locked = waiting.filter(pk__in=due).select_for_update(skip_locked=True).order_by("pk")
    if due := list(locked.values_list("pk", flat=True)):
        Notification.writing.filter(pk__in=due).update(due_at=now, changed_at=now)
        transaction.on_commit(partial(hints.send, TOPIC, due), robust=True)


def _of_each(attempt: Attempt[Due]) -> Iterable[Attempt[Due]]:
    """Return the attempt for each notification of its message; what had no point was not in it."""
    parts = attempt.answer.parts or {}
    for notice in (attempt.due.notice, *attempt.due.others):
        due = replace(attempt.due, id=notice.notification.pk, notice=notice, others=())
        reason = parts.get(notice.notification.pk, notice.moot)
        moot = Answer(error=reason, moot=True)
        yield replace(attempt, due=due, answer=moot if reason else attempt.answer)


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
