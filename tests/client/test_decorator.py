"""A function runs once people have approved the call, with what they approved."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sayso_client import Asked, Rejected, Sayso, TimedOut, require_approval
from sayso_client.testing import AsyncFakeSayso, FakeSayso


def test_it_runs_when_it_is_approved() -> None:
    sayso = FakeSayso()

    @require_approval(sayso, key="refund-{order}", four_eyes=True)
    def refund(order: int, amount: Decimal = Decimal("12.40")) -> tuple[int, Decimal]:
        """Pay back."""
        return order, amount

    assert refund(2**60) == (2**60, Decimal("12.40"))
    assert refund.__doc__ == "Pay back."
    (asked,) = sayso.asked
    assert asked["key"] == f"refund-{2**60}"
    assert asked["title"] == f"refund(order={2**60}, amount=Decimal('12.40'))"
    assert asked["arguments"] == {"order": str(2**60), "amount": "12.40"}
    assert asked["four_eyes"] is True


def test_it_runs_with_what_people_have_changed() -> None:
    def decide(request: Asked) -> Any:
        return {"decision": "approve", "arguments": {**request.raw["arguments"], "amount": "10.00"}}

    @require_approval(FakeSayso(decide), key="k", editable=True)
    def refund(order: int, *, amount: Decimal) -> tuple[int, Decimal]:
        return order, amount

    assert refund(1, amount=Decimal("12.40")) == (1, Decimal("10.00"))


def test_it_does_not_run_otherwise() -> None:
    ran: list[int] = []
    answers: dict[str, Any] = {"no": ("reject", "not before Friday"), "late": None}
    sayso = FakeSayso(lambda request: answers[request.raw["key"]])

    @require_approval(sayso, key=lambda which, order: which, title="Refund {order}")
    def refund(which: str, order: int) -> None:
        ran.append(order)

    with pytest.raises(Rejected, match="Rejected by tester: not before Friday"):
        refund("no", 1)
    with pytest.raises(TimedOut, match="Nobody decided in time"):
        refund("late", 2)
    assert ran == []
    assert [one["title"] for one in sayso.asked] == ["Refund 1", "Refund 2"]


def test_only_what_matters_is_asked_about() -> None:
    sayso = FakeSayso()

    @require_approval(sayso, key="k{amount}", when=lambda amount: amount > 100)
    def pay(amount: int) -> int:
        return amount

    assert (pay(100), pay(101)) == (100, 101)
    assert [one["arguments"] for one in sayso.asked] == [{"amount": 101}]


def test_a_method_shows_its_arguments_without_itself() -> None:
    sayso = FakeSayso()

    @dataclass
    class Shop:
        name: str

        @require_approval(sayso, key="k")
        def close(self, *days: str, **why: str) -> Any:
            return self.name, days, why

    assert Shop("here").close("Monday", reason="holiday") == ("here", ("Monday",), {"reason": "holiday"})
    assert sayso.asked[0]["arguments"] == {"days": ["Monday"], "why": {"reason": "holiday"}}


async def test_a_coroutine_function_is_awaited() -> None:
    sayso = AsyncFakeSayso()

    @require_approval(sayso, key="k")
    async def refund(order: int) -> int:
        return order

    assert await refund(1) == 1
    assert len(sayso.asked) == 1


def test_a_client_of_the_other_kind_is_refused_where_it_is_written() -> None:
    async def awaited() -> None: ...

    def blocking() -> None: ...

    with pytest.raises(TypeError, match="is a coroutine function: give an AsyncSayso"):
        require_approval(Sayso("http://sayso.test", "t"), key="k")(awaited)
    with pytest.raises(TypeError, match="is no coroutine function: give a Sayso"):
        require_approval(AsyncFakeSayso(), key="k")(blocking)  # type: ignore[arg-type]
