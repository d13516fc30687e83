"""The forms turn what a browser sends into what decisions take, and show refusals where they belong."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import QueryDict

from approvals.exceptions import InvalidAnswer
from approvals.web.pages.forms import AnswerForm, DecisionForm
from approvals.web.pages.forms.builder import build
from tests.submissions import Page

REFUND = {"order": 812, "amount": "12.00", "note": None}
AMOUNT = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "pattern": "^[0-9.]+$", "title": "Amount"},
        "order": {"type": "integer"},
    },
    "required": ["amount"],
}
STREET = 'answer["street and number"]'
ADDRESS = {
    "type": "object",
    "properties": {
        "street and number": {"type": "string", "maxLength": 80},
        "country": {"enum": ["DE", "FR", "NL"]},
        "parcels": {"type": "integer", "minimum": 1, "default": 1},
        "weight": {"type": "number"},
        "express": {"type": "boolean"},
        "note": {"type": "string", "maxLength": 1000, "description": "For the driver."},
    },
    "required": ["street and number", "country"],
}


def approval(editable: Any = False, arguments: Any = None, final: Any = None) -> Any:
    return SimpleNamespace(arguments=arguments or dict(REFUND), final_arguments=final, editable=editable)


def question(choices: Any = None, schema: Any = None, *, multiple: bool = False) -> Any:
    return SimpleNamespace(choices=choices, multiple=multiple, schema=schema)


def sent(**values: Any) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return data


def decided(asked: Any, **values: Any) -> DecisionForm:
    form = DecisionForm(asked, sent(**{"decision": "approve", "edits": "1", **values}))
    form.is_valid()
    return form


def answered(asked: Any, **values: Any) -> Any:
    """The answer, or the fields that are at fault."""
    form = AnswerForm(asked, sent(**values))
    return form.cleaned_data["answer"] if form.is_valid() else set(form.errors)


# Deciding


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_decision_and_its_comment_come_out_as_they_were_meant(decision: str) -> None:
    """Line ends of browsers become those of everybody else; nothing else of a comment changes."""
    form = decided(approval(), decision=decision, comment=" not on\r\nFridays ")
    assert form.cleaned_data == {
        "decision": decision,
        "comment": " not on\nFridays ",
        "edits": "1",
        "reviewed": "",
        "arguments": None,
    }


@pytest.mark.parametrize("decision", ["", "maybe", "APPROVE"])
def test_whatever_is_no_decision_is_refused(decision: str) -> None:
    assert set(decided(approval(), decision=decision).errors) == {"decision"}


def test_arguments_that_may_not_be_edited_have_no_field() -> None:
    form = decided(approval(), arguments='{"order": 1}')
    assert form.bound_structure() is None
    assert form.arguments is None


def test_unchanged_arguments_are_no_edit() -> None:
    form = decided(approval(editable=True), arguments='{"note": null, "amount": "12.00", "order": 812}')
    assert form.arguments is None
    assert not form.unreviewed


def test_edited_arguments_want_a_review_of_exactly_these_changes() -> None:
    """The fingerprint of another edit does not count as a review."""
    edited = '{"order": 812, "amount": "9.00", "note": null}'
    form = decided(approval(editable=True), arguments=edited)
    assert form.unreviewed
    assert [(change.path, change.before, change.after) for change in form.changes()] == [
        ("amount", "12.00", "9.00")
    ]
    assert not decided(approval(editable=True), arguments=edited, reviewed=form.fingerprint).unreviewed
    other = edited.replace("9.00", "90.00")
    assert decided(approval(editable=True), arguments=other, reviewed=form.fingerprint).unreviewed


def test_what_an_earlier_approver_edited_is_where_the_next_one_starts() -> None:
    form = DecisionForm(approval(editable=True, final={**REFUND, "amount": "10.00"}))
    assert "&quot;10.00&quot;" in str(form["arguments"])


@pytest.mark.parametrize(
    "text", ["{", "{'a': 1}", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000, "9" * 5000]
)
def test_what_is_not_json_is_refused_on_its_field(text: str) -> None:
    assert set(decided(approval(editable=True), arguments=text).errors) == {"arguments"}


@pytest.mark.parametrize("text", ["[]", '"text"', "null", "12"])
def test_arguments_are_an_object(text: str) -> None:
    assert set(decided(approval(editable=True), arguments=text).errors) == {"arguments"}


def test_a_rejection_takes_no_edited_arguments_along() -> None:
    form = decided(approval(editable=True), decision="reject", arguments='{"order": 1}')
    assert form.is_valid()
    assert form.arguments is None


def test_a_schema_gives_a_field_for_each_property_and_keeps_the_rest() -> None:
    form = decided(approval(editable=AMOUNT), **{"arguments.amount": "9.00", "arguments.order": "812"})
    assert [part.label for part in form.bound_structure().parts] == ["Amount", "Order"]  # type: ignore[union-attr]
    assert form.arguments == {"order": 812, "amount": "9.00", "note": None}


def test_edited_arguments_are_held_against_their_schema_before_the_review() -> None:
    form = decided(approval(editable=AMOUNT), **{"arguments.amount": "a lot", "arguments.order": "812"})
    form.check_arguments()
    assert set(form.errors) == {"arguments.amount"}


def test_an_argument_that_does_not_fit_its_field_is_edited_as_json() -> None:
    """What is there now must not change only because a form was made for it."""
    form = DecisionForm(approval(editable=AMOUNT, arguments={"amount": {"value": "12.00"}, "order": 1}))
    assert Page.of(form).sent().dict() == {
        "arguments.amount": '{\r\n  "value": "12.00"\r\n}',
        "arguments.order": "1",
    }


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_form_that_edits_nothing_can_leave_the_arguments_out(decision: str) -> None:
    form = decided(approval(editable=AMOUNT), decision=decision, edits="")
    assert form.is_valid()
    assert form.arguments is None


def test_emptying_a_check_box_is_an_edit() -> None:
    """A browser sends nothing for an empty box."""
    asked = approval({"type": "object", "properties": {"express": {"type": "boolean"}}}, {"express": True})
    assert decided(asked).arguments == {"express": False}


# Refusals


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("arguments.amount", "arguments.amount"),
        ("arguments.amount[3].value", "arguments.amount"),
        ("comment", "comment"),
        ("arguments.amounts", "__all__"),
        ("somewhere else", "__all__"),
        (None, "__all__"),
    ],
)
def test_a_refusal_is_shown_on_the_field_it_names(named: str | None, shown: str) -> None:
    form = decided(approval(editable=AMOUNT), **{"arguments.amount": "9", "arguments.order": "812"})
    form.add_refusal(InvalidAnswer("No.", field=named))
    assert set(form.errors) == {shown}


# Answering


def test_one_of_the_choices() -> None:
    asked = question(["4100 Engineering", "4200 Support"])
    assert answered(asked, answer="4200 Support") == "4200 Support"
    assert answered(asked, answer="4300") == {"answer"}
    assert answered(asked) == {"answer"}


def test_any_number_of_the_choices_even_none() -> None:
    asked = question(["ACME", "Globex"], multiple=True)
    assert answered(asked, answer=["ACME", "Globex"]) == ["ACME", "Globex"]
    assert answered(asked) == []
    assert answered(asked, answer=["Initech"]) == {"answer"}


def test_free_text_stays_as_it_was_typed_but_may_not_be_forgotten() -> None:
    assert answered(question(), answer="two\r\nlines ") == "two\nlines "
    assert answered(question(), answer="") == {"answer"}
    assert answered(question(), answer="a\x00b") == {"answer"}


def test_a_form_from_a_schema_gives_json_of_the_right_types() -> None:
    asked = question(schema=ADDRESS)
    given = answered(
        asked,
        **{
            STREET: "Main St 1",
            "answer.country": "FR",
            "answer.parcels": "3",
            "answer.weight": "2.5",
            "answer.express": "on",
        },
    )
    assert given == {
        "street and number": "Main St 1",
        "country": "FR",
        "parcels": 3,
        "weight": 2.5,
        "express": True,
    }
    assert type(given["parcels"]) is int


def test_optional_fields_left_empty_are_left_out_and_an_empty_box_says_no() -> None:
    asked = question(schema=ADDRESS)
    given = answered(asked, **{STREET: "Main St 1", "answer.country": "FR"})
    assert given == {"street and number": "Main St 1", "country": "FR", "express": False}


def test_each_field_of_a_schema_shows_its_own_fault() -> None:
    faults = answered(
        question(schema=ADDRESS),
        **{"answer.country": "US", "answer.parcels": "2.5", "answer.weight": "NaN"},
    )
    assert faults == {STREET, "answer.country", "answer.parcels", "answer.weight"}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "boolean"}, "true", True),
        ({"type": "integer"}, "9007199254740993", 9007199254740993),
        ({"type": "number"}, "1e2", 100.0),
        ({"type": "string"}, "plain", "plain"),
        ({"enum": [1, True, "1"]}, "0", 1),
        ({"enum": [1, "one"]}, "1", 1),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, '["a"]', ["a"]),
        ({}, "null", None),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"a": 1}', {"a": 1}),
        (
            {"type": "object", "minProperties": 1, "properties": {"a": {"type": "string"}}},
            '{"b": 1}',
            {"b": 1},
        ),
    ],
)
def test_any_other_schema_is_one_field(schema: Any, text: str, value: Any) -> None:
    given = answered(question(schema=schema), answer=text)
    assert given == value
    assert type(given) is type(value)


def test_a_property_of_which_no_more_is_said_is_a_field_for_any_json() -> None:
    """Beside the fields of the others; a text needs its quotes, and what is left empty is left out."""
    schema = {
        "type": "object",
        "properties": {"how": {"enum": ["again", "done"]}, "result": {"title": "Result"}},
        "required": ["how"],
    }
    asked = question(schema=schema)
    for text, value in [('{"a": [1]}', {"a": [1]}), ('"text"', "text"), ("false", False)]:
        given = answered(asked, **{"answer.how": "done", "answer.result": text})
        assert given == {"how": "done", "result": value}
    assert answered(asked, **{"answer.how": "again"}) == {"how": "again"}
    assert answered(asked, **{"answer.how": "done", "answer.result": "text"}) == {"answer.result"}
    values: list[Any] = [{"a": 1}, "text", None, [], ""]
    for there in values:
        edited = approval(editable=schema, arguments={"how": "done", "result": there})
        page = Page.of(DecisionForm(edited))
        assert decided(edited, **page.sent().dict()).arguments is None


def test_ids_in_the_page_have_no_spaces_whatever_properties_are_called() -> None:
    names = ["street and number", "street-and-number", "street.and.number", "straße", "a"]
    form = AnswerForm(
        question(schema={"type": "object", "properties": {key: {"type": "string"} for key in names}})
    )
    ids = {form[name].auto_id for name in form.fields}
    assert len(ids) == len(names) + 1
    assert all(re.fullmatch(r"[\w-]+", one, re.ASCII) for one in ids)


def test_a_schema_of_very_many_properties_is_edited_as_json() -> None:
    many = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(500)}}
    assert set(build(many, "answer").fields) == {"answer"}


def test_an_answer_to_be_written_as_json_starts_empty() -> None:
    form = AnswerForm(question(schema={"type": "array", "items": {"type": "object"}}))
    assert form["answer"].value() is None
