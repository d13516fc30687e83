"""The one door to the writer: batches, in order, each caller its own result, nothing lost or half done."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from approvals import gate
from approvals.database.fields import new_id
from approvals.database.pipeline import commit
from approvals.database.transactions import begun_inside
from approvals.domain.commands import (
    Accepted,
    Actor,
    Channel,
    Command,
    Decision,
    OpenRequest,
    Refused,
    Withdraw,
)
from approvals.domain.lifecycle import Kind, Verdict
from approvals.exceptions import Busy, Unavailable
from approvals.models import AuditEntry, HumanRequest
from approvals.writer import queue
from approvals.writer.batch import Batch
from approvals.writer.execution import carry_out
from approvals.writer.queue import Writer
from tests import factories as make
from tests.patience import patience
from tests.stacks import Stack

pytestmark = pytest.mark.django_db


def asked(**fields: object) -> OpenRequest:
    values: dict[str, object] = {
        "request_id": new_id(),
        "actor": Actor.program(),
        "kind": Kind.APPROVAL,
        "title": "Refund",
        "on_timeout": Verdict.REJECT,
        **fields,
    }
    return OpenRequest(**values)  # type: ignore[arg-type]  # a factory: the values are checked by the class


def test_commands_of_one_batch_are_carried_out_in_order() -> None:
    opening = asked()
    rita = make.actor(make.reviewer(), Channel.API)
    commands: list[Command] = [
        opening,
        Decision(request_id=opening.request_id, actor=rita, verdict=Verdict.APPROVE),
        Withdraw(request_id=opening.request_id, actor=Actor.program()),
    ]
    opened, decided, withdrawn = (future.result() for future in queue.submit_many(commands))
    assert isinstance(opened, Accepted)
    assert isinstance(decided, Accepted)
    assert (opened.outcome.status, decided.outcome.status) == ("pending", "approved")
    assert isinstance(withdrawn, Refused)
    assert withdrawn.outcome == decided.outcome


@pytest.mark.stacks("postgresql-redis")
def test_it_writes_while_those_who_wait_for_it_hold_every_connection_of_the_pool() -> None:
    """As a crowd of HTTP requests does, each on a thread of its own."""
    connection.ensure_connection()
    pool = connection.pool  # type: ignore[attr-defined]  # PostgreSQL's has one
    held = [pool.getconn() for _ in range(pool.max_size - 1)]
    try:
        assert isinstance(queue.submit(asked()).result(), Accepted)
    finally:
        for each in held:
            pool.putconn(each)
        connection.close_pool()  # type: ignore[attr-defined]  # so large, it is no other test's


def test_one_bad_command_never_fails_its_neighbours() -> None:
    good, bad, also_good = asked(), asked(requester_id=999_999_999), asked()
    first, second, third = queue.submit_many([good, bad, also_good])
    with pytest.raises(IntegrityError):
        second.result()
    assert isinstance(first.result(), Accepted)
    assert isinstance(third.result(), Accepted)
    assert HumanRequest.objects.count() == 2


def test_a_command_handed_over_twice_is_recorded_once() -> None:
    """So a batch may be run again after a connection broke, even if it had been committed."""
    command = asked()
    first, again = queue.submit(command).result(), queue.submit(command).result()
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (first.changed, again.changed) == (True, False)
    assert AuditEntry.objects.count() == 1


def test_who_comes_second_with_a_key_finds_what_another_process_is_just_opening() -> None:
    theirs, ours = asked(key="refund"), asked(key="refund")
    with begun_inside():
        batch = Batch([theirs])
        carry_out(batch, theirs)
        batch.write()
        writing = queue.submit(ours)
        until_somebody_waits_for_a_lock()
        commit()
    found = writing.result()
    assert isinstance(found, Accepted)
    assert (found.changed, found.outcome.request_id) == (False, str(theirs.request_id))


def until_somebody_waits_for_a_lock() -> None:
    """On SQLite whoever writes waits from the start."""
    waiting = connection.vendor == "sqlite"
    while not waiting:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            (waiting,) = cursor.fetchone()


def test_a_full_queue_refuses_and_takes_nothing() -> None:
    writer = Writer(capacity=2, batch=10)
    with pytest.raises(Busy):
        writer.submit_many([asked(), asked(), asked()])
    writer.close()
    assert HumanRequest.objects.count() == 0


def test_closing_writes_what_is_queued() -> None:
    writer = Writer(capacity=100, batch=10)
    futures = writer.submit_many([asked() for _ in range(50)])
    writer.close()
    assert all(future.done() for future in futures)
    assert HumanRequest.objects.count() == 50


async def test_a_cancelled_caller_does_not_take_the_command_back() -> None:
    """A client that goes away mid-decision: what was handed over is written."""
    command = asked()
    future = queue.submit(command)
    caller = asyncio.ensure_future(asyncio.wrap_future(future))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    result = await asyncio.to_thread(future.result)
    assert isinstance(result, Accepted)


def test_many_threads_share_few_commits() -> None:
    """Group commit: what queues while one transaction commits is the next transaction."""
    ready = threading.Barrier(9)
    results = []

    def ask() -> None:
        ready.wait()
        results.append(queue.submit(asked()).result())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    assert all(isinstance(result, Accepted) for result in results)
    assert HumanRequest.objects.count() == 8


def test_a_connection_that_died_is_replaced(stack: Stack) -> None:
    """Every backend ended between two commands: the next one is recorded all the same."""
    queue.submit(asked()).result()
    if stack.engine == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )
    assert isinstance(queue.submit(asked()).result(), Accepted)


@pytest.mark.processes
def test_what_was_handed_over_is_written_before_the_interpreter_exits(stack: Stack) -> None:
    """Also when the event loop that asked is long gone."""
    key = str(uuid4())
    program = (
        "import asyncio, django; django.setup()\n"
        "from approvals.writer import queue\n"
        "from approvals.domain.commands import *\n"
        "from approvals.database.fields import new_id\n"
        "from approvals.domain.lifecycle import Kind, Verdict\n"
        "async def ask():\n"
        "    queue.submit(OpenRequest(request_id=new_id(), actor=Actor.program(), kind=Kind.APPROVAL,"
        f" title='left behind', on_timeout=Verdict.REJECT, key={key!r}))\n"
        "asyncio.run(ask())\n"
    )
    environment = stack.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=patience(60))
    assert gate.outcome(str(HumanRequest.objects.get(key=key).pk)).status == "pending"


def test_a_process_that_stops_takes_nothing_any_more_and_nobody_waits_for_it() -> None:
    """Server threads outlive the writer's by a moment; one that waited for it would keep the process."""
    writer = Writer(capacity=10, batch=10)
    writer.close()
    for _ in range(2):
        with pytest.raises(Unavailable):
            writer.submit_many([asked()])
        assert len(writer) == 0
