"""A process leaves alone what it does not know: other code will go on with it."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.process.telemetry import REGISTRY
from orchestration import OrchestrationManager, Run, catalog, orchestration
from orchestration.catalog import Kind, registry
from orchestration.engines import hand_over, jobs
from orchestration.models import Run as RunRow
from orchestration.runs import run_records
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, until_recorded
from tests.stacks import WITH_WORKERS, Stack

LOGGER = "orchestration.engines.hosts"


@orchestration("unknown_asks")
async def asks(run: Run) -> str:
    await run.approve("May I?")
    return "the first"


async def asks_again(run: Run) -> str:
    await run.approve("May I, please?")
    return f"version {run.version}"


@orchestration("unknown_quick")
async def quick(run: Run) -> None: ...


def queue(name: str, version: int) -> UUID:
    """As a process does that knows it."""
    run_id, _ = run_records.open_run(
        orchestration=name,
        version=version,
        title=name,
        given={},
        owner_id=None,
        key="",
        process_id=None,
        hand_over=hand_over,
    )
    return run_id


def row(run_id: UUID) -> RunRow:
    return RunRow.objects.get(pk=run_id)


def job_events(run_id: UUID) -> list[tuple[str, str]]:
    """What has become of the run's jobs, each with what happened to it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT job.status::text, event.type::text FROM procrastinate_jobs job"
            " JOIN procrastinate_events event ON event.job_id = job.id WHERE job.lock = %s ORDER BY event.id",
            [f"run:{run_id}"],
        )
        return [(status, event) for status, event in cursor.fetchall()]


def told() -> float | None:
    labels = {"orchestration": "unknown_asks", "version": "2"}
    return REGISTRY.get_sample_value("sayso_unknown_runs", labels)


@pytest.mark.parametrize("kind", [("unknown_asks", 2), ("unknown_to_all", 1)], ids=["version", "name"])
async def test_a_run_that_this_process_does_not_know_waits_for_one_that_does(
    runtime: Runtime, stack: Stack, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """It is not begun, not failed, and asked for no more than once; what is known goes on meanwhile."""
    run_id = await in_database(queue, *kind)
    for _ in range(3):
        await runtime.host.look_everywhere()
        await finished(await runtime.manager.astart("unknown_quick"))
    left = await in_database(row, run_id)
    assert (left.status, left.epoch, left.process_id) == ("queued", 0, None)
    assert runtime.host.unknown == {kind: 1}
    if stack.workers:
        assert await in_database(job_events, run_id) == [("todo", "deferred")], "it rests"
    name, version = kind
    learned = catalog.Orchestration(name=name, version=version, title="", description="", function=asks_again)
    monkeypatch.setitem(registry._orchestrations, kind, learned)
    await runtime.host.look_everywhere()
    request = await asked(run_id)
    assert runtime.host.unknown == {}
    reviewer = await in_database(factories.reviewer)
    await deciding.adecide(factories.actor(reviewer), request["id"], "approve")
    assert (await finished(run_id))["result"] == f"version {version}"


async def test_what_is_unknown_is_logged_when_it_changes_and_counted(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    first = await in_database(queue, "unknown_asks", 2)
    with caplog.at_level(logging.INFO, logger=LOGGER):
        await _looked(runtime, {("unknown_asks", 2): 1})
        second = await in_database(queue, "unknown_asks", 2)
        await _looked(runtime, {("unknown_asks", 2): 2})
        assert told() == 2
        third = await in_database(queue, "unknown_to_all", 1)
        await _looked(runtime, {("unknown_asks", 2): 2, ("unknown_to_all", 1): 1})
        for run_id in (first, second, third):
            await OrchestrationManager().acancel(Actor.program(), run_id)
        await _looked(runtime, {})
    assert told() is None
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    left = "runs of unknown orchestrations are left to other processes orchestrations="
    assert said[:2] == [
        f"{left}unknown_asks, version 2",
        f"{left}unknown_asks, version 2; unknown_to_all",
    ]
    assert said[-1] == "no run is of an unknown orchestration any more"
    assert len(said) == len(set(said)), "each once"


async def _looked(runtime: Runtime, expected: dict[Kind, int]) -> None:
    await runtime.host.look_everywhere()
    assert runtime.host.unknown == expected


async def test_what_an_unknown_run_has_asked_stays_open(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone, and the next one has other code: nothing is withdrawn, and nothing fails."""
    here, there = await process(), await process()
    run_id = await OrchestrationManager(here).astart("unknown_asks", owner=owner)
    request = await asked(run_id)
    await here.let_go()
    await in_database(RunRow.objects.filter(pk=run_id).update, process=None)
    with monkeypatch.context() as older:
        older.delitem(registry._orchestrations, ("unknown_asks", 1))
        await there.execute([run_id])
        assert there.run_ids == frozenset()
        assert (await gate.aoutcome(request["id"])).status == "pending"
        assert (await in_database(row, run_id)).status == "waiting"
    await there.execute([run_id])
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] == "the first"


@pytest.mark.stacks(WITH_WORKERS)
async def test_a_job_of_an_earlier_release_that_is_not_known_comes_to_rest(runtime: Runtime) -> None:
    """All jobs were in one queue then, from which every worker takes."""
    run_id = await in_database(queue, "unknown_asks", 2)
    await in_database(_move_to_the_common_queue, run_id)
    while await in_database(_queues_of, run_id) != {jobs.queue_of(("unknown_asks", 2))}:
        # It is taken once, ends with nothing, and is queued anew: twice, if the worker looks right then.
        await runtime.host.look_everywhere()
    await finished(await in_database(queue, "unknown_quick", 1))
    assert set(await in_database(job_events, run_id)) == {("todo", "deferred")}
    assert (await in_database(row, run_id)).epoch == 0


@pytest.mark.stacks(WITH_WORKERS)
async def test_a_job_of_an_earlier_release_that_is_known_is_done(runtime: Runtime) -> None:
    await runtime.manager.astart("unknown_quick")
    run_id = await in_database(queue, "unknown_asks", 2)
    await in_database(_move_to_the_common_queue, run_id)
    await in_database(RunRow.objects.filter(pk=run_id).update, orchestration="unknown_quick", version=1)
    await until_recorded(lambda: row(run_id).status == "completed")


def _move_to_the_common_queue(run_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET queue_name = 'runs' WHERE lock = %s", [f"run:{run_id}"])
        assert cursor.rowcount == 1


def _queues_of(run_id: UUID) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT queue_name FROM procrastinate_jobs WHERE lock = %s", [f"run:{run_id}"])
        return {queue for (queue,) in cursor.fetchall()}


KINDS = st.tuples(st.text(min_size=1, max_size=100), st.integers(1, registry.LATEST_VERSION))


@pytest.mark.one_stack
@given(one=KINDS, other=KINDS)
def test_a_queue_is_named_after_its_orchestration_alone(one: Kind, other: Kind) -> None:
    """Within what PostgreSQL lets the channel of its announcements be called."""
    queue = jobs.queue_of(one)
    assert len(f"procrastinate_queue_v1#{queue}".encode()) < 64
    assert queue == jobs.queue_of(one) != jobs.QUEUE
    assert (queue == jobs.queue_of(other)) == (one == other)
