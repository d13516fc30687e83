"""Waiters of the process that decides are woken by what it has committed: without a hint or a reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import AlreadyDecided
from approvals.process import hints
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import closing_listeners
from tests import factories
from tests.looking import until

pytestmark = pytest.mark.django_db

PROGRAM = Actor.program()


@pytest.fixture
def told() -> Any:
    seen: list[Outcome] = []

    def listen(closed: Collection[UUID], outcome: Callable[[UUID], Outcome]) -> None:
        seen.extend(map(outcome, closed))

    closing_listeners.attach(listen)
    yield seen
    closing_listeners.detach(listen)


async def test_a_waiter_is_woken_though_hints_and_re_checks_are_lost(settings: Settings) -> None:
    settings.SAYSO_RECHECK_INTERVAL = 3600.0
    request_id = await gate.aopen_approval("Refund?", arguments={"amount": 1.5, "to": ["ACME", None]})
    waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
    await until(lambda: len(waiting_room()) == 1)
    hints.attach(lose)
    try:
        decided = await deciding.adecide(PROGRAM, request_id, "approve", comment="Fine")
        assert await waiting == decided == await in_database(gate.outcome, request_id)
    finally:
        hints.detach(lose)


def lose(topic: str, ids: Sequence[UUID]) -> None:
    """Every hint that is sent meanwhile."""


async def test_what_is_told_is_on_record_and_equal_to_it(told: list[Outcome]) -> None:
    edited = {"amount": 1e22, "names": {"é": [True, 0, -0.0, "\u2028"]}}
    first = await gate.aopen_approval("Refund?", arguments={"amount": 2}, editable=True)
    second = await gate.aopen_clarification("Why?", choices=["Damaged", "Late"])
    await deciding.adecide(PROGRAM, first, "approve", arguments=edited)
    await deciding.aanswer(PROGRAM, second, "Late")
    on_record = await in_database(queries.outcomes, [UUID(first), UUID(second)])
    assert repr(sorted(told, key=str)) == repr(sorted(on_record.values(), key=str))


def test_neither_refusals_nor_votes_that_close_nothing_are_told(told: list[Outcome]) -> None:
    for name in ("ann", "bob"):
        factories.reviewer(name)
    deciding.decide(PROGRAM, factories.approval(required=2), "approve")
    assert told == []
    closed = factories.approval()
    deciding.decide(PROGRAM, closed, "approve")
    with pytest.raises(AlreadyDecided):
        deciding.decide(PROGRAM, closed, "reject")
    assert [outcome.request_id for outcome in told] == [closed]


def test_they_are_told_in_the_order_of_the_decisions(told: list[Outcome]) -> None:
    ids = [factories.approval() for _ in range(20)]
    deciding.decide_many(PROGRAM, [(each, "approve") for each in reversed(ids)])
    assert [outcome.request_id for outcome in told] == ids[::-1]


def test_a_listener_that_fails_keeps_nobody_else_from_being_told(
    told: list[Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(closed: Collection[UUID], outcome: Callable[[UUID], Outcome]) -> None:
        raise ZeroDivisionError

    closing_listeners.attach(fail)
    request_id = factories.approval()
    assert deciding.decide(PROGRAM, request_id, "approve").approved
    closing_listeners.detach(fail)
    assert [outcome.request_id for outcome in told] == [request_id]
    assert "closings not told requests=1" in caplog.text
