"""Faults 7 and 13: many processes want the same rows. One end for each request; nobody is turned away.

The second is short in the suite; `SAYSO_TEST_SECONDS=60` has it last as long as it should.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from approvals.database.fields import new_id
from approvals.domain.commands import Actor, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.models import HumanRequest
from approvals.writer import queue
from tests import factories as make
from tests.faults.deciders import Wanted
from tests.faults.ledger import Ledger, Report, audit
from tests.processes import Forked, Process
from tests.stacks import Stack

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

REQUESTS = 200
LEAD = 1.0
APART = 0.03
WRITERS = 8
ROUNDS = 40
SECONDS = float(os.environ.get("SAYSO_TEST_SECONDS", "0")) or None
PATIENCE = 240 + (SECONDS or 0)
# SQLite's lock is not fair: on busy cores somebody may wait for longer than an installation has it wait.
BUSY_TIMEOUT = "120"

Clerk: TypeAlias = Callable[..., Process]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def clerk(stack: Stack, ledger: Ledger) -> Iterator[Clerk]:
    """Start a process of tests.faults.deciders, and wait until it is ready."""
    environment = stack.environment | {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    if not stack.environment.get("DATABASE_URL"):
        environment["SAYSO_TEST_BUSY_TIMEOUT"] = BUSY_TIMEOUT
    with ExitStack() as running:

        def start(role: str, name: str) -> Process:
            arguments: list[str | Path] = ["-m", "tests.faults.deciders", role, ledger.path, name]
            return running.enter_context(Forked(arguments, environment=environment, name=name))

        yield start


@pytest.mark.timeout(PATIENCE + 90)
def test_deciders_and_expirers_in_four_processes_bring_each_request_to_one_end(
    stack: Stack, ledger: Ledger, clerk: Clerk
) -> None:
    """All four want each request at the same moment, which is the deadline of half of them."""
    names = [make.reviewer("ann").username, make.reviewer("bob").username]
    clerks = [*(clerk("decide", name) for name in names), clerk("expire", "one"), clerk("expire", "two")]
    until_ready(clerks)
    approving, contradicting = contended(ledger)
    figures = do(clerks, [approving, contradicting, approving, approving])
    report = audited(stack, ledger)
    print(f"{stack.name}: {figures}\n{report}")
    assert report.sound, report
    assert (report.requests, report.resolved) == (REQUESTS, REQUESTS)
    assert report.decisions_told + report.refusals_told == 2 * REQUESTS
    assert report.waits_told == 2 * REQUESTS
    in_time = HumanRequest.objects.filter(deadline=None)
    assert set(in_time.values_list("status", flat=True)) <= {"approved", "rejected"}
    assert in_time.count() == REQUESTS // 2


@pytest.mark.timeout(PATIENCE + 90)
@pytest.mark.stacks("sqlite-memory")
def test_eight_processes_write_to_sqlite_and_none_is_told_that_it_is_locked(
    stack: Stack, ledger: Ledger, clerk: Clerk
) -> None:
    """Each asks and decides, and all decide the same: what was acknowledged is on record, once."""
    names = [make.reviewer(f"writer{number}").username for number in range(WRITERS)]
    shared = opened(ledger, [{"timeout": None} for _ in range(ROUNDS)])
    clerks = [clerk("write", name) for name in names]
    until_ready(clerks)
    task = {"rounds": None if SECONDS else ROUNDS, "seconds": SECONDS, "shared": shared}
    figures = do(clerks, [task] * WRITERS)
    report = audited(stack, ledger)
    print(f"{figures}\n{report}")
    assert report.sound, report
    assert report.decisions_told + report.refusals_told + report.requests - ROUNDS == figures["commands"]
    assert report.resolved == report.requests
    assert not any("locked" in clerk.output.text for clerk in clerks)


def contended(ledger: Ledger) -> tuple[list[Wanted], list[Wanted]]:
    """Requests that have a deadline, or none, and need one vote, or two; what ann says to each, and bob, who
    contradicts her where the first to come decides alone; and when."""
    terms = [
        {"timeout": LEAD + number * APART if number % 2 else None, "required": 1 + number // 2 % 2}
        for number in range(REQUESTS)
    ]
    ids = opened(ledger, terms)
    opened_at = HumanRequest.objects.get(pk=ids[0]).opened_at.timestamp()  # all in one transaction
    moments = [(one, opened_at + LEAD + number * APART) for number, one in enumerate(ids)]
    alone = [one["required"] == 1 for one in terms]
    return (
        [(*moment, "approve") for moment in moments],
        [(*moment, "reject" if first else "approve") for moment, first in zip(moments, alone, strict=True)],
    )


def opened(ledger: Ledger, terms: list[dict[str, Any]]) -> list[str]:
    commands = [
        OpenRequest(
            request_id=new_id(),
            actor=Actor.program(),
            kind=Kind.APPROVAL,
            title=f"Contended {number}",
            on_timeout=Verdict.REJECT,
            **one,
        )
        for number, one in enumerate(terms)
    ]
    ids = [future.result().outcome.request_id for future in queue.submit_many(commands)]  # type: ignore[union-attr]  # an outcome it has
    for request_id in ids:
        ledger.asked("the test", request_id)
    return ids


def until_ready(clerks: list[Process]) -> None:
    for clerk in clerks:
        clerk.output.wait_for("ready\n", timeout=60)


def do(clerks: list[Process], tasks: Sequence[object]) -> dict[str, float]:
    """Have all do this at once until they end; how many commands, and the seconds of the slowest."""
    for clerk, task in zip(clerks, tasks, strict=True):
        clerk.type(json.dumps(task) + "\n")
    figures = []
    for clerk in clerks:
        assert clerk.wait(PATIENCE) == 0, clerk.output.text
        figures.append(json.loads(clerk.output.text.splitlines()[-1]))
    return {
        "commands": sum(one["commands"] for one in figures),
        "slowest": max(one["slowest"] for one in figures),
    }


def audited(stack: Stack, ledger: Ledger) -> Report:
    environment = stack.environment
    return audit(ledger, environment.get("DATABASE_URL") or Path(environment["SAYSO_VAR"]) / "sayso.sqlite3")
