"""What nobody could tell apart is not put side by side, and what nobody could see is not asked."""

# ruff: noqa: RUF001 - letters of many scripts

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from approvals.domain.characters import skeleton
from approvals.domain.lookalikes import check_names, check_offers
from approvals.domain.schemas import check_choices
from approvals.exceptions import InvalidRequest
from tests.approvals.domain.test_characters import HIDING
from tests.effort import effort

ALIKE = [
    ("a", "a\u200d"),
    ("a b", "a  b"),
    ("a b", "ab"),
    ("ﬁle", "file"),
    ("Zoe\u0308", "Zoë"),
    ("１", "1"),
    ("x", "\u202ex"),
    ("a", "\u3164a"),
    ("کتاب‌ها", "کتابها"),
    ("👨‍👩", "👨👩"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_two_of_a_kind_that_look_alike_are_refused(one: str, other: str) -> None:
    """As options, labels, names of arguments, properties of a form or values of its fields."""
    cases: list[tuple[Callable[[Any, str], object], Any, str]] = [
        (lambda value, _: check_choices(value, False), [one, other], "choices[1]"),
        (check_names, {one: 1, other: 2}, "arguments"),
        (check_names, {"items": [{"deep": {one: 1, other: 2}}]}, "arguments.items[0].deep"),
        (check_offers, {"properties": {one: {}, other: {}}}, "schema.properties"),
        (check_offers, {"items": {"enum": [one, 3, other]}}, "schema.items.enum[2]"),
        (check_offers, {"oneOf": [{"const": one}, {"const": other}]}, "schema.oneOf[1].const"),
        (
            check_offers,
            {"anyOf": [{"const": 1, "title": one}, {"const": 2, "title": other}]},
            "schema.anyOf[1].title",
        ),
    ]
    for check, value, field in cases:
        with pytest.raises(InvalidRequest, match=r"looks like .*: it must differ in more") as refusal:
            check(value, field.partition(".")[0])
        assert str(refusal.value.field).startswith(field)
    with pytest.raises(InvalidRequest) as refusal:
        check_choices({"a": one, "b": other}, False)
    assert refusal.value.field == "choices.b"


@pytest.mark.parametrize("unseen", ["\u200b", "\u3164", "\u2800\u202e", " \ufeff"])
def test_what_cannot_be_seen_is_refused(unseen: str) -> None:
    for check in (
        lambda: check_choices([unseen], False),
        lambda: check_choices({"a": unseen}, False),
        lambda: check_names({"a": {unseen: 1}}, "arguments"),
        lambda: check_offers({"properties": {unseen: {}}}, "schema"),
        lambda: check_offers({"enum": [unseen]}, "schema"),
    ):
        with pytest.raises(InvalidRequest, match=r"character that can be seen"):
            check()


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]},
        {"amount": 1, "Amount": 2, "amount_2": 3},
        {"": 1, "a": 2},
        {"کتاب‌ها": 1, "👨‍👩‍👧": 2},
        [],
        None,
    ],
)
def test_names_that_differ_are_taken(value: Any) -> None:
    check_names(value, "arguments")


def test_a_schema_names_nothing_but_its_properties() -> None:
    """Patterns may well differ in a blank alone."""
    check_offers(
        {"patternProperties": {"^a b$": {}, "^ab$": {}}, "enum": ["a", "a", None], "oneOf": [True]}, "x"
    )


@effort(200)
@given(name=st.text(min_size=1), hiding=st.text(st.sampled_from(HIDING + " "), min_size=1), at=st.integers(0))
def test_no_name_stands_beside_itself_in_disguise(name: str, hiding: str, at: int) -> None:
    """Whatever the name, and wherever the disguise."""
    at %= len(name) + 1
    disguised = name[:at] + hiding + name[at:]
    # What is hidden can keep two signs apart that would be one.
    assume(skeleton(disguised) == skeleton(name))
    with pytest.raises(InvalidRequest):
        check_names({name: 1, disguised: 2}, "arguments")
