"""A decision made by a command, in a process that shares nothing with the waiting one but the database."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import PATIENCE, Installation


@pytest.mark.every_stack
async def test_what_a_command_decides_reaches_whoever_waits_at_a_server(installation: Installation) -> None:
    """Fault 15: with either layer; the in-memory one does not even cross processes. Programs and runs."""
    (server,) = await installation.serve()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        asked = await ann.ask_many("Elsewhere", 2)
        for each in asked:
            waiting.create_task(ann.wait(each))
        run_id = await oona.start("faults-errand")
        question = await oona.question_of(run_id)
        await installation.until_waiting(server, 3)
        await asyncio.gather(
            installation.decided_by_command(bob, asked[0]),
            installation.decided_by_command(bob, asked[1], "reject"),
            installation.decided_by_command(oona, question),
        )
        end = await oona.end_of(run_id)
    assert end["status"] == "completed"
    report = await installation.audited()
    assert (report.decisions_told, report.waits_told, report.steps_performed) == (3, 2, 2)


@pytest.mark.django_db
async def test_what_a_server_decides_reaches_a_run_in_a_terminal(installation: Installation) -> None:
    """Fault 15: the other way round. The waiting process is the command's."""
    await installation.serve()
    async with asyncio.timeout(PATIENCE):
        oona = await installation.person("oona")
        terminal = installation.start("orchestrate", "faults-errand", "--as", "oona")
        run_id = await oona.newest_run()
        await oona.insist(await oona.question_of(run_id))
        assert await asyncio.to_thread(terminal.wait) == 0
        end = await oona.end_of(run_id)
    assert end["status"] == "completed"
    report = await installation.audited()
    assert (report.steps_performed, report.steps_repeated) == (2, 0)
