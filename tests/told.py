"""Requests that people were told about, and notifications that failed."""

from __future__ import annotations

from typing import Any

from approvals.database.clock import database_now
from approvals.models import Notification, NotificationAttempt, NotificationStatus
from approvals.queries import tellings
from approvals.writer import dispatches, watches
from tests import factories as make


def look() -> None:
    """Look once at all that is due, as the dispatcher does."""
    if claimed := watches.claim(1000):
        dispatches.enqueue(claimed, tellings.look_at(claimed))


def told(title: str, **terms: Any) -> Notification:
    """An approval that is told to one person: the notification."""
    make.approval(title, **terms)
    look()
    found: Notification = Notification.objects.get(request__title=title)
    return found


def give_up(row: Notification) -> None:
    """Its only attempt was refused."""
    now = database_now()
    attempt = NotificationAttempt(
        notification=row, number=1, ended_at=now, seconds=0.5, status_code=554, error="Not <this> one."
    )
    NotificationAttempt.writing.bulk_create([attempt])
    rows = Notification.writing.filter(pk=row.pk)
    rows.update(status=NotificationStatus.GIVEN_UP, due_at=None, attempts=1, changed_at=now)
