"""The process as an executor: what it takes up, what it leaves alone, how it loses and regains its lease."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import threading
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models.functions import Now
from pytest_django import Settings

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.exceptions import Busy
from orchestration import OrchestrationManager, Run, conf, orchestration, queries
from orchestration.engines import hand_over, hosts, local
from orchestration.models import OPEN, Process
from orchestration.models import Run as RunRow
from orchestration.runs import journal, run_records
from orchestration.runtime import Runtime, start_runtime, stop_runtime
from tests import factories
from tests.looking import until_seen
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, until_recorded
from tests.servers import PostgresServer


@orchestration("runtime_quick")
async def quick(run: Run) -> str:
    return "done"


@orchestration("runtime_asks")
async def asks(run: Run) -> bool | None:
    return (await run.approve("May I?")).approved


async def test_a_queued_run_is_taken_up_by_a_hint(runtime: Runtime) -> None:
    """Nobody polls: the row is written, the hint says look."""
    run_id = await in_database(OrchestrationManager().start, "runtime_quick")
    assert (await finished(run_id))["result"] == "done"


async def test_runs_that_were_queued_before_are_taken_up_at_the_start(process: Processes) -> None:
    """However many there are."""
    for _ in range(5):
        await in_database(OrchestrationManager().start, "runtime_quick")
    run_ids = await in_database(queries.unowned_runs, limit=10)
    assert len(run_ids) == 5
    await start_runtime()
    for run_id in run_ids:
        assert (await finished(run_id))["result"] == "done"
    await stop_runtime()


async def test_many_runs_are_claimed_in_batches(process: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one statement takes."""
    few = dataclasses.replace(conf.orchestration_settings(), claim_batch=2)
    monkeypatch.setattr(local, "orchestration_settings", lambda: few)
    run_ids = [await in_database(OrchestrationManager().start, "runtime_quick") for _ in range(5)]
    await start_runtime()
    for run_id in run_ids:
        assert (await finished(run_id))["result"] == "done"
    await stop_runtime()


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_what_a_dead_process_left_is_taken_over(
    runtime: Runtime, process: Processes, owner: User
) -> None:
    """Once its lease has run out; what it had asked is waited for, not asked again."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    await runtime.host.look_everywhere()
    assert (await in_database(RunRow.objects.get, pk=run_id)).epoch == 1, "its owner lives"
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    await in_database(Process.objects.filter(pk=engine.process_id).update, expires_at=long_ago)  # type: ignore[misc]
    await runtime.host.look_everywhere()
    assert (await in_database(RunRow.objects.get, pk=run_id)).epoch == 2
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True


async def test_a_terminal_takes_up_nothing_but_its_own(process: Processes) -> None:
    """Queued runs wait for a server."""
    runtime = await start_runtime(serves=False)
    await runtime.host.ready()
    queued = await in_database(OrchestrationManager().start, "runtime_quick")
    await runtime.host.look_everywhere()
    await runtime.host.look(frozenset([queued]))
    own = await runtime.manager.astart("runtime_quick")
    assert (await finished(own))["result"] == "done"
    assert (await in_database(RunRow.objects.get, pk=queued)).status == "queued"
    await stop_runtime()


async def test_a_terminal_takes_up_what_it_is_attached_to_whenever_nobody_executes_it(
    process: Processes, owner: User
) -> None:
    """Not while its owner lives; but when that dies, and no other run of it."""
    engine = await process()
    wanted, other = [await OrchestrationManager(engine).astart("runtime_asks", owner=owner) for _ in range(2)]
    request = await asked(wanted)
    terminal = await start_runtime(serves=False)
    await terminal.host.ready()
    await terminal.host.take_up(wanted)
    await terminal.host.look_everywhere()
    assert (await in_database(RunRow.objects.get, pk=wanted)).epoch == 1
    await in_database(Process.objects.filter(pk=engine.process_id).update, released_at=Now())  # type: ignore[misc]
    await terminal.host.look(frozenset([other, wanted]))
    assert (await in_database(RunRow.objects.get, pk=wanted)).epoch == 2
    assert (await in_database(RunRow.objects.get, pk=other)).epoch == 1
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(wanted))["result"] is True
    await stop_runtime()


async def test_a_stopping_process_hands_its_runs_over(process: Processes, owner: User) -> None:
    """Nothing is recorded of the stop; the next one goes on at once."""
    first = await start_runtime()
    await first.host.ready()
    run_id = await first.manager.astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    await stop_runtime()
    await stop_runtime()
    assert (await in_database(RunRow.objects.get, pk=run_id)).status in OPEN
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    await start_runtime()
    run = await finished(run_id)
    assert run["result"] is True
    await stop_runtime()


async def test_a_process_that_lost_its_lease_begins_anew(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewing is refused, so it lets go of its runs, takes another lease, and what is free again."""
    often = dataclasses.replace(conf.orchestration_settings(), lease_renewal=0.05)
    monkeypatch.setattr(local, "orchestration_settings", lambda: often)
    runtime = await start_runtime()
    await runtime.host.ready()
    run_id = await runtime.manager.astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    before = await in_database(Process.objects.get)
    await in_database(Process.objects.all().update, expires_at=datetime(2000, 1, 1, tzinfo=UTC))
    await until_recorded(lambda: RunRow.objects.filter(epoch__gte=2).exclude(process=before).exists())
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    await stop_runtime()


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_starting_twice_is_starting_once(runtime: Runtime) -> None:
    """One lease, one engine."""
    assert await start_runtime() is runtime
    assert await in_database(Process.objects.count) == 1


