"""Agents and workflows of the Agent Framework, which stop for people."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Executor, InMemoryCheckpointStorage, WorkflowContext, handler, response_handler
from agent_framework.exceptions import MiddlewareException
from sayso_client import Rejected, TimedOut, UnfitValue
from sayso_client.agent_framework import Files, RunEnded, approvals, run_with_approvals, run_workflow

from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example
from tests.adapters.framework_agent import Scripted, agent, magentic, storage, workflow

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

REJECTED = "Error: Tool call invocation was rejected by user."


# --- Tools that need approval ---


async def run(desk: Desk, folder: Path, turns: list[Any], *said: list[Say], **options: Any) -> str:
    """Run an agent while Ann decides, stop by stop; what its model was told, call by call."""
    name = options.pop("run", "run-1")
    async with desk.asking_async() as sayso:
        ends = run_with_approvals(agent(*turns), "Pay.", sayso, run=name, store=Files(folder), **options)
        running = asyncio.ensure_future(ends)
        for one in said:
            await asyncio.to_thread(desk.decide, *one)
        return str((await running).text)


async def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk, tmp_path: Path) -> None:
    """Whole numbers stay what they are, and are not edited."""
    told = await run(desk, tmp_path, [(2**60, 2)], ["approve", ("reject", "not before Friday")])
    assert told == f"paid 5 for {2**60} | {REJECTED}"
    first, second = desk.all()
    assert (second.title, second.raw["arguments"]) == ("refund(order=2)", {"order": 2})
    assert not first.raw["editable"]
    assert first.raw["origin"] == {"kind": "agent-framework", "id": "run-1"}


async def test_an_equal_call_with_the_same_id_is_asked_anew(desk: Desk, tmp_path: Path) -> None:
    """In a run, and in another one. A run that has ended has ended for ever."""
    no: Say = ("reject", "once is enough")
    told = await run(desk, tmp_path, [(1,), (1,)], ["approve"], [no])
    assert told == f"paid 5 for 1 | {REJECTED}"
    assert await run(desk, tmp_path, [(1,)], [no], run="run-2") == REJECTED
    with pytest.raises(RunEnded) as ended:
        await run(desk, tmp_path, [(1,)])
    assert ended.value.output == told


async def test_silence_rejects(desk: Desk, tmp_path: Path) -> None:
    """And what the program chooses is approved unasked."""
    told = await run(
        desk, tmp_path, [(1, 2)], timeout=0.01, when=lambda name, arguments: arguments["order"] > 1
    )
    assert told == f"paid 5 for 1 | {REJECTED}"


def test_an_agent_that_is_killed_takes_its_run_up(desk: Desk, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice, nothing runs twice."""
    with desk.start("framework_agent", "session", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("framework_agent", "session", tmp_path) as second:
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    assert second.output.text == f"paid 5 for 1\npaid 5 for 1 | {REJECTED}\n"
    assert len(desk.all()) == 2


# --- Inline ---


async def inline(desk: Desk, turns: list[Any], *said: list[Say], **options: Any) -> str:
    async with desk.asking_async() as sayso:
        asks = approvals(sayso, run="run-1", **options)
        running = asyncio.ensure_future(agent(*turns, middleware=[asks]).run("Pay."))
        for one in said:
            await asyncio.to_thread(desk.decide, *one)
        return str((await running).text)


async def test_inline_people_change_calls_and_say_why_not(desk: Desk) -> None:
    """Each call is asked by itself, also an equal one with the same id."""
    said: list[list[Say]] = [["approve"], [("edit", {"amount": 4})], [("reject", "no")]]
    told = await inline(desk, [(1,), (2**60,), (1,)], *said)
    assert told == f"paid 5 for 1 | paid 4 for {2**60} | Rejected by ann: no"


async def test_inline_silence_rejects(desk: Desk) -> None:
    told = await inline(desk, [(1, 2)], timeout=0.01, when=lambda name, arguments: arguments["order"] > 1)
    assert told == "paid 5 for 1 | Nobody decided in time."


async def test_inline_nothing_is_done_where_nobody_can_be_asked(desk: Desk) -> None:
    """The run ends with that; it is nothing for the model."""
    with pytest.raises(MiddlewareException, match="nobody-of-this-name"):
        await inline(desk, [(1,)], assignees=["nobody-of-this-name"])


def test_what_was_asked_inline_is_taken_back_and_asked_anew(desk: Desk, tmp_path: Path) -> None:
    with desk.start("framework_agent", "inline", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("framework_agent", "inline", tmp_path) as second:
        desk.ann.wait(after.id)
        desk.decide("approve", "approve", process=second)
        assert second.wait() == 0, second.output.text
    assert second.output.text.endswith("paid 5 for 1 | paid 5 for 2\n")
    assert sorted(request.status for request in desk.all()) == ["approved"] * 3 + ["withdrawn"]


# --- Workflows ---


async def flow(
    desk: Desk, one: Any, message: Any, *said: list[Say], kept: Any = None, **options: Any
) -> list[str]:
    """Run a workflow while Ann decides, stop by stop; what comes out."""
    kept = kept or InMemoryCheckpointStorage()
    async with desk.asking_async() as sayso:
        ends = run_workflow(one, message, sayso, run="run-1", storage=kept, **options)
        running = asyncio.ensure_future(ends)
        for each in said:
            await asyncio.to_thread(desk.decide, *each)
        return [str(output) for output in (await running).get_outputs()]


async def test_a_workflow_hears_the_outcome(desk: Desk, tmp_path: Path) -> None:
    """Approved, changed, rejected: several requests at once, each with its own."""
    said: list[Say] = ["approve", ("edit", {"amount": 4}), ("reject", "not before Friday")]
    outputs = await flow(desk, workflow(), [1, 2, 3], said, kept=storage(tmp_path))
    assert outputs == [
        "1: Approved by ann.",
        "2: Approved by ann with changed arguments.",
        "3: Rejected by ann: not before Friday",
    ]
    assert [request.title for request in desk.all()][1:] == [
        "Refund(order=2, amount=5)",
        "Refund(order=3, amount=5)",
    ]


async def test_a_workflow_hears_of_silence(desk: Desk) -> None:
    """And what the program chooses is approved unasked."""
    outputs = await flow(
        desk, workflow(), [1, 2], timeout=0.01, when=lambda name, arguments: arguments["order"] > 1
    )
    assert outputs == ["1: Approved.", "2: Nobody decided in time."]


class Asks(Executor):
    """Asks this, and gives out what it hears; twice under one name."""

    def __init__(self, what: Any, wanted: Any) -> None:
        super().__init__(id="asks")
        self.what, self.wanted, self.heard = what, wanted, 0

    @handler
    async def begin(self, message: str, ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.request_info(self.what, self.wanted, request_id="it")

    @response_handler(request=str | dict, response=str | bool | int, workflow_output=str | bool | int)
    async def hear(self, asked: Any, said: Any, ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output(said)
        self.heard += 1
        if self.heard < 2:
            await ctx.request_info(asked, self.wanted, request_id="it")


@pytest.mark.parametrize(
    ("what", "wanted", "said", "heard"),
    [
        ("Which region?", str, [("answer", "eu"), ("answer", "us")], "us"),
        ({"question": "How many?", "of": "servers"}, int, [("answer", 3), ("answer", 4)], "4"),
        ("Ship it?", bool, ["approve", ("reject", "no")], "False"),
    ],
)
async def test_what_is_asked_follows_from_the_type_of_the_answer(
    desk: Desk, what: Any, wanted: Any, said: list[Say], heard: str
) -> None:
    """A request whose name a workflow repeats is asked anew."""
    outputs = await flow(desk, workflow(Asks(what, wanted)), "Begin.", *([one] for one in said))
    assert outputs == [heard]


async def test_what_a_workflow_can_not_be_told_is_raised(desk: Desk) -> None:
    """The run stays where it is: the same outcome again."""
    kept = InMemoryCheckpointStorage()
    for _ in range(2):
        with pytest.raises(TimedOut):
            await flow(desk, workflow(Asks("Which?", str)), "Begin.", kept=kept, timeout=0.01)
    assert len(desk.all()) == 1
    with pytest.raises(UnfitValue):
        await flow(desk, workflow(Asks({"x": object()}, bool)), "Begin.")


def test_a_workflow_that_is_killed_is_taken_up(desk: Desk, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice."""
    with desk.start("framework_agent", "workflow", tmp_path) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("framework_agent", "workflow", tmp_path) as second:
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    told = "1: Approved by ann.\n2: Rejected by ann: not this one\n"
    assert second.output.text == f"paid 5 for 1\n{told}"
    assert len(desk.all()) == 2


def test_a_plan_is_reviewed_through_restarts(desk: Desk, tmp_path: Path) -> None:
    with desk.start("framework_agent", "magentic", tmp_path) as first:
        (plan,) = desk.pending(1, first)
        first.kill()
    desk.say(plan, ("reject", "only those of May"))
    with desk.start("framework_agent", "magentic", tmp_path) as second:
        (revised,) = desk.pending(1, second)
        second.kill()
    assert revised.raw["details"] == "1. Pay, but: only those of May"
    with desk.start("framework_agent", "magentic", tmp_path) as third:
        desk.say(revised, "approve")
        assert third.wait() == 0, third.output.text
    assert third.output.text.startswith("Done.")
    assert len(desk.all()) == 2


async def test_a_plan_is_approved_or_revised(desk: Desk) -> None:
    """And an agent of the workflow asks about its own calls."""
    outputs = await flow(
        desk, magentic((7,)), "Pay.", [("reject", "only those of May")], ["approve"], ["approve"]
    )
    assert outputs[-1] == "Done. paid 5 for 7"
    plan, revised, call = desk.all()
    assert (plan.title, plan.raw["details"]) == ("Approve the plan?", "1. Pay everybody.")
    assert revised.raw["details"] == "1. Pay, but: only those of May"
    assert call.title == "refund(order=7)"


async def test_a_plan_that_is_refused_without_words_ends_the_run(desk: Desk) -> None:
    with pytest.raises(Rejected):
        await flow(desk, magentic(), "Pay.", [("reject", "")])
    with pytest.raises(TimedOut):
        await flow(desk, magentic(), "Pay.", timeout=0.01)


async def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    model = 'OpenAIChatClient(model="gpt-5-mini")'
    example = asyncio.to_thread(run_example, "Agent Framework", model, Scripted((812,)))
    running = asyncio.ensure_future(example)
    await asyncio.to_thread(desk.decide, "approve")
    assert (await running)["result"].text == "paid back 812"
