"""The pages say in plain words what is on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from approvals.queries import TimelineEntry
from approvals.templatetags.sayso import iso, time_left
from approvals.web.pages import relative_times
from approvals.web.pages.wording import entry_in_words, if_nobody_decides, outcome_in_words

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def asked(**fields: Any) -> Any:
    person = SimpleNamespace(get_username=lambda: "ann")
    known = {
        "kind": "approval",
        "decided_by": person,
        "on_timeout": "reject",
        "default": None,
        "answer": None,
    }
    return SimpleNamespace(**{**known, "deadline": NOW, **fields})


def entry(event: str, content: dict[str, Any] | None, **fields: Any) -> TimelineEntry:
    known = {"actor": "ann", "channel": "page", "outcome": ""}
    return TimelineEntry(
        id=1,
        sequence=1,
        event=event,
        address=None,
        user_agent="",
        allowed_by="",
        at=NOW,
        hash="",
        content=content,
        **{**known, **fields},
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "pending"}, "Pending"),
        ({"status": "approved"}, "Approved by ann"),
        ({"status": "withdrawn", "decided_by": None}, "Withdrawn by a program"),
        ({"status": "timed_out"}, "Timed out, rejected by default"),
        ({"status": "timed_out", "on_timeout": "approve"}, "Timed out, approved by default"),
        ({"status": "timed_out", "kind": "clarification"}, "Timed out, no answer"),
        ({"status": "timed_out", "kind": "clarification", "answer": ""}, "Timed out, answered by default"),
    ],
)
def test_an_outcome_in_words(fields: dict[str, Any], words: str) -> None:
    assert outcome_in_words(asked(**fields)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"deadline": None}, "It keeps waiting: there is no deadline."),
        ({}, "Rejected automatically at the deadline."),
        ({"on_timeout": "approve"}, "Approved automatically at the deadline."),
        ({"kind": "clarification"}, "It ends without an answer at the deadline."),
        ({"kind": "clarification", "default": ""}, "This answer is recorded automatically at the deadline:"),
    ],
)
def test_what_happens_if_nobody_decides(fields: dict[str, Any], words: str) -> None:
    assert if_nobody_decides(asked(**fields)) == words


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (entry("opened", {"title": "…"}), "Asked by ann", None),
        (entry("viewed", {}), "Seen by ann", None),
        (
            entry("decided", {"verdict": "reject", "comment": "No."}, outcome="rejected"),
            "Rejected by ann",
            "No.",
        ),
        (
            entry("decided", {"verdict": "approve", "comment": "", "arguments": {"a": 1}}),
            "Approved by ann, with changes, one of 2 that are needed",
            None,
        ),
        (entry("answered", {"answer": "", "comment": ""}), "Answered by ann", ""),
        (
            entry("refused", {"verdict": "approve", "code": "too_late", "comment": ""}),
            "ann tried to approve: the deadline had passed",
            None,
        ),
        (
            entry("timed_out", {"on_timeout": "approve"}, actor=None, channel="deadline"),
            "The deadline passed: approved by default",
            None,
        ),
        (
            entry("withdrawn", {"reason": "Done."}, actor=None, channel="program"),
            "Withdrawn by a program",
            "Done.",
        ),
        (entry("decided", None), "Decided by ann, one of 2 that are needed", None),
    ],
)
def test_an_entry_of_the_trail_in_words(line: TimelineEntry, text: str, said: Any) -> None:
    """Also where what was said has been purged."""
    words = entry_in_words(line, 2)
    assert (words.text, words.said) == (text, said)


def test_what_a_program_asks_it_asks_for_somebody() -> None:
    assert (
        entry_in_words(entry("opened", {}, actor=None, channel="program"), 1, "olga").text
        == "Asked by a program for olga"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "Time is up"),
        (0, "Time is up"),
        (0.2, "1 s left"),
        (59.5, "1 min 00 s left"),
        (272, "4 min 32 s left"),
        (7_205, "2 h 00 min left"),
        (90_000, "1 d 1 h left"),
    ],
)
def test_the_time_that_is_left(seconds: float, words: str) -> None:
    assert relative_times.time_left(NOW + timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (44, "just now"),
        (45, "1 min ago"),
        (150, "3 min ago"),
        (5_400, "2 h ago"),
        (90_000, "yesterday"),
        (200_000, "2 days ago"),
    ],
)
def test_the_time_that_has_passed(seconds: float, words: str) -> None:
    assert relative_times.time_since(NOW - timedelta(seconds=seconds), NOW) == words


def test_a_countdown_turns_urgent_with_less_than_a_fifth_of_its_own_time_left() -> None:
    opened, deadline = NOW, NOW + timedelta(seconds=500)
    for passed, urgent in ((0, False), (399, False), (400, True), (501, True)):
        html = time_left(deadline, NOW + timedelta(seconds=passed), opened)
        assert ('class="left urgent"' in html) == urgent
        assert f'data-urgent="{iso(NOW + timedelta(seconds=400))}"' in html
