"""Runs as jobs of the queue that `procrastinate` keeps in PostgreSQL: one job for each run.

A job is deferred in the transaction that queues its run, so neither is there without the other. It is in a
queue of its orchestration and version, which only those take jobs from who know it. Its lock lets
one job of a run execute at a time, and only who still has the job claims the run; what it writes then is
fenced by its epoch alone. So a job too many costs an attempt and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from django.db import OperationalError, connection
from django.db.models import CharField, Count, Exists, OuterRef, Value
from django.db.models.functions import Cast, Concat, Now
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from orchestration.catalog import Kind, registered_kinds
from orchestration.conf import orchestration_settings
from orchestration.models import Run
from orchestration.queries import UNOWNED
from orchestration.runs import journal
from orchestration.runs.journal import Claimed

# A job, and the worker that has taken it.
Taken: TypeAlias = tuple[int | None, int | None]

# Where jobs of all runs were, and those of an earlier release still are.
QUEUE = "runs"
# Bytes that a queue's name may have: it is part of the name of a channel, which PostgreSQL limits to 63.
NAME_LIMIT = 40
TASK = "orchestration.execute_run"
LOCK = "run:"
ALIVE = ("todo", "doing")
LONG = 100


def queue_of(kind: Kind) -> str:
    """Where runs of this orchestration, in this version, wait for a worker."""
    name, version = kind
    queue = f"{QUEUE}:{version}:{name}"
    if len(queue.encode()) <= NAME_LIMIT:
        return queue
    return f"{QUEUE}:{hashlib.sha256(queue.encode()).hexdigest()[:32]}"


def queues() -> list[str]:
    """Those from which this process may take jobs: of what it knows."""
    return [QUEUE, *map(queue_of, registered_kinds())]


def defer(run_ids: Collection[UUID]) -> None:
    """Have some worker execute these runs, once the caller's transaction is committed."""
    if not run_ids:
        return
    runs = Run.objects.filter(pk__in=run_ids).order_by("pk")
    kinds = runs.values_list("pk", "orchestration", "version")
    try:
        app.job_manager.batch_defer_jobs(
            [_job(run_id, queue_of((name, version))) for run_id, name, version in kinds]
        )
    except ConnectorException as error:
        # In the words of all else in this transaction: callers know that this may be repeated.
        raise OperationalError(str(error.__cause__ or error)) from error


def give_back(job_ids: Collection[int]) -> list[UUID]:
    """Replace these jobs, which were taken and whose worker is gone, by new ones; returns their runs.

    What the former worker may still say of a job is about nothing then.
    """
    with journal.short_transaction(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM procrastinate_jobs WHERE id = ANY(%s) AND status = 'doing'"
            " RETURNING args->>'run_id'",
            [list(job_ids)],
        )
        run_ids = [UUID(run_id) for (run_id,) in cursor.fetchall()]
        defer(run_ids)
    return run_ids


def claim(taken: Mapping[UUID, Taken]) -> list[Claimed]:
    """Claim those of the runs whose jobs are still their workers'.

    Jobs are given to others where a worker was frozen: when it goes on, the run is somebody else's.
    """
    with journal.short_transaction(durable=True):
        held = set(
            ProcrastinateJob.objects.filter(pk__in=[job_id for job_id, _ in taken.values()], status="doing")
            # Nobody gives these to others before the runs are claimed.
            .select_for_update()
            .values_list("pk", "worker_id")
        )
        return journal.claim([run_id for run_id, job in taken.items() if job in held], None)


def defer_runs_without_job() -> list[UUID]:
    """Give a job to each open run that has none, as after a change of engine; returns those runs.

    Runs of a living process of the local engine are left alone.
    """
    lock = Concat(Value(LOCK), Cast(OuterRef("pk"), CharField()))
    with_job = ProcrastinateJob.objects.filter(lock=lock, status__in=ALIVE)
    jobless = list(Run.objects.filter(UNOWNED).exclude(Exists(with_job)).values_list("pk", flat=True))
    defer(jobless)
    return jobless


def jobs_of_worker(worker_id: int, *, more_than: int = -1) -> frozenset[int]:
    """The jobs that this worker has taken; none, where these are not more than so many."""
    taken = ProcrastinateJob.objects.filter(worker_id=worker_id, status="doing", task_name=TASK)
    if taken.count() <= more_than:  # as ever; so thousands that wait cost one number
        return frozenset()
    return frozenset(taken.values_list("pk", flat=True))


def counts_by_status() -> dict[str, int]:
    """How many runs wait for a worker, and how many one has."""
    jobs = ProcrastinateJob.objects.filter(status__in=ALIVE, task_name=TASK).order_by()
    found = dict(jobs.values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in ALIVE}


def gather_statistics() -> None:
    """Let PostgreSQL know how long the queue is, where it may be long.

    A table that fills sooner than autovacuum comes round is searched as if it were empty: a second a job. By
    a function of its owner's, because nobody else may gather them.
    """
    if waiting_count() >= LONG:
        with connection.cursor() as cursor:
            cursor.execute("SELECT sayso_gather_statistics()")


def _job(run_id: UUID, queue: str) -> Job:
    deferrer = app.configure_task(TASK, queue=queue, lock=f"{LOCK}{run_id}")
    return deferrer.make_new_job(run_id=str(run_id))


def is_silent(worker_id: int, seconds: float) -> bool:
    """Whether the queue has heard nothing of this worker for so long."""
    heard = ProcrastinateWorker.objects.filter(
        pk=worker_id, last_heartbeat__gt=Now() - timedelta(seconds=seconds)
    )
    return not heard.exists()


def has_live_worker() -> bool:
    """Whether some worker is taken for alive."""
    lost = timedelta(seconds=orchestration_settings().heartbeat_lost)
    return ProcrastinateWorker.objects.filter(last_heartbeat__gt=Now() - lost).exists()


def waiting_count() -> int:
    """How many runs wait for a worker."""
    return ProcrastinateJob.objects.filter(status="todo", task_name=TASK).count()
