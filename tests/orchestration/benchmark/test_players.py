"""Processes that play roles."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import psutil
import pytest

from orchestration.benchmark.installation import Stack as Measured
from orchestration.benchmark.players import PlayerFailed
from orchestration.benchmark.stage import Stage
from tests.orchestration.benchmark.parts import Parrot
from tests.stacks import Stack

pytestmark = [pytest.mark.one_stack, pytest.mark.processes]


def stage_of(stack: Stack, *, two_processes: bool = True) -> Stage:
    """A stage whose players share this stack's database."""
    measured = Measured(database="given" if two_processes else "embedded", layer="given")
    return Stage(measured, stack.environment, loop="asyncio", progress=lambda done, expected: None)


@pytest.fixture
async def stage(stack: Stack) -> AsyncIterator[Stage]:
    async with stage_of(stack) as stage:
        yield stage


async def test_a_deed_is_done_there_and_its_result_comes_back(stage: Stage) -> None:
    parrot = await stage.part(Parrot)
    assert await parrot(Parrot.say, ["a", "ü"]) == ["a", "ü"]
    assert await parrot(Parrot.say, ["a"], loudly=True) == ["A"]
    assert tuple(await parrot(Parrot.count)) == (1, 2)


async def test_a_line_may_be_longer_than_any_buffer(stage: Stage) -> None:
    parrot = await stage.part(Parrot)
    words = ["x" * 1000] * 1000
    assert await parrot(Parrot.say, words) == words


async def test_what_a_deed_raises_comes_back_with_its_traceback(stage: Stage) -> None:
    parrot = await stage.part(Parrot)
    with pytest.raises(PlayerFailed, match=r"(?s)Traceback.*in stumble.*ValueError: a stone"):
        await parrot(Parrot.stumble)
    assert await parrot(Parrot.say, ["on"]) == ["on"]


async def test_a_player_that_dies_fails_who_asked(stage: Stage) -> None:
    parrot = await stage.part(Parrot)
    with pytest.raises(PlayerFailed, match=r"a player ended with -9"):
        await parrot(Parrot.die)
    with pytest.raises(PlayerFailed, match=r"a player ended with -9"):
        await parrot(Parrot.pid)


async def test_opposite_parts_have_a_process_each_where_the_stack_carries_two(stack: Stack) -> None:
    for two_processes in (True, False):
        async with stage_of(stack, two_processes=two_processes) as stage:
            one = await stage.part(Parrot)
            other = await stage.part(Parrot, opposite=one)
            apart = await one(Parrot.pid) != await other(Parrot.pid)
            assert apart is two_processes


async def test_players_end_with_their_stage(stack: Stack) -> None:
    async with stage_of(stack) as stage:
        parrot = await stage.part(Parrot)
        player = psutil.Process(await parrot(Parrot.pid))
    assert not player.is_running()


async def test_a_dismissed_player_has_ended(stage: Stage) -> None:
    parrot = await stage.part(Parrot)
    player = psutil.Process(await parrot(Parrot.pid))
    await stage.dismiss(parrot)
    assert not player.is_running()
    with contextlib.suppress(psutil.NoSuchProcess):
        player.wait(0)


async def test_rounds_are_as_usual_unless_told_otherwise(stack: Stack, stage: Stage) -> None:
    told = Stage(stage.stack, {}, loop="asyncio", progress=lambda done, expected: None, rounds=2)
    assert (stage.rounds(5), told.rounds(5)) == (5, 2)
