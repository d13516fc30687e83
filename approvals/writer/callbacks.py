"""The outbox of outcomes for callback URLs: rows only; approvals.delivery.webhooks posts them.

A callback is written in the transaction that closes its request, so that it is posted at least once, and
never before the commit. An attempt under a claim that another process has taken over is kept as an attempt,
and changes nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from approvals import queries
from approvals.database import bulk
from approvals.database.clock import database_now
from approvals.domain.lifecycle import Outcome
from approvals.models import Callback, CallbackAttempt, DeliveryStatus, HumanRequest
from approvals.process import hints
from approvals.writer import outboxes
from approvals.writer.outboxes import CHANGING, Attempt

if TYPE_CHECKING:
    Callbacks = QuerySet[Callback]

TOPIC = "callbacks"
# Under way in one process.
AT_ONCE = 16
# From the closing of the request, or from `send_again`.
LONGEST_TRY = timedelta(hours=24)
# A receiver that hangs leaves room for the others.
AT_ONE_RECEIVER = 4
ERROR_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Due(outboxes.Due):
    """A claimed callback, with what is to be posted."""

    url: str
    requester_id: int | None
    key: str
    outcome: Outcome

    @property
    def receiver(self) -> str:
        return receiver_of(self.url)


def enqueue(closed: Iterable[HumanRequest], now: datetime) -> list[UUID]:
    """Write the callbacks of these requests, inside the transaction that closes them; return their ids."""
    due = [
        Callback(
            request=request,
            url=request.callback_url,
            created_at=now,
            due_at=now,
            give_up_at=now + LONGEST_TRY,
            changed_at=now,
        )
        for request in closed
        if request.callback_url
    ]
    bulk.insert(Callback, [vars(callback) for callback in due])
    return [callback.pk for callback in due]


def claim(limit: int, under_way: Mapping[str, int] | None = None) -> list[Due]:
    """Claim callbacks that are due, the longest due first; nobody else gets them until the claim runs out.

    `under_way` is how many the caller is posting to each receiver, which gets a few at a time.
    """
    found = _due(limit, under_way or {})
    if not found:
        return []
    claimed, now, until = outboxes.claim_rows(Callback.writing.all(), found)
    rows = Callback.objects.filter(pk__in=claimed).select_related("request", "request__decided_by")
    return [_as_due(row, now, until) for row in rows.order_by("created_at", "pk")]


def record(attempts: Sequence[Attempt[Due]]) -> None:
    """Record attempts, and settle the callbacks whose claim is still the attempt's."""
    if not attempts:
        return
    ids = {attempt.due.id for attempt in attempts}
    with outboxes.bounded_transaction():
        rows = {row.pk: row for row in Callback.writing.filter(pk__in=ids).select_for_update().order_by("pk")}
        now = database_now()
        tries = _tries(rows)
        made = []
        for attempt in attempts:
            row = rows[attempt.due.id]
            row.attempts += 1
            made.append(_on_record(attempt, row.attempts, now))
            tries[row.pk] += 1
            outboxes.settle(row, attempt, tries[row.pk], now)
        CallbackAttempt.writing.bulk_create(made)
        Callback.writing.bulk_update(rows.values(), CHANGING)


def send_again(callback_id: UUID) -> bool:
    """Post this outcome again, whether it was delivered or not, and try for another day.

    False: there is no such callback, or its request has been purged.
    """
    now = database_now()
    with transaction.atomic():
        there = Callback.writing.filter(pk=callback_id, request__purged_at__isnull=True)
        updated = there.update(
            status=DeliveryStatus.WAITING,
            due_at=now,
            give_up_at=now + LONGEST_TRY,
            claimed_until=None,
            changed_at=now,
        )
        transaction.on_commit(partial(hints.send, TOPIC, [callback_id]), robust=True)
    return bool(updated)


def strip_paths(request_ids: Collection[UUID]) -> None:
    """Reduce the URLs of these requests' callbacks to the receiver: the rest may be a secret."""
    rows = list(Callback.writing.filter(request_id__in=request_ids))
    for row in rows:
        row.url = receiver_of(row.url)
    Callback.writing.bulk_update(rows, ["url"])


def waiting_for(request_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these requests have an outcome that is still to be posted."""
    waiting = Callback.objects.filter(status=DeliveryStatus.WAITING, request_id__in=request_ids)
    return set(waiting.values_list("request_id", flat=True))


def next_due(under_way: Mapping[str, int] | None = None) -> tuple[datetime | None, datetime]:
    """Return when a callback is due first or a claim runs out, and the database's clock."""
    return outboxes.first_due(_waiting(under_way or {}))


def changed_since(moment: datetime) -> dict[UUID, tuple[datetime, datetime | None]]:
    """Return the waiting callbacks that changed at `moment` (database clock) or later, with versions."""
    return outboxes.versions_since(_waiting({}), moment)


def receiver_of(url: str) -> str:
    """Return scheme, host and port as this URL spells them."""
    found = re.match(r"[^/]*//[^/?#]*", url)
    return found.group() if found else url


def _due(limit: int, under_way: Mapping[str, int]) -> list[UUID]:
    """Find due callbacks without locks: on SQLite, finding none must disturb no writer."""
    due = _waiting(under_way).filter(due_at__lte=database_now()).order_by("due_at", "id")
    busy = Counter(under_way)
    found: list[UUID] = []
    for pk, url in due.values_list("pk", "url")[: limit * AT_ONE_RECEIVER]:
        receiver = receiver_of(url)
        if busy[receiver] < AT_ONE_RECEIVER and len(found) < limit:
            busy[receiver] += 1
            found.append(pk)
    return found


def _waiting(under_way: Mapping[str, int]) -> Callbacks:
    """Return the waiting callbacks of receivers that are not busy."""
    waiting = Callback.objects.filter(status=DeliveryStatus.WAITING)
    for receiver in (receiver for receiver, count in under_way.items() if count >= AT_ONE_RECEIVER):
        waiting = waiting.exclude(
            Q(url=receiver) | Q(url__startswith=f"{receiver}/") | Q(url__startswith=f"{receiver}?")
        )
    return waiting


def _as_due(row: Callback, now: datetime, until: datetime) -> Due:
    return Due(
        id=row.pk,
        url=row.url,
        requester_id=row.request.requester_id,
        key=row.request.key,
        outcome=queries.outcome_of(row.request),
        claimed_at=now,
        claimed_until=until,
    )


def _tries(rows: Mapping[UUID, Callback]) -> Counter[UUID]:
    """Count the attempts at each since its day of trying began; `send_again` begins another."""
    made = CallbackAttempt.objects.filter(callback_id__in=list(rows)).values_list("callback_id", "ended_at")
    return Counter(pk for pk, ended_at in made if ended_at >= rows[pk].give_up_at - LONGEST_TRY)


def _on_record(attempt: Attempt[Due], number: int, now: datetime) -> CallbackAttempt:
    return CallbackAttempt(
        callback_id=attempt.due.id,
        number=number,
        ended_at=now,
        seconds=attempt.seconds,
        status_code=attempt.answer.status_code,
        error=attempt.answer.error.replace("\0", "").encode(errors="replace").decode()[:ERROR_LIMIT],
    )
