"""Values go as JSON that people can read, and come back as they went."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sayso_client import UnfitValue
from sayso_client.values import SAFE, like, to_json

from tests.effort import effort


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Line:
    article: int
    price: Decimal


class Order(BaseModel):
    number: int
    placed: datetime
    lines: list[str]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.uuids()
    | st.just(Colour.RED)
    | st.builds(Line, article=st.integers(), price=st.decimals(allow_nan=False, allow_infinity=False))
    | st.builds(
        Order, number=st.integers(), placed=st.datetimes(timezones=st.just(UTC)), lines=st.lists(st.text())
    )
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@effort(100)
@given(values)
def test_what_went_comes_back(value: Any) -> None:
    """Equal, of the same type, through text; and nothing in it is what the server refuses."""
    sent = to_json(value, "arguments")
    again = like(value, json.loads(json.dumps(sent)), "arguments")
    assert again == value
    assert type(again) is type(value)
    assert_safe(sent)


def assert_safe(value: Any) -> None:
    match value:
        case bool() | None | str():
            pass
        case int():
            assert abs(value) <= SAFE
        case float():
            assert not SAFE < abs(value) < 1e21
        case list():
            for one in value:
                assert_safe(one)
        case dict():
            for one in value.values():
                assert_safe(one)
        case _:
            pytest.fail(f"{value!r} is no JSON")


def test_what_a_person_has_changed_is_of_the_type_that_was_sent() -> None:
    sent = {
        "order": 2**60,
        "amount": Decimal("12.40"),
        "on": date(2026, 1, 2),
        "to": UUID(int=1),
        "at": time(9),
    }
    told = {
        "order": "7",
        "amount": "13",
        "on": "2026-01-03",
        "to": str(UUID(int=2)),
        "at": "10:30:00",
        "new": 1,
    }
    assert like(sent, told, "arguments") == {
        "order": 7,
        "amount": Decimal(13),
        "on": date(2026, 1, 3),
        "to": UUID(int=2),
        "at": time(10, 30),
        "new": 1,
    }


@pytest.mark.parametrize(
    ("sent", "told", "path"),
    [
        ({"amount": Decimal(1)}, {"amount": "much"}, "arguments.amount"),
        ({"lines": [1]}, {"lines": [1, 1.5]}, r"arguments.lines\[1\]"),
        ({"on": date(2026, 1, 2)}, {"on": "tomorrow"}, "arguments.on"),
    ],
)
def test_what_the_type_cannot_be_made_of_is_named(sent: Any, told: Any, path: str) -> None:
    with pytest.raises(UnfitValue, match=f"^{path} can't be "):
        like(sent, told, "arguments")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"a": float("nan")}, "arguments.a is not a finite number"),
        ({"a": [b"x"]}, r"arguments.a\[0\] is of bytes"),
        ({"a": {1: 2}}, "arguments.a has the name 1, which is no text"),
        ({"a": object()}, "arguments.a is of object"),
    ],
)
def test_what_is_no_json_is_refused_before_it_is_sent(value: Any, rule: str) -> None:
    with pytest.raises(UnfitValue, match=f"^{rule}"):
        to_json(value, "arguments")
