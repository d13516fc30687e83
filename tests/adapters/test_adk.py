"""Agents of Google's ADK, whose tools wait for people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.adk.sessions import InMemorySessionService
from sayso_client import Invalid
from sayso_client.adk import approvals, run_with_approvals

from tests.adapters.adk_agent import Scripted, asks_itself, inline, output, runner
from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

REJECTED = "This tool call is rejected."


async def run(desk: Desk, one: Any, *said: list[Say], session: str = "s", **options: Any) -> str:
    """Run an agent while Ann decides, stop by stop; what its model was told, call by call."""
    async with desk.asking_async() as sayso:
        ends = run_with_approvals(one, "Pay.", sayso, user_id="u", session_id=session, **options)
        running = asyncio.ensure_future(ends)
        for each in said:
            await asyncio.to_thread(desk.decide, *each)
        return output(await running)


async def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk) -> None:
    """Whole numbers stay what they are, and are not edited."""
    told = await run(desk, runner((2**60, 2)), ["approve", ("reject", "not before Friday")])
    assert told == f"paid 5 for {2**60} | {REJECTED}"
    first, second = desk.all()
    assert (second.title, second.raw["arguments"]) == ("refund(order=2)", {"order": 2})
    assert not first.raw["editable"]
    assert first.raw["details"] == ""
    assert first.raw["origin"] == {"kind": "adk", "id": "shop:u:s"}


async def test_an_equal_call_with_the_same_id_is_asked_anew(desk: Desk) -> None:
    """In a session, and in another one."""
    no: Say = ("reject", "once is enough")
    service = InMemorySessionService()
    told = await run(desk, runner((1,), (1,), service=service), ["approve"], [no])
    assert told == f"paid 5 for 1 | {REJECTED}"
    assert await run(desk, runner((1,), service=service), [no], session="t") == REJECTED


async def test_silence_rejects(desk: Desk) -> None:
    """And what the program chooses is approved unasked."""
    told = await run(desk, runner((1, 2)), timeout=0.01, when=lambda name, arguments: arguments["order"] > 1)
    assert told == f"paid 5 for 1 | {REJECTED}"


async def test_a_tool_that_asks_itself_hears_why_not(desk: Desk) -> None:
    """And its hint is shown."""
    told = await run(desk, runner((1, 2), tool=asks_itself), ["approve", ("reject", "too old")], run="run-7")
    assert told == "paid 1 | Rejected by ann: too old"
    (request, _) = desk.all()
    assert (request.raw["details"], request.raw["origin"]["id"]) == ("Order 1 is old.", "run-7")


def test_an_agent_that_is_killed_takes_its_session_up(desk: Desk, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice, nothing runs twice."""
    with desk.start("adk_agent", "session", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("adk_agent", "session", tmp_path) as second:
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    assert second.output.text == f"paid 5 for 1\npaid 5 for 1 | {REJECTED}\n"
    assert len(desk.all()) == 2


@pytest.mark.parametrize("stop", ["tool", "model"])
async def test_a_session_that_stopped_after_it_was_told_goes_on(desk: Desk, stop: str) -> None:
    """Before the tool has run, or after it: what people said is told again, and counts once."""
    service = InMemorySessionService()
    one = runner((1,), service=service, stop=stop)
    with pytest.raises(ConnectionError):
        await run(desk, one, ["approve"])
    assert await run(desk, runner((1,), service=service)) == "paid 5 for 1"
    assert len(desk.all()) == 1


async def test_inline_people_change_calls_and_say_why_not(desk: Desk) -> None:
    """Each call is asked by itself, also an equal one with the same id."""
    async with desk.asking_async() as sayso:
        asks = approvals(sayso, run="run-1")
        running = asyncio.ensure_future(inline(runner((1,), (2**60,), (1,), asks=asks)))
        for said in ["approve", ("edit", {"order": 3, "amount": 4}), ("reject", "once is enough")]:
            await asyncio.to_thread(desk.decide, said)
        assert await running == "paid 5 for 1 | paid 4 for 3 | Rejected by ann: once is enough"


async def test_inline_silence_rejects(desk: Desk) -> None:
    """And where nobody can be asked, the run ends."""
    async with desk.asking_async() as sayso:
        asks = approvals(sayso, run="r", timeout=0.01, when=lambda name, arguments: arguments["order"] > 1)
        assert await inline(runner((1, 2), asks=asks)) == "paid 5 for 1 | Nobody decided in time."
        with pytest.raises(Invalid, match="nobody-of-this-name"):
            await inline(runner((1,), asks=approvals(sayso, run="r", assignees=["nobody-of-this-name"])))


def test_what_was_asked_inline_is_taken_back_and_asked_anew(desk: Desk, tmp_path: Path) -> None:
    with desk.start("adk_agent", "inline", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("adk_agent", "inline", tmp_path) as second:
        desk.ann.wait(after.id)
        desk.decide("approve", ("reject", "not this one"), process=second)
        assert second.wait() == 0, second.output.text
    assert "Rejected by ann: not this one" in second.output.text
    statuses = sorted(request.status for request in desk.all())
    assert statuses == ["approved", "approved", "rejected", "withdrawn"]


async def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    example = asyncio.to_thread(run_example, "Google ADK", '"gemini-2.5-flash"', Scripted(turns=[(812,)]))
    running = asyncio.ensure_future(example)
    await asyncio.to_thread(desk.decide, "approve")
    assert (await running)["answer"] == "paid back 812"
