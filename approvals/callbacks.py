"""Outcomes on their way to callback URLs: rows only. approvals.webhooks posts them.

A callback is written in the transaction that closes its request: at least once, and never before the commit.
Who is about to post one claims it first, which moves `due_at` to the end of the claim; a claim that was not
given back runs out, and another process tries. What is recorded under a claim that somebody else has since
overtaken is kept as an attempt, and changes nothing else. All times are the database's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from approvals import hints, selectors, statements
from approvals.database import database_now
from approvals.lifecycle import Outcome
from approvals.models import Callback, CallbackAttempt, CallbackStatus, HumanRequest

if TYPE_CHECKING:
    Callbacks = QuerySet[Callback]

TOPIC = "callbacks"
# From the closing of the request, or from the moment somebody asks to send again.
LONGEST_TRY = timedelta(hours=24)
# Longer than any attempt may take.
CLAIM = timedelta(seconds=60)
# Seconds from a failed attempt to the next; the last one again and again, each give or take a tenth.
BACKOFF = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
JITTER = 0.1
# Receivers may ask for a longer pause than that, up to this one.
LONGEST_RETRY_AFTER = 3600.0
# So that a receiver that hangs leaves room for the others.
AT_ONE_RECEIVER = 4
ERROR_LIMIT = 500

_CHANGING = ["status", "attempts", "due_at", "claimed_until", "changed_at"]
_random = SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A callback that was claimed, and what is to be posted. `claimed_at` is the database's clock."""

    callback_id: UUID
    url: str
    requester_id: int | None
    key: str
    outcome: Outcome
    claimed_at: datetime
    claimed_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of posting: delivered where there is no `error`.

    `retry_after` is the pause that the receiver asks for, in seconds; `final`: it wants no more of them.
    """

    due: Due
    seconds: float
    status_code: int | None = None
    error: str = ""
    retry_after: float | None = None
    final: bool = False


def enqueue(closed: Iterable[HumanRequest], now: datetime) -> list[Callback]:
    """Have the outcomes of these requests posted; inside the transaction that closes them."""
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
    return Callback.writing.bulk_create(due)


def claim(limit: int, under_way: Mapping[str, int] | None = None) -> list[Due]:
    """Callbacks that are due, the longest due first: nobody else is given them before the claim runs out.

    `under_way` says how many the caller is posting to each receiver: none gets too many at a time.
    """
    found = _due(limit, under_way or {})
    if not found:
        return []
    with _bounded_transaction():
        # The lock is waited for in id order; what another process was first to claim is not due any more.
        due = Callback.writing.filter(pk__in=found, status=CallbackStatus.WAITING, due_at__lte=database_now())
        claimed = list(due.select_for_update().order_by("pk").values_list("pk", flat=True))
        now = database_now()
        until = now + CLAIM
        updated = due.filter(pk__in=claimed).update(due_at=until, claimed_until=until)
        if updated != len(claimed):
            raise RuntimeError("a locked callback changed under its lock")
    rows = Callback.objects.filter(pk__in=claimed).select_related("request", "request__decided_by")
    return [_as_due(row, now, until) for row in rows.order_by("created_at", "pk")]


def record(attempts: Sequence[Attempt]) -> None:
    """Put attempts on record, and what follows from each that was made under a claim that still stands."""
    if not attempts:
        return
    ids = {attempt.due.callback_id for attempt in attempts}
    with _bounded_transaction():
        rows = {row.pk: row for row in Callback.writing.filter(pk__in=ids).select_for_update().order_by("pk")}
        now = database_now()
        tries = _tries(rows)
        made = []
        for attempt in attempts:
            row = rows[attempt.due.callback_id]
            row.attempts += 1
            made.append(_on_record(attempt, row.attempts, now))
            tries[row.pk] += 1
            if row.claimed_until == attempt.due.claimed_until:
                _settle(row, attempt, tries[row.pk], now)
        CallbackAttempt.writing.bulk_create(made)
        Callback.writing.bulk_update(rows.values(), _CHANGING)


def send_again(callback_id: UUID) -> bool:
    """Post this outcome once more, delivered or not, and try for another day.

    False: there is none, or none any more, its request having been purged.
    """
    now = database_now()
    with transaction.atomic():
        there = Callback.writing.filter(pk=callback_id, request__purged_at__isnull=True)
        updated = there.update(
            status=CallbackStatus.WAITING,
            due_at=now,
            give_up_at=now + LONGEST_TRY,
            claimed_until=None,
            changed_at=now,
        )
        transaction.on_commit(partial(hints.send, TOPIC, [callback_id]), robust=True)
    return bool(updated)


def without_paths(request_ids: Collection[UUID]) -> None:
    """Keep only which receivers these outcomes went to: the rest of an address may be a secret."""
    rows = list(Callback.writing.filter(request_id__in=request_ids))
    for row in rows:
        row.url = receiver_of(row.url)
    Callback.writing.bulk_update(rows, ["url"])


def waiting_for(request_ids: Collection[UUID]) -> set[UUID]:
    """Which of these requests have an outcome that is still to be posted."""
    waiting = Callback.objects.filter(status=CallbackStatus.WAITING, request_id__in=request_ids)
    return set(waiting.values_list("request_id", flat=True))


def next_due(under_way: Mapping[str, int] | None = None) -> tuple[datetime | None, datetime]:
    """When something of this is due first, or a claim runs out; and the database's clock."""
    waiting = _waiting(under_way or {})
    return waiting.order_by("due_at").values_list("due_at", flat=True).first(), database_now()


