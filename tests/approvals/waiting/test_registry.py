"""Waiters by id: woken once, in slices, on their own loop; gone when they end, however they end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from uuid import UUID, uuid4

import pytest

from approvals.waiting.registry import SLICE, SWEEP_FROM, Registry
from tests.looking import until

Results = Registry[str]


async def wait(registry: Results, request_id: UUID, patience: float | None = None) -> str:
    waiter = registry.register(request_id, patience)
    try:
        return await waiter
    finally:
        registry.deregister(waiter, request_id)


async def waiting(
    registry: Results, ids: list[UUID], patience: float | None = None
) -> list[asyncio.Task[str]]:
    """One task for each id, all of them registered when this returns."""
    tasks = [asyncio.create_task(wait(registry, each, patience)) for each in ids]
    await asyncio.sleep(0)
    return tasks


@contextmanager
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    if not loop.is_closed():
        loop.close()


async def in_thread(function: Callable[..., None], *args: object) -> None:
    with ThreadPoolExecutor(1) as thread:
        await asyncio.wrap_future(thread.submit(function, *args))


async def test_a_waiter_gets_the_result_of_its_id() -> None:
    registry = Results()
    first, second = uuid4(), uuid4()
    tasks = await waiting(registry, [first, second])
    registry.wake({second: "two", first: "one", uuid4(): "nobody's"})
    assert await asyncio.gather(*tasks) == ["one", "two"]
    assert len(registry) == 0


async def test_everyone_who_waits_for_an_id_is_woken() -> None:
    registry = Results()
    request_id = uuid4()
    tasks = await waiting(registry, [request_id] * 5)
    assert len(registry) == 5
    registry.wake({request_id: "all"})
    assert await asyncio.gather(*tasks) == ["all"] * 5
    assert len(registry) == 0


async def test_a_result_that_came_before_the_wait_is_not_kept() -> None:
    """The row is what is kept; a waiter registers first and looks at the row then."""
    registry = Results()
    request_id = uuid4()
    registry.wake({request_id: "early"})
    (task,) = await waiting(registry, [request_id])
    assert request_id in registry
    registry.wake({request_id: "late"})
    assert await task == "late"


async def test_waking_twice_gives_the_first_result() -> None:
    registry = Results()
    request_id = uuid4()
    (task,) = await waiting(registry, [request_id])
    registry.wake({request_id: "first"})
    registry.wake({request_id: "second"})
    assert await task == "first"
    assert len(registry) == 0


async def test_a_cancelled_wait_is_gone_and_its_neighbour_still_waits() -> None:
    registry = Results()
    request_id = uuid4()
    cancelled, kept = await waiting(registry, [request_id, request_id])
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert len(registry) == 1
    registry.wake({request_id: "kept"})
    assert await kept == "kept"
    assert registry.ids() == []


async def test_cancelled_while_its_result_is_on_the_way() -> None:
    """Cancellation wins, nothing is left behind, and the others of the batch get theirs."""
    registry = Results()
    cancelled_id, kept_id = uuid4(), uuid4()
    cancelled, kept = await waiting(registry, [cancelled_id, kept_id])
    registry.wake({cancelled_id: "lost", kept_id: "kept"})
    cancelled.cancel()
    assert await kept == "kept"
    assert cancelled.cancelled()
    assert len(registry) == 0


async def test_waiters_on_other_loops_are_woken_from_any_thread() -> None:
    registry = Results()
    ids = [uuid4() for _ in range(20)]
    here = await waiting(registry, ids)
    with other_loop() as loop:
        there = [
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wait(registry, each), loop)) for each in ids
        ]
        await until(lambda: len(registry) == 40)
        await in_thread(registry.wake, {each: str(each) for each in ids})
        assert await asyncio.gather(*here, *there) == [str(each) for each in ids] * 2
    assert len(registry) == 0


async def test_a_batch_is_one_call_into_each_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Results()
    ids = [uuid4() for _ in range(100)]
    tasks = await waiting(registry, ids)
    loop = asyncio.get_running_loop()
    original, calls = loop.call_soon_threadsafe, 0

    def counted(*args: object, **kwargs: object) -> asyncio.Handle:
        nonlocal calls
        calls += 1
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    registry.wake(dict.fromkeys(ids[:60], "a"))
    registry.wake(dict.fromkeys(ids[60:], "b"))  # before the loop had its turn: it is on its way anyway
    assert await asyncio.gather(*tasks) == ["a"] * 60 + ["b"] * 40
    assert calls == 1


async def test_a_storm_leaves_the_loop_alive() -> None:
    """Between two slices of a storm, everything else on the loop has its turn."""
    registry = Results()
    ids = [uuid4() for _ in range(10 * SLICE)]
    tasks = await waiting(registry, ids)
    registry.wake(dict.fromkeys(ids, "woken"))
    woken_between_turns = []
    before = len(registry)
    while len(registry):
        await asyncio.sleep(0)
        woken_between_turns.append(before - len(registry))
        before = len(registry)
    assert max(woken_between_turns) <= SLICE
    assert set(await asyncio.gather(*tasks)) == {"woken"}


async def test_storms_from_many_threads_wake_everyone_once() -> None:
    registry = Results()
    ids = [uuid4() for _ in range(4 * SLICE)]
    tasks = await waiting(registry, ids)
    with ThreadPoolExecutor(4) as threads:
        for number in range(4):
            threads.submit(registry.wake, {each: str(number) for each in ids[number::2]})
    results = await asyncio.gather(*tasks)
    assert len(results) == len(ids)
    assert len(registry) == 0


async def test_a_loop_that_was_closed_under_its_waiters_is_forgotten() -> None:
    registry = Results()
    request_id, other_id = uuid4(), uuid4()
    (here,) = await waiting(registry, [request_id])
    await in_thread(_leave_waiting, registry, [request_id, other_id])
    assert len(registry) == 3
    registry.wake({request_id: "woken"})
    assert await here == "woken"
    gc.collect()
    assert len(registry) == 0
    assert registry.ids() == []


async def test_closed_loops_are_forgotten_when_the_waited_ids_are_listed() -> None:
    registry = Results()
    await in_thread(_leave_waiting, registry, [uuid4()])
    assert registry.ids() == []
    assert len(registry) == 0


async def test_impatient_waiters_give_up_in_the_order_of_their_patience() -> None:
    registry = Results()
    order: list[int] = []

    async def impatient(number: int, patience: float) -> None:
        with pytest.raises(TimeoutError):
            await wait(registry, uuid4(), patience)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in (3, 1, 0, 2):
            group.create_task(impatient(number, 0.01 * number))
    assert order == [0, 1, 2, 3]
    assert len(registry) == 0


async def test_a_result_within_patience_wins() -> None:
    registry = Results()
    request_id = uuid4()
    (task,) = await waiting(registry, [request_id], patience=60)
    registry.wake({request_id: "in time"})
    assert await task == "in time"


async def test_many_who_lose_patience_at_once_leave_the_loop_alive() -> None:
    registry = Results()
    tasks = await waiting(registry, [uuid4() for _ in range(3 * SLICE)], patience=0)
    turns = 0
    while len(registry):
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    assert all(isinstance(task.exception(), TimeoutError) for task in tasks)


async def test_one_timer_serves_all_patience_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Results()
    loop = asyncio.get_running_loop()
    original, timers = loop.call_at, 0

    def counted(*args: object, **kwargs: object) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counted)
    ids = [uuid4() for _ in range(500)]
    tasks = await waiting(registry, ids, patience=60)
    assert timers == 1
    registry.wake(dict.fromkeys(ids, "done"))
    await asyncio.gather(*tasks)


async def test_entries_of_finished_waits_are_swept_out() -> None:
    """An hour of patience does not keep a wait that ended for an hour."""
    registry = Results()
    kept = await waiting(registry, [uuid4() for _ in range(10)], patience=3600)
    loop = registry._loops[asyncio.get_running_loop()]
    for _ in range(20):
        ids = [uuid4() for _ in range(100)]
        tasks = await waiting(registry, ids, patience=3600)
        registry.wake(dict.fromkeys(ids, "done"))
        await asyncio.gather(*tasks)
        assert len(loop.patience) <= 110 + SWEEP_FROM
    for task in kept:
        task.cancel()
    await asyncio.wait(kept)
    assert len(loop.patience) == 0


async def test_a_loop_where_nobody_waits_is_not_remembered() -> None:
    registry = Results()
    request_id = uuid4()
    (task,) = await waiting(registry, [request_id], patience=60)
    registry.wake({request_id: "done"})
    await task
    assert not registry._loops


def _leave_waiting(registry: Results, ids: list[UUID]) -> None:
    """Waits on a loop that is then closed without a chance for them to end, as in a crashed thread."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # that tasks are destroyed pending is the point here
    registered = Event()

    async def register() -> None:
        await waiting(registry, ids)
        registered.set()

    loop.run_until_complete(register())
    assert registered.is_set()
    loop.close()


async def test_a_wait_for_any_is_one_wait_that_the_first_result_ends() -> None:
    registry = Results()
    ids = [uuid4() for _ in range(3)]
    waiter, other = registry.register_for_any(ids), registry.register(ids[1])
    assert len(registry) == 2
    registry.wake({ids[1]: "second"})
    assert await waiter == await other == "second"
    registry.wake({ids[0]: "too late"})
    registry.deregister(waiter, *ids)
    registry.deregister(other, ids[1])
    assert len(registry) == 0
    assert registry.ids() == []


async def test_patience_ends_a_wait_for_any() -> None:
    registry = Results()
    ids = [uuid4() for _ in range(3)]
    waiter = registry.register_for_any(ids, 0.0)
    with pytest.raises(TimeoutError):
        await waiter
    registry.deregister(waiter, *ids)
    assert registry.ids() == []
