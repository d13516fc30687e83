"""Processes that hold objects whose methods are called from here."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import psutil
import pytest

from orchestration.benchmark.installation import Stack as Measured
from orchestration.benchmark.processes import Environment, ProcessFailed, in_turns
from tests.orchestration.benchmark.remotes import Parrot
from tests.stacks import Stack

pytestmark = [pytest.mark.one_stack, pytest.mark.processes]


def environment_of(stack: Stack, *, two_processes: bool = True) -> Environment:
    """An environment whose processes share this stack's database."""
    measured = Measured(database="given" if two_processes else "embedded", layer="given")
    return Environment(measured, stack.environment, loop="asyncio", progress=lambda done, expected: None)


@pytest.fixture
async def environment(stack: Stack) -> AsyncIterator[Environment]:
    async with environment_of(stack) as environment:
        yield environment


async def test_a_method_runs_there_and_its_result_comes_back(environment: Environment) -> None:
    parrot = await environment.start(Parrot)
    assert await parrot.say(["a", "ü"]) == ["a", "ü"]
    assert await parrot.say(["a"], loudly=True) == ["A"]
    assert tuple(await parrot.count()) == (1, 2)


async def test_a_line_may_be_longer_than_any_buffer(environment: Environment) -> None:
    parrot = await environment.start(Parrot)
    words = ["x" * 1000] * 1000
    assert await parrot.say(words) == words


async def test_what_a_method_raises_comes_back_with_its_traceback(environment: Environment) -> None:
    parrot = await environment.start(Parrot)
    with pytest.raises(ProcessFailed, match=r"(?s)Traceback.*in stumble.*ValueError: a stone"):
        await parrot.stumble()
    assert await parrot.say(["on"]) == ["on"]


async def test_a_process_that_dies_fails_who_asked(environment: Environment) -> None:
    parrot = await environment.start(Parrot)
    with pytest.raises(ProcessFailed, match=r"a process ended with -9"):
        await parrot.die()
    with pytest.raises(ProcessFailed, match=r"a process ended with -9"):
        await parrot.pid()


async def test_objects_that_talk_to_each_other_have_a_process_each_where_the_stack_carries_two(
    stack: Stack,
) -> None:
    for two_processes in (True, False):
        async with environment_of(stack, two_processes=two_processes) as environment:
            one = await environment.start(Parrot)
            other = await environment.start(Parrot, beside=one)
            apart = await one.pid() != await other.pid()
            assert apart is two_processes


async def test_processes_end_with_their_environment(stack: Stack) -> None:
    async with environment_of(stack) as environment:
        parrot = await environment.start(Parrot)
        process = psutil.Process(await parrot.pid())
    assert not process.is_running()


async def test_a_stopped_process_has_ended(environment: Environment) -> None:
    parrot = await environment.start(Parrot)
    process = psutil.Process(await parrot.pid())
    await environment.stop(parrot)
    assert not process.is_running()
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(0)


async def test_rounds_are_as_usual_unless_told_otherwise(stack: Stack, environment: Environment) -> None:
    told = Environment(environment.stack, {}, loop="asyncio", progress=lambda done, expected: None, rounds=2)
    assert (environment.rounds(5), told.rounds(5)) == (5, 2)


def test_each_contender_has_each_place_equally_often() -> None:
    contenders = ("a", "b", "c")
    orders = [in_turns(contenders, number) for number in range(6)]
    for place in range(3):
        assert Counter(order[place] for order in orders) == dict.fromkeys(contenders, 2)


def test_what_is_done_is_counted() -> None:
    told: list[tuple[int, int]] = []
    stack = Measured(database="embedded", layer="embedded")
    environment = Environment(stack, {}, loop="asyncio", progress=lambda *counts: told.append(counts))
    assert list(environment.turns(["a", "b"], 2)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
