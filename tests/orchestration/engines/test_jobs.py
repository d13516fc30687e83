"""A run is claimed by who has its job, and by nobody who only had it; no claim keeps the row from others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.db import connection, connections

from approvals.database.threads import LOST
from orchestration import OrchestrationManager, Run, orchestration
from orchestration.engines import jobs
from orchestration.engines.jobs import Taken
from orchestration.models import Run as RunRow
from orchestration.runs import journal
from tests import factories
from tests.stacks import WITH_WORKERS

pytestmark = [pytest.mark.django_db, pytest.mark.stacks(WITH_WORKERS)]


@orchestration("jobs_nothing")
async def nothing(run: Run) -> None: ...


@pytest.fixture
def run_id() -> UUID:
    """A run that no worker has taken."""
    return OrchestrationManager().start("jobs_nothing", {}, factories.user())


def taken(run_id: UUID) -> Taken:
    """The run's job, taken by a worker of which nothing more is heard."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT worker_id FROM procrastinate_register_worker_v1()")
        (worker_id,) = cursor.fetchone()
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE lock = %s RETURNING id",
            [worker_id, f"run:{run_id}"],
        )
        (job_id,) = cursor.fetchone()
    return job_id, worker_id


def test_who_has_the_job_claims_the_run(run_id: UUID) -> None:
    (claimed,) = jobs.claim({run_id: taken(run_id)})
    assert claimed.ownership.run_id == run_id
    assert RunRow.objects.get(pk=run_id).epoch == claimed.ownership.epoch


def test_a_worker_whose_job_was_given_to_another_claims_nothing(run_id: UUID) -> None:
    """As one that was frozen with the queue's answer on its way: the run is the other's by now."""
    before = taken(run_id)
    assert before[0]
    assert jobs.give_back([before[0]]) == [run_id]
    (claimed,) = jobs.claim({run_id: taken(run_id)})
    assert jobs.claim({run_id: before}) == []
    assert RunRow.objects.get(pk=run_id).epoch == claimed.ownership.epoch


def test_a_process_that_is_frozen_in_a_write_keeps_its_run_from_nobody(run_id: UUID) -> None:
    """PostgreSQL ends its transaction within seconds, and with it the lock."""
    job = taken(run_id)
    with frozen_in_a_write(run_id) as frozen:
        claimed = jobs.claim({run_id: job})
        while not claimed:
            claimed = jobs.claim({run_id: job})
        assert not frozen.is_set()
    assert claimed[0].ownership.run_id == run_id


@contextmanager
def frozen_in_a_write(run_id: UUID) -> Iterator[threading.Event]:
    """Another thread has the run's row, and does not go on before the end. The event: it did."""
    locked, thaw, thawed = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        try:
            with journal.short_transaction():
                RunRow.objects.select_for_update().get(pk=run_id)
                locked.set()
                thaw.wait()
                thawed.set()
        except LOST:
            pass
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        locked.wait()
        try:
            yield thawed
        finally:
            thaw.set()
            writing.result()
