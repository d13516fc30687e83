"""Looking at what may hang costs one thread, however many ask and for however long it hangs."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from orchestration.observing.background_check import BackgroundCheck


class Looked:
    """Something to look at, which hangs while it is `held`."""

    def __init__(self) -> None:
        self.times = 0
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> int:
        self.times += 1
        self.free.wait()
        return self.times


@pytest.fixture
def looked() -> Iterator[Looked]:
    looked = Looked()
    yield looked
    looked.free.set()


async def test_many_who_ask_share_one_look(looked: Looked) -> None:
    looked.free.clear()
    probe = BackgroundCheck("probe", looked, patience=60)
    asking = [asyncio.create_task(probe.result()) for _ in range(100)]
    await asyncio.sleep(0)
    looked.free.set()
    assert await asyncio.gather(*asking) == [1] * 100


async def test_an_answer_is_kept_for_a_moment(looked: Looked) -> None:
    kept, fresh = BackgroundCheck("kept", looked, kept=60), BackgroundCheck("fresh", looked, kept=-1)
    assert [await kept.result(), await kept.result()] == [1, 1]
    assert [await fresh.result(), await fresh.result()] == [2, 3]


async def test_what_hangs_is_given_up_and_not_looked_at_again(looked: Looked) -> None:
    """Nobody who comes later waits at all; when it goes on, it has its answer."""
    looked.free.clear()
    probe = BackgroundCheck("probe", looked, patience=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await probe.result()
    assert looked.times == 1
    looked.free.set()
    while True:
        try:
            assert await probe.result() == 1
        except TimeoutError:
            continue
        break


async def test_an_error_is_everybodys_answer(caplog: pytest.LogCaptureFixture) -> None:
    """And of asyncio's, too, it is none that nobody has taken."""

    def fail() -> None:
        raise LookupError("nothing there")

    probe = BackgroundCheck("probe", fail)
    for _ in range(2):
        with pytest.raises(LookupError, match="nothing there"):
            await probe.result()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_what_goes_wrong_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    """Not at each look: once for each kind of error, and once when it is over."""
    errors: list[Exception | None] = [
        OSError("away 1"),
        OSError("away 2"),
        LookupError("another"),
        None,
        None,
        OSError("away 3"),
    ]

    def look() -> None:
        if (error := errors.pop(0)) is not None:
            raise error

    probe = BackgroundCheck("probe", look, kept=-1)
    with caplog.at_level(logging.INFO, logger="orchestration.observing.background_check"):
        while errors:
            with suppress(OSError, LookupError):
                await probe.result()
    assert [record.getMessage() for record in caplog.records] == [
        "probe failed error=OSError: away 1",
        "probe failed error=LookupError: another",
        "probe answers again",
        "probe failed error=OSError: away 3",
    ]


async def test_a_look_that_hangs_is_logged_once(looked: Looked, caplog: pytest.LogCaptureFixture) -> None:
    looked.free.clear()
    probe = BackgroundCheck("probe", looked, patience=0.05)
    with caplog.at_level(logging.INFO, logger="orchestration.observing.background_check"):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await probe.result()
    assert [record.getMessage() for record in caplog.records] == [
        "probe failed error=TimeoutError: no answer within 0.05 s"
    ]


async def test_who_stops_asking_takes_nothing_from_the_others(looked: Looked) -> None:
    looked.free.clear()
    probe = BackgroundCheck("probe", looked, patience=60)
    first, second = asyncio.create_task(probe.result()), asyncio.create_task(probe.result())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    looked.free.set()
    assert await second == 1


def test_loops_may_come_and_go(looked: Looked) -> None:
    probe = BackgroundCheck("probe", looked, kept=60)
    assert [asyncio.run(probe.result()), asyncio.run(probe.result())] == [1, 1]
