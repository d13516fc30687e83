"""Waking sleepers: on the database's clock alone, with one timer for all of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import OperationalError
from hypothesis import given, strategies

from orchestration.runs import sleeps
from orchestration.runs.sleeps import Wakeups

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Clock:
    """The database's, as a test sets it. Counts how often it is asked."""

    def __init__(self) -> None:
        self.now = NOON
        self.looks = 0
        self.asked = asyncio.Event()

    async def __call__(self) -> datetime:
        self.looks += 1
        self.asked.set()
        return self.now


async def settled() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the clock as often as the loop goes round, whatever is due when."""
    monkeypatch.setattr(sleeps, "LONGEST_SLEEP", 0.0)
    monkeypatch.setattr(sleeps, "SHORTEST_SLEEP", 0.0)


@pytest.mark.usefixtures("quick")
async def test_a_sleeper_wakes_when_the_database_says_so() -> None:
    """Not when this host's clock does: it may go wrong, or stop with the machine."""
    clock = Clock()
    sleeping = Wakeups(clock)
    woken = asyncio.create_task(sleeping.until(after(3600)))
    await settled()
    clock.now = after(3599.9)
    await settled()
    assert not woken.done()
    clock.now = after(3600)
    await woken
    assert len(sleeping) == 0
    sleeping.close()


async def test_many_sleepers_have_one_timer_and_one_look() -> None:
    """A sleep costs an entry: neither task, nor timer, nor question of its own."""
    clock = Clock()
    sleeping = Wakeups(clock)
    sleepers = [asyncio.create_task(sleeping.until(after(60 + number))) for number in range(500)]
    await settled()
    assert len(sleeping) == 500
    # The tasks that tell when they wake, and the two of the keeper.
    assert len(asyncio.all_tasks()) <= 1 + 500 + 2
    assert clock.looks <= 2
    for each in sleepers:
        each.cancel()
    await asyncio.wait(sleepers)
    sleeping.close()


async def test_an_earlier_sleeper_is_not_overslept() -> None:
    """Who comes later may have to wake sooner."""
    clock = Clock()
    sleeping = Wakeups(clock)
    late = asyncio.create_task(sleeping.until(after(3600)))
    await settled()
    early = asyncio.create_task(sleeping.until(after(0)))
    await early
    assert not late.done()
    late.cancel()
    await asyncio.wait([late])
    sleeping.close()


async def test_the_clock_is_asked_again_before_long() -> None:
    """A machine that was suspended has slept longer than its timers know."""
    sleeping = Wakeups(Clock())
    sleeper = asyncio.create_task(sleeping.until(after(1_000_000)))
    await settled()
    assert await sleeping._wake_the_due() == 15.0
    sleeper.cancel()
    await asyncio.wait([sleeper])
    sleeping.close()


async def test_those_who_sleep_no_more_are_forgotten() -> None:
    """Waits with patience, one after the other, do not pile up."""
    sleeping = Wakeups(Clock())
    stays = asyncio.create_task(sleeping.until(after(10)))
    for _ in range(100):
        leaves = asyncio.create_task(sleeping.until(after(3600)))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait([leaves])
    assert len(sleeping) == 1
    assert len(sleeping._sleepers) <= 3
    stays.cancel()
    await asyncio.wait([stays])
    sleeping.close()


async def test_an_outage_of_the_database_is_slept_through() -> None:
    """Whoever is due then wakes when it is back."""
    errors = [OperationalError("away")] * 2

    async def away() -> datetime:
        if errors:
            raise errors.pop()
        return after(1)

    sleeping = Wakeups(away)
    await sleeping.until(after(1))
    assert errors == []
    sleeping.close()


def note(woken: list[int], moment: int, task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        woken.append(moment)


@given(
    moments=strategies.lists(strategies.integers(0, 20), max_size=30),
    cancelled=strategies.sets(strategies.integers(0, 29)),
    hours=strategies.lists(strategies.integers(0, 25), max_size=10),
)
def test_everybody_wakes_in_time_and_nobody_before(
    moments: list[int], cancelled: set[int], hours: list[int]
) -> None:
    """Whatever the order in which they come, leave and are due, and however the clock goes."""

    async def slept() -> None:
        clock = Clock()
        sleeping = Wakeups(clock)
        woken: list[int] = []
        tasks = [asyncio.create_task(sleeping.until(after(each))) for each in moments]
        for task, moment in zip(tasks, moments, strict=True):
            task.add_done_callback(partial(note, woken, moment))
        await settled()
        for number in cancelled & set(range(len(tasks))):
            tasks[number].cancel()
        for hour in sorted(hours):
            clock.now = after(hour)
            sleeping._earlier.set()
            await settled()
            left = [at for at, each in zip(moments, tasks, strict=True) if not each.done()]
            assert all(at > hour for at in left)
            assert all(at <= hour for at in woken)
            assert len(sleeping) == len(left)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        assert len(sleeping) == 0
        sleeping.close()

    asyncio.run(slept())
