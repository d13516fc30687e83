"""Clocks that are wrong and loops that stand still: deadlines are the database's, whoever notices them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx
import pytest
from django.db.models import Max

from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import AuditEntry, HumanRequest
from orchestration.models import Run
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person
from tests.looking import blocked_until
from tests.patience import patience

HOUR = 3600
MANY = 10
# Until the first deadline: enough to ask, to wait for all of it and to block a loop, on busy cores, too.
SOON = 15.0
# How long a blocked loop stands still after the last deadline.
STILL = 5.0
# Whose lease expires while it stands still, loses its runs to others: that is another fault.
SOON_AND_MORE = "120"


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


@pytest.mark.stacks("postgresql-redis")
async def test_of_four_servers_one_an_hour_off_takes_each_step_of_an_escalation_once(
    installation: Installation,
) -> None:
    """Fault 8: a step is due by the database's clock, and who comes second changes nothing."""
    await installation.serve(3)
    await installation.serve(SAYSO_TEST_CLOCK_SHIFT=str(HOUR))
    async with asyncio.timeout(PATIENCE):
        ann, bob = [await installation.person(name) for name in ("ann", "bob")]
        steps = [{"after": after, "users": [bob.name], "replace": after > 1} for after in (1, 2)]
        asked = await ann.ask_many("Late", MANY, assignees={"users": [ann.name]}, escalation=steps)
        await in_database(until_escalated, asked, len(steps))
        for number, each in enumerate(asked):
            await bob.decide(each, at=number % 4)
    taken = await in_database(steps_taken, asked)
    assert sorted(taken) == sorted((each, step) for each in asked for step in (1, 2))
    assert all(late >= timedelta(seconds=step) for (_, step), late in taken.items())
    report = await installation.audited()
    assert report.outcomes == {"approved": MANY}


@pytest.mark.stacks("sqlite-memory")
async def test_a_deadline_passes_while_the_only_loop_is_blocked(installation: Installation) -> None:
    """Fault 8: it stands still past them. The timeouts are on record all the same, and no decision is
    accepted after the deadline, though nobody has recorded it yet."""
    (server,) = await installation.serve(SAYSO_LEASE=SOON_AND_MORE)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        due = await ann.ask_many("Due", 2, timeout=SOON)
        for each in due:
            waiting.create_task(ann.wait(each))
        await installation.until_waiting(server, len(due))
        blockade = waiting.create_task(blocked_past(oona, due))
        await in_database(until_blocked_past, due)
        command = await installation.decided_by_command(bob, due[0])
        assert "too_late" in command.output.text
        await oona.end_of(await blockade)
    report = await installation.audited()
    assert report.outcomes == {"timed_out": 2}


@pytest.mark.stacks("postgresql-redis")
async def test_a_deadline_passes_while_one_of_two_loops_is_blocked(installation: Installation) -> None:
    """Fault 8: whoever waits is told the same, at either server; who decides late is too late at either."""
    here, there = await installation.serve(2, SAYSO_LEASE=SOON_AND_MORE)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob, oona = [await installation.person(name) for name in ("ann", "bob", "oona")]
        due = await ann.ask_many("Due", MANY, timeout=SOON)
        for number, each in enumerate(due):
            waiting.create_task(ann.wait(each, at=number % 2))
        await installation.until_waiting(here, MANY // 2)
        await installation.until_waiting(there, MANY // 2)
        blockade = waiting.create_task(blocked_past(oona, due))
        await in_database(until_blocked_past, due)
        answers = await asyncio.gather(*(bob.insist(each, at=n % 2) for n, each in enumerate(due)))
        assert {answer.json()["code"] for answer in answers} == {"too_late"}
        await oona.end_of(await blockade)
    report = await installation.audited()
    assert report.outcomes == {"timed_out": MANY}


def clock(url: str) -> float:
    """What a server takes for the time."""
    return float(httpx.get(f"{url}/under-test/", timeout=patience(), trust_env=False).json()["time"])


async def blocked_past(oona: Person, due: Sequence[str]) -> str:
    """The run that blocks a loop from now on until all of these are overdue. Its server may be unable to say
    that it was started, until it is over."""
    left: timedelta = await in_database(lambda: last_deadline(due) - database_now())
    return await oona.start("faults-blockade", seconds=left.total_seconds() + STILL)


def until_blocked_past(due: Sequence[str]) -> None:
    """Ask the database until its clock is past all these deadlines; a loop must be blocked then."""
    last = last_deadline(due)
    blocked_until(lambda: database_now() > last)
    assert is_blocked(), "no loop was blocked across the deadline"


def until_escalated(asked: Sequence[str], steps: int) -> None:
    """Ask the database until all these have had so many steps."""
    blocked_until(lambda: HumanRequest.objects.filter(pk__in=asked, escalated=steps).count() == len(asked))


def steps_taken(asked: Sequence[str]) -> dict[tuple[str, int], timedelta]:
    """How long after its opening each step was taken, by request and number; each once."""
    entries = AuditEntry.objects.filter(request_id__in=asked, event="escalated").select_related("request")
    found = [
        (
            (str(one.request_id), json.loads(one.canonical)["facts"]["step"]),
            one.recorded_at - one.request.opened_at,
        )
        for one in entries
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def is_blocked() -> bool:
    return Run.objects.filter(orchestration="faults-blockade", status="running").exists()


def last_deadline(due: Sequence[str]) -> datetime:
    latest: datetime = HumanRequest.objects.filter(pk__in=due).aggregate(Max("deadline"))["deadline__max"]
    return latest
