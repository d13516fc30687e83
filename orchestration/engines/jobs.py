"""Jobs of runs in the queue that `procrastinate` keeps in PostgreSQL: one job for each open run.

A job is deferred in the transaction that queues its run, so neither exists without the other. Each
orchestration and version has a queue of its own, and a worker takes jobs only from those that it knows. The
job's lock lets one job of a run execute at a time, and only the worker that still has the job can claim the
run; its writes are fenced by the epoch alone. So a surplus job costs an attempt and does no harm.
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

# The queue of jobs from an earlier release.
QUEUE = "runs"
# Bytes that a queue's name may have: it is part of the name of a channel, which PostgreSQL limits to 63.
NAME_LIMIT = 40
TASK = "orchestration.execute_run"
LOCK = "run:"
ALIVE = ("todo", "doing")
LONG = 100


def queue_of(kind: Kind) -> str:
    """Return the name of the queue for this orchestration and version."""
    name, version = kind
    queue = f"{QUEUE}:{version}:{name}"
    if len(queue.encode()) <= NAME_LIMIT:
        return queue
    return f"{QUEUE}:{hashlib.sha256(queue.encode()).hexdigest()[:32]}"


def queues() -> list[str]:
    """Return the queues of all orchestrations that this process knows."""
    return [QUEUE, *map(queue_of, registered_kinds())]


def defer(run_ids: Collection[UUID]) -> None:
    """Queue jobs for these runs, for any worker, once the caller's transaction is committed."""
    if not run_ids:
        return
    runs = Run.objects.filter(pk__in=run_ids).order_by("pk")
    kinds = runs.values_list("pk", "orchestration", "version")
    try:
        app.job_manager.batch_defer_jobs(
            [_job(run_id, queue_of((name, version))) for run_id, name, version in kinds]
        )
    except ConnectorException as error:
        # As Django's error, like all others of this transaction: callers know that they may try again.
        raise OperationalError(str(error.__cause__ or error)) from error


def give_back(job_ids: Collection[int]) -> list[UUID]:
    """Replace these jobs, whose worker is gone, by new ones, and return their runs.

    What the former worker may still report about a job then has no effect.
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
    """Claim those of the runs whose jobs still belong to the workers that took them.

    A frozen worker's jobs are given to others: when it goes on, it must not claim the run.
    """
    with journal.short_transaction(durable=True):
        held = set(
            ProcrastinateJob.objects.filter(pk__in=[job_id for job_id, _ in taken.values()], status="doing")
            # Locked, so that nobody gives these jobs to others before the runs are claimed.
            .select_for_update()
            .values_list("pk", "worker_id")
        )
        return journal.claim([run_id for run_id, job in taken.items() if job in held], None)


def defer_runs_without_job() -> list[UUID]:
    """Queue a job for each open run that has none, for instance after a change of engine; return those runs.

    Not for runs of a living process of the local engine.
    """
    lock = Concat(Value(LOCK), Cast(OuterRef("pk"), CharField()))
    with_job = ProcrastinateJob.objects.filter(lock=lock, status__in=ALIVE)
    jobless = list(Run.objects.filter(UNOWNED).exclude(Exists(with_job)).values_list("pk", flat=True))
    defer(jobless)
    return jobless


def jobs_of_worker(worker_id: int, *, more_than: int = -1) -> frozenset[int]:
    """Return the ids of the jobs that this worker has taken; nothing if there are at most `more_than`."""
    taken = ProcrastinateJob.objects.filter(worker_id=worker_id, status="doing", task_name=TASK)
    if taken.count() <= more_than:  # the usual case: one number is read instead of thousands of ids
        return frozenset()
    return frozenset(taken.values_list("pk", flat=True))


def counts_by_status() -> dict[str, int]:
    """Count the jobs that wait for a worker (`todo`), and those that one has taken (`doing`)."""
    jobs = ProcrastinateJob.objects.filter(status__in=ALIVE, task_name=TASK).order_by()
    found = dict(jobs.values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in ALIVE}


def gather_statistics() -> None:
    """Update PostgreSQL's statistics of the queue, if it is long.

    A table that fills faster than autovacuum runs is searched as if it were empty, at a second a job. The
    function belongs to the table's owner, since nobody else may analyze it.
    """
    if counts_by_status()["todo"] >= LONG:
        with connection.cursor() as cursor:
            cursor.execute("SELECT sayso_gather_statistics()")


def _job(run_id: UUID, queue: str) -> Job:
    deferrer = app.configure_task(TASK, queue=queue, lock=f"{LOCK}{run_id}")
    return deferrer.make_new_job(run_id=str(run_id))


def is_silent(worker_id: int, seconds: float) -> bool:
    """Tell whether this worker had no heartbeat for so many seconds."""
    heard = ProcrastinateWorker.objects.filter(
        pk=worker_id, last_heartbeat__gt=Now() - timedelta(seconds=seconds)
    )
    return not heard.exists()


def has_live_worker() -> bool:
    """Tell whether any worker had a heartbeat recently."""
    lost = timedelta(seconds=orchestration_settings().heartbeat_lost)
    return ProcrastinateWorker.objects.filter(last_heartbeat__gt=Now() - lost).exists()
