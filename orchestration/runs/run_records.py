"""Write how runs begin and end: queue, cancel, resume and finish them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, Value
from django.db.models.functions import Concat, Now

from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Channel
from approvals.domain.payloads import canonical
from orchestration.exceptions import AlreadyFinished, KeyConflict, UnknownRun
from orchestration.models import FINISHED, OPEN, Run, RunStatus, StepRecord, StepStatus
from orchestration.plans import NOT_BEGUN, StepState
from orchestration.queries import UNOWNED
from orchestration.runs.journal import Ownership, send_hint, short_transaction, writing
from orchestration.runs.manual_resumption import RESUMABLE, resumption_of

# Makes sure that somebody executes runs which were queued in this transaction.
HandOver: TypeAlias = Callable[[Collection[UUID]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended: its last status, with the reason's code, the result or the error."""

    status: RunStatus
    reason: str = ""
    result: Any = None
    error: str = ""


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
    actor: Actor | None = None,
) -> tuple[UUID, bool]:
    """Queue a run and return its id and whether it is new; a key that is in use returns that key's run.

    `actor` says through which channel it is started; None: by a program of this installation.
    `hand_over` is called with the new run, in the same transaction. Raises KeyConflict where the run of this
    key has another orchestration or input, and UnknownRun where the owner does not exist.
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
                started_from=_start_of(actor or Actor.program()),
                # No Now(): on SQLite it has fewer digits than the moments that it is compared with.
                created_at=database_now(),
                changed_at=Now(),
            )
            hand_over([run.pk])
            send_hint([run.pk])
    except IntegrityError:
        return _find_by_key(orchestration, given, owner_id, key), False
    return run.pk, True


def _start_of(actor: Actor) -> dict[str, Any]:
    return {
        "channel": actor.channel.value,
        "token_id": None if actor.token_id is None else str(actor.token_id),
    }


def has_key(owner_id: int | None, key: str) -> bool:
    """Tell whether a run of this owner was started under this key."""
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


def record_end(owned: Ownership, ending: Ending) -> None:
    """Record how the run ended; nothing can be written to it afterwards."""
    asked = StepRecord.objects.filter(run_id=owned.run_id, status=StepStatus.OPEN)
    with writing(
        owned,
        begins=False,
        status=ending.status,
        reason=ending.reason,
        result=ending.result,
        error=ending.error,
        finished_at=Now(),
        # A completed run that waits for nothing needs no tidying.
        leaves_requests=ending.status != RunStatus.COMPLETED or asked.exists(),
    ):
        pass


def has_ended(run_id: UUID) -> bool:
    """Tell whether the run has ended, or does not exist."""
    return not Run.objects.filter(pk=run_id, status__in=OPEN).exists()


def find_ended_or_cancelled(run_id: UUID) -> Run | None:
    """Return the run if it has ended or is cancelled, so that its open requests must be withdrawn."""
    run: Run | None = Run.objects.filter(pk=run_id).first()
    over = run and (run.status in FINISHED or run.cancel_requested_at is not None)
    return run if over else None


def mark_tidy(run_id: UUID) -> None:
    """Record that no request of the ended run is open any more."""
    Run.objects.filter(pk=run_id).update(leaves_requests=False)


def withdrawal_of(run: Run) -> tuple[Actor, str]:
    """Return who withdraws the run's open requests (who cancelled it, else the installation), and why."""
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
    """Record that the run is to end; True if nobody executes it, so that it has ended with this."""
    with short_transaction():
        open_run = Run.objects.filter(pk=run_id, status__in=OPEN)
        noted = open_run.filter(cancel_requested_at__isnull=True).update(
            cancel_requested_at=Now(),
            cancelled_by_id=actor.user_id,
            cancelled_from=_origin_of(actor),
            changed_at=Now(),
        )
        send_hint([run_id] if noted else [])
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
    """Queue an ended run again, to go on from its record. What is repeated: see `resumption_of`.

    Its open requests must have been withdrawn. `hand_over` is called with the run, in the same transaction.
    Raises AlreadyFinished.
    """
    with short_transaction():
        record_end = Run.objects.filter(pk=run_id, status__in=RESUMABLE, purged_at__isnull=True)
        run = record_end.select_for_update(of=("self",)).first()
        if run is None:
            raise AlreadyFinished(
                "Only a run that failed or was rejected can be resumed, and none whose content was removed."
            )
        _rewrite_records(run)
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
            # Steps that failed are to be begun again; a replay marks those whose failure the run handled.
            plan=[
                step if step["state"] == StepState.COMPLETED else {**step, **NOT_BEGUN} for step in run.plan
            ],
        )
        hand_over([run_id])
        send_hint([run_id])


def _rewrite_records(run: Run) -> None:
    """Reduce the run's records to what it goes on from."""
    _restore_cancelled_waits(run.pk)
    records = StepRecord.objects.filter(run=run).order_by("id")
    resumption = resumption_of(run.reason, records)
    forgotten = records.filter(pk__in=[each.pk for each in resumption.forgotten])
    forgotten.filter(cancelled_waits=0).delete()
    forgotten.update(status=StepStatus.GIVEN_UP, finished_at=None)
    records.filter(pk__in=[each.pk for each in resumption.set_aside]).update(
        # Their numbers and keys are free for other calls.
        key=Concat("key", Value(f"/{run.resumed + 1}")),
        position=None,
    )


def _restore_cancelled_waits(run_id: UUID) -> None:
    """Let the run wait again for what it waited for last, if that wait was cancelled.

    Earlier cancelled waits, after which the run went on, replay as they were.
    """
    records = StepRecord.objects.filter(run_id=run_id)
    cancelled = records.filter(cancelled_waits__gt=0)
    last = records.filter(status=StepStatus.DONE).order_by("finished_at", "id").last()
    if last is not None:
        cancelled = cancelled.filter(cancelled_at__gte=last.finished_at)
    cancelled.update(cancelled_waits=F("cancelled_waits") - 1)
    given_up = records.filter(status=StepStatus.GIVEN_UP, cancelled_waits=0)
    given_up.filter(due_at__isnull=False).update(status=StepStatus.SLEEPING)
    given_up.delete()
