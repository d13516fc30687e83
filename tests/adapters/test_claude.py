"""Agents of the Claude Agent SDK, whose calls wait for people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sayso_client.claude import can_use_tool

from tests.adapters.claude_agent import client, run, scripted, turn
from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]


async def decided(desk: Desk, turns: list[Any], *said: Say, folder: Path, **options: Any) -> str:
    """Run an agent while Ann decides, call by call; what its model was told."""
    async with desk.asking_async() as sayso:
        with scripted(*turns, folder=folder) as environment:
            asks = can_use_tool(sayso, run="run-1", **options)
            running = asyncio.ensure_future(run(asks, environment))
            for one in said:
                await asyncio.to_thread(desk.decide, one)
            return await running


async def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk, tmp_path: Path) -> None:
    """Approved, changed, rejected: the reason reaches the model."""
    said = ["approve", ("edit", {"amount": 4}), ("reject", "not before Friday")]
    told = await decided(desk, [turn(1, 2, 3)], *said, folder=tmp_path)
    assert told == "paid 5 for 1 | paid 4 for 2 | Rejected by ann: not before Friday"
    assert desk.all()[0].title == "mcp__payments__refund(order=1, amount=5)"


async def test_an_equal_call_with_the_same_id_is_asked_anew(desk: Desk, tmp_path: Path) -> None:
    """Also by the next agent of the same name. Claude itself tells the model the first result only."""
    said = ["approve", ("reject", "once is enough")]
    await decided(desk, [turn(1), turn(1)], *said, folder=tmp_path)
    told = await decided(desk, [turn(1)], ("reject", "enough"), folder=tmp_path)
    assert told == "Rejected by ann: enough"
    assert [request.status for request in desk.all()] == ["approved", "rejected", "rejected"]


async def test_silence_rejects(desk: Desk, tmp_path: Path) -> None:
    """And what the program chooses is approved unasked."""
    told = await decided(
        desk,
        [turn(1, 2)],
        folder=tmp_path,
        timeout=0.01,
        when=lambda name, arguments: arguments["order"] > 1,
    )
    assert told == "paid 5 for 1 | Nobody decided in time."


async def test_what_an_agent_does_not_wait_for_any_more_is_taken_back(desk: Desk, tmp_path: Path) -> None:
    async with desk.asking_async() as sayso:
        with scripted(turn(1), folder=tmp_path) as environment:
            async with client(can_use_tool(sayso, run="run-1"), environment) as claude:
                await claude.query("Pay.")
                (request,) = await asyncio.to_thread(desk.pending, 1)
                await claude.interrupt()
                outcome = await asyncio.to_thread(desk.ann.wait, request.id)
                assert [message async for message in claude.receive_response()]
    assert outcome.withdrawn


def test_what_was_asked_before_a_crash_is_taken_back_and_asked_anew(desk: Desk, tmp_path: Path) -> None:
    with desk.start("claude_agent", tmp_path) as first:
        (before,) = desk.pending(1, first)
        first.kill()
    with desk.start("claude_agent", tmp_path) as second:
        assert desk.ann.wait(before.id).withdrawn
        desk.decide("approve", process=second)
        desk.decide(("reject", "not this one"), process=second)
        assert second.wait() == 0, second.output.text
    assert second.output.text == "paid 5 for 1\npaid 5 for 1 | Rejected by ann: not this one\n"


async def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk.be_set_up(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with scripted(turn(812), folder=tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        running = asyncio.ensure_future(asyncio.to_thread(run_example, "Claude Agent SDK"))
        await asyncio.to_thread(desk.decide, "approve")
        assert (await running)["answer"] == "paid back 812"
