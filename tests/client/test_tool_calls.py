"""How the adapters of agent frameworks ask about a tool call."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

import pytest
from sayso_client import AsyncRequest, StillPending
from sayso_client.questions import KEY_LIMIT
from sayso_client.testing import AsyncFakeSayso
from sayso_client.tool_calls import Asking, Leftovers, Options, ToolCall

from tests.client.conftest import People

SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}}}


def asking(run: str = "run-1", **options: Unpack[Options]) -> Asking:
    return Asking("framework", run, options)


def call(name: str = "refund", number: str = "call-1", **arguments: Any) -> ToolCall:
    return ToolCall(id=number, name=name, arguments=arguments)


def test_a_call_is_known_by_its_run_and_its_id() -> None:
    """A second, equal call is another question; names may be of any length."""
    keys = [
        asking(run).approval(call(number=number))["key"]
        for run in ("run-1", "run-2" * 100)
        for number in ("call-1", "call-2")
    ]
    assert len(set(keys)) == 4
    assert max(map(len, keys)) <= KEY_LIMIT
    with pytest.raises(ValueError, match="run must name"):
        asking("")


def test_people_see_the_call_or_what_the_program_calls_it() -> None:
    assert asking().approval(call(order=1, to="A\nB"))["title"] == r"refund(order=1, to='A\nB')"
    titled = asking(title=lambda call: f"Pay {call.arguments['order']}?")
    assert titled.approval(call(order=1))["title"] == "Pay 1?"
    assert titled.question(ToolCall(id="q", name="Which?", in_own_words=True))["title"] == "Which?"
    assert len(asking().approval(call(text="x" * 1000))["title"]) == 200


def test_a_schema_counts_where_the_arguments_can_fit_it() -> None:
    """Large whole numbers are sent as text; with two who must agree nobody can change anything."""
    assert asking().approval(call(order=1), editable=SCHEMA)["editable"] == SCHEMA
    assert asking().approval(call(order=2**60), editable=SCHEMA)["editable"] is True
    assert asking(required=2).approval(call(order=1), editable=True)["editable"] is False


def test_the_options_of_approvals_are_not_those_of_questions() -> None:
    """Silence is no answer: a question has no default."""
    options: Options = {
        "assignees": ["ann"],
        "timeout": 60.0,
        "four_eyes": True,
        "when": lambda *_: True,
    }
    assert {"assignees", "timeout", "four_eyes"} <= asking(**options).approval(call()).keys()
    asked = asking(**options).question(call())
    assert asked.keys() == {"assignees", "timeout", "title", "key", "details", "origin", "schema", "default"}
    assert asked["default"] is None


@pytest.mark.django_db
@pytest.mark.one_stack
@pytest.mark.urls("config.urls")
@pytest.mark.filterwarnings("ignore:No directory at")  # WhiteNoise, where nothing was collected
async def test_what_the_last_process_left_is_taken_back_once(people: People) -> None:
    """Before this one asks anything, however many of its calls begin at once; of this run alone."""

    async def opened(run: str, number: str) -> AsyncRequest:
        return await people.program.open_approval(**asking(run).approval(call(number=number)))

    left, of_another = await opened("run-1", "before"), await opened("run-2", "before")
    leftovers = Leftovers(people.program, asking("run-1"))
    await asyncio.gather(leftovers.withdraw(), leftovers.withdraw())
    own = await opened("run-1", "after")
    await leftovers.withdraw()
    assert (await left.wait()).comment == "The agent was started again."
    for request in (own, of_another):
        with pytest.raises(StillPending):
            await request.wait(patience=0)


async def test_the_calls_of_one_turn_that_people_are_asked_about_are_one_group() -> None:
    """Named by the first, so that a run that is taken up asks the same; one call alone is no group."""
    sayso = AsyncFakeSayso(lambda request: ("reject", "no") if "delete" in request.title else "approve")
    some = asking(when=lambda name, arguments: name != "look")
    turn = [call("look", "1:0"), call("refund", "1:1", order=1), call("delete", "1:2")]
    outcomes = await some.ask_all(sayso, turn, editable=True)
    assert [outcome and outcome.approved for outcome in outcomes] == [None, True, False]
    assert [asked["group"] for asked in sayso.asked] == 2 * [
        {"key": "run-1:1:1", "title": "2 calls: refund, delete"}
    ]
    assert await asking().ask_all(sayso, [call(number="2:0")])
    assert "group" not in sayso.asked[-1]
    await some.ask_all(sayso, turn, editable=True)
    assert len(sayso.asked) == 3
