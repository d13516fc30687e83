"""Isolate the process from what the code of runs raises: it can fail a run or a step, and nothing else.

Without this, `SystemExit` and `KeyboardInterrupt` in any task end the event loop, and with it the server;
other errors that are no `Exception` end an execution with nothing on record, and the run starts over again.
Let through is only what is meant for this process or task: a Ctrl-C, a cancellation, the closing of a
coroutine whose loop is gone.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from orchestration.exceptions import OrchestrationError, plain_words

T = TypeVar("T")

# The first two end the event loop, the last one ends whatever awaits it.
ENDING_MORE = (SystemExit, KeyboardInterrupt, GeneratorExit)


@dataclass(frozen=True, slots=True)
class Returned(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


Caught: TypeAlias = Returned[T] | Raised


class Exited(OrchestrationError):
    """A run's task raised SystemExit or the like: only the task has failed."""


async def catch(awaitable: Awaitable[T]) -> Caught[T]:
    """Await, and return the result or what was raised."""
    task = asyncio.current_task()
    try:
        return Returned(await awaitable)
    except BaseException as error:
        if _is_meant_for(task, error):
            raise
        return Raised(error)


def call(function: Callable[[], T]) -> Caught[T]:
    """Call a function in a thread, and return its result or what it raised.

    The Future that carries the result to the event loop can't carry a StopIteration (whoever awaits it would
    wait for ever) or a GeneratorExit (it would close its waiter).
    """
    try:
        return Returned(function())
    except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
        return Raised(error)


def call_for_anybody(function: Callable[[], T]) -> T:
    """Call other people's code, and raise what it raises as an Exception, which can be awaited."""
    caught = call(function)
    if isinstance(caught, Returned):
        return caught.value
    error = caught.error
    if _is_ctrl_c(error) or (isinstance(error, Exception) and not isinstance(error, StopIteration)):
        raise error
    raise RuntimeError(plain_words(error)) from error


def enter_run() -> None:
    """Mark this task, and the tasks that it starts from now on, as executing the code of a run."""
    _in_a_run.set(True)


def contain_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Contain what the tasks raise that the code of runs starts on this loop. Idempotent."""
    factory = loop.get_task_factory()
    if not isinstance(factory, _Factory):
        loop.set_task_factory(_Factory(factory))


def _is_meant_for(task: asyncio.Task[Any] | None, error: BaseException) -> bool:
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):
        return _current_task() is not task
    return _is_ctrl_c(error)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _is_ctrl_c(error: BaseException) -> bool:
    """Tell whether a signal can have raised it here: servers and workers have handlers of their own."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


class _Factory:
    """Make a loop's tasks as before, but contain those of runs."""

    def __init__(self, former: Any) -> None:
        self._make: Any = former or _task

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        context: Context | None = None,
        **more: Any,
    ) -> Any:
        contained = _in_a_run.get() if context is None else context.get(_in_a_run, False)
        if contained and asyncio.iscoroutine(coroutine):
            coroutine = _Contained(coroutine)
        if context is not None:
            more["context"] = context
        return self._make(loop, coroutine, **more)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **more)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that can't exit the process.

    No `async def` around it: that coroutine might be cancelled before it begins to await this one.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except ENDING_MORE as error:
            raise _ending_its_task(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except ENDING_MORE as raised:
            raise _ending_its_task(raised) from raised

    def close(self) -> None:
        self._coroutine.close()


def _ending_its_task(error: BaseException) -> BaseException:
    return error if _is_ctrl_c(error) else Exited(plain_words(error))


_in_a_run: ContextVar[bool] = ContextVar("sayso_in_a_run", default=False)
