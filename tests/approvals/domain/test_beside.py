"""What is said beside a question, links, metadata, a group: each has rules, named where it breaks one."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.domain.lifecycle import Kind
from approvals.domain.request_terms import check_terms
from approvals.exceptions import InvalidRequest

GROUP = {"key": "turn-7", "title": "Three calls"}
LINK = {"title": "The order", "url": "https://shop.example/812"}


def checked(**terms: Any) -> dict[str, Any]:
    return check_terms(Kind.APPROVAL, {"title": "Refund", "timeout": None, **terms})


def test_what_fits_is_taken_as_it_is() -> None:
    said = {
        "links": [LINK] * 20,
        "metadata": {str(at): "x" * 500 for at in range(64)},
        "context": "*more*",
        "group": {"key": "x" * 200, "title": "ä" * 200},
    }
    terms = checked(**said)
    assert {name: terms[name] for name in said} == said


def test_nothing_said_is_nothing() -> None:
    terms = checked()
    assert (terms["links"], terms["metadata"], terms["context"], terms["group"]) == ([], {}, "", {})
    assert checked(group=None)["group"] == checked(group={})["group"] == {}


@pytest.mark.parametrize(
    ("terms", "field", "rule"),
    [
        ({"links": LINK}, "links", "must be a list"),
        ({"links": [LINK] * 21}, "links", "must have at most 20 links, not 21"),
        ({"links": [{"title": "x"}]}, "links[0]", "must have title and url, and nothing else"),
        ({"links": [LINK, {**LINK, "rel": ""}]}, "links[1]", "must have title and url"),
        ({"links": [{**LINK, "title": "\u200b"}]}, "links[0].title", "must"),
        ({"links": [{**LINK, "title": "a\nb"}]}, "links[0].title", "must"),
        ({"links": [{**LINK, "url": "javascript:alert(1)"}]}, "links[0].url", "must begin with https://"),
        ({"links": [{**LINK, "url": "/admin/"}]}, "links[0].url", "must begin with https://"),
        ({"metadata": ["a"]}, "metadata", "must be an object of texts"),
        ({"metadata": {str(at): "" for at in range(65)}}, "metadata", "must have at most 64 pairs, not 65"),
        ({"metadata": {"a": 1}}, "metadata.a", "must be"),
        ({"metadata": {"a": "x" * 501}}, "metadata.a", "must have at most 500"),
        ({"metadata": {"x" * 65: ""}}, "metadata", "must have at most 64"),
        ({"metadata": {"": ""}}, "metadata", "must"),
        ({"group": "turn-7"}, "group", "must have key and title, and nothing else"),
        ({"group": {"key": "turn-7"}}, "group", "must have key and title"),
        ({"group": {**GROUP, "url": ""}}, "group", "must have key and title"),
        ({"group": {**GROUP, "key": 7}}, "group.key", "must be"),
        ({"group": {**GROUP, "key": ""}}, "group.key", "must not be empty"),
        ({"group": {**GROUP, "key": "x" * 201}}, "group.key", "must have at most 200 characters, not 201"),
        ({"group": {**GROUP, "key": "a\nb"}}, "group.key", "must be one line"),
        ({"group": {**GROUP, "title": "\u200b"}}, "group.title", "must have a character that can be seen"),
        (
            {"group": {**GROUP, "title": "x" * 201}},
            "group.title",
            "must have at most 200 characters, not 201",
        ),
        ({"context": "x" * 100_001}, "context", "must have at most 100,000"),
    ],
)
def test_what_breaks_a_rule_is_named(terms: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        checked(**terms)
    assert raised.value.field == field
    assert raised.value.detail.startswith(f"{field} {rule}")
