"""The runtime lives in every kind of server, survives its death, and outlives no clean stop."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from approvals import deciding, gate
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import AuditEntry, HumanRequest
from approvals.waiting.waiting_room import waiting_room
from orchestration import OrchestrationManager
from orchestration.engines import hand_over
from orchestration.models import Process as Executor
from orchestration.models import Run
from orchestration.runs import run_records
from tests import factories
from tests.conftest import Serve
from tests.orchestration.watching import asked, finished
from tests.processes import PROJECT, Process, free_port
from tests.stacks import Stack

pytestmark = pytest.mark.processes

APPLICATION = "config.asgi:application"
INPUT = {"title": "Release", "items": ["Tests are green"]}

SERVERS: dict[str, Callable[[str], list[str | Path]]] = {
    "daphne": lambda port: ["-m", "daphne", "-b", "127.0.0.1", "-p", port, APPLICATION],
    "runserver": lambda port: [PROJECT / "manage.py", "runserver", "--noreload", port],
    "uvicorn": lambda port: ["-m", "uvicorn", "--port", port, APPLICATION],
}


@pytest.fixture
async def owner(stack: Stack) -> AsyncIterator[User]:
    yield await in_database(factories.user, "olga")
    await waiting_room().stop()


async def start(owner: User) -> UUID:
    return await in_database(OrchestrationManager().start, "checklist", INPUT, owner)


@pytest.mark.one_stack
@pytest.mark.parametrize("kind", SERVERS)
async def test_every_server_executes_what_is_queued(stack: Stack, owner: User, kind: str) -> None:
    """Started before it and under it; and it gives its lease back when it is asked to stop."""
    before = await start(owner)
    arguments = [sys.executable, *SERVERS[kind](str(free_port()))]
    environment = stack.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    with Process(arguments, environment=environment, name=kind) as server:
        for run_id in (before, await start(owner)):
            request = await asked(run_id)
            await deciding.adecide(factories.actor(owner), request["id"], "approve")
            assert (await finished(run_id))["status"] == "completed"
        server.terminate()
    assert not await in_database(Executor.objects.filter(released_at__isnull=True).exists)


async def test_a_killed_server_goes_on_when_it_is_started_again(serve: Serve, owner: User) -> None:
    """Its runs resume, on the same request; what was decided meanwhile takes effect, without waiting for the
    dead process's lease to run out."""
    server = serve()
    run_id = await start(owner)
    request = await asked(run_id)
    server.kill()
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert (await in_database(Run.objects.get, pk=run_id)).status == "waiting"
    with server.again():
        assert (await finished(run_id))["status"] == "completed"
    run = await in_database(Run.objects.get, pk=run_id)
    assert run.epoch == 2
    assert await in_database(run.steps.filter(request_id__isnull=False).count) == 1


@pytest.mark.one_stack
async def test_a_deadline_that_passed_while_no_server_ran_is_recorded_once(serve: Serve, owner: User) -> None:
    """And the run goes on with it: the checklist's owner is asked what to do now."""
    server = serve()
    run_id = await in_database(OrchestrationManager().start, "checklist", INPUT | {"timeout": 3600.0}, owner)
    request = await asked(run_id)
    server.kill()
    await in_database(_let_pass, request["id"])
    with server.again():
        assert (await gate.wait_for_outcome(request["id"])).timed_out
        assert (await asked(run_id))["id"] != request["id"]
    entries = AuditEntry.objects.filter(request_id=request["id"]).exclude(outcome="")
    assert await in_database(entries.count) == 1


def _let_pass(request_id: str) -> None:
    past = database_now() - timedelta(seconds=1)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)


@pytest.mark.one_stack
async def test_a_server_leaves_the_runs_of_a_living_terminal_alone(serve: Serve, owner: User) -> None:
    """Even one that it could execute; only what nobody executes is its own."""
    own = await in_database(_in_a_terminal)
    serve()
    queued = await start(owner)
    await asked(queued)
    assert (await in_database(Run.objects.get, pk=queued)).epoch == 1
    assert (await in_database(Run.objects.get, pk=own)).epoch == 0


def _in_a_terminal() -> UUID:
    """A run of another process, which has a lease that lives."""
    lives = Now() + timedelta(minutes=5)
    terminal = Executor.objects.create(name="terminal", started_at=Now(), expires_at=lives)
    run_id, _ = run_records.open_run(
        orchestration="checklist",
        title="x",
        given=INPUT,
        owner_id=None,
        key="",
        process_id=terminal.pk,
        hand_over=hand_over,
    )
    return run_id
