"""The queue has each item once, in order, and wakes the loop once until all is taken."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from approvals.waiting.set_queue import SetQueue
from approvals.waiting.timer import Timer


async def test_things_are_taken_once_and_in_order() -> None:
    queue = SetQueue[int](asyncio.get_running_loop())
    queue.put([3, 1])
    queue.put([1, 2])
    assert await queue.take(2) == [3, 1]
    assert await queue.take(2) == [2]
    assert len(queue) == 0


async def test_take_waits_until_something_comes() -> None:
    queue = SetQueue[int](asyncio.get_running_loop())
    taking = asyncio.create_task(queue.take(10))
    queue.put([])
    await asyncio.sleep(0)
    assert not taking.done()
    queue.put([1])
    assert await taking == [1]


async def test_many_threads_bring_and_nothing_is_lost() -> None:
    queue = SetQueue[int](asyncio.get_running_loop())
    with ThreadPoolExecutor(4) as threads:
        for start in range(0, 1000, 100):
            threads.submit(queue.put, range(start, start + 100))
        taken: set[int] = set()
        while len(taken) < 1000:
            taken |= set(await queue.take(64))
    assert taken == set(range(1000))


async def test_bringing_rings_once_until_all_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    queue = SetQueue[int](loop)
    original, rings = loop.call_soon_threadsafe, 0

    def counted(*args: object, **kwargs: object) -> asyncio.Handle:
        nonlocal rings
        rings += 1
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for number in range(100):
        queue.put([number])
    assert len(await queue.take(100)) == 100
    assert rings == 1


async def test_dropping_takes_everything_and_the_next_thing_still_rings() -> None:
    queue = SetQueue[int](asyncio.get_running_loop())
    queue.put([1, 2])
    assert queue.drop() == [1, 2]
    taking = asyncio.create_task(queue.take(10))
    await asyncio.sleep(0)
    queue.put([3])
    assert await taking == [3]


async def test_bringing_to_a_closed_loop_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    queue = SetQueue[int](loop)
    loop.close()
    queue.put([1])
    assert len(queue) == 0


async def test_an_alarm_ends_a_sleep_early() -> None:
    began = asyncio.get_running_loop().time()
    alarm = Timer(asyncio.get_running_loop())
    sleeping = asyncio.create_task(alarm.sleep(3600))
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(alarm.wake)
    await sleeping
    assert asyncio.get_running_loop().time() - began < 3600


async def test_a_ring_while_awake_ends_the_next_sleep_only() -> None:
    alarm = Timer(asyncio.get_running_loop())
    alarm.wake()
    await alarm.sleep(3600)
    sleeping = asyncio.create_task(alarm.sleep(3600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sleeping.done()
    sleeping.cancel()


async def test_an_alarm_rings_by_itself_in_the_end() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await Timer(loop).sleep(0.02)
    assert loop.time() - began >= 0.019  # timers may be a tick of the clock early
