"""The outbox of emails: rows only, of a person and a kind of letter; approvals.delivery.letters sends them.

No page waits for a mail server. The text of a letter, and any token in it, is made when it is sent and is in
no table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from approvals.database.clock import database_now
from approvals.models import DeliveryStatus, Letter, LetterKind
from approvals.process import hints
from approvals.writer import outboxes
from approvals.writer.outboxes import CHANGING, Attempt

TOPIC = "letters"
PASSWORD_RESET, ADDRESS_CODE = LetterKind.PASSWORD_RESET, LetterKind.ADDRESS_CODE
# Under way in one process; all go to one mail server.
AT_ONCE = 4
# After this, whoever asked for it has asked again.
LONGEST_TRY = timedelta(hours=1)
# What was sent, or given up, is removed after this.
KEPT = timedelta(days=30)
ERROR_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(outboxes.Due):
    """A claimed letter, and its person at that moment."""

    kind: LetterKind
    user: User


def enqueue(users: Iterable[User], kind: LetterKind) -> None:
    """Send each of these people a letter. One that waits already is not doubled, but due at once."""
    ids = [user.pk for user in users]
    now = database_now()
    with transaction.atomic():
        Letter.writing.bulk_create([_new(user_id, kind, now) for user_id in ids], ignore_conflicts=True)
        waiting = Letter.writing.filter(status=DeliveryStatus.WAITING, user_id__in=ids, kind=kind)
        waiting.filter(claimed_until=None, due_at__gt=now).update(due_at=now, changed_at=now)
        found = list(waiting.values_list("pk", flat=True))
        transaction.on_commit(partial(hints.send, TOPIC, found), robust=True)


def replace(user: User, kind: LetterKind) -> None:
    """Send this person a new letter instead of one that waits, even if that is just being sent."""
    with transaction.atomic():
        waiting = Letter.writing.filter(status=DeliveryStatus.WAITING, user=user, kind=kind)
        waiting.update(
            status=DeliveryStatus.GIVEN_UP,
            due_at=None,
            claimed_until=None,
            error="Another one was asked for.",
            changed_at=database_now(),
        )
        enqueue([user], kind)


def count_since(user_id: int, kind: LetterKind, moment: datetime) -> int:
    """Count the letters of this kind that this person was sent since then, or that wait."""
    return Letter.objects.filter(user=user_id, kind=kind, created_at__gte=moment).count()


class EmailOutbox(outboxes.Outbox[Due]):
    """Letters: sent or given up within an hour, and removed a month later."""

    TOPIC, AT_ONCE, model = TOPIC, AT_ONCE, Letter
    changing = (*CHANGING, "error")

    def read(self, ids: Collection[UUID], now: datetime, until: datetime) -> list[Due]:
        rows = Letter.objects.filter(pk__in=ids).select_related("user").order_by("created_at", "pk")
        return [
            Due(id=row.pk, claimed_at=now, claimed_until=until, kind=LetterKind(row.kind), user=row.user)
            for row in rows
        ]

    def note(self, rows: Mapping[UUID, Letter], attempts: Sequence[Attempt[Due]], now: datetime) -> None:
        for attempt in attempts:
            # A letter is deleted with the account of its person, at any moment.
            if row := rows.get(attempt.due.id):
                row.attempts += 1
                row.error = attempt.answer.error[:ERROR_LIMIT]
                outboxes.settle(row, attempt, row.attempts, now)
        Letter.writing.filter(~Q(status=DeliveryStatus.WAITING), changed_at__lt=now - KEPT).delete()


outbox = EmailOutbox()


def _new(user_id: int, kind: LetterKind, now: datetime) -> Letter:
    give_up_at = now + LONGEST_TRY
    return Letter(
        user_id=user_id, kind=kind, created_at=now, due_at=now, give_up_at=give_up_at, changed_at=now
    )
