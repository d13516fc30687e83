"""Runs of OpenAI Agents, which stop for people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sayso_client.openai_agents import Files, RunEnded, run_with_approvals

from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example
from tests.adapters.openai_agent import agent, turn

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]


class Memory:
    """A store that is awaited, and keeps only what is asked of it."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def save(self, run: str, text: str) -> None:
        self.kept[run] = text

    async def load(self, run: str) -> str | None:
        return self.kept.get(run)


async def run(desk: Desk, one: Any, *said: Say, name: str = "run-1", **options: Any) -> str:
    """Run it while Ann decides; what the model was told, call by call."""
    store = options.pop("store", None) or Memory()
    async with desk.asking_async() as sayso:
        running = asyncio.ensure_future(
            run_with_approvals(one, "Pay.", sayso, run=name, store=store, **options)
        )
        if said:
            await asyncio.to_thread(desk.decide, *said)
        return str((await running).final_output)


async def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk) -> None:
    """The reason of a rejection reaches the model; whole numbers stay what they are, and are not edited."""
    told = await run(desk, agent(turn(2**60, 2)), "approve", ("reject", "not before Friday"))
    assert told == f"paid {2**60} in EUR | Rejected by ann: not before Friday"
    first, second = desk.all()
    assert (second.title, second.raw["arguments"]) == ("refund(order=2)", {"order": 2})
    assert not first.raw["editable"]


async def test_silence_rejects(desk: Desk) -> None:
    assert await run(desk, agent(turn(1)), timeout=0.01) == "Nobody decided in time."


async def test_the_calls_of_another_run_are_other_calls(desk: Desk) -> None:
    """Models repeat the names of their calls."""
    assert await run(desk, agent(turn(1)), "approve", name="run-1") == "paid 1 in EUR"
    assert await run(desk, agent(turn(1)), ("reject", "enough"), name="run-2") == "Rejected by ann: enough"


async def test_each_stop_is_asked_by_itself(desk: Desk, tmp_path: Path) -> None:
    """One request after the other; at the end the run has ended for ever."""
    payments, store = agent(turn(1), turn(0, 2)[1:]), Files(tmp_path / "runs")
    async with desk.asking_async() as sayso:
        running = asyncio.ensure_future(run_with_approvals(payments, "Pay.", sayso, run="run-1", store=store))
        await asyncio.to_thread(desk.decide, "approve")
        await asyncio.to_thread(desk.decide, ("reject", "once is enough"))
        result = await running
        assert result.final_output == "paid 1 in EUR | Rejected by ann: once is enough"
        with pytest.raises(RunEnded) as ended:
            await run_with_approvals(payments, "Pay.", sayso, run="run-1", store=store)
    assert ended.value.output == result.final_output


async def test_who_is_asked_about_what_is_the_programs_choice(desk: Desk) -> None:
    told = await run(
        desk,
        agent(turn(1, 2)),
        ("reject", "no"),
        when=lambda name, arguments: arguments["order"] > 1,
        title=lambda call: f"Pay {call.arguments['order']}?",
    )
    assert told == "paid 1 in EUR | Rejected by ann: no"
    assert [request.title for request in desk.all()] == ["Pay 2?"]


def test_an_agent_that_is_killed_takes_its_run_up(desk: Desk, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice, nothing runs twice."""
    with desk.start("openai_agent", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("openai_agent", tmp_path, "again") as second:
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    assert second.output.text == "paid 1 in CHF\npaid 1 in CHF | Rejected by ann: not this one\n"
    assert len(desk.all()) == 2


async def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    model = agent(turn(812)).model
    example = asyncio.to_thread(run_example, "OpenAI Agents", '"gpt-5-mini"', model)
    running = asyncio.ensure_future(example)
    await asyncio.to_thread(desk.decide, "approve")
    assert (await running)["result"].final_output == "paid back 812"
