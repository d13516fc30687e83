"""Matching calls against the record: pure, without a database."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from hypothesis import given
from hypothesis import strategies as st

from approvals.exceptions import InvalidRequest
from approvals.models import Approval, AuditEntry
from orchestration.exceptions import NeedsKey, OrchestrationError, ReplayMismatch
from orchestration.models import StepRecord, StepStatus
from orchestration.runs.call_records import Call
from orchestration.runs.replay import RECORDED_NAMES, Replay, fingerprint, plain
from tests.effort import effort


def row(position: int | None, kind: str, name: str, content: Any, *, key: str | None = None) -> StepRecord:
    word = name if kind == "step" else kind
    return StepRecord(
        run_id=uuid4(),
        key=key or f"{word}#{position}",
        position=position,
        kind=kind,
        name=name,
        fingerprint=fingerprint(kind, name, key, content),
        status=StepStatus.DONE,
        result=f"{name} done",
    )


def result(replay: Replay, call: Call) -> Any:
    recorded = replay.find(call)
    assert recorded is not None
    return recorded.result


def test_the_same_calls_find_their_records() -> None:
    """By number, or by key in any order."""
    replay = Replay([row(1, "step", "a", [1]), row(None, "step", "b", [], key="k"), row(2, "ask", "c", [])])
    with replay.calling("step", "b", "k", []) as call:
        assert result(replay, call) == "b done"
    with replay.calling("step", "a", None, [1]) as call:
        assert result(replay, call) == "a done"
    with replay.calling("ask", "c", None, []) as call:
        assert result(replay, call) == "c done"
    with replay.calling("step", "d", None, []) as call:
        assert replay.find(call) is None
        assert call.key == "d#3"


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [("step", "refund", [2]), ("step", "pay_back", [1]), ("ask", "refund", [1]), ("say", "refund", [1])],
)
def test_a_different_call_ends_the_run(kind: str, name: str, content: Any) -> None:
    """Other arguments, another name, another kind: it says what was recorded and what was met."""
    replay = Replay([row(1, "step", "refund", [1])])
    told = pytest.raises(ReplayMismatch, match=f"recorded step 'refund', and now met {kind} '{name}'")
    with told, replay.calling(kind, name, None, content):
        pass


def test_a_key_must_stand_for_the_same_call() -> None:
    """The same key with other arguments is another call."""
    replay = Replay([row(None, "step", "refund", [1], key="k")])
    with pytest.raises(ReplayMismatch), replay.calling("step", "refund", "k", [2]):
        pass


def test_a_given_key_is_no_number() -> None:
    """A key that looks like a numbered call's does not pass for it."""
    replay = Replay([row(1, "step", "refund", [1])])
    with pytest.raises(ReplayMismatch), replay.calling("step", "refund", "refund#1", [1]):
        pass


def test_two_numbered_calls_at_once_end_the_run() -> None:
    """Their numbers would depend on chance."""
    replay = Replay([])
    told = pytest.raises(NeedsKey, match="step 'b' began while step 'a' was under way")
    with replay.calling("step", "a", None, []), told, replay.calling("step", "b", None, []):
        pass


def test_keyed_calls_may_be_made_at_once() -> None:
    """Also beside a numbered one; but one key stands for one call at a time."""
    replay = Replay([])
    with replay.calling("step", "a", None, []), replay.calling("step", "b", "k", []):
        with replay.calling("step", "c", "l", []):
            pass
        with pytest.raises(NeedsKey, match="'k' at once"), replay.calling("step", "b", "k", []):
            pass


def test_a_run_that_is_over_stays_over() -> None:
    """Whoever swallows the error meets it again at the next call."""
    replay = Replay([row(1, "step", "a", [])])
    for _ in range(2):
        with pytest.raises(OrchestrationError) as refused, replay.calling("step", "b", None, []):
            pass
        assert refused.value is replay.over


@pytest.mark.parametrize("key", ["", " ", "a\nb", "k" * 151, "a\0", 12])
def test_a_key_is_a_short_line_of_text(key: Any) -> None:
    """It names a row, here and in approvals."""
    with pytest.raises(InvalidRequest) as refused, Replay([]).calling("step", "a", key, []):
        pass
    assert refused.value.field == "key"


def test_attempts_are_counted() -> None:
    """A call that has a record is the next attempt."""
    with Replay([row(1, "step", "a", [])]).calling("step", "a", None, []) as call:
        assert call.attempt == 2


@pytest.mark.parametrize(("now", "recorded"), RECORDED_NAMES.items())
def test_objects_that_older_runs_passed_to_steps_have_the_same_fingerprint(now: str, recorded: str) -> None:
    """A fingerprint holds an object's type by name; modules may move, what is on record does not."""
    module, _, name = now.rpartition(".")
    kind = getattr(import_module(module), name)
    assert plain([kind.__new__(kind)]) == [f"<{recorded}>"]


def test_rows_of_older_runs_have_the_same_fingerprint() -> None:
    """Each model of approvals counts by the name that it had when all of them were one module."""
    for model in apps.get_app_config("approvals").get_models():
        assert plain(object.__new__(model)) == f"<approvals.models.{model.__name__}>"
    assert plain(AuditEntry.objects) == "<approvals.models.ReadOnlyManager>"
    assert plain(AuditEntry.objects.none()) == "<approvals.models.ReadOnlyQuerySet>"
    assert plain(Approval.objects) == "<approvals.models._OfKind>"


def test_fingerprints_see_values_not_identities() -> None:
    """What has no text of its own counts by its type, so a fresh client is the same client."""
    same = [Path("/tmp"), Decimal("1.0"), {"b": 1, "a": (1, 2)}, object()]
    again = [Path("/tmp"), Decimal("1.0"), {"a": [1, 2], "b": 1}, object()]
    assert fingerprint("step", "x", None, same) == fingerprint("step", "x", None, again)
    assert fingerprint("step", "x", None, [1]) != fingerprint("step", "x", None, [2])
    assert fingerprint("step", "x", None, [1]) != fingerprint("step", "x", "x#1", [1])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@effort()
@given(json_values, json_values)
def test_fingerprints_tell_all_json_apart(first: Any, second: Any) -> None:
    """Equal texts, equal fingerprints; nothing that JSON can say is lost or makes it fail."""
    same = repr(first) == repr(second)
    if same:
        assert fingerprint("ask", "x", None, first) == fingerprint("ask", "x", None, second)
    elif first != second:
        assert fingerprint("ask", "x", None, first) != fingerprint("ask", "x", None, second)
