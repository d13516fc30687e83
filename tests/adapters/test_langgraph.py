"""Graphs of LangGraph and agents of LangChain, which stop for people."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from sayso_client import Rejected, TimedOut, UnfitValue
from sayso_client.langgraph import arun_with_approvals, run_with_approvals

from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example
from tests.adapters.langgraph_agent import TASK, Scripted, agent, config, turn

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

both_modes = pytest.mark.parametrize("mode", ["batched", "per_call"])


def run(desk: Desk, graph: Any, *said: Say, task: Any = TASK, **options: Any) -> Any:
    """Run it in a thread of its own, while Ann decides."""
    with desk.asking() as sayso, ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_with_approvals, graph, task, config(), sayso, **options)
        if said:
            desk.decide(*said)
        return running.result()


def told(result: Any) -> list[str]:
    """What the model was told of its calls, by turn and call."""
    answers = [message for message in result["messages"] if message.type == "tool"]
    texts = []
    for message in result["messages"]:
        if message.type == "ai" and (count := len(message.tool_calls)):
            of_turn, answers = answers[:count], answers[count:]
            texts += [answer.text for answer in sorted(of_turn, key=lambda answer: answer.tool_call_id)]
    return texts


@both_modes
def test_the_calls_of_one_turn_are_decided_one_by_one(desk: Desk, mode: str) -> None:
    """Approved, changed, rejected: the reason reaches the model; whole numbers stay what they are."""
    graph = agent(InMemorySaver(), turn(1, 2**60, 3), mode=mode)
    result = run(desk, graph, "approve", ("edit", {"amount": 4}), ("reject", "not before Friday"))
    first, second, third = told(result)
    assert first == "paid 5 for 1"
    assert second.endswith(f"paid 4 for {2**60}")
    assert third.endswith("Rejected by ann: not before Friday")
    asked = desk.all()
    assert [request.title for request in asked][::2] == [
        "refund(order=1, amount=5)",
        "refund(order=3, amount=5)",
    ]
    assert asked[0].raw["origin"]["kind"] == "langgraph"


def test_people_see_what_the_tool_takes_where_calls_wait_by_themselves(desk: Desk) -> None:
    """Then LangGraph tells the schema of the arguments, which what people change must fit."""
    run(desk, agent(InMemorySaver(), turn(1), mode="per_call"), "approve")
    (request,) = desk.all()
    assert request.raw["editable"]["$ref"] == "#/$defs/refund"
    assert [*request.raw["editable"]["$defs"]] == ["refund"]


async def test_silence_rejects(desk: Desk) -> None:
    async with desk.asking_async() as sayso:
        graph = agent(InMemorySaver(), turn(1, 2))
        result = await arun_with_approvals(graph, TASK, config(), sayso, timeout=0.01)
    assert all(text.endswith("Nobody decided in time.") for text in told(result))


@both_modes
async def test_an_equal_call_with_the_same_id_is_asked_anew(desk: Desk, mode: str) -> None:
    """Models repeat the names of their calls."""
    graph = agent(InMemorySaver(), turn(1), turn(1), mode=mode)
    async with desk.asking_async() as sayso:
        running = asyncio.ensure_future(arun_with_approvals(graph, TASK, config(), sayso))
        await asyncio.to_thread(desk.decide, "approve")
        await asyncio.to_thread(desk.decide, ("reject", "once is enough"))
        first, second = told(await running)
    assert first == "paid 5 for 1"
    assert second.endswith("once is enough")


def test_who_is_asked_about_what_is_the_programs_choice(desk: Desk) -> None:
    """The other calls are approved; with two who must agree nobody can change the call."""
    result = run(
        desk,
        agent(InMemorySaver(), turn(1, 2)),
        ("reject", "no"),
        when=lambda name, arguments: arguments["order"] > 1,
        title=lambda call: f"Pay {call.arguments['order']}?",
        assignees=["ann"],
        run="run-7",
    )
    assert told(result)[0] == "paid 5 for 1"
    (request,) = desk.all()
    assert (request.title, request.raw["assignees"]["users"]) == ("Pay 2?", ["ann"])
    assert request.raw["origin"]["id"] == "run-7"


@both_modes
def test_a_tool_without_rejection_ends_the_run_and_keeps_the_thread(desk: Desk, mode: str) -> None:
    graph = agent(InMemorySaver(), turn(1), mode=mode, review={"allowed_decisions": ["edit"]})
    with pytest.raises(Rejected, match="never"):
        run(desk, graph, ("reject", "never"))
    assert graph.get_state(config()).interrupts


def test_the_answer_of_a_person_is_the_result_of_a_tool_that_is_a_person(desk: Desk) -> None:
    graph = agent(InMemorySaver(), turn(1), review={"allowed_decisions": ["respond"]})
    assert told(run(desk, graph, ("answer", "I have paid it."))) == ["I have paid it."]


@both_modes
def test_an_agent_that_is_killed_takes_its_run_up(desk: Desk, mode: str, tmp_path: Path) -> None:
    """What was decided meanwhile counts, what was not waits on; nobody is asked twice, nothing runs twice."""
    file = tmp_path / "state.sqlite3"
    with desk.start("langgraph_agent", file, mode) as first:
        before, after = desk.pending(2, first)
        first.kill()
    desk.say(before, "approve")
    with desk.start("langgraph_agent", file, mode) as second:
        second.output.wait_for("taken up")
        desk.say(after, ("reject", "not this one"))
        assert second.wait() == 0, second.output.text
    printed = second.output.text
    assert printed.count("\npaid 5 for 1\n") == 1
    assert "Rejected by ann: not this one" in printed
    assert printed.endswith("ai: Done.\n")
    assert len(desk.all()) == 2


def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    model = Scripted(turns=[turn(812), AIMessage("Done.")])
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_example, "LangGraph and LangChain", '"openai:gpt-5-mini"', model)
        desk.decide("approve")
        assert told(running.result()["result"]) == ["paid 5 for 812"]


# --- Interrupts of one's own ---


class State(TypedDict, total=False):
    said: Any


def asks(value: Any, **named: Any) -> Any:
    """A graph that asks this, and keeps what it hears."""

    def node(state: State) -> State:
        return {"said": interrupt(value, **named)}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=InMemorySaver())


def inbox(*flags: str, description: str | None = None) -> dict[str, Any]:
    """A request in the schema of Agent Inbox that allows this."""
    kinds = ("accept", "edit", "respond", "ignore")
    return {
        "action_request": {"action": "deploy", "args": {"to": "production"}},
        "config": {f"allow_{kind}": kind in flags for kind in kinds},
        "description": description,
    }


EDITED = {"type": "edit", "args": {"action": "deploy", "args": {"to": "staging"}}}


@pytest.mark.parametrize(
    ("value", "say", "heard"),
    [
        ("Which region?", ("answer", "eu"), "eu"),
        ([inbox("accept")], "approve", [{"type": "accept", "args": None}]),
        (inbox("accept", "edit"), ("edit", {"to": "staging"}), [EDITED]),
        (
            [inbox("accept", "respond")],
            ("reject", "not on Fridays"),
            [{"type": "response", "args": "Rejected by ann: not on Fridays"}],
        ),
        ([inbox("accept", "ignore")], ("reject", "no"), [{"type": "ignore", "args": None}]),
        ([inbox("respond")], ("answer", "I did"), [{"type": "response", "args": "I did"}]),
    ],
)
def test_an_interrupt_hears_what_was_decided_in_its_own_words(
    desk: Desk, value: Any, say: Say, heard: Any
) -> None:
    assert run(desk, asks(value), say, task={}) == {"said": heard}


def test_a_question_with_a_schema_is_answered_with_data(desk: Desk) -> None:
    graph = asks({"question": "Ship it?"}, response_schema={"type": "boolean"})
    assert run(desk, graph, ("answer", False), task={}) == {"said": False}
    assert desk.all()[0].title == "Ship it?"


async def test_what_a_graph_can_not_be_told_is_raised(desk: Desk) -> None:
    async with desk.asking_async() as sayso:
        for value, error in [("Which?", TimedOut), (inbox("accept"), TimedOut), ({"x": 1}, UnfitValue)]:
            graph = asks(value)
            with pytest.raises(error):
                await arun_with_approvals(graph, {}, config(), sayso, timeout=0.01)
            assert graph.get_state(config()).interrupts


async def test_only_the_latest_state_is_taken_up(desk: Desk) -> None:
    """And a thread that has ended is told as it is."""
    graph = agent(InMemorySaver())
    async with desk.asking_async() as sayso:
        await arun_with_approvals(graph, TASK, config(), sayso)
        result = await arun_with_approvals(graph, None, config(), sayso)
        assert len(result["messages"]) == 2
        with pytest.raises(UnfitValue, match="checkpoint_id"):
            await arun_with_approvals(graph, None, graph.get_state(config()).config, sayso)