async def test_runs_know_nothing_of_what_started_them(runtime: Runtime) -> None:
    """A request's context would pin its connection for as long as the run waits."""
    request = contextvars.ContextVar[str]("request", default="none")

    @orchestration("runtime_context")
    async def context(run: Run) -> str:
        return request.get()

    request.set("a request")
    assert (await finished(await runtime.manager.astart("runtime_context")))["result"] == "none"


async def test_what_an_ended_run_left_open_is_taken_back(
    runtime: Runtime, process: Processes, owner: User
) -> None:
    """Its process died after recording the end, before withdrawing what the run had asked."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    await engine.let_go()
    owned = journal.Ownership(run_id, 1)
    await in_database(run_records.record_end, owned, run_records.Ending(status="failed", error="x"))  # type: ignore[arg-type]
    await runtime.host.look_everywhere()
    assert (await gate.wait_for_outcome(request["id"])).withdrawn
    assert not await in_database(queries.runs_to_tidy)


async def test_a_run_to_cancel_is_cancelled_by_whoever_takes_it_over(process: Processes, owner: User) -> None:
    """Its process died before it saw to it."""
    engine = await process()
    run_id = await OrchestrationManager(engine).astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    await engine.let_go()
    await OrchestrationManager().acancel(factories.actor(owner), run_id)
    assert (await in_database(RunRow.objects.get, pk=run_id)).status in OPEN
    await in_database(RunRow.objects.update, process=None)
    await start_runtime()
    assert (await finished(run_id))["status"] == "cancelled"
    assert (await gate.wait_for_outcome(request["id"])).withdrawn
    await stop_runtime()


async def test_a_database_that_is_away_delays_runs_and_fails_none(private_postgres: PostgresServer) -> None:
    """Starting without it, losing it amid a wait: all goes on when it is back."""
    private_postgres.stop()
    runtime = await start_runtime()
    private_postgres.start()
    await runtime.host.ready()
    run_id = await runtime.manager.astart("runtime_asks")
    request = await asked(run_id)
    private_postgres.stop()
    private_postgres.start()
    await in_database(_decide_when_back, request["id"])
    assert (await finished(run_id))["result"] is True
    await stop_runtime()


def _decide_when_back(request_id: str) -> None:
    deciding.decide(Actor.program(), request_id, "approve")


async def test_an_unknown_engine_is_named(process: Processes, settings: Settings) -> None:
    """A mistyped setting does not go unnoticed."""
    settings.SAYSO_ENGINE = "lokal"
    with pytest.raises(Exception, match="lokal"):
        await start_runtime()


@pytest.mark.stacks("sqlite-memory", "postgresql-redis")
async def test_a_run_that_was_recorded_as_taken_but_never_begun_is_begun(runtime: Runtime) -> None:
    """The answer to the claim got lost, or who started the run was cancelled in between."""
    process = await in_database(Process.objects.get)
    run_id, _ = await in_database(
        run_records.open_run,
        orchestration="runtime_quick",
        title="Quick",
        given={},
        owner_id=None,
        key="",
        process_id=process.pk,
        hand_over=hand_over,
    )
    await runtime.host.look_everywhere()
    assert (await finished(run_id))["result"] == "done"


async def test_a_claim_that_fails_claims_nothing(process: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a run and who owns it are of one moment: nobody takes it over in between."""

    def away(*args: object) -> None:
        raise OperationalError("away")

    engine = await process()
    run_id = await in_database(OrchestrationManager().start, "runtime_quick")
    monkeypatch.setattr(journal, "_load", away)
    with pytest.raises(OperationalError):
        await engine.execute([run_id])
    assert (await in_database(RunRow.objects.get, pk=run_id)).epoch == 0
    assert await in_database(queries.unowned_runs, limit=1) == [run_id]


def leave_a_run_to_tidy() -> None:
    """One that has ended with requests that may be open."""
    RunRow.objects.create(
        status="failed", leaves_requests=True, created_at=Now(), finished_at=Now(), changed_at=Now()
    )


async def test_what_can_not_be_tidied_ends_no_lease(
    process: Processes, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs of this process go on, whatever becomes of what others left."""
    often = dataclasses.replace(conf.orchestration_settings(), lease_renewal=0.05)
    monkeypatch.setattr(local, "orchestration_settings", lambda: often)
    tried = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def busy(run_id: object) -> None:
        loop.call_soon_threadsafe(tried.release)
        raise Busy("locked")

    runtime = await start_runtime()
    await runtime.host.ready()
    run_id = await runtime.manager.astart("runtime_asks", owner=owner)
    request = await asked(run_id)
    monkeypatch.setattr(hosts, "withdraw_requests", busy)
    await in_database(leave_a_run_to_tidy)
    for _ in range(3):
        await tried.acquire()
    assert (await in_database(Process.objects.get)).released_at is None
    assert (await in_database(RunRow.objects.get, pk=run_id)).epoch == 1
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await finished(run_id))["result"] is True
    await stop_runtime()


async def test_what_takes_long_to_tidy_keeps_no_renewal_waiting(
    process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much others left; else the lease would expire, and with it all that runs here."""
    often = dataclasses.replace(conf.orchestration_settings(), lease_renewal=0.05)
    monkeypatch.setattr(local, "orchestration_settings", lambda: often)
    tidying, enough = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def take_long(run_id: object) -> None:
        loop.call_soon_threadsafe(tidying.set)
        enough.wait()

    monkeypatch.setattr(hosts, "withdraw_requests", take_long)
    await in_database(leave_a_run_to_tidy)
    runtime = await start_runtime()
    try:
        await tidying.wait()
        await runtime.host.ready()  # the others are looked at while its own lease is written
        before = (await in_database(Process.objects.get)).expires_at
        # Nobody tells of a renewal.
        await until_seen(lambda: in_database(Process.objects.exclude(expires_at=before).exists))
    finally:
        enough.set()
        await stop_runtime()
