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
from typing import Any
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
from approvals.writer.outboxes import Attempt

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
    beside: dict[str, Any]
    """What the asker gets back with it."""

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


class CallbackOutbox(outboxes.Outbox[Due]):
    """Callbacks: a few at a time for each receiver, for a day."""

    TOPIC, AT_ONCE, model = TOPIC, AT_ONCE, Callback

    def waiting(self, under_way: Mapping[str, int]) -> QuerySet[Callback]:
        waiting = super().waiting(under_way)
        for receiver in (receiver for receiver, count in under_way.items() if count >= AT_ONE_RECEIVER):
            waiting = waiting.exclude(
                Q(url=receiver) | Q(url__startswith=f"{receiver}/") | Q(url__startswith=f"{receiver}?")
            )
        return waiting

    def choose(self, due: QuerySet[Callback], limit: int, under_way: Mapping[str, int]) -> list[UUID]:
        busy = Counter(under_way)
        found: list[UUID] = []
        for pk, url in due.values_list("pk", "url")[: limit * AT_ONE_RECEIVER]:
            receiver = receiver_of(url)
            if busy[receiver] < AT_ONE_RECEIVER and len(found) < limit:
                busy[receiver] += 1
                found.append(pk)
        return found

    def read(self, ids: Collection[UUID], now: datetime, until: datetime) -> list[Due]:
        rows = Callback.objects.filter(pk__in=ids).select_related("request", "request__decided_by")
        return [
            Due(
                id=row.pk,
                url=row.url,
                requester_id=row.request.requester_id,
                key=row.request.key,
                outcome=queries.outcome_of(row.request),
                beside=queries.echo_of(row.request),
                claimed_at=now,
                claimed_until=until,
            )
            for row in rows.order_by("created_at", "pk")
        ]

    def note(self, rows: Mapping[UUID, Callback], attempts: Sequence[Attempt[Due]], now: datetime) -> None:
        tries = _tries(rows)
        made = []
        for attempt in attempts:
            row = rows[attempt.due.id]
            row.attempts += 1
            made.append(_on_record(attempt, row.attempts, now))
            tries[row.pk] += 1
            outboxes.settle(row, attempt, tries[row.pk], now)
        CallbackAttempt.writing.bulk_create(made)


outbox = CallbackOutbox()


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
    waiting = outbox.waiting({}).filter(request_id__in=request_ids)
    return set(waiting.values_list("request_id", flat=True))


def receiver_of(url: str) -> str:
    """Return scheme, host and port as this URL spells them."""
    found = re.match(r"[^/]*//[^/?#]*", url)
    return found.group() if found else url


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
