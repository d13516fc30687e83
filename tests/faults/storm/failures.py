"""What the code of runs raises in a storm: exceptions of every kind, from everywhere.

Each has to become a run, or a step, that failed, in words; and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from orchestration import Run

# Where it is raised: in the orchestration itself, in a task of its own, in a step's function.
BODY, TASK, STEP, ASYNC_STEP = "body", "task", "step", "async step"
PLACES = (BODY, TASK, STEP, ASYNC_STEP)
STEP_KEY = "failure"


class Own(BaseException):
    """No Exception, and none that anybody knows."""


class Unspeakable(Exception):
    """Who asks for its text gets another one."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _several() -> BaseException:
    return BaseExceptionGroup("several", [SystemExit(1), ValueError("one of several")])


FAILURES: Mapping[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("as usual"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "BaseExceptionGroup": _several,
    "CancelledError": asyncio.CancelledError,
    "Own": Own,
    "Unspeakable": Unspeakable,
}
# What the record says where that is not the name.
_WORDS = {"BaseExceptionGroup": "one of several"}


async def fail(run: Run, name: str, place: str) -> None:
    """Raise it there."""
    if place == STEP:
        await run.step("fail", _fail, name, key=STEP_KEY, idempotent=True)
    elif place == ASYNC_STEP:
        await run.step("fail", _fail_later, name, key=STEP_KEY, idempotent=True)
    elif place == TASK:
        await asyncio.create_task(_fail_later(name))
    else:
        _fail(name)


def reason_of(name: str, place: str) -> str:
    """Why the run failed, as its record has it."""
    if place in (STEP, ASYNC_STEP):
        return "step_failed"
    return "cancelled_itself" if name == "CancelledError" else "error"


def words_of(name: str, place: str) -> str:
    """What the record's text says of it, among other things."""
    if reason_of(name, place) == "cancelled_itself":
        return "cancelled from within"
    return _WORDS.get(name, name)


def _fail(name: str) -> NoReturn:
    raise FAILURES[name]()


async def _fail_later(name: str) -> NoReturn:
    await asyncio.sleep(0)
    _fail(name)
