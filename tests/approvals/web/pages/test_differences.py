"""What changed between two JSON values is named path by path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.web.pages.differences import Change, changes, differing_names
from approvals.web.pages.json_values import ABSENT
from tests.effort import effort

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, [("a", 1, ABSENT), ("c", ABSENT, 3)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, [("a.b[1]", 2, 3), ("a.b[2]", ABSENT, 4)]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": None}, {}, [("a", None, ABSENT)]),
        ([1], {"a": 1}, [("", [1], {"a": 1})]),
    ],
)
def test_each_change_is_named(before: Any, after: Any, expected: list[Any]) -> None:
    assert changes(before, after) == [Change(path=path, before=was, after=now) for path, was, now in expected]


@effort()
@given(json_values)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert changes(value, value) == []


@effort()
@given(json_values, json_values)
def test_no_changes_means_equal(before: Any, after: Any) -> None:
    if not changes(before, after):
        assert before == after


@effort()
@given(st.lists(st.fixed_dictionaries(dict.fromkeys("abc", json_values)), min_size=1, max_size=4))
def test_names_differ_where_any_of_many_has_a_change(objects: list[dict[str, Any]]) -> None:
    """So that what is said once of many is true of each."""
    first = objects[0]
    assert differing_names(objects) == [
        name for name in first if any(changes(first[name], each[name]) for each in objects)
    ]
