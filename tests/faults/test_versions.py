"""Releases with different code over one database, as while a new one is rolled out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from approvals.database.threads import in_database
from approvals.models import HumanRequest
from orchestration.models import Run
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person, pause
from tests.orchestration.observing.served import asked
from tests.processes import Process
from tests.stacks import WITH_WORKERS

NAME = "shop-refund"

FIRST = """
from orchestration import Run, orchestration

RELEASE = {release!r}

@orchestration("shop-refund")
async def refund(run: Run, *, order: int) -> str:
    await run.approve(f"Refund order {{order}}")
    return f"release {{RELEASE}}, version {{run.version}}"
"""
SECOND = (
    FIRST
    + """
@orchestration("shop-refund", version=2)
async def refund_and_notify(run: Run, *, order: int) -> str:
    address = await run.step("find", lambda: "ann@example.com")
    await run.approve(f"Refund order {{order}}, and tell {{address}}")
    return f"release {{RELEASE}}, version {{run.version}}"
"""
)
SLIP = FIRST + "\nno_such_name\n"


def release(folder: Path, name: str, code: str) -> dict[str, str]:
    """An app with this code; the environment of processes that have it installed."""
    package = folder / name / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "orchestrations.py").write_text(code.format(release=name))
    (folder / name / f"settings_of_{name}.py").write_text(
        "from tests.faults.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"
    )
    return {"PYTHONPATH": str(folder / name), "DJANGO_SETTINGS_MODULE": f"settings_of_{name}"}


async def errands_until_at(installation: Installation, oona: Person, process: Process) -> dict[str, str]:
    """Runs that every release knows, with what they ask; the last of them waits in this process."""
    errands: dict[str, str] = {}
    while True:
        run_id = await oona.start("faults-errand", questions=1)
        errands[run_id] = await oona.question_of(run_id)
        if installation.process_of(run_id) is process:
            return errands


async def row(run_id: str) -> Run:
    return await in_database(Run.objects.get, pk=UUID(run_id))


@pytest.mark.stacks("postgresql-redis", WITH_WORKERS)
async def test_each_run_goes_on_in_the_version_that_it_began_with(
    installation: Installation, tmp_path: Path
) -> None:
    """The old release leaves alone what only the new one knows, also when the new one dies; the new one goes
    on with what the old one had begun, in its older version."""
    one, two = release(tmp_path, "one", FIRST), release(tmp_path, "two", SECOND)
    await installation.execute(1, **one)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        first = await oona.start(NAME, order=1)
        first_question = await oona.question_of(first)
        await installation.execute(1, **two)
        oona.urls[:] = [server.url for server in installation.servers]
        old, new = installation.executors
        second = await oona.start(NAME, at=1, order=2)
        second_question = await oona.question_of(second)
        assert [(await oona.look(run_id))["version"] for run_id in (first, second)] == [1, 2]

        errands = await errands_until_at(installation, oona, new)
        *_, errand = errands
        await asyncio.to_thread(new.kill)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        while (await row(errand)).epoch == 1:
            await pause()
        left = await row(second)
        assert (left.status, left.epoch, left.resumed) == ("waiting", 1, 0)
        request = await in_database(HumanRequest.objects.get, pk=second_question)
        assert request.status == "pending"
        await asyncio.to_thread(old.output.wait_for, f"orchestrations={NAME}, version 2")

        await installation.execute(1, **two)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        await oona.insist(second_question)
        assert (await oona.end_of(second))["result"] == "release two, version 2"
        await asyncio.to_thread(old.kill)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        await oona.insist(first_question)
        assert (await oona.end_of(first))["result"] == "release two, version 1"
        for run_id, question in errands.items():
            await oona.insist(question)
            assert (await oona.end_of(run_id))["status"] == "completed"
    await installation.audited()


@pytest.mark.stacks("postgresql-redis", WITH_WORKERS)
async def test_a_release_that_can_not_be_imported_fails_no_run(
    installation: Installation, tmp_path: Path
) -> None:
    """It serves, executes what it knows, names what it does not, and leaves that to others."""
    good, bad = release(tmp_path, "good", FIRST), release(tmp_path, "bad", SLIP)
    await installation.execute(1, **good)
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        waiting = await oona.start(NAME, order=1)
        question = await oona.question_of(waiting)
        (process,) = installation.executors
        await asyncio.to_thread(process.terminate)
        await installation.execute(1, **bad)
        server = installation.servers[-1]
        oona.urls[:] = [server.url]
        errand = await oona.start("faults-errand", questions=0)
        assert (await oona.end_of(errand))["status"] == "completed"
        while not (ready := await asyncio.to_thread(asked, server, "/healthz/ready")).is_success:
            await pause()
        assert ready.json()["modules_not_imported"] == ["shop.orchestrations"]
        while not (unknown := ready.json()["unknown_orchestrations"]):
            await pause()
            ready = await asyncio.to_thread(asked, server, "/healthz/ready")
        assert (ready.status_code, unknown) == (200, [{"name": NAME, "version": 1, "runs": 1}])
        left = await row(waiting)
        assert (left.status, left.epoch) == ("waiting", 1)
        await asyncio.to_thread(installation.executors[-1].output.wait_for, "no_such_name")
        await installation.execute(1, **good)
        oona.urls[:] = [server.url for server in installation.servers if server.running]
        await oona.insist(question)
        assert (await oona.end_of(waiting))["result"] == "release good, version 1"
    await installation.audited()
