"""Who may write a run, and how: every write names the run and its epoch, and is refused once that is over.

A process owns a run for one epoch. Whoever takes the run over begins the next one, so whatever the former
owner still tries to write, however late it wakes, raises Fenced. Writing the same thing twice is harmless: a
write whose answer got lost is simply repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, F, IntegerField, Q, Value, When
from django.db.models.functions import Coalesce, Now

from approvals.database.pipeline import limit_transaction_time
from approvals.database.threads import LOST, in_database
from approvals.database.transactions import own_transaction
from approvals.process import hints
from orchestration.exceptions import Cancelled, Fenced
from orchestration.models import OPEN, Run, RunStatus, StepRecord
from orchestration.queries import UNOWNED, is_known

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TOPIC = "runs"
# After so many deaths of its process in a row, while the run executed, a person is asked before it goes on.
DEATHS_LIMIT = 3
# Seconds between attempts while the database is away.
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Ownership:
    """The right to write one run, until somebody begins its next epoch.

    `executing`: whether any code of the run executes after a write; otherwise it only waits. `status`: the
    run's status after a write; None: as it is.
    """

    run_id: UUID
    epoch: int
    executing: bool = True
    status: RunStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A run that was just claimed, with its records in the order of their ids."""

    ownership: Ownership
    run: Run
    records: tuple[StepRecord, ...]


async def on_record(
    write: Callable[Concatenate[Ownership, P], T], owned: Ownership, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Make a write, and return when it is committed; while the database is away, try again."""
    call = partial(in_database, write, owned, *args, **kwargs)
    return await try_until_done(call, LOST, log, f"run not written run={owned.run_id}")


async def try_until_done(
    call: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...], logger: logging.Logger, failed: str
) -> T:
    """Call until it succeeds, with growing pauses after these errors; log each of them as `failed`."""
    attempt = 0
    while True:
        try:
            return await call()
        except errors as error:
            pause = BACKOFF[min(attempt, len(BACKOFF) - 1)]
            attempt += 1
            logger.warning("%s retry_in=%s error=%s", failed, pause, error)
            await asyncio.sleep(pause)


def claim(run_ids: Collection[UUID], process_id: UUID | None) -> list[Claimed]:
    """Take over those of the runs that no process with a lease executes; each begins its next epoch.

    Left to others are runs of orchestrations that this process does not know. Runs that already belong to
    this process are claimed too: the caller makes sure that it does not execute them yet. `process_id` None:
    the engine itself makes sure that nobody else executes them.
    """
    mine = Q() if process_id is None else Q(status__in=OPEN, process_id=process_id)
    with short_transaction():
        free = Run.objects.filter(UNOWNED | mine, is_known(), pk__in=run_ids)
        if connection.features.has_select_for_update_skip_locked:
            free = free.select_for_update(skip_locked=True, of=("self",))
        taken = list(free.values_list("pk", flat=True))
        Run.objects.filter(pk__in=taken).update(
            process_id=process_id,
            epoch=F("epoch") + 1,
            status=Case(When(status=RunStatus.QUEUED, then=Value(RunStatus.RUNNING)), default="status"),
            deaths=Case(
                When(executing=True, then=F("deaths") + 1),
                # A death while the run waited ends the count, unless a person is being asked about the run.
                When(deaths__gte=DEATHS_LIMIT, then=F("deaths")),
                default=Value(0),
                output_field=IntegerField(),
            ),
            executing=True,
            started_at=Coalesce("started_at", Now()),
            changed_at=Now(),
        )
        send_hint(taken)
        # Read in this transaction: afterwards somebody may have begun another epoch.
        return _load(taken)


def _load(run_ids: Collection[UUID]) -> list[Claimed]:
    records: dict[UUID, list[StepRecord]] = {run_id: [] for run_id in run_ids}
    for record in StepRecord.objects.filter(run_id__in=run_ids).order_by("id"):
        records[record.run_id].append(record)
    return [
        Claimed(ownership=Ownership(run.pk, run.epoch), run=run, records=tuple(records[run.pk]))
        for run in Run.objects.filter(pk__in=run_ids).select_related("owner", "cancelled_by")
    ]


def mark_idle(owned: Collection[Ownership]) -> None:
    """Record that these runs only wait, or were given back: if their process dies, that does not count."""
    by_epoch: dict[int, list[UUID]] = {}
    for each in owned:
        by_epoch.setdefault(each.epoch, []).append(each.run_id)
    with short_transaction():
        for epoch, run_ids in by_epoch.items():
            current = Run.objects.filter(pk__in=run_ids, epoch=epoch, status__in=OPEN)
            current.update(executing=False)


@contextmanager
def short_transaction(*, durable: bool = False) -> Iterator[None]:
    """Open a transaction that PostgreSQL aborts after seconds if this process hangs, which frees the rows.

    Inside a transaction of the caller's, it is a part of that, whose time is not limited.
    """
    alone = not connection.in_atomic_block
    with own_transaction(durable=durable):
        if alone:
            limit_transaction_time()
        yield


@contextmanager
def writing(owned: Ownership, *, begins: bool = True, news: bool = False, **changes: Any) -> Iterator[None]:
    """Open a transaction that changes the run; Fenced unless it is open and in the owner's epoch.

    With `begins`, a run that somebody has cancelled raises Cancelled. `news`: something new is recorded, so
    the count of deaths starts again.
    """
    if news:
        changes["deaths"] = 0
    if owned.status is not None:
        changes["status"] = owned.status
    with short_transaction(durable=True):
        # First: the row's lock makes a takeover wait until this write is committed.
        current = Run.objects.filter(pk=owned.run_id, epoch=owned.epoch, status__in=OPEN)
        writable = current.filter(cancel_requested_at__isnull=True) if begins else current
        if not writable.update(changed_at=Now(), executing=owned.executing, **changes):
            if current.exists():
                raise Cancelled(f"Run {owned.run_id} is cancelled.")
            raise Fenced(f"Run {owned.run_id} is no longer written by its epoch {owned.epoch}.")
        send_hint([owned.run_id])
        yield


def send_hint(run_ids: Collection[UUID]) -> None:
    """Tell all processes after the commit that these runs changed."""
    if run_ids:
        transaction.on_commit(partial(hints.send, TOPIC, tuple(run_ids)), robust=True)
