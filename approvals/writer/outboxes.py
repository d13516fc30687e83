"""Outboxes: rows that wait to be delivered, are claimed, tried, tried again, and settled.

A process claims a row before it delivers it, which moves `due_at` to the end of the claim; a claim that is
not settled runs out, and another process tries. All times are the database's.
approvals.delivery.outbox_worker delivers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from approvals.database import bulk, pipeline
from approvals.database.clock import database_now
from approvals.models import Delivery, DeliveryStatus, NotificationStatus

# How long a claim lasts: longer than any attempt may take.
CLAIM = timedelta(seconds=60)
# Seconds from a failed attempt to the next, each give or take a tenth; the last is repeated.
BACKOFF = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
JITTER = 0.1
# Receivers may ask for a longer pause, up to this one.
LONGEST_RETRY_AFTER = 3600.0

NOTHING: Mapping[str, int] = MappingProxyType({})
CHANGING = ["status", "attempts", "due_at", "claimed_until", "changed_at"]
_random = SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A claimed row; its times are the database's."""

    id: UUID
    claimed_at: datetime
    claimed_until: datetime

    @property
    def receiver(self) -> str:
        """Where it goes; each receiver gets a few at a time."""
        return ""


D = TypeVar("D", bound=Due)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver answered; without `error` the row is delivered.

    `retry_after` is the pause that it asks for, in seconds; `final`: another attempt is no use. `moot`:
    nothing was sent, and nothing is to be sent any more. `parts`: of a message that has several rows, as it
    was made, why each row is not in it, or "" for those that are; None: it has what was claimed.
    """

    status_code: int | None = None
    error: str = ""
    retry_after: float | None = None
    final: bool = False
    moot: bool = False
    parts: Mapping[UUID, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Generic[D]):
    """One attempt to deliver a row, and how many seconds it took."""

    due: D
    seconds: float
    answer: Answer


class Outbox(ABC, Generic[D]):
    """The rows of one kind. Synchronous; `under_way` is how many the caller delivers, by receiver."""

    TOPIC: ClassVar[str]
    """The topic of its hints, which carry ids of waiting rows."""
    AT_ONCE: ClassVar[int]
    """How many a process has under way."""
    GATHERING: ClassVar[float] = 0.0
    """Seconds between two rounds while some are under way: what ends in between is recorded together."""
    model: ClassVar[type[Delivery]]
    changing: ClassVar[Sequence[str]] = CHANGING
    """The columns that an attempt may change."""

    def claim(self, limit: int, under_way: Mapping[str, int] = NOTHING) -> list[D]:
        """Claim rows that are due, the longest due first; nobody else gets them until the claim runs out."""
        # Found without locks: on SQLite, finding none must disturb no writer.
        due = self.waiting(under_way).filter(due_at__lte=database_now()).order_by("due_at", "id")
        found = self.choose(due, limit, under_way)
        if not found:
            return []
        with bounded_transaction():
            # The locks are taken in id order; what another process has claimed meanwhile is not due any more.
            rows = self.model.writing.filter(pk__in=found, status=DeliveryStatus.WAITING)
            due = rows.filter(due_at__lte=database_now())
            claimed = list(due.select_for_update().order_by("pk").values_list("pk", flat=True))
            now = database_now()
            until = now + CLAIM
            updated = due.filter(pk__in=claimed).update(due_at=until, claimed_until=until)
            if updated != len(claimed):
                raise RuntimeError("a locked row of an outbox changed under its lock")
        return self.read(claimed, now, until)

    def record(self, attempts: Sequence[Attempt[D]]) -> None:
        """Record attempts, and settle the rows whose claim is still the attempt's."""
        if not attempts:
            return
        ids = {attempt.due.id for attempt in attempts}
        with bounded_transaction():
            locked = self.model.writing.filter(pk__in=ids).select_for_update().order_by("pk")
            rows = {row.pk: row for row in locked}
            self.note(rows, attempts, database_now())
            bulk.update(self.model, [vars(row) for row in rows.values()], tuple(self.changing))

    def next_due(self, under_way: Mapping[str, int] = NOTHING) -> tuple[datetime | None, datetime]:
        """Return when a row is due first or a claim runs out, and the database's clock."""
        waiting = self.waiting(under_way).order_by("due_at")
        return waiting.values_list("due_at", flat=True).first(), database_now()

    def changed_since(self, moment: datetime) -> dict[UUID, tuple[datetime, datetime | None]]:
        """Return the waiting rows that changed at `moment` (database clock) or later, with versions."""
        changed = self.waiting(NOTHING).filter(changed_at__gte=moment)
        return {pk: (at, due_at) for pk, at, due_at in changed.values_list("pk", "changed_at", "due_at")}

    def waiting(self, under_way: Mapping[str, int]) -> QuerySet[Any]:
        """Return the waiting rows of receivers that can take another."""
        return self.model.objects.filter(status=DeliveryStatus.WAITING)

    def choose(self, due: QuerySet[Any], limit: int, under_way: Mapping[str, int]) -> list[UUID]:
        """Return the ids of those to claim, at most `limit`."""
        return list(due.values_list("pk", flat=True)[:limit])

    @abstractmethod
    def read(self, ids: Collection[UUID], now: datetime, until: datetime) -> list[D]:
        """Return these rows, claimed from `now` `until` then, the oldest first."""

    @abstractmethod
    def note(self, rows: Mapping[UUID, Any], attempts: Sequence[Attempt[D]], now: datetime) -> None:
        """Note the attempts on these rows, which are locked, and `settle` each."""


def settle(row: Delivery, attempt: Attempt[Any], tries: int, now: datetime) -> None:
    """End the claim: delivered, moot, due again later, or given up. Does nothing for an outdated claim."""
    if row.claimed_until != attempt.due.claimed_until:
        return
    row.claimed_until, row.changed_at = None, now
    if attempt.answer.moot:
        row.status, row.due_at = NotificationStatus.MOOT, None
        return
    if not attempt.answer.error:
        row.status, row.due_at = DeliveryStatus.DELIVERED, None
        return
    due_at = now + timedelta(seconds=_pause(tries, attempt.answer.retry_after))
    if attempt.answer.final or due_at > row.give_up_at:
        row.status, row.due_at = DeliveryStatus.GIVEN_UP, None
    else:
        row.due_at = due_at


@contextmanager
def bounded_transaction() -> Iterator[None]:
    """Open a transaction with timeouts: a process that hangs in it holds its locks for seconds only."""
    with transaction.atomic(durable=True):
        pipeline.limit_transaction_time()
        yield


def _pause(tries: int, retry_after: float | None) -> float:
    usual = BACKOFF[min(tries, len(BACKOFF)) - 1] * _random.uniform(1 - JITTER, 1 + JITTER)
    return max(usual, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
