"""What a question means: the same in every process, and another where its answer means another thing."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from approvals import gate
from approvals.domain import questions
from approvals.domain.lifecycle import Kind
from approvals.domain.payloads import canonical
from approvals.domain.questions import FIELDS, REVIEWERS

texts = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.lists(texts.filter(bool) | st.integers(0, 99), max_size=4)
fields: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(FIELDS, values),
    "on_timeout": st.sampled_from(["", "approve", "reject"]),
    "group": st.just({}) | st.fixed_dictionaries({"key": texts, "title": texts}),
    "assignees": st.none() | st.builds(questions.assignees_by_name, names, names),
}
meanings = st.fixed_dictionaries(fields)


def on_record(meaning: dict[str, Any]) -> Any:
    """As the row of such a question is read again."""
    row = {name: json.loads(json.dumps(meaning[name])) for name in FIELDS}
    return SimpleNamespace(**row, fingerprint=questions.fingerprint(meaning))


@given(meanings)
def test_a_question_is_the_same_as_itself_however_it_is_kept(meaning: dict[str, Any]) -> None:
    assert questions.differences(meaning, on_record(meaning)) == ()
    assert questions.fingerprint(json.loads(json.dumps(meaning))) == questions.fingerprint(meaning)


@given(meanings, st.sampled_from(list(fields)), st.data())
def test_any_other_field_makes_another_question_and_is_named(
    meaning: dict[str, Any], field: str, data: st.DataObject
) -> None:
    value = data.draw(fields[field])
    assume(canonical(meaning[field]) != canonical(value))
    assert questions.differences({**meaning, field: value}, on_record(meaning)) == (field,)


@given(meanings, st.booleans(), st.sampled_from(sorted(fields.keys() - {"four_eyes"})), st.data())
def test_four_eyes_from_elsewhere_make_no_other_question_and_hide_none(
    meaning: dict[str, Any], held: bool, field: str, data: st.DataObject
) -> None:
    """The row has what held when it was opened, whatever the question says; what else differs is named."""
    row = on_record(meaning)
    row.four_eyes = held
    assert questions.differences(meaning, row, four_eyes_elsewhere=True) == ()
    value = data.draw(fields[field])
    assume(canonical(meaning[field]) != canonical(value))
    assert questions.differences({**meaning, field: value}, row, four_eyes_elsewhere=True) == (field,)


@given(names, st.randoms())
def test_the_order_and_repetition_of_names_makes_no_difference(given_: list[Any], random: Any) -> None:
    again = given_ + given_
    random.shuffle(again)
    assert questions.assignees_as_named(again) == questions.assignees_as_named(given_)


@given(st.lists(names, min_size=2, max_size=2, unique_by=lambda each: frozenset(map(repr, each))))
def test_other_names_are_told_apart(given_: list[list[Any]]) -> None:
    """A user called 7 is not user 7, and nobody in particular is nobody at all."""
    one, other = given_
    assert questions.assignees_as_named(one) != questions.assignees_as_named(other)
    assert questions.assignees_as_named(REVIEWERS) not in (
        questions.assignees_as_named(one),
        questions.assignees_as_named(other),
    )


@given(values)
def test_what_can_be_no_assignee_can_be_named_all_the_same(value: Any) -> None:
    """It is refused later, by who looks at it."""
    questions.assignees_as_named(value)


def test_a_fingerprint_is_that_of_earlier_versions() -> None:
    """Whatever requests can say by now: one that does not say it is the same question."""
    asked = gate.meaning(Kind.APPROVAL, "Refund", {"arguments": {"order": 812}})
    assert questions.fingerprint(asked) == "2:MRIYsOv29r0N51YkLAtCgmfwvOrc1YmzdqF4-Sj9M6U"
    asked = gate.meaning(Kind.CLARIFICATION, "Which?", {"choices": ["a", "b"]})
    assert questions.fingerprint(asked) == "2:vDxwje0d9LI1l7Hwys6TGUaeyRhwQm7-2kgj95uLe0o"


def test_a_fingerprint_has_the_mark_of_its_form_and_fits_its_column() -> None:
    meaning = dict.fromkeys((*FIELDS, "assignees"))
    assert questions.fingerprint(meaning).startswith("2:")
    assert len(questions.fingerprint(meaning)) <= 64
