"""Waits for comments: woken by what was said after the entry they know, or by the end; one query for all."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from django.db import Error, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.waiting.comment_waits import CommentReader, CommentWaits
from approvals.waiting.outages import Outage
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from tests import factories as make
from tests.looking import until

pytestmark = pytest.mark.django_db

PROGRAM = Actor.program()


def reader_of(waits: CommentWaits) -> CommentReader:
    return CommentReader(waits, Outage("database", Error), asyncio.get_running_loop())


async def test_a_comment_wakes_those_who_do_not_know_it_and_no_others() -> None:
    waits, request_id = CommentWaits(), UUID(await in_database(make.approval))
    await deciding.acomment(PROGRAM, request_id, "One.")
    with waits.wait(request_id, 1, None) as late, waits.wait(request_id, 2, None) as knowing:
        await reader_of(waits).look([request_id])
        await late
        assert not knowing.done()
        await deciding.acomment(PROGRAM, request_id, "Two.")
        await reader_of(waits).look([request_id])
        await knowing
    assert (len(waits), waits.ids()) == (0, [])


async def test_what_is_no_comment_wakes_nobody() -> None:
    people = [await in_database(make.reviewer) for _ in range(2)]
    waits, request_id = CommentWaits(), UUID(await in_database(make.approval, required=2))
    with waits.wait(request_id, 1, None) as waiting:
        await deciding.adecide(make.actor(people[0]), request_id, "approve")
        await reader_of(waits).look([request_id])
        assert not waiting.done()


async def test_the_end_of_the_request_wakes_all_and_so_does_a_missing_one() -> None:
    waits, request_id, unknown = CommentWaits(), UUID(await in_database(make.approval)), uuid4()
    await deciding.adecide(PROGRAM, request_id, "approve")
    with waits.wait(request_id, 99, None) as closed, waits.wait(unknown, 0, None) as missing:
        await reader_of(waits).look_everywhere()
        await closed
        await missing


async def test_one_query_reads_for_all_who_wait() -> None:
    waits, ids = CommentWaits(), [UUID(await in_database(make.approval)) for _ in range(20)]

    def messages() -> int:
        with CaptureQueriesContext(connection) as sent:
            reader_of_all._read_and_wake(ids)
        return len(sent)

    reader_of_all = reader_of(waits)
    assert await in_database(messages) == 1


async def test_the_room_waits_by_the_hint_and_counts_the_wait(room: WaitingRoom) -> None:
    """Nobody asks meanwhile: in tests the re-check is an hour away."""
    request_id = await in_database(make.approval)
    waiting = asyncio.create_task(room.wait_for_comment(request_id, 1))
    await until(lambda: len(room) == 1)
    await deciding.acomment(PROGRAM, request_id, "Three orders.")
    assert await waiting is True
    assert len(room) == 0
    assert await room.wait_for_comment(request_id, 1) is True
    waiting = asyncio.create_task(room.wait_for_comment(request_id, 2))
    await until(lambda: len(room) == 1)
    await deciding.adecide(PROGRAM, request_id, "reject")
    assert await waiting is True
    assert len(room) == 0


async def test_a_comment_does_not_end_a_wait_for_the_outcome(room: WaitingRoom) -> None:
    request_id = await in_database(make.approval)
    outcome = asyncio.create_task(room.wait(request_id))
    await until(lambda: len(room) == 1)
    comment = asyncio.create_task(room.wait_for_comment(request_id, 1))
    await until(lambda: len(room) == 2)
    await deciding.acomment(PROGRAM, request_id, "Three orders.")
    assert await comment is True
    assert (len(room), outcome.done()) == (1, False)
    await deciding.adecide(PROGRAM, request_id, "approve")
    assert (await outcome).approved


async def test_a_wait_ends_with_patience_and_with_its_caller(room: WaitingRoom) -> None:
    request_id = await in_database(make.approval)
    assert await room.wait_for_comment(request_id, 1, 0.05) is False
    waiting = asyncio.create_task(room.wait_for_comment(request_id, 1, 60))
    await until(lambda: len(room) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(room) == 0


@pytest.mark.usefixtures("deaf_and_dumb")
async def test_a_lost_hint_is_made_up_for_by_the_recheck(room: WaitingRoom, settings: Settings) -> None:
    settings.SAYSO_RECHECK_INTERVAL = 0.05
    await room.stop()
    await room.start()
    request_id = await in_database(make.approval)
    waiting = asyncio.create_task(room.wait_for_comment(request_id, 1))
    await until(lambda: len(room) == 1)
    await deciding.acomment(PROGRAM, request_id, "Three orders.")
    assert await waiting is True


async def test_a_wait_on_another_loop_is_woken_there() -> None:
    request_id = await in_database(make.approval)

    def wait() -> bool:
        return asyncio.run(waiting_room().wait_for_comment(request_id, 1, 30))

    waiting = asyncio.create_task(asyncio.to_thread(wait))
    await until(lambda: len(waiting_room()) == 1)
    await deciding.acomment(PROGRAM, request_id, "There.")
    assert await waiting is True
