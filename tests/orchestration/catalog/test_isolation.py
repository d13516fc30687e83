"""What the code of runs raises stays within them: it becomes a value, or ends one task."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from hypothesis import given, strategies

from approvals.exceptions import ApprovalError
from orchestration.catalog.isolation import (
    Exited,
    Raised,
    Returned,
    call,
    catch,
    contain_tasks,
    enter_run,
)
from orchestration.exceptions import WORDS_LIMIT, OrchestrationError, plain_words

BASES = [
    Exception,
    BaseException,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    StopAsyncIteration,
    OSError,
    OrchestrationError,
    ApprovalError,
]


@strategies.composite
def errors(draw: strategies.DrawFn) -> BaseException:
    """Of any class, with any text or none, whose own code may fail; alone or in groups."""
    kind = draw(strategies.sampled_from(BASES))
    text = draw(strategies.text(strategies.characters(codec=None)) | strategies.just("long" * 2000))
    failing = draw(strategies.none() | strategies.sampled_from(BASES))

    class Drawn(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:  # not its base's: nothing that this sets up is there
            self.args = (text,)

        def __str__(self) -> str:
            if failing is not None:
                raise _bare(failing)
            return text

    error: BaseException = Drawn()
    for _ in range(draw(strategies.integers(0, 2))):
        error = BaseExceptionGroup(text, [error, ValueError("another")])
    return error


def _bare(kind: Any) -> Any:
    """Without calling what would set it up."""
    return kind.__new__(kind)


@given(errors())
def test_every_error_has_words_that_can_be_recorded(error: BaseException) -> None:
    """Whatever it is, and whatever its own code does."""
    words = plain_words(error)
    assert words
    assert len(words) <= WORDS_LIMIT
    assert "\0" not in words
    words.encode()


@given(errors())
def test_whatever_a_coroutine_raises_becomes_a_value(error: BaseException) -> None:
    """From where it is awaited as well as from deeper down; but for a StopIteration, which is turned into a
    RuntimeError by Python."""

    async def inner() -> None:
        await asyncio.sleep(0)
        raise error

    async def outer() -> Any:
        return await catch(inner())

    caught = asyncio.run(outer())
    assert isinstance(caught, Raised)
    assert caught.error is error or isinstance(error, StopIteration)


async def test_what_is_returned_is_a_value_too() -> None:
    assert await catch(asyncio.sleep(0, "slept")) == Returned("slept")


async def test_a_cancellation_is_let_through() -> None:
    """It was meant for the task; one that merely comes out of an awaited task was not."""
    begun = asyncio.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(catch(endless()))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    other = asyncio.create_task(endless())
    other.cancel()
    caught = await catch(other)
    assert isinstance(caught, Raised)
    assert isinstance(caught.error, asyncio.CancelledError)


async def test_a_coroutine_that_is_closed_ends() -> None:
    """As where a loop has gone without it."""
    went_on = []

    async def caught() -> None:
        went_on.append(await catch(asyncio.get_running_loop().create_future()))

    coroutine = caught()
    coroutine.send(None)
    await asyncio.get_running_loop().run_in_executor(None, coroutine.close)
    assert went_on == []


def test_a_ctrl_c_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has taken the signal over, it may have come at any moment."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    loop = asyncio.new_event_loop()
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(catch(interrupted()))
    finally:
        signal.signal(signal.SIGINT, former)
        loop.close()


@given(errors())
def test_whatever_a_function_raises_becomes_a_value(error: BaseException) -> None:
    """Also what a Future could not carry out of its thread."""

    def fail() -> None:
        raise error

    caught = call(fail)
    assert isinstance(caught, Raised)
    assert caught.error is error
    assert call(lambda: 1) == Returned(1)


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_task_of_a_run_can_not_exit_the_process(error: BaseException, cancelled: bool) -> None:
    """It ends by itself, with an error that says so, also where it exits because it was cancelled."""
    contain_tasks(asyncio.get_running_loop())
    begun = asyncio.Event()

    async def exits() -> None:
        begun.set()
        try:
            if cancelled:
                await asyncio.Event().wait()
        finally:
            raise error

    async def in_a_run() -> BaseException | None:
        enter_run()
        task = asyncio.create_task(exits(), name="exits")
        await begun.wait()
        if cancelled:
            task.cancel()
        await asyncio.wait([task])
        assert "exits" in repr(task)
        return task.exception()

    ended = await asyncio.create_task(in_a_run())
    assert isinstance(ended, Exited)
    assert ended.detail == plain_words(error)


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_warning() -> None:
    """Nor does one that is merely contained."""
    contain_tasks(asyncio.get_running_loop())

    async def in_a_run() -> None:
        enter_run()
        task = asyncio.create_task(asyncio.sleep(0))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await asyncio.create_task(asyncio.sleep(0, "slept")) == "slept"
        async with asyncio.TaskGroup() as tasks:
            slept = tasks.create_task(asyncio.sleep(0, "slept, too"))
        assert slept.result() == "slept, too"

    await asyncio.create_task(in_a_run())


async def test_other_tasks_of_the_loop_stay_as_they_are() -> None:
    """Whoever made them before goes on making them."""
    loop = asyncio.get_running_loop()
    made = []

    def factory(loop: Any, coroutine: Any, **more: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **more)

    loop.set_task_factory(factory)
    contain_tasks(loop)
    contain_tasks(loop)
    sleeping = asyncio.sleep(0)
    await asyncio.create_task(sleeping)
    assert made == [sleeping]
