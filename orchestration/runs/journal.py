"""The writer of runs: every write says which run and which epoch, and is refused when that is no longer true.

A process owns a run for one epoch. Whoever takes the run over begins the next one, so whatever the former
owner still tries to write, however late it wakes, meets Fenced. Writing the same thing twice is harmless: a
write whose answer got lost is simply repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Case, F, IntegerField, Q, Value, When
from django.db.models.functions import Coalesce, Concat, Now

from approvals.database.clock import database_now
from approvals.database.pipeline import limit_transaction_time
from approvals.database.threads import LOST, in_database
from approvals.domain.commands import Actor, Channel
from approvals.domain.payloads import canonical
from approvals.process import hints
from orchestration.exceptions import AlreadyFinished, Cancelled, Fenced, KeyConflict, UnknownRun
from orchestration.models import FINISHED, OPEN, Message, Run, RunStatus, StepRecord, StepStatus
from orchestration.plans import OVER, StepState
from orchestration.queries import UNOWNED, is_known
from orchestration.runs.resumption import RESUMABLE, resumption_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Sees to it that somebody executes runs which were queued in this transaction.
HandOver: TypeAlias = Callable[[Collection[UUID]], None]

TOPIC = "runs"
# A run whose process died so often in a row, while the run executed, is not taken up again unasked.
DEATHS_LIMIT = 3
# Seconds between attempts while the database is away.
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Ownership:
    """The right to write one run, for as long as nobody began the next epoch.

    `executing`: whether, from a write on, anything of the run executes; else all it does is to wait.
    """

    run_id: UUID
    epoch: int
    executing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A run as its new owner finds it."""

    ownership: Ownership
    run: Run
    records: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a run is about to do, as it is recorded. `attempt` counts how often it was begun."""

    key: str
    position: int | None
    kind: str
    name: str
    fingerprint: str
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended."""

    status: RunStatus
    reason: str = ""
    result: Any = None
    error: str = ""


async def on_record(
    write: Callable[Concatenate[Ownership, P], T], owned: Ownership, /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Make a write and return once it is on record. While the database is away it is tried again."""
    attempt = 0
    while True:
        try:
            return await in_database(write, owned, *args, **kwargs)
        except LOST as error:
            pause = BACKOFF[min(attempt, len(BACKOFF) - 1)]
            attempt += 1
            log.warning("run not written run=%s retry_in=%s error=%s", owned.run_id, pause, error)
            await asyncio.sleep(pause)


# Beginning


def open_run(
    *,
    orchestration: str,
    title: str,
    given: dict[str, Any],
    owner_id: int | None,
    key: str,
    process_id: UUID | None,
    hand_over: HandOver,
    version: int = 1,
) -> tuple[UUID, bool]:
    """Queue a run and return its id and whether it is new; the same key finds the same run.

    `hand_over` is told the new run, in the same transaction.
    """
    try:
        with short_transaction():
            run = Run.objects.create(
                orchestration=orchestration,
                version=version,
                title=title,
                input=given,
                owner_id=owner_id,
                key=key,
                process_id=process_id,
                # No Now(): SQLite would keep fewer digits than a moment that it is compared with has.
                created_at=database_now(),
                changed_at=Now(),
            )
            hand_over([run.pk])
            _hint([run.pk])
    except IntegrityError:
        return _find_by_key(orchestration, given, owner_id, key), False
    return run.pk, True


def has_key(owner_id: int | None, key: str) -> bool:
    """Whether a run of this owner was started under this key."""
    return bool(key) and Run.objects.filter(key=key, owner_id=owner_id).exists()


def _find_by_key(orchestration: str, given: dict[str, Any], owner_id: int | None, key: str) -> UUID:
    run = Run.objects.filter(key=key, owner_id=owner_id).exclude(key="").first()
    if run is None:
        raise UnknownRun("The run could not be recorded: its owner no longer exists.", field="owner")
    if run.purged_at is not None:
        detail = f"The key {key!r} belongs to run {run.pk}, whose content has been removed since."
        raise KeyConflict(detail, field="key")
    # As texts: to Python, true and 1 are equal.
    if run.orchestration != orchestration or canonical(run.input) != canonical(given):
        raise KeyConflict(
            f"The key {key!r} belongs to run {run.pk}, which has another orchestration or input.", field="key"
        )
    return run.pk


def claim(run_ids: Collection[UUID], process_id: UUID | None) -> list[Claimed]:
    """Take those of the runs that no process with a lease executes; each begins its next epoch.

    Runs of orchestrations that this process does not know are left to others.
    Runs that already name this process are taken too: the caller knows that it does not execute them yet.
    `process_id` None: for an engine that sees to it by itself that nobody else executes them.
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
                # Who died while it waited broke the row; unless a person is being asked about it.
                When(deaths__gte=DEATHS_LIMIT, then=F("deaths")),
                default=Value(0),
                output_field=IntegerField(),
            ),
            executing=True,
            started_at=Coalesce("started_at", Now()),
            changed_at=Now(),
        )
        _hint(taken)
        # Here, while nobody else can begin yet another epoch, which would be taken for ours.
        return _load(taken)


