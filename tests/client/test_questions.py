"""Keys and titles, and the body that is sent."""

from __future__ import annotations

import pytest
from sayso_client import key_of, title_of
from sayso_client.questions import body_of, title_of_call


def test_a_key_has_all_its_parts_or_a_hash_of_them() -> None:
    assert key_of("run", 7, "call-1") == "run:7:call-1"
    long, other = key_of("x" * 300, 1), key_of("x" * 300, 2)
    assert len(long) == len(other) == 200
    assert long != other
    assert long == key_of("x" * 300, 1)


def test_a_title_is_one_line_of_two_hundred_characters_at_most() -> None:
    assert title_of("  Send\n an\tmail ") == "Send an mail"
    assert title_of("x" * 200) == "x" * 200
    assert title_of("x" * 201) == "x" * 199 + "…"


def test_a_title_of_a_call_shows_its_arguments_and_what_can_not_be_seen() -> None:
    assert title_of_call("pay", {"to": "Zoë", "n": [2**60]}) == f'pay(to="Zoë", n=[{2**60}])'
    assert title_of_call("run\n", {"command": "ls\u202e \x1b\n"}) == (
        'run\\n(command="ls\\u202e \\u001b\\n")'
    )
    assert len(title_of_call("pay", {"to": "x" * 300})) == 200


def test_a_group_is_sent_where_there_is_one() -> None:
    group = {"key": "turn-7", "title": "Three calls"}
    assert body_of("approval", "Refund", "k", {"group": group})["group"] == group
    assert "group" not in body_of("approval", "Refund", "k", {"group": None})


@pytest.mark.parametrize(
    ("assignees", "sent"),
    [
        ("ann", {"users": ["ann"]}),
        (("ann", "ben"), {"users": ["ann", "ben"]}),
        ({"groups": ("finance",)}, {"groups": ["finance"]}),
        ({"reviewers": True}, {"reviewers": True}),
    ],
)
def test_who_decides_is_named_in_several_ways(assignees: object, sent: object) -> None:
    body = body_of("approval", "Pay?", "k", {"assignees": assignees})
    assert body == {"kind": "approval", "title": "Pay?", "key": "k", "assignees": sent}


def test_what_is_left_out_is_not_sent_and_none_only_where_it_means_something() -> None:
    terms = {"timeout": ..., "arguments": None, "origin": None, "choices": None, "default": None}
    assert body_of("clarification", "Which?", "k", terms) == {
        "kind": "clarification",
        "title": "Which?",
        "key": "k",
        "default": None,
    }
    assert body_of("approval", "Pay?", "k", {"timeout": None})["timeout"] is None
