"""Looking at rows: what wakes a waiter was read from a committed row; many looks are one query."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import Error, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding, queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Outcome
from approvals.waiting import reader
from approvals.waiting.outages import Outage
from approvals.waiting.outcome_reads import OutcomeReader, Waiters
from approvals.waiting.registry import Registry
from tests import factories as make
from tests.approvals.waiting.conftest import running
from tests.looking import until

pytestmark = pytest.mark.django_db

PROGRAM = Actor.program()


class Waiting:
    """Looks, somebody who waits, and the deadlines that came up."""

    def __init__(self) -> None:
        self.waiters: Waiters = Registry()
        self.deadlines: list[datetime] = []
        loop = asyncio.get_running_loop()
        self.looks = OutcomeReader(self.waiters, Outage("database", Error), self.deadlines.append, loop)

    def for_(self, request_id: UUID | str) -> asyncio.Future[Outcome | None]:
        return self.waiters.register(UUID(str(request_id)))


async def test_a_closed_request_wakes_with_what_its_row_records() -> None:
    waiting = Waiting()
    request_id = await in_database(make.approval)
    waiter = waiting.for_(request_id)
    decided = await deciding.adecide(PROGRAM, request_id, "reject", comment="too much")
    await waiting.looks.look([UUID(request_id)])
    assert await waiter == decided
    assert decided.comment == "too much"


async def test_a_pending_request_keeps_waiting_and_its_deadline_is_considered() -> None:
    waiting = Waiting()
    ids = [await in_database(make.approval, timeout=seconds) for seconds in (500, 100, None)]
    waiters = [waiting.for_(each) for each in ids]
    await waiting.looks.look([UUID(each) for each in ids])
    assert not any(waiter.done() for waiter in waiters)
    (earliest,) = waiting.deadlines
    assert earliest - await in_database(database_now) < timedelta(seconds=100)


async def test_a_missing_row_wakes_with_nothing() -> None:
    waiting = Waiting()
    request_id = uuid4()
    waiter = waiting.for_(request_id)
    await waiting.looks.look([request_id])
    assert await waiter is None


async def test_nobody_waits_no_query(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """On no connection of any thread: where DEBUG is on, each logs what it asks."""
    settings.DEBUG = True
    waiting = Waiting()
    request_id = UUID(await in_database(make.approval))
    with caplog.at_level(logging.DEBUG, "django.db.backends"):
        caplog.clear()
        await waiting.looks.look([request_id])
        assert caplog.records == []
        waiting.for_(request_id)
        await waiting.looks.look([request_id])
        assert caplog.records


async def test_what_is_closed_is_found_by_one_query() -> None:
    waiting = Waiting()
    ids = [UUID(await in_database(make.approval)) for _ in range(3)]
    waiters = [waiting.for_(each) for each in ids]
    for each in ids:
        await deciding.adecide(PROGRAM, each, "approve")
    assert await in_database(number_of_queries, waiting, ids) == 1
    assert all([(await waiter) is not None for waiter in waiters])


async def test_a_thousand_waits_are_as_many_queries_as_one() -> None:
    """Of those that are closed, of those that are pending, and of those that are none."""
    waiting = Waiting()
    ids = [uuid4() for _ in range(1000)]
    for each in ids:
        waiting.for_(each)
    assert await in_database(number_of_queries, waiting, ids[:1]) == 3
    assert await in_database(number_of_queries, waiting, ids) == 3


async def test_what_is_asked_while_a_query_runs_is_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting()
    asked = remembered(monkeypatch)
    first, *later = ids = [uuid4() for _ in range(50)]
    waiters = [waiting.for_(each) for each in ids]
    async with running(waiting.looks.run):
        waiting.looks.ask([first])
        await until(lambda: asked)
        for each in later:
            waiting.looks.ask([each, each])
        await asyncio.gather(*waiters)
    assert len(asked) <= 3
    assert sum(map(len, asked)) == 50


async def test_looking_everywhere_reads_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting()
    monkeypatch.setattr(reader, "CHUNK", 10)
    asked = remembered(monkeypatch)
    waiters = [waiting.for_(uuid4()) for _ in range(25)]
    await waiting.looks.look_everywhere()
    await asyncio.gather(*waiters)
    assert [len(each) for each in asked] == [10, 10, 5]


async def test_a_look_that_failed_is_repeated_until_the_database_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting()
    failures = 2
    original = queries.outcomes

    def failing(ids: Any, **which: bool) -> dict[UUID, Outcome]:
        nonlocal failures
        if failures:
            failures -= 1
            raise OperationalError("server closed the connection")
        return original(ids, **which)

    monkeypatch.setattr(queries, "outcomes", failing)
    waiter = waiting.for_(uuid4())
    async with running(waiting.looks.run):
        waiting.looks.ask(waiting.waiters.ids())
        assert await waiter is None
    assert failures == 0


def number_of_queries(waiting: Waiting, ids: list[UUID]) -> int:
    """How many it takes to look at these."""
    waiting.looks._read_and_wake(ids)  # what a connection has not asked before it asks to prepare
    with CaptureQueriesContext(connection) as captured:
        waiting.looks._read_and_wake(ids)
    return len(captured)


def remembered(monkeypatch: pytest.MonkeyPatch) -> list[list[UUID]]:
    """The ids of each query that the looks make from now on."""
    asked: list[list[UUID]] = []
    original: Callable[..., dict[UUID, Outcome]] = queries.outcomes

    def remembering(ids: Any, **which: bool) -> dict[UUID, Outcome]:
        asked.append(list(ids))
        return original(ids, **which)

    monkeypatch.setattr(queries, "outcomes", remembering)
    return asked
