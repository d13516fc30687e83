"""The outbox of emails: rows only, of a person and a kind of letter; approvals.delivery.mail sends them.

No page waits for a mail server. The text of a letter, and any token in it, is made when it is sent and is in
no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from approvals.database.clock import database_now
from approvals.models import DeliveryStatus, Letter, LetterKind
from approvals.process import hints
from approvals.writer import outboxes
from approvals.writer.outboxes import CHANGING, Attempt

if TYPE_CHECKING:
    Letters = QuerySet[Letter]

TOPIC = "letters"
PASSWORD_RESET = LetterKind.PASSWORD_RESET
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
        waiting = _waiting().filter(user_id__in=ids, kind=kind)
        waiting.filter(claimed_until=None, due_at__gt=now).update(due_at=now, changed_at=now)
        found = list(waiting.values_list("pk", flat=True))
        transaction.on_commit(partial(hints.send, TOPIC, found), robust=True)


def claim(limit: int, under_way: Mapping[str, int] | None = None) -> list[Due]:
    """Claim letters that are due, the longest due first; nobody else gets them until the claim runs out."""
    due = _waiting().filter(due_at__lte=database_now()).order_by("due_at", "id")
    # Found without locks: on SQLite, finding none must disturb no writer.
    found = list(due.values_list("pk", flat=True)[:limit])
    if not found:
        return []
    claimed, now, until = outboxes.claim_rows(Letter.writing.all(), found)
    rows = Letter.objects.filter(pk__in=claimed).select_related("user").order_by("created_at", "pk")
    return [
        Due(id=row.pk, claimed_at=now, claimed_until=until, kind=LetterKind(row.kind), user=row.user)
        for row in rows
    ]


def record(attempts: Sequence[Attempt[Due]]) -> None:
    """Record attempts, and remove letters that were sent or given up long ago."""
    if not attempts:
        return
    ids = {attempt.due.id for attempt in attempts}
    with outboxes.bounded_transaction():
        # A letter is deleted with the account of its person, at any moment.
        rows = {row.pk: row for row in Letter.writing.filter(pk__in=ids).select_for_update().order_by("pk")}
        now = database_now()
        for attempt in attempts:
            if row := rows.get(attempt.due.id):
                row.attempts += 1
                row.error = attempt.answer.error[:ERROR_LIMIT]
                outboxes.settle(row, attempt, row.attempts, now)
        Letter.writing.bulk_update(rows.values(), [*CHANGING, "error"])
        Letter.writing.filter(~Q(status=DeliveryStatus.WAITING), changed_at__lt=now - KEPT).delete()


def next_due(under_way: Mapping[str, int] | None = None) -> tuple[datetime | None, datetime]:
    """Return when a letter is due first or a claim runs out, and the database's clock."""
    return outboxes.first_due(_waiting())


def changed_since(moment: datetime) -> dict[UUID, tuple[datetime, datetime | None]]:
    """Return the waiting letters that changed at `moment` (database clock) or later, with versions."""
    return outboxes.versions_since(_waiting(), moment)


def _waiting() -> Letters:
    return Letter.writing.filter(status=DeliveryStatus.WAITING)


def _new(user_id: int, kind: LetterKind, now: datetime) -> Letter:
    give_up_at = now + LONGEST_TRY
    return Letter(
        user_id=user_id, kind=kind, created_at=now, due_at=now, give_up_at=give_up_at, changed_at=now
    )