def _load(run_ids: Collection[UUID]) -> list[Claimed]:
    records: dict[UUID, list[StepRecord]] = {run_id: [] for run_id in run_ids}
    for record in StepRecord.objects.filter(run_id__in=run_ids).order_by("id"):
        records[record.run_id].append(record)
    return [
        Claimed(ownership=Ownership(run.pk, run.epoch), run=run, records=tuple(records[run.pk]))
        for run in Run.objects.filter(pk__in=run_ids).select_related("owner", "cancelled_by")
    ]


# While it runs


def mark_idle(owned: Collection[Ownership]) -> None:
    """Note that these runs only wait, or were given back: how their process ends will not count."""
    by_epoch: dict[int, list[UUID]] = {}
    for each in owned:
        by_epoch.setdefault(each.epoch, []).append(each.run_id)
    with short_transaction():
        for epoch, run_ids in by_epoch.items():
            current = Run.objects.filter(pk__in=run_ids, epoch=epoch, status__in=OPEN)
            current.update(executing=False)


def record_status(owned: Ownership, status: RunStatus) -> None:
    with _writing(owned, status=status):
        pass


def record_step_start(owned: Ownership, call: Call, status: RunStatus) -> None:
    with _writing(owned, news=call.attempt == 1, status=status):
        _save_call(owned, call, status=StepStatus.STARTED, begun_by=_this_process())


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:200]


def find_step(run_id: UUID, key: str) -> StepRecord:
    """What is known of a step's last attempt."""
    return StepRecord.objects.get(run_id=run_id, key=key)


def record_step_result(owned: Ownership, call: Call, result: Any) -> None:
    with _writing(owned, news=True, begins=False):
        _save_call(owned, call, status=StepStatus.DONE, result=result)


def record_step_retry(owned: Ownership, call: Call, error: str) -> None:
    with _writing(owned, news=True):
        _save_call(owned, call, status=StepStatus.RETRYING, error=error)


def record_step_failure(owned: Ownership, call: Call, error: str) -> None:
    with _writing(owned, news=True, begins=False):
        _save_call(owned, call, status=StepStatus.FAILED, error=error)


def record_question(owned: Ownership, call: Call, request_id: UUID, status: RunStatus) -> None:
    with _writing(owned, news=call.kind != "interrupted", status=status):
        _save_call(owned, call, status=StepStatus.OPEN, request_id=request_id)


def record_answer(owned: Ownership, call: Call, request_id: UUID, outcome: Any, status: RunStatus) -> None:
    with _writing(owned, news=True, status=status):
        _save_call(owned, call, status=StepStatus.DONE, request_id=request_id, result=outcome)


