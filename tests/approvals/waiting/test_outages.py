"""Trouble: said once, waited out, never silently the end of anything."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from approvals.waiting import outages
from approvals.waiting.outages import Away, Outage, keep_running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.0)


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("database", OSError)
    for _ in range(3):
        with pytest.raises(Away), outage.watch():
            raise OSError("no route")
    for _ in range(2):
        with outage.watch():
            pass
    assert [record.getMessage() for record in caplog.records] == [
        "database does not answer error=OSError: no route; trying again until it does",
        "database answers again",
    ]


def test_what_is_no_sign_of_an_outage_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError), Outage("database", OSError).watch():
        raise KeyError("a bug")


async def test_work_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise RuntimeError("a bug")

    await keep_running("the work", work)
    assert tries == 4
    assert all(record.exc_info for record in caplog.records)
    assert "the work failed" in caplog.text


async def test_an_outage_is_not_logged_again_by_whoever_meets_it(caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Away

    await keep_running("the work", work)
    assert not caplog.records


async def test_a_cancellation_that_leaked_from_inside_does_not_end_the_work() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError

    await keep_running("the work", work)
    assert tries == 2


async def test_cancelling_ends_the_work() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    working = asyncio.create_task(keep_running("the work", work))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_group_of_tasks_that_failed_does_not_look_like_a_cancellation() -> None:
    """Python 3.11 leaves the task of such a group marked as being cancelled."""
    tries = 0

    async def fail() -> None:
        raise RuntimeError("a bug")

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())

    await keep_running("the work", work)
    assert tries == 3


async def test_pauses_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 5.0)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def work() -> None:
        if len(pauses) < 8:
            raise Away

    await keep_running("the work", work)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_work_that_swallows_a_cancellation_ends_although_its_keeper_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the end of a loop, where every task is cancelled, and then those of a group once more."""
    monkeypatch.setattr(outages, "SWALLOWED", 0.01)
    begun, never = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with suppress(asyncio.CancelledError):
            begun.set()
            await never.wait()
        await never.wait()

    keeper = asyncio.create_task(keep_running("the work", work))
    await begun.wait()
    keeper.cancel()
    await asyncio.wait([keeper], timeout=0)
    keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeper
    assert asyncio.all_tasks() == {asyncio.current_task()}
