"""Whoever decides sees what is really there: everything, readable, and nothing disguised."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.web.pages import json_tables
from approvals.web.pages.json_tables import as_html, is_shown_whole

# More nested than tables are.
JSON_VALUES = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, max_size=14) | st.dictionaries(st.text("ab", max_size=4), inner, max_size=14)
    ),
    max_leaves=20,
)


def text(value: Any) -> str:
    """What a reader sees, tags taken away."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", as_html(value))).strip()


def test_an_object_is_a_table_of_its_names_and_values() -> None:
    assert (
        text({"order": 812, "to": {"name": "ACME"}, "tags": ["a", "b"]}) == "order 812 to name ACME tags a b"
    )


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("", "(empty text)"),
        ([], "(no entries)"),
        ({}, "(no entries)"),
    ],
)
def test_nothing_is_shown_as_nothing(value: Any, seen: str) -> None:
    assert text({"a": value}) == f"a {seen}"


def test_markup_is_text() -> None:
    assert "<script>" not in as_html({"<script>": ["<script>alert(1)</script>"]})


def test_long_text_is_folded_whole() -> None:
    long = "word " * 200
    folded = as_html(long)
    assert folded.startswith("<details")
    assert "(1,000 characters)" in folded
    assert long in folded


def test_a_huge_value_gives_a_page_of_bounded_size_that_says_what_is_missing() -> None:
    page = as_html({"items": [{"a": number} for number in range(100_000)]})
    assert len(page) < 200_000
    assert "more, in the raw JSON" in page


@given(JSON_VALUES)
def test_what_is_told_to_be_shown_whole_is(value: Any) -> None:
    """As well as each part of it, shown alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tables, "MOST_VALUES", 12)
        if is_shown_whole(value):
            for shown in (value, *(value.values() if isinstance(value, dict) else ())):
                assert "in the raw JSON" not in as_html(shown)


@pytest.mark.parametrize(("length", "whole"), [(399, True), (400, False)])
def test_what_is_left_out_is_told(length: int, whole: bool) -> None:
    assert is_shown_whole(list(range(length))) is whole
    assert is_shown_whole([[list(range(length - 2))]]) is whole


def test_deep_nesting_ends_in_json() -> None:
    deep: Any = "bottom"
    for _ in range(20):
        deep = {"a": deep}
    assert "More, as JSON" in as_html(deep)
    assert "bottom" in as_html(deep)
