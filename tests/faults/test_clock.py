"""Clocks that are wrong and loops that stand still: deadlines are the database's, whoever notices them."""

from __future__ import annotations

import asyncio
from datetime import datetime

import httpx
import pytest

from approvals.database import database_now, in_database
from approvals.models import HumanRequest
from orchestration.models import Run
from tests.faults.conftest import PATIENCE, Installation

HOUR = 3600
MANY = 10
SOON = 3.0
STANDSTILL = 5.0
# Whose lease expires while it stands still, loses its runs to others: that is another fault.
STANDSTILL_AND_MORE = "30"


@pytest.mark.stacks("postgresql-redis")
@pytest.mark.parametrize("shift", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_a_server_whose_clock_is_an_hour_off_decides_and_expires_as_all_others(
    installation: Installation, shift: int
) -> None:
    """Fault 8: nothing times out early or late because of it, and no run is taken from a living process."""
    right, wrong = [*await installation.serve(), *await installation.serve(SAYSO_TEST_CLOCK_SHIFT=str(shift))]
    assert abs(clock(wrong.url) - clock(right.url) - shift) < HOUR / 2
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        runs = [await oona.start("faults-errand", at=number % 2) for number in range(MANY)]
        lasting = await ann.ask_many("Lasting", MANY, at=1)
        due = await ann.ask_many("Due", MANY, at=1, timeout=SOON) + await ann.ask_many(
            "Due", MANY, timeout=SOON
        )
        for number, each in enumerate([*lasting, *due]):
            waiting.create_task(ann.wait(each, at=number % 2))
        for number, each in enumerate(lasting):
            await bob.decide(each, at=number % 2)
        for each in runs:
            await oona.insist(await oona.question_of(each))
            await oona.end_of(each)
    report = await installation.audited()
    assert report.outcomes == {"approved": 2 * MANY, "timed_out": 2 * MANY}
    assert (report.steps_performed, report.steps_repeated) == (2 * MANY, 0)


@pytest.mark.stacks("sqlite-memory")
async def test_a_deadline_passes_while_the_only_loop_is_blocked(installation: Installation) -> None:
    """Fault 8: five seconds of standstill. The timeout is on record all the same, and no decision is
    accepted after the deadline, though nobody has recorded it yet."""
    (server,) = await installation.serve(SAYSO_LEASE=STANDSTILL_AND_MORE)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        due = await ann.ask_many("Due", 2, timeout=SOON)
        for each in due:
            waiting.create_task(ann.wait(each))
        await installation.until_waiting(server, len(due))
        run_id = await oona.start("faults-blockade", seconds=STANDSTILL)
        await in_database(until_due, due[0])
        assert await in_database(is_running, run_id), "the loop was not blocked across the deadline"
        command = await installation.decided_by_command(bob, due[0])
        assert "too_late" in command.output.text
        await oona.end_of(run_id)
    report = await installation.audited()
    assert report.outcomes == {"timed_out": 2}


@pytest.mark.stacks("postgresql-redis")
async def test_a_deadline_passes_while_one_of_two_loops_is_blocked(installation: Installation) -> None:
    """Fault 8: whoever waits is told the same, at either server; who decides late is too late at either."""
    here, there = await installation.serve(2, SAYSO_LEASE=STANDSTILL_AND_MORE)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        due = await ann.ask_many("Due", MANY, timeout=SOON)
        for number, each in enumerate(due):
            waiting.create_task(ann.wait(each, at=number % 2))
        await installation.until_waiting(here, MANY // 2)
        await installation.until_waiting(there, MANY // 2)
        run_id = await oona.start("faults-blockade", seconds=STANDSTILL)
        await in_database(until_due, due[-1])
        assert await in_database(is_running, run_id), "no loop was blocked across the deadline"
        answers = await asyncio.gather(*(bob.insist(each, at=n % 2) for n, each in enumerate(due)))
        assert {answer.json()["code"] for answer in answers} == {"too_late"}
        await oona.end_of(run_id)
    report = await installation.audited()
    assert report.outcomes == {"timed_out": MANY}


def clock(url: str) -> float:
    """What a server takes for the time."""
    return float(httpx.get(f"{url}/under-test/", trust_env=False).json()["time"])


def is_running(run_id: str) -> bool:
    return Run.objects.filter(pk=run_id, status="running").exists()


def until_due(request_id: str) -> None:
    """Ask the database until its clock is past the deadline, and nothing else."""
    deadline: datetime = HumanRequest.objects.values_list("deadline", flat=True).get(pk=request_id)
    while database_now() <= deadline:
        pass
