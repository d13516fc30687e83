"""Workers of the job queue: what they take, what they leave, what becomes of it when they die or freeze."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from approvals import deciding
from approvals.database.threads import LOST, in_database
from approvals.waiting.waiting_room import waiting_room
from orchestration import OrchestrationManager, Run, conf, orchestration, queries
from orchestration.engines import jobs
from orchestration.engines import procrastinate as workers
from orchestration.engines.procrastinate import Worker
from orchestration.exceptions import Fenced
from orchestration.models import Run as RunRow
from orchestration.runs import call_records, journal
from orchestration.runs.journal import Ownership
from tests import factories, looking
from tests.conftest import Manage
from tests.in_process import as_superuser
from tests.orchestration.watching import asked, finished, until_recorded
from tests.servers import PostgresServer
from tests.stacks import WITH_WORKERS, Stack

pytestmark = pytest.mark.stacks(WITH_WORKERS)

# Seconds until a worker that says nothing is given up: longer than busy cores may keep one from it.
SILENCE = 5.0

Workers: TypeAlias = Callable[..., Awaitable[Worker]]


@orchestration("workers_ask")
async def asks(run: Run) -> bool | None:
    return (await run.approve("May I?")).approved


@pytest.fixture
async def worker(stack: Stack) -> AsyncIterator[Workers]:
    """Workers on the test's loop; those still there are stopped in the end."""
    room = waiting_room()
    room.set_topic_source(journal.TOPIC, queries.runs_changed_since)
    await room.start()
    begun: list[Worker] = []

    async def begin(*, concurrency: int = 100) -> Worker:
        worker = Worker(concurrency=concurrency)
        await worker.start()
        await worker.ready()
        begun.append(worker)
        return worker

    yield begin
    for each in begun:
        await each.stop()
    await room.stop()


def jobs_of(run_id: UUID) -> list[str]:
    return list(ProcrastinateJob.objects.filter(lock=f"run:{run_id}").values_list("status", flat=True))


def epoch_of(run_id: UUID) -> int:
    return RunRow.objects.get(pk=run_id).epoch


def lose_heartbeat() -> None:
    """As if no worker had said anything for an hour."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")


def forget_jobs(lock: str = "%") -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE lock LIKE %s", [lock])


async def executing(worker: Worker, run_ids: set[UUID]) -> None:
    """Return once the worker executes exactly these, which it does a moment after that is on record."""
    await looking.until(lambda: worker.run_ids == run_ids)


def frequently(monkeypatch: pytest.MonkeyPatch, **others: float) -> None:
    """Have workers look often for what nobody executes."""
    often = dataclasses.replace(conf.orchestration_settings(), heartbeat=0.2, **others)  # type: ignore[arg-type]
    monkeypatch.setattr(workers, "orchestration_settings", lambda: often)


async def test_a_run_and_its_job_are_queued_together(stack: Stack, owner: User) -> None:
    """One transaction: a run that can't be recorded leaves no job."""
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner, key="once")
    assert await in_database(jobs_of, run_id) == ["todo"]
    assert await in_database(OrchestrationManager().start, "workers_ask", {}, owner, key="once") == run_id
    assert await in_database(jobs_of, run_id) == ["todo"], "the key found the run"


async def test_the_queue_is_rid_of_what_has_ended(worker: Workers, owner: User) -> None:
    await worker()
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    request = await asked(run_id)
    assert await in_database(jobs_of, run_id) == ["doing"]
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    await looking.until_seen(lambda: in_database(lambda: not jobs_of(run_id)))  # it ends right after its run


async def test_what_a_stopped_worker_leaves_goes_on_in_another(worker: Workers, owner: User) -> None:
    """At once, and attached to what it had asked."""
    first = await worker()
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    request = await asked(run_id)
    second = await worker()
    await first.stop()
    await until_recorded(lambda: epoch_of(run_id) == 2)
    await executing(second, {run_id})
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    assert len(await in_database(queries.request_ids_of, run_id)) == 1


async def test_a_worker_that_says_nothing_loses_its_runs_and_can_not_write_them(
    worker: Workers, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was only frozen: what it still knows is an epoch that is over."""
    first = await worker()
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    request = await asked(run_id)
    stale = Ownership(run_id, first._executions.epochs([run_id])[run_id])
    await in_database(lose_heartbeat)
    frequently(monkeypatch)
    second = await worker()
    await until_recorded(lambda: epoch_of(run_id) == 2)
    with pytest.raises(Fenced):
        await in_database(call_records.record_status, stale)
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    await executing(first, set())
    assert await in_database(epoch_of, run_id) == 2
    assert second.executes


async def test_a_run_without_a_job_gets_one(worker: Workers, owner: User) -> None:
    """As after a change of engine, or when somebody has emptied the queue."""
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    await in_database(forget_jobs)
    await worker()
    assert (await asked(run_id))["title"] == "May I?"


async def test_a_job_whose_answer_got_lost_is_continued(
    worker: Workers, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue says that this living worker has the job, and the worker knows nothing of it."""
    frequently(monkeypatch)
    busy = await worker(concurrency=1)
    first = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    request = await asked(first)
    second = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    assert busy._working is not None
    await in_database(_note_as_taken, second, busy._working.worker_id)
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await asked(second))["title"] == "May I?"


def _note_as_taken(run_id: UUID, worker_id: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s"
            " WHERE lock = %s AND status = 'todo'",
            [worker_id, f"run:{run_id}"],
        )
        assert cursor.rowcount == 1


