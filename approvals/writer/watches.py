"""Watches: when to look next whom a request is to be told to.

They are set with the change that people should hear of, in its transaction, and claimed by whoever looks. All
times are the database's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from approvals.database import bulk
from approvals.database.clock import database_now
from approvals.models import Event, Watch
from approvals.queries.tellings import Look
from approvals.writer.outboxes import bounded_transaction

# Entries after which somebody may have to hear of a request, beside those that open or close it.
CHANGES = (Event.REASSIGNED, Event.ESCALATED, Event.COMMENTED, Event.QUESTIONED, Event.RESCHEDULED)
# Longer than looking takes.
CLAIM = timedelta(seconds=60)


def add(opened: Collection[UUID], now: datetime) -> None:
    """Have these new requests looked at, inside the transaction that opens them."""
    new: list[dict[str, Any]] = [
        {"request_id": pk, "due_at": now, "claimed_until": None, "told_to": 0, "reminders": 0}
        for pk in opened
    ]
    bulk.insert(Watch, new)


def wake(changed: Collection[UUID], now: datetime) -> None:
    """Have these requests looked at again, inside the transaction that changes them; those with a watch."""
    if changed:
        bulk.set_field(Watch, "due_at", now, by="request", ids=changed)


def claim(limit: int) -> list[Watch]:
    """Claim watches that are due, the longest due first; nobody else looks until the claim runs out."""
    due = Watch.objects.filter(due_at__lte=database_now()).order_by("due_at", "request_id")
    found = list(due.values_list("pk", flat=True)[:limit])
    if not found:
        return []
    with bounded_transaction():
        # What the writer is just setting is left for the next time: nobody waits for anybody's locks.
        rows = Watch.writing.filter(pk__in=found, due_at__lte=database_now())
        claimed = list(rows.select_for_update(skip_locked=True))
        until = database_now() + CLAIM
        Watch.writing.filter(pk__in=[row.pk for row in claimed]).update(due_at=until, claimed_until=until)
    for row in claimed:
        row.due_at = row.claimed_until = until
    return claimed


def settle(watches: Sequence[Watch], looks: Mapping[UUID, Look]) -> None:
    """Note what was looked at, inside a transaction; leave what was claimed by others meanwhile.

    What changed while somebody looked is looked at again as if nobody had: the look may have read an entry,
    and who decides from before it. What it led to is written, and is not written again.
    """
    until = {watch.pk: watch.claimed_until for watch in watches}
    rows = Watch.writing.filter(pk__in=list(until)).select_for_update(skip_locked=True)
    changed = [row for row in rows if row.claimed_until == until[row.pk]]
    for row in changed:
        look = looks[row.pk]
        if row.due_at == row.claimed_until:
            row.due_at, row.told_to, row.reminders = look.due_at, look.told_to, look.reminders
        row.claimed_until = None
    bulk.update(Watch, [vars(row) for row in changed], ("due_at", "told_to", "reminders", "claimed_until"))


def next_due() -> tuple[datetime | None, datetime]:
    """Return when a watch is due first, and the database's clock."""
    waiting = Watch.objects.filter(due_at__isnull=False).order_by("due_at")
    return waiting.values_list("due_at", flat=True).first(), database_now()
