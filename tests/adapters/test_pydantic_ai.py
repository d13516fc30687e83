"""Agents of pydantic-ai, whose tools wait for people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sayso_client.pydantic_ai import approvals

from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example
from tests.adapters.pydantic_agent import agent, run_saved, scripted, turn

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

both_ways = pytest.mark.parametrize("how", ["saved", "inline"])


async def run(desk: Desk, how: str, turns: list[Any], *said: list[Say], folder: Path, **options: Any) -> str:
    """Run an agent while Ann decides, stop by stop; what its model was told, call by call."""
    async with desk.asking_async() as sayso:
        if how == "saved":
            ends = run_saved(agent(*turns), sayso, folder / "messages.json", run="run-1", **options)
            running = asyncio.ensure_future(ends)
        else:
            inline = agent(*turns, capabilities=[approvals(sayso, run="run-1", **options)])
            running = asyncio.ensure_future(_output(inline))
        for one in said:
            await asyncio.to_thread(desk.decide, *one)
        return await running


async def _output(inline: Any) -> str:
    return str((await inline.run("Pay.")).output)


@both_ways
async def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk, how: str, tmp_path: Path) -> None:
    """Approved, changed, rejected: the reason reaches the model; whole numbers stay what they are."""
    said: list[Say] = ["approve", ("edit", {"amount": 4}), ("reject", "not before Friday")]
    turns = [turn(2**60, 2, 3)]
    told = await run(desk, how, turns, said, folder=tmp_path)
    assert told == f"paid 5 for {2**60} | paid 4 for 2 | Rejected by ann: not before Friday"
    assert desk.all()[1].title == "refund(order=2)"


@both_ways
async def test_an_equal_call_with_the_same_id_is_asked_anew(desk: Desk, how: str, tmp_path: Path) -> None:
    """Models repeat the names of their calls."""
    said: list[list[Say]] = [["approve"], [("reject", "once is enough")]]
    told = await run(desk, how, [turn(1), turn(1)], *said, folder=tmp_path)
    assert told == "paid 5 for 1 | Rejected by ann: once is enough"


@both_ways
async def test_silence_rejects(desk: Desk, how: str, tmp_path: Path) -> None:
    """And what the program chooses is approved unasked."""
    told = await run(
        desk,
        how,
        [turn(1, 2)],
        folder=tmp_path,
        timeout=0.01,
        when=lambda name, arguments: arguments["order"] > 1,
    )
    assert told == "paid 5 for 1 | Nobody decided in time."


def test_an_agent_that_is_killed_takes_its_run_up(desk: Desk, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice, nothing runs twice."""
    file = tmp_path / "messages.json"
    with desk.start("pydantic_agent", "saved", file) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("pydantic_agent", "saved", file) as second:
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    assert second.output.text == "paid 5 for 1\npaid 5 for 1 | Rejected by ann: not this one\n"
    assert len(desk.all()) == 2
    with desk.start("pydantic_agent", "saved", file) as third:  # it has ended: nothing is done again
        assert third.wait() == 0
    assert third.output.text == "paid 5 for 1 | Rejected by ann: not this one\n"


def test_what_was_asked_inline_is_taken_back_and_asked_anew(desk: Desk, tmp_path: Path) -> None:
    """Also what was decided: the call that was approved is gone with its process."""
    with desk.start("pydantic_agent", "inline", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("pydantic_agent", "inline", tmp_path) as second:
        desk.ann.wait(after.id)
        desk.decide("approve", ("reject", "not this one"), process=second)
        assert second.wait() == 0, second.output.text
    assert second.output.text == "paid 5 for 1\npaid 5 for 1 | Rejected by ann: not this one\n"
    assert [request.status for request in desk.all()] == ["approved", "withdrawn", "approved", "rejected"]


async def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    example = asyncio.to_thread(run_example, "pydantic-ai", '"openai:gpt-5-mini"', scripted(turn(812)))
    running = asyncio.ensure_future(example)
    await asyncio.to_thread(desk.decide, "approve")
    assert (await running)["answer"] == "paid back 812"