async def test_waiting_runs_survive_the_queues_outage(
    private_postgres: PostgresServer, worker: Workers, owner: User
) -> None:
    """PostgreSQL is gone and comes back: who waited waits on, in the same process, and is told."""
    first = await worker()
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    request = await asked(run_id)
    private_postgres.stop()
    private_postgres.start()
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    later = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    assert (await asked(later))["title"] == "May I?", "it takes jobs again"
    assert first.executes


async def test_a_worker_whose_heartbeat_failed_takes_jobs_again(
    worker: Workers, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's own worker would go on without one, and be taken for dead by all others."""
    frequently(monkeypatch, heartbeat_lost=1.0)
    it = await worker()
    broken = it._working
    await in_database(_refuse_heartbeats)
    await looking.until(lambda: it._working is not broken)
    await in_database(_take_heartbeats)
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    assert (await asked(run_id))["title"] == "May I?"


def _refuse_heartbeats() -> None:
    with as_superuser(), connections["default"].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'no heartbeat today'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON procrastinate_workers EXECUTE FUNCTION refuse()"
        )


def _take_heartbeats() -> None:
    with as_superuser(), connections["default"].cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


async def test_steps_under_way_keep_their_worker_while_it_drains(
    worker: Workers, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they may take to end: nobody is asked about them, and nobody repeats them."""
    begun, release = asyncio.Event(), asyncio.Event()
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        begun.set()
        await release.wait()
        return "paid"

    @orchestration("workers_drain")
    async def drains(run: Run) -> str:
        return cast("str", await run.step("pay", slow))

    # What the queue would wait for by itself, and how long it believes in a worker, is over soon.
    frequently(monkeypatch, heartbeat_lost=SILENCE, drain=60.0)
    monkeypatch.setattr(workers, "LAST_WORDS", 0.2)
    first = await worker()
    run_id = await in_database(OrchestrationManager().start, "workers_drain", {}, owner)
    await begun.wait()
    stopping = asyncio.create_task(first.stop())
    await worker()
    over = time.monotonic() + SILENCE + 1
    while time.monotonic() < over:  # each is found by one look more of the other worker's
        await _found_without_a_job(owner)
    assert await in_database(epoch_of, run_id) == 1
    monkeypatch.setattr(workers, "LAST_WORDS", 10.0)
    release.set()
    await stopping
    assert (await finished(run_id))["result"] == "paid"
    assert calls == 1


async def _found_without_a_job(owner: User) -> None:
    run_id = await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    await in_database(forget_jobs, f"run:{run_id}")
    await asked(run_id)


class TestCommand:
    async def test_runs_execute_in_a_worker_process(self, stack: Stack, manage: Manage, owner: User) -> None:
        """Started here, executed there, decided here."""
        process = manage("work", "--concurrency", "10")
        await in_database(process.output.wait_for, "up to 10 runs at once")
        run_id = await in_database(
            OrchestrationManager().start, "checklist", {"title": "Doors", "items": ["Lock it"]}, owner
        )
        request = await asked(run_id)
        await deciding.adecide(factories.actor(owner), request["id"], "approve")
        assert (await finished(run_id))["status"] == "completed"
        assert await in_database(process.terminate) == 0
        assert "Stopped." in process.output.text

    @pytest.mark.parametrize("concurrency", ["0", "100001", "-1"])
    def test_a_concurrency_that_can_not_be_is_misuse(self, manage: Manage, concurrency: str) -> None:
        process = manage("work", "--concurrency", concurrency)
        assert process.wait() == 2
        assert "out of range" in process.output.text

    def test_without_the_queue_there_is_no_worker(self, stack: Stack, manage: Manage) -> None:
        process = manage("work", environment=stack.environment | {"SAYSO_ENGINE": "local"})
        assert process.wait() == 2
        assert "SAYSO_ENGINE is 'local'" in process.output.text


def test_a_connection_lost_while_a_run_is_queued_is_told_as_such(stack: Stack) -> None:
    """The queue has errors of its own; callers know those of the database, and that they may try again."""
    with pytest.raises(LOST):
        _defer_when_cut_off(stack.environment["DATABASE_URL"])
    connection.close()


def _defer_when_cut_off(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            other.execute("SELECT pg_terminate_backend(%s)", cursor.fetchone())
        jobs.defer([uuid4()])


async def test_the_queues_statistics_are_gathered_where_it_is_long(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a queue that fills sooner than autovacuum comes round is slow to search."""
    monkeypatch.setattr(jobs, "LONG", 1)
    await in_database(OrchestrationManager().start, "workers_ask", {}, owner)
    before = await in_database(_analyzed)
    await in_database(jobs.gather_statistics)
    assert await in_database(_analyzed) == before + 1


def _analyzed() -> int:
    """How often somebody had the queue analyzed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'procrastinate_jobs'")
        return int(cursor.fetchone()[0])


async def test_a_listener_ends_though_a_cancellation_of_it_got_lost(
    worker: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Python 3.12 `asyncio.wait_for` loses one that comes just as what it waits for does."""
    listening: list[asyncio.Task[object] | None] = []
    begun = asyncio.Event()

    async def loses_one(*_: object, **__: object) -> None:
        listening.append(asyncio.current_task())
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Future()
        await asyncio.Future()

    monkeypatch.setattr("procrastinate.PsycopgConnector.listen_notify", loses_one)
    monkeypatch.setattr("procrastinate.utils.CANCEL_ATTEMPTS", 1)
    working = await worker()
    await begun.wait()
    await working.stop()
    assert [task and task.cancelled() for task in listening] == [True]
