"""Whoever decides sees what is really there: everything, readable, and nothing disguised."""

from __future__ import annotations

import re
from typing import Any

import pytest

from approvals.web.pages.json_tables import as_html


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


def test_deep_nesting_ends_in_json() -> None:
    deep: Any = "bottom"
    for _ in range(20):
        deep = {"a": deep}
    assert "More, as JSON" in as_html(deep)
    assert "bottom" in as_html(deep)