def record_sleep(owned: Ownership, call: Call, until: datetime | float, status: RunStatus) -> datetime:
    """The run sleeps until this moment, or for so many seconds. When it ends; repeated, that stays."""
    with _writing(owned, news=True, status=status):
        asleep = StepRecord.objects.filter(run_id=owned.run_id, key=call.key, status=StepStatus.SLEEPING)
        for due_at in asleep.values_list("due_at", flat=True):
            if due_at is not None:
                return due_at
        due_at = until if isinstance(until, datetime) else database_now() + timedelta(seconds=until)
        _save_call(owned, call, status=StepStatus.SLEEPING, due_at=due_at)
        return due_at


def record_wakeup(owned: Ownership, call: Call, status: RunStatus) -> None:
    with _writing(owned, news=True, status=status):
        _save_call(owned, call, status=StepStatus.DONE)


def record_cancelled_wait(
    owned: Ownership,
    call: Call,
    step: StepStatus,
    waits: int,
    status: RunStatus,
    *,
    request_id: UUID | None = None,
) -> None:
    """The run did not wait any longer, for so many times by now, and goes on."""
    with _writing(owned, news=True, status=status):
        _save_call(owned, call, status=step, cancelled_waits=waits, cancelled_at=Now(), request_id=request_id)


def record_message(owned: Ownership, call: Call, agent: str, text: str, status: RunStatus) -> None:
    with _writing(owned, news=True, status=status):
        if not _is_done(owned, call):  # a repeated write says it once
            Message.objects.create(run_id=owned.run_id, agent=agent, text=text, said_at=Now())
            _save_call(owned, call, status=StepStatus.DONE)


def begin_message(owned: Ownership, call: Call, agent: str, status: RunStatus) -> int:
    """A message that will grow; its id. What an interrupted attempt had said stays, as it stands."""
    with _writing(owned, news=call.attempt == 1, status=status):
        Message.objects.filter(run_id=owned.run_id, agent=agent, complete=False).update(complete=True)
        message = Message.objects.create(
            run_id=owned.run_id, agent=agent, text="", complete=False, said_at=Now()
        )
        _save_call(owned, call, status=StepStatus.STARTED)
    return message.pk


def extend_message(owned: Ownership, message_id: int, text: str) -> None:
    with _writing(owned):
        Message.objects.filter(pk=message_id).update(text=text)


def end_message(owned: Ownership, call: Call, message_id: int, text: str, *, whole: bool) -> None:
    with _writing(owned, news=whole):
        Message.objects.filter(pk=message_id).update(text=text, complete=True)
        if whole:
            _save_call(owned, call, status=StepStatus.DONE, result=text)


def record_plan(owned: Ownership, number: int, steps: Sequence[dict[str, Any]]) -> None:
    with _writing(owned, news=True, plan=list(steps), plan_round=number):
        pass