def changed_since(moment: datetime) -> dict[UUID, tuple[datetime, datetime | None]]:
    """Callbacks that wait, and began to or changed at `moment` (database clock) or later, with versions."""
    changed = Callback.objects.filter(status=CallbackStatus.WAITING, changed_at__gte=moment)
    return {pk: (at, due_at) for pk, at, due_at in changed.values_list("pk", "changed_at", "due_at")}


def receiver_of(url: str) -> str:
    """Scheme, host and port as this URL spells them."""
    found = re.match(r"[^/]*//[^/?#]*", url)
    return found.group() if found else url


def _due(limit: int, under_way: Mapping[str, int]) -> list[UUID]:
    """A look without locks: on SQLite, finding nothing must disturb no writer."""
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
    """What waits for receivers that are not busy already."""
    waiting = Callback.objects.filter(status=CallbackStatus.WAITING)
    for receiver in (receiver for receiver, count in under_way.items() if count >= AT_ONE_RECEIVER):
        waiting = waiting.exclude(
            Q(url=receiver) | Q(url__startswith=f"{receiver}/") | Q(url__startswith=f"{receiver}?")
        )
    return waiting


def _as_due(row: Callback, now: datetime, until: datetime) -> Due:
    return Due(
        callback_id=row.pk,
        url=row.url,
        requester_id=row.request.requester_id,
        key=row.request.key,
        outcome=selectors.outcome_of(row.request),
        claimed_at=now,
        claimed_until=until,
    )


def _tries(rows: Mapping[UUID, Callback]) -> Counter[UUID]:
    """How often each was tried since its day began: sent again, the pauses begin anew."""
    made = CallbackAttempt.objects.filter(callback_id__in=list(rows)).values_list("callback_id", "ended_at")
    return Counter(pk for pk, ended_at in made if ended_at >= rows[pk].give_up_at - LONGEST_TRY)


def _on_record(attempt: Attempt, number: int, now: datetime) -> CallbackAttempt:
    return CallbackAttempt(
        callback_id=attempt.due.callback_id,
        number=number,
        ended_at=now,
        seconds=attempt.seconds,
        status_code=attempt.status_code,
        error=attempt.error.replace("\0", "").encode(errors="replace").decode()[:ERROR_LIMIT],
    )


def _settle(row: Callback, attempt: Attempt, tries: int, now: datetime) -> None:
    """End the claim: delivered, due again after a pause, or given up."""
    row.claimed_until, row.changed_at = None, now
    if not attempt.error:
        row.status, row.due_at = CallbackStatus.DELIVERED, None
        return
    due_at = now + timedelta(seconds=_pause(tries, attempt.retry_after))
    if attempt.final or due_at > row.give_up_at:
        row.status, row.due_at = CallbackStatus.GIVEN_UP, None
    else:
        row.due_at = due_at


def _pause(tries: int, retry_after: float | None) -> float:
    usual = BACKOFF[min(tries, len(BACKOFF)) - 1] * _random.uniform(1 - JITTER, 1 + JITTER)
    return max(usual, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


@contextmanager
def _bounded_transaction() -> Iterator[None]:
    """A process that stops in the middle holds its locks, and so the post of all others, for seconds only."""
    with transaction.atomic(durable=True):
        statements.bound_the_transaction()
        yield
