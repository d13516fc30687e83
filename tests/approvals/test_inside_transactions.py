"""Inside a transaction nothing is recorded: it would stay in spite of a rollback, or wait for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from approvals import deciding, gate
from approvals.database import transactions
from approvals.domain.commands import Actor
from approvals.models import AuditEntry, HumanRequest
from orchestration import OrchestrationManager
from orchestration.events import orchestration_config as config
from orchestration.models import Run
from tests import factories as make

pytestmark = pytest.mark.django_db

PROGRAM = Actor.program()
Entry = Callable[[str], Awaitable[Any]]

ENTRIES: dict[str, Entry] = {
    "request_approval": lambda _: gate.request_approval("Refund", timeout=1),
    "request_clarification": lambda _: gate.request_clarification("Which?", timeout=1),
    "aopen_approval": lambda _: gate.aopen_approval("Refund"),
    "aopen_clarification": lambda _: gate.aopen_clarification("Which?"),
    "wait_for_outcome": lambda pk: gate.wait_for_outcome(pk, 0),
    "withdraw": gate.withdraw,
    "adecide": lambda pk: deciding.adecide(PROGRAM, pk, "approve"),
    "adecide, edited": lambda pk: deciding.adecide(PROGRAM, pk, "approve", arguments={}),
    "adecide_many": lambda pk: deciding.adecide_many(PROGRAM, [(pk, "approve")]),
    "aanswer": lambda pk: deciding.aanswer(PROGRAM, pk, "4711"),
    "awithdraw": lambda pk: deciding.awithdraw(PROGRAM, pk),
    "acomment": lambda pk: deciding.acomment(PROGRAM, pk, "What for?"),
    "areassign": lambda pk: deciding.areassign(PROGRAM, pk, ["ann"]),
    "aset_approval_pending": lambda _: config.aset_approval_pending("plan"),
    "aset_approval_result": lambda _: config.aset_approval_result("plan", approved=True),
    "aset_clarification_pending": lambda _: config.aset_clarification_pending("q"),
    "aset_clarification_result": lambda _: config.aset_clarification_result("q", "4711"),
    "wait_for_approval": lambda _: config.wait_for_approval("plan", timeout=0),
    "wait_for_clarification": lambda _: config.wait_for_clarification("q", timeout=0),
    "astart": lambda _: OrchestrationManager().astart("checklist", {"title": "t", "items": ["one"]}),
}


@pytest.fixture
def request_id() -> str:
    """One that is open; what nothing may come of."""
    make.user("ann")
    return make.approval(timeout=None)


def by_async_to_sync(entry: Entry, request_id: str) -> None:
    async def call() -> None:
        await entry(request_id)

    async_to_sync(call)()


def by_a_task(entry: Entry, request_id: str) -> None:
    async def call() -> None:
        await asyncio.create_task(_awaited(entry(request_id)))

    async_to_sync(call)()


async def _awaited(awaitable: Awaitable[Any]) -> None:
    await awaitable


@pytest.mark.one_stack
@pytest.mark.parametrize("called", [by_async_to_sync, by_a_task])
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_coroutine_is_refused_at_once(
    request_id: str, entry: Entry, called: Callable[[Entry, str], None]
) -> None:
    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match=r"outside of atomic blocks.* transaction\.on_commit"),
    ):
        called(entry, request_id)
    assert (HumanRequest.objects.count(), AuditEntry.objects.count(), Run.objects.count()) == (1, 1, 0)


@pytest.mark.parametrize("called", [by_async_to_sync, by_a_task])
def test_outside_of_one_they_record(request_id: str, called: Callable[[Entry, str], None]) -> None:
    called(ENTRIES["adecide"], request_id)
    assert gate.outcome(request_id).approved


async def test_a_plain_event_loop_asks_no_other_thread(
    request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hop(function: Callable[..., Any]) -> Callable[..., Any]:
        raise AssertionError("a hop to another thread")

    monkeypatch.setattr(transactions, "sync_to_async", hop)
    assert (await deciding.adecide(PROGRAM, request_id, "approve")).approved


async def test_who_has_outlived_the_call_that_began_it_can_record(request_id: str) -> None:
    """The thread that waited for it is gone, and with it the transaction that might have been there."""
    go_on = asyncio.Event()

    async def decide() -> None:
        await go_on.wait()
        await deciding.adecide(PROGRAM, request_id, "approve")

    begun: list[asyncio.Task[None]] = []

    async def begin() -> None:
        begun.append(asyncio.create_task(decide()))

    await sync_to_async(async_to_sync(begin))()
    go_on.set()
    await begun[0]
    assert (await gate.aoutcome(request_id)).approved
