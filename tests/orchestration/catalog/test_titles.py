"""Titles of runs: what tells one from its siblings, and what is refused when it is registered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration import Run, orchestration
from orchestration.catalog import Orchestration, titles


async def refund(run: Run, *, order: int, amount: str = "12.00", tags: list[str] | None = None) -> None: ...
async def nothing(run: Run) -> None: ...
async def anything(run: Run, *, items: list[str], urgent: bool, note: str = "", **rest: Any) -> None: ...


def registered(title: str, function: Any = refund) -> Orchestration:
    return Orchestration(name="pay_back", title=title, description="", function=function)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Refund {order}", "Refund 812"),
        ("{amount} for {order}", "12.00 for 812"),
        ("Tags {tags} {{as given}}", 'Tags ["a", "ä"] {as given}'),
        ("Refunds", "Refunds"),
        ("", "Pay back: 812"),
    ],
)
def test_a_title_says_which(title: str, shown: str) -> None:
    """By fields of the input, defaults included; without a title, by the name and the first input."""
    assert registered(title).title_of({"order": 812, "tags": ["a", "ä"]}) == shown


def test_the_first_input_is_a_text_or_a_number() -> None:
    given = {"items": ["a"], "urgent": True, "note": "", "order": 7}
    assert registered("", anything).title_of(given) == "Pay back: 7"
    assert registered("", nothing).title_of({}) == "Pay back"
    assert registered("{note}", anything).title_of(given) == "Pay back"


def test_headers_that_carry_secrets_are_hidden() -> None:
    given = {"items": [], "urgent": False, "authorization": "Bearer abc"}
    assert "abc" not in registered("", anything).title_of(given)


def test_what_people_call_an_orchestration_has_no_fields() -> None:
    assert registered("Refunds").label == "Refunds"
    assert registered("Refund {order}").label == registered("").label == "Pay back"


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Refund {ordr}", r"title: 'ordr' is not a field of .*refund; .* are order, amount, tags"),
        ("Refund {}", r"title: '' is not a field"),
        ("Refund {order.__class__}", r"title: 'order.__class__' is not a field"),
        ("Refund {tags[0]}", r"title: 'tags\[0\]' is not a field"),
        ("Refund {run}", r"title: 'run' is not a field"),
        ("Refund {order:>9}", r"title: the field 'order' takes no format"),
        ("Refund {order!r}", r"title: the field 'order' takes no format and no conversion"),
        ("Refund {order", r"title: expected '}' before end of string in"),
        ("Refund }", r"title: Single '}' .* braces that are no field are doubled"),
        ("Refund\n{order}", r"title: one line of at most 200 characters"),
        ("x" * 201, r"title: one line of at most 200 characters"),
    ],
)
def test_a_title_that_no_input_fills_is_refused_when_it_is_registered(title: str, said: str) -> None:
    """The error names the argument, the field and the rule."""
    with pytest.raises(ValueError, match=said):
        orchestration("titled", title=title)(refund)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TITLES = st.lists(st.sampled_from(["{order}", "{amount}", "{tags}", "Refund", " ", "{{", "}}"])).map("".join)


@given(title=TITLES, order=JSON, amount=JSON, tags=JSON)
def test_whatever_the_input_a_title_is_one_line_that_fits(
    title: str, order: Any, amount: Any, tags: Any
) -> None:
    titles.check_title(title, refund)
    shown = registered(title).title_of({"order": order, "amount": amount, "tags": tags})
    assert 0 < len(shown) <= titles.LIMIT
    assert shown == " ".join(shown.split())