def record_plan_step(owned: Ownership, plan: Sequence[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """Record where a plan's step is, with the time; returns the plan as recorded."""
    moment = database_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    step = dict(plan[index])
    if step["state"] != StepState.PENDING:
        step["started_at"] = step["started_at"] or moment
    if step["state"] in OVER:
        step["finished_at"] = moment
    marked = [*plan[:index], step, *plan[index + 1 :]]
    with _writing(owned, plan=marked):
        pass
    return marked


# The end


def record_end(owned: Ownership, ending: Ending) -> None:
    """Record how the run ended: once, for good."""
    with _writing(
        owned,
        begins=False,
        status=ending.status,
        reason=ending.reason,
        result=ending.result,
        error=ending.error,
        finished_at=Now(),
        # Who waits for nothing has nothing to take back; the rest is looked at.
        leaves_requests=ending.status != RunStatus.COMPLETED or _has_open_requests(owned.run_id),
    ):
        pass


def _has_open_requests(run_id: UUID) -> bool:
    return StepRecord.objects.filter(run_id=run_id, status=StepStatus.OPEN).exists()


def has_ended(run_id: UUID) -> bool:
    return not Run.objects.filter(pk=run_id, status__in=OPEN).exists()


def find_ended_or_cancelled(run_id: UUID) -> Run | None:
    """The run, if it has ended or is cancelled: whatever it had asked is to be taken back."""
    run: Run | None = Run.objects.filter(pk=run_id).first()
    silent = run and (run.status in FINISHED or run.cancel_requested_at is not None)
    return run if silent else None


def mark_tidy(run_id: UUID) -> None:
    """Nothing that the ended run had asked is open any more."""
    Run.objects.filter(pk=run_id).update(leaves_requests=False)


def withdrawal_of(run: Run) -> tuple[Actor, str]:
    """Who takes back what the run still asks (its canceller, else the installation), and why."""
    if run.status in FINISHED and run.status != RunStatus.CANCELLED:
        return Actor.program(), "The run has ended."
    if run.cancelled_by_id is None:
        return Actor.program(), "The run was cancelled."
    came = dict(run.cancelled_from)
    token = came.get("token_id")
    actor = Actor(
        user_id=run.cancelled_by_id,
        channel=Channel(came.get("channel", Channel.PROGRAM)),
        address=came.get("address"),
        user_agent=came.get("user_agent", ""),
        token_id=None if token is None else UUID(token),
    )
    return actor, "The run was cancelled."


def _origin_of(actor: Actor) -> dict[str, Any]:
    return {
        "channel": actor.channel.value,
        "address": actor.address,
        "user_agent": actor.user_agent,
        "token_id": None if actor.token_id is None else str(actor.token_id),
    }


def request_cancel(run_id: UUID, actor: Actor) -> bool:
    """Note that the run shall end; True if nobody executes it, so that it has ended at once."""
    with short_transaction():
        open_run = Run.objects.filter(pk=run_id, status__in=OPEN)
        noted = open_run.filter(cancel_requested_at__isnull=True).update(
            cancel_requested_at=Now(),
            cancelled_by_id=actor.user_id,
            cancelled_from=_origin_of(actor),
            changed_at=Now(),
        )
        _hint([run_id] if noted else [])
        return bool(
            Run.objects.filter(UNOWNED, pk=run_id).update(
                status=RunStatus.CANCELLED,
                reason="cancelled",
                epoch=F("epoch") + 1,
                finished_at=Now(),
                changed_at=Now(),
                leaves_requests=True,
            )
        )


def requeue(run_id: UUID, user_id: int | None, hand_over: HandOver) -> None:
    """Let an ended run begin again from its record; see resumption.py for what is asked and done anew.

    What it still asks must have been taken back. `hand_over` is told the run, in the same transaction.
    """
    with short_transaction():
        record_end = Run.objects.filter(pk=run_id, status__in=RESUMABLE, purged_at__isnull=True)
        run = record_end.select_for_update(of=("self",)).first()
        if run is None:
            raise AlreadyFinished(
                "Only a run that failed or was rejected can be resumed, and none whose content was removed."
            )
        _rewrite(run)
        record_end.update(
            status=RunStatus.QUEUED,
            reason="",
            error="",
            process=None,
            epoch=F("epoch") + 1,
            executing=False,
            deaths=0,
            resumed=F("resumed") + 1,
            resumed_at=database_now(),
            resumed_by_id=user_id,
            cancel_requested_at=None,
            cancelled_by=None,
            cancelled_from={},
            finished_at=None,
            leaves_requests=False,
            changed_at=Now(),
            plan=[_reset_plan_step(step) for step in run.plan],
        )
        hand_over([run_id])
        _hint([run_id])


def _rewrite(run: Run) -> None:
    """Leave on record what the run goes on from."""
    _wait_again(run.pk)
    records = StepRecord.objects.filter(run=run).order_by("id")
    resumption = resumption_of(run.reason, records)
    forgotten = records.filter(pk__in=[each.pk for each in resumption.forgotten])
    forgotten.filter(cancelled_waits=0).delete()
    forgotten.update(status=StepStatus.GIVEN_UP, finished_at=None)
    records.filter(pk__in=[each.pk for each in resumption.set_aside]).update(
        # Whatever has this number and this key from now on is another call.
        key=Concat("key", Value(f"/{run.resumed + 1}")),
        position=None,
    )


def _wait_again(run_id: UUID) -> None:
    """Have a wait that was cancelled last, before the run ended, waited for again. Earlier ones, which the
    run went on from, replay as they were."""
    records = StepRecord.objects.filter(run_id=run_id)
    cancelled = records.filter(cancelled_waits__gt=0)
    last = records.filter(status=StepStatus.DONE).order_by("finished_at", "id").last()
    if last is not None:
        cancelled = cancelled.filter(cancelled_at__gte=last.finished_at)
    cancelled.update(cancelled_waits=F("cancelled_waits") - 1)
    given_up = records.filter(status=StepStatus.GIVEN_UP, cancelled_waits=0)
    given_up.filter(due_at__isnull=False).update(status=StepStatus.SLEEPING)
    given_up.delete()


def _reset_plan_step(step: dict[str, Any]) -> dict[str, Any]:
    """A shown step as it was before it failed. Where the run handled that, its replay says so again."""
    if step["state"] == StepState.COMPLETED:
        return step
    return step | {
        "state": StepState.PENDING.value,
        "started_at": None,
        "finished_at": None,
        "request_id": None,
        "note": "",
    }


@contextmanager
def short_transaction(*, durable: bool = False) -> Iterator[None]:
    """One that PostgreSQL ends within seconds where this process does not: others can have the rows then."""
    with transaction.atomic(durable=durable):
        limit_transaction_time()
        yield


@contextmanager
def _writing(owned: Ownership, *, begins: bool = True, news: bool = False, **changes: Any) -> Iterator[None]:
    """A transaction that holds only while the epoch is ours and the run is open; else Fenced.

    What `begins` something is refused as Cancelled, too, from the moment on in which that is on record.
    `news` is what was not on record before.
    """
    if news:
        changes["deaths"] = 0
    with short_transaction(durable=True):
        # First of all: the row's lock keeps a takeover waiting until this write is through.
        current = Run.objects.filter(pk=owned.run_id, epoch=owned.epoch, status__in=OPEN)
        writable = current.filter(cancel_requested_at__isnull=True) if begins else current
        if not writable.update(changed_at=Now(), executing=owned.executing, **changes):
            if current.exists():
                raise Cancelled(f"Run {owned.run_id} is cancelled.")
            raise Fenced(f"Run {owned.run_id} is no longer written by its epoch {owned.epoch}.")
        _hint([owned.run_id])
        yield


def _save_call(owned: Ownership, call: Call, **values: Any) -> None:
    """Insert the call's record, or bring it up to date. One statement, so repeating it is harmless.

    What is not given stays as it is, such as the error of an earlier attempt.
    """
    finished = values["status"] in (StepStatus.DONE, StepStatus.FAILED)
    changes = [*values, "attempts", "finished_at"]
    if values["status"] == StepStatus.STARTED:
        changes.append("started_at")
    record = StepRecord(
        run_id=owned.run_id,
        key=call.key,
        position=call.position,
        kind=call.kind,
        name=call.name,
        fingerprint=call.fingerprint,
        attempts=call.attempt,
        started_at=Now(),
        finished_at=Now() if finished else None,
        **values,
    )
    StepRecord.objects.bulk_create(
        [record],
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=changes,
    )


def _is_done(owned: Ownership, call: Call) -> bool:
    return StepRecord.objects.filter(run_id=owned.run_id, key=call.key, status=StepStatus.DONE).exists()


def _hint(run_ids: Collection[UUID]) -> None:
    if run_ids:
        transaction.on_commit(partial(hints.send, TOPIC, tuple(run_ids)), robust=True)
