"""Runs of an installation of several processes: started wherever, executed by a worker, seen everywhere."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from tests.faults import clients
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person, pause
from tests.processes import Process
from tests.stacks import WITH_WORKERS

pytestmark = pytest.mark.stacks(WITH_WORKERS)

Start: TypeAlias = Callable[[Installation, Person], Awaitable[str]]

# More than a test's steps are under way.
DRAIN = "120"


async def by_the_api(installation: Installation, oona: Person) -> str:
    return await oona.start("faults-errand")


async def by_a_command(installation: Installation, oona: Person) -> str:
    command = installation.start("orchestrate", "faults-errand", "--detach", "--as", oona.name)
    assert await asyncio.to_thread(command.wait) == 0, command.output.text
    return await oona.newest_run()


async def by_a_page(installation: Installation, oona: Person) -> str:
    return await in_database(_on_a_page, installation, oona.name)


def _on_a_page(installation: Installation, name: str) -> str:
    person = clients.Person(installation.servers[0], User.objects.get(username=name))
    with person.browser() as browser:
        form = "/runs/new/?orchestration=faults-errand"
        assert browser.get(form).is_success
        token = {"X-CSRFToken": browser.cookies["csrftoken"]}
        answer = browser.post(form, data={"key": "page"}, headers=token)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"].rstrip("/").rpartition("/")[2]


@pytest.mark.parametrize("start", [by_a_page, by_the_api, by_a_command])
async def test_a_run_executes_on_a_worker_and_is_seen_live_everywhere(
    installation: Installation, start: Start
) -> None:
    """Whoever has started it. Its question and its end come to watchers at either server, unasked."""
    (worker,) = await installation.execute(1)
    await installation.serve()
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as watching:
        oona = await installation.person("oona")
        run_id = await start(installation, oona)
        sockets = [
            await watching.enter_async_context(await watched(installation, number, run_id))
            for number in range(2)
        ]
        question = await oona.question_of(run_id)
        for socket in sockets:
            while question not in socket.shown:
                await socket.next()
        await oona.insist(question, at=1)
        for socket in sockets:
            finished = await socket.until("run_finished")
            assert finished["data"]["run"]["status"] == "completed"
            while question in socket.shown:  # runs and requests are read each by themselves
                await socket.next()
        await oona.end_of(run_id)
    assert {installation.process_of(run_id, step) for step in ("begin", "do-1")} == {worker}
    report = await installation.audited()
    assert (report.runs, report.steps_performed, report.steps_repeated) == (1, 2, 0)


async def test_a_worker_that_is_told_to_stop_ends_its_step_and_leaves_its_waits_to_others(
    installation: Installation, tmp_path: Path
) -> None:
    """SIGTERM: what waits goes on elsewhere at once, what is new goes there, too; the step under way ends
    where it began, is recorded once, and nobody is asked about it."""
    release = tmp_path / "release"
    (first,) = await installation.execute(1, SAYSO_DRAIN=DRAIN)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        waiting = await oona.start("faults-errand")
        question = await oona.question_of(waiting)
        busy = await oona.start("faults-held", until=str(release))
        await until_begun(installation, busy)
        _, second = await installation.execute(1)
        first.signal(signal.SIGTERM)
        await executes_what_is_new(installation, oona, second)
        await oona.insist(question)
        assert (await oona.end_of(waiting))["status"] == "completed"
        assert installation.process_of(waiting, "do-1") is second
        assert first.running, "it has not waited for its step"
        release.touch()
        end = await oona.end_of(busy)
        assert await asyncio.to_thread(first.wait) == 0
    assert (end["status"], end["result"]) == ("completed", installation.effects(busy, "begin"))
    assert installation.process_of(busy) is first
    report = await installation.audited()
    assert (report.requests, report.steps_performed, report.steps_repeated) == (2, 5, 0)


async def watched(
    installation: Installation, number: int, run_id: str
) -> AbstractAsyncContextManager[clients.Socket]:
    """A page of oona's at this server, which shows the run."""
    server = installation.servers[number]
    browser = await in_database(lambda: clients.Person(server, User.objects.get(username="oona")))
    return clients.socket(server, browser.headers, f"/ws/runs/{run_id}/")


async def until_begun(installation: Installation, run_id: str) -> None:
    while not installation.effects(run_id, "begin"):
        await pause()


async def executes_what_is_new(installation: Installation, oona: Person, worker: Process) -> None:
    """A run that is started now executes in this worker, from its beginning to its end."""
    run_id = await oona.start("faults-errand")
    await oona.insist(await oona.question_of(run_id))
    await oona.end_of(run_id)
    assert {installation.process_of(run_id, step) for step in ("begin", "do-1")} == {worker}
