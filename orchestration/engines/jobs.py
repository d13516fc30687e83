"""Runs as jobs of the queue that `procrastinate` keeps in PostgreSQL: one job for each run.

A job is deferred in the transaction that queues its run, so neither is there without the other. Its lock lets
one job of a run execute at a time; what the run writes is fenced by its epoch alone, so a job too many costs
an attempt and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import CharField, Count, Exists, OuterRef, Value
from django.db.models.functions import Cast, Concat
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from orchestration.models import Run
from orchestration.selectors import UNOWNED

QUEUE = "runs"
TASK = "orchestration.execute_run"
LOCK = "run:"
ALIVE = ("todo", "doing")


def defer(run_ids: Collection[UUID]) -> None:
    """Have some worker execute these runs, once the caller's transaction is committed."""
    for run_id in run_ids:
        app.configure_task(TASK, queue=QUEUE, lock=f"{LOCK}{run_id}").defer(run_id=str(run_id))


def defer_the_jobless() -> list[UUID]:
    """Give a job to each open run that has none, as after a change of engine; returns those runs.

    Runs of a living process of the local engine are left alone.
    """
    lock = Concat(Value(LOCK), Cast(OuterRef("pk"), CharField()))
    with_job = ProcrastinateJob.objects.filter(lock=lock, status__in=ALIVE)
    jobless = list(Run.objects.filter(UNOWNED).exclude(Exists(with_job)).values_list("pk", flat=True))
    defer(jobless)
    return jobless


def taken_by(worker_id: int) -> dict[int, UUID]:
    """The jobs that this worker has taken, and their runs."""
    taken = ProcrastinateJob.objects.filter(worker_id=worker_id, status="doing", queue_name=QUEUE)
    return {pk: UUID(args["run_id"]) for pk, args in taken.values_list("pk", "args")}


def number_taken_by(worker_id: int) -> int:
    return ProcrastinateJob.objects.filter(worker_id=worker_id, status="doing", queue_name=QUEUE).count()


def by_status() -> dict[str, int]:
    """How many runs wait for a worker, and how many one has."""
    jobs = ProcrastinateJob.objects.filter(status__in=ALIVE, queue_name=QUEUE).order_by()
    found = dict(jobs.values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in ALIVE}


def waiting() -> int:
    """How many runs wait for a worker."""
    return ProcrastinateJob.objects.filter(status="todo", queue_name=QUEUE).count()
