"""The client without a server: as the real one, with people that are a function."""

from __future__ import annotations

import pytest
from sayso_client import Asked, KeyConflict, Rejected, Responded, Sayso, UnknownRequest
from sayso_client.testing import AsyncFakeSayso, FakeSayso


def test_everything_is_approved_and_answered_unless_said_otherwise() -> None:
    sayso = FakeSayso()
    assert isinstance(sayso, Sayso)
    assert sayso.approve("Refund?", key="a", arguments={"order": 1}).approved
    assert sayso.ask("Which?", key="b", choices={"eu": "Europe", "us": "America"}).answer == "eu"
    assert sayso.ask("Why?", key="c", default="because").answer == "because"
    assert [one["title"] for one in sayso.asked] == ["Refund?", "Which?", "Why?"]
    assert [request.title for request in sayso.requests()] == ["Why?", "Which?", "Refund?"]


def test_people_are_a_function_of_the_request() -> None:
    def decide(request: Asked) -> object:
        order = request.raw["arguments"]["order"]
        return {1: "approve", 2: ("reject", "too much"), 3: None}[order]

    sayso = FakeSayso(decide)
    outcomes = [sayso.approve("Refund?", key=f"k{order}", arguments={"order": order}) for order in (1, 2, 3)]
    assert [outcome.reason() for outcome in outcomes] == [
        "Approved by tester.",
        "Rejected by tester: too much",
        "Nobody decided in time.",
    ]
    assert sayso.wait_all(outcome.request_id for outcome in outcomes) == outcomes


def test_people_may_give_a_text_instead() -> None:
    sayso = FakeSayso(lambda request: {"decision": "respond", "answer": "Ask Ann."})
    outcome = sayso.approve("Refund?", key="k", decisions=["approve", "reject", "respond"])
    assert (outcome.responded, outcome.approved, outcome.answer) == (True, False, "Ask Ann.")
    assert outcome.reason() == "Answered by tester: Ask Ann."
    with pytest.raises(Responded) as refused:
        outcome.raise_for_refusal()
    assert isinstance(refused.value, Rejected)


def test_a_key_is_one_question_there_too() -> None:
    sayso = FakeSayso()
    first = sayso.open_approval("Refund?", key="k", arguments={"order": 1})
    assert sayso.open_approval("Refund?", key="k", arguments={"order": 1}).id == first.id
    with pytest.raises(KeyConflict):
        sayso.approve("Refund?", key="k", arguments={"order": 2})
    with pytest.raises(KeyConflict):
        sayso.approve("Refund?", key="k", arguments={"order": 1}, group={"key": "a", "title": "A"})
    with pytest.raises(UnknownRequest):
        sayso.wait("nobody")


async def test_it_is_awaited_as_well() -> None:
    sayso = AsyncFakeSayso()
    request = await sayso.open_approval("Refund?", key="k", timeout=None)
    assert (await request.wait()).approved
    assert (await sayso.withdraw_all({"kind": "agent", "id": "7"})) == 0
    assert [one.id async for one in sayso.requests()] == [request.id]
