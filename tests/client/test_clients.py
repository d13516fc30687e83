"""Ask, wait, decide: the client against this installation's own API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from sayso_client import (
    Asked,
    AsyncSayso,
    Decided,
    Invalid,
    KeyConflict,
    NotSetUp,
    Rejected,
    Sayso,
    StillPending,
    TimedOut,
    UnknownRequest,
    Withdrawn,
)

from approvals.waiting.waiting_room import WaitingRoom
from tests.client.conftest import People
from tests.looking import until

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.one_stack,
    pytest.mark.urls("config.urls"),
    pytest.mark.filterwarnings("ignore:No directory at"),  # WhiteNoise, where nothing was collected
]


async def test_people_may_give_a_text_instead_of_a_yes(people: People, room: WaitingRoom) -> None:
    asked = await people.program.open_approval(
        "Refund?", key="refund-2", decisions=("approve", "reject", "respond"), reason_required=True
    )
    with pytest.raises(Invalid, match="comment must say why"):
        await people.reviewer.decide(asked.id, "approve")
    await people.reviewer.decide(asked.id, "respond", answer="Ask Ann first.")
    outcome = await people.program.wait(asked.id)
    assert (outcome.responded, outcome.approved, outcome.answer) == (True, False, "Ask Ann first.")


async def test_who_waits_is_told_what_people_decide(people: People, room: WaitingRoom) -> None:
    open_ones: list[Asked] = []
    arguments = {"order": 2**60, "amount": Decimal("12.40"), "at": datetime(2026, 1, 2, tzinfo=UTC)}
    waiting = asyncio.ensure_future(
        people.program.approve(
            "Refund?", key="refund-1", arguments=arguments, editable=True, on_wait=open_ones.append
        )
    )
    await until(lambda: len(room) == 1)
    (asked,) = open_ones
    assert asked.url.endswith(f"/requests/{asked.id}/")
    changed = {**asked.raw["arguments"], "amount": "10.00"}
    decided = await people.reviewer.decide(asked.id, "approve", comment="less", arguments=changed)
    outcome = await waiting
    assert decided.status == outcome.status == "approved"
    assert outcome.arguments == {**arguments, "amount": Decimal("10.00")}
    assert outcome.edited
    assert outcome.raise_for_refusal().reason() == "Approved by ann with changed arguments: less"
    # Asked again under its key: on record, nobody waits.
    again = await people.program.approve("Refund?", key="refund-1", arguments=arguments, editable=True)
    assert again == outcome


async def test_a_question_is_answered(people: People) -> None:
    asked = await people.program.open_question("Which?", key="q", choices={"eu": "Europe", "us": "America"})
    await people.reviewer.answer(asked.id, "eu", comment="as always")
    outcome = await asked.wait()
    assert (outcome.answer, outcome.approved) == ("eu", None)
    assert outcome.reason() == "Answered by ann: eu"
    assert outcome.raise_for_refusal() is outcome


async def test_refusals_are_raised_each_as_what_it_is(people: People) -> None:
    rejected = await people.program.open_approval("No?", key="no")
    await people.reviewer.decide(rejected.id, "reject", comment="never")
    taken_back = await people.program.open_approval("Back?", key="back")
    await taken_back.withdraw("The order was cancelled.")
    late = await people.program.open_approval("Late?", key="late", timeout=0.001)
    for asked, error, reason in (
        (rejected, Rejected, "Rejected by ann: never"),
        (taken_back, Withdrawn, "The question was taken back: The order was cancelled."),
        (late, TimedOut, "Nobody decided in time."),
    ):
        outcome = await asked.wait()
        assert outcome.reason() == reason
        with pytest.raises(error) as raised:
            outcome.raise_for_refusal()
        assert raised.value.outcome is outcome


async def test_patience_ends_the_wait_and_not_the_request(people: People, room: WaitingRoom) -> None:
    with pytest.raises(StillPending) as raised:
        await people.program.approve("Refund?", key="k", patience=0.01)
    assert len(room) == 0
    assert (await people.program.get(raised.value.request_id)).status == "pending"


async def test_the_first_that_is_closed_ends_a_wait_for_many(people: People, room: WaitingRoom) -> None:
    """They are one wait on the server, whatever their number, and come back in the order of the ids."""
    asked = [await people.program.open_approval(f"{number}?", key=f"k{number}") for number in range(5)]
    waiting = asyncio.ensure_future(people.program.wait_all([each.id.upper() for each in asked]))
    for number in (3, 0, 4, 1, 2):
        await until(lambda: len(room) == 1)
        await people.reviewer.decide(asked[number].id, "approve" if number % 2 else "reject")
    outcomes = await waiting
    assert [outcome.request_id for outcome in outcomes] == [each.id for each in asked]
    assert [outcome.approved for outcome in outcomes] == [False, True, False, True, False]
    assert len(room) == 0


async def test_what_is_on_record_is_told_and_not_made_again(people: People) -> None:
    asked = await people.program.open_approval("Refund?", key="k", arguments={"order": 1})
    with pytest.raises(KeyConflict) as conflict:
        await people.program.approve("Refund?", key="k", arguments={"order": 2})
    assert (conflict.value.id, conflict.value.differs) == (asked.id, ["arguments"])
    await people.reviewer.decide(asked.id, "approve")
    with pytest.raises(Decided) as decided:
        await people.reviewer.decide(asked.id, "reject")
    assert decided.value.outcome is not None
    assert decided.value.outcome.approved
    with pytest.raises(Invalid) as invalid:
        await people.program.approve("", key="empty")
    assert invalid.value.errors[0]["field"] == "title"


async def test_what_does_not_exist_is_unknown(people: People) -> None:
    nobody = "01890000-0000-7000-8000-000000000000"
    asked: list[Awaitable[object]] = [
        people.program.wait(nobody),
        people.program.get(nobody),
        people.program.wait_all([nobody]),
    ]
    for call in asked:
        with pytest.raises(UnknownRequest):
            await call


async def test_own_requests_are_listed_and_those_of_a_dead_run_taken_back(people: People) -> None:
    """With the scope `ask` alone."""
    for number in range(3):
        origin = {"kind": "agent", "id": f"run-{number // 2}"}
        await people.program.open_approval(f"{number}?", key=f"k{number}", origin=origin)
    assert [each.title async for each in people.program.requests(asked="me", limit="2")] == ["2?", "1?", "0?"]
    assert [each.title async for each in people.program.requests(key="k1")] == ["1?"]
    assert await people.program.withdraw_all({"kind": "agent", "id": "run-0"}, "It has died.") == 2
    assert await people.program.withdraw_all({"kind": "agent", "id": "run-0"}) == 0
    pending = [each.title async for each in people.program.requests(asked="me", status="pending")]
    assert pending == ["2?"]


async def test_others_are_named_to_decide(people: People) -> None:
    asked = await people.program.open_approval("Refund?", key="k", assignees="ann")
    await people.reviewer.reassign(asked.id, "billing", reason="They know.")
    told = await people.program.get(asked.id)
    assert told.raw["assignees"] == {"users": ["billing"], "groups": []}


def test_address_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAYSO_URL", raising=False)
    monkeypatch.setenv("SAYSO_TOKEN", "t")
    with pytest.raises(NotSetUp, match="SAYSO_URL"):
        Sayso()
    monkeypatch.setenv("SAYSO_URL", "http://sayso.test/tools/")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "1", "kind": "approval", "title": "", "status": "pending"})

    Sayso(http=httpx.Client(transport=httpx.MockTransport(answer))).get("1")
    assert str(seen[0].url) == "http://sayso.test/tools/api/v1/requests/1"
    assert seen[0].headers["Authorization"] == "Bearer t"


async def test_a_client_closes_its_own_connections_and_no_others() -> None:
    theirs = httpx.AsyncClient()
    async with AsyncSayso("http://sayso.test", "t", http=theirs), AsyncSayso("http://sayso.test", "t") as own:
        pass
    assert not theirs.is_closed
    assert own._http.is_closed
    await theirs.aclose()
