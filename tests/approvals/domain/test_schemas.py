"""Choices and JSON Schema: what may be asked for, what fits, and that nothing makes it run away."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from approvals.domain.payloads import FlawError
from approvals.domain.schemas import check_against, check_choice, check_choices, check_schema, labels_of
from approvals.domain.schemas.dialects import dialect_of
from approvals.domain.schemas.documents import BYTES_LIMIT, DEPTH_LIMIT, PATTERNS_LIMIT, SUBSCHEMAS_LIMIT
from approvals.domain.schemas.evaluation import _OWN, Evaluation, _validator_of
from approvals.domain.schemas.validation import _read_and_check
from approvals.domain.schemas.values import prepare
from approvals.exceptions import InvalidAnswer, InvalidRequest
from tests.effort import effort

DRAFTS = {
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft-07": "http://json-schema.org/draft-07/schema#",
    "draft-06": "http://json-schema.org/draft-06/schema#",
    "draft-04": "http://json-schema.org/draft-04/schema#",
}
every_draft = pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)

REFUND = {
    "type": "object",
    "properties": {
        "order": {"type": "integer", "minimum": 1},
        "amount": {"type": "number", "multipleOf": 0.01},
        "currency": {"enum": ["EUR", "USD"]},
        "note": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
    },
    "required": ["order"],
    "additionalProperties": False,
    "$defs": {
        "line": {"type": "object", "properties": {"sku": {"pattern": "^[A-Z]{3}$"}}, "required": ["sku"]}
    },
}

HOSTILE_PATTERN = "^(a+)+$"
HOSTILE_TEXT = "a" * 100_000 + "b"


def fits(schema: Any, value: Any) -> bool:
    try:
        check_against(schema, value)
    except InvalidAnswer:
        return False
    return True


def nested(levels: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(levels):
        value = {"a": value}
    return value


# --- Choices ---


def test_choices_come_back_as_a_list() -> None:
    """One to two hundred lines of text."""
    assert check_choices(("yes", "no"), False) == ["yes", "no"]
    assert check_choices(["only"], True) == ["only"]
    assert len(check_choices([str(number) for number in range(200)], False)) == 200


def test_choices_may_have_labels() -> None:
    """They stay in their order; what is picked and on record is the value."""
    choices = {"eu": "Europe", "af": "Africa"}
    assert list(check_choices(choices, False).items()) == [("eu", "Europe"), ("af", "Africa")]  # type: ignore[union-attr]
    assert check_choice(choices, False, "af") == "af"
    assert check_choice(choices, True, ["af", "eu"]) == ["eu", "af"]
    assert labels_of(choices) == choices
    assert labels_of(["eu"]) == {"eu": "eu"}
    with pytest.raises(InvalidAnswer):
        check_choice(choices, False, "Europe")


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        ([], "choices"),
        (None, "choices"),
        ("yes", "choices"),
        ({}, "choices"),
        ({"yes": 1}, "choices.yes"),
        ({1: "yes"}, "choices[0]"),
        ({"a": ""}, "choices.a"),
        ({"a": "A", "b": "A"}, "choices.b"),
        ({"a": "x" * 201}, "choices.a"),
        ([str(number) for number in range(201)], "choices"),
        (["a", "b", "a"], "choices[2]"),
        (["a", ""], "choices[1]"),
        (["a", "  "], "choices[1]"),
        (["a", 2], "choices[1]"),
        (["a", None], "choices[1]"),
        (["two\nlines"], "choices[0]"),
        (["x" * 201], "choices[0]"),
        (["a\0"], "choices[0]"),
        (["\ud800"], "choices[0]"),
    ],
)
def test_impossible_choices_are_refused(choices: Any, field: str) -> None:
    """The error names the choice at fault."""
    with pytest.raises(InvalidRequest) as refusal:
        check_choices(choices, False)
    assert refusal.value.field == field


def test_multiple_is_a_yes_or_no() -> None:
    """Nothing else is taken for one."""
    with pytest.raises(InvalidRequest) as refusal:
        check_choices(["a"], "yes")
    assert refusal.value.field == "multiple"


def test_picks_are_among_the_choices() -> None:
    """One is itself; several come in the order they were offered; none of several is an answer."""
    choices = ["red", "green", "blue"]
    assert check_choice(choices, False, "green") == "green"
    assert check_choice(choices, True, ["blue", "red"]) == ["red", "blue"]
    assert check_choice(choices, True, ("green",)) == ["green"]
    assert check_choice(choices, True, []) == []


@pytest.mark.parametrize(
    ("multiple", "answer", "field"),
    [
        (False, "purple", "answer"),
        (False, "Red", "answer"),
        (False, "", "answer"),
        (False, None, "answer"),
        (False, ["red"], "answer"),
        (False, {"red": 1}, "answer"),
        (True, "red", "answer"),
        (True, None, "answer"),
        (True, ["red", "purple"], "answer[1]"),
        (True, ["red", ["blue"]], "answer[1]"),
        (True, ["red", "red"], "answer[1]"),
        (True, ["x"] * 1_000_000, "answer[0]"),
    ],
)
def test_other_picks_are_refused(multiple: bool, answer: Any, field: str) -> None:
    """The error names the pick at fault, briefly."""
    with pytest.raises(InvalidAnswer) as refusal:
        check_choice(["red", "blue"], multiple, answer)
    assert refusal.value.field == field


def test_a_refused_pick_is_not_echoed_at_length() -> None:
    """Nor is a default that was none of the choices an answer's fault."""
    with pytest.raises(InvalidRequest) as refusal:
        check_choice(["a"], False, "x" * 100_000, "default", error=InvalidRequest)
    assert refusal.value.field == "default"
    assert len(refusal.value.detail) < 300


# --- Schemas that are taken, and what fits them ---


def test_a_schema_comes_back_equal_and_detached() -> None:
    """What is recorded is what was asked for, and nobody can change it afterwards."""
    checked = check_schema(REFUND)
    assert checked == REFUND
    assert checked is not REFUND
    assert checked["properties"] is not REFUND["properties"]


def test_an_answer_that_fits_comes_back_equal_and_detached() -> None:
    """Tuples are lists, as in any JSON."""
    answer = {"order": 812, "amount": 19.99, "note": None, "lines": ({"sku": "ABC"},)}
    checked = check_against(REFUND, answer)
    assert checked == {"order": 812, "amount": 19.99, "note": None, "lines": [{"sku": "ABC"}]}
    assert checked["lines"][0] is not answer["lines"][0]  # type: ignore[index]  # a tuple, as given


@pytest.mark.parametrize(
    ("answer", "field", "rule"),
    [
        ([], "answer", "must be an object"),
        ({}, "answer.order", "is missing"),
        ({"order": 0}, "answer.order", "must be at least 1"),
        ({"order": "1"}, "answer.order", "must be a whole number"),
        ({"order": True}, "answer.order", "must be a whole number"),
        ({"order": 1, "amount": 19.999}, "answer.amount", "must be a multiple of 0.01"),
        ({"order": 1, "currency": "GBP"}, "answer.currency", 'must be one of "EUR", "USD"'),
        ({"order": 1, "note": "too long"}, "answer.note", "must have at most 5 characters"),
        ({"order": 1, "note": 5}, "answer.note", "must be text or must be null"),
        ({"order": 1, "lines": []}, "answer.lines", "must have at least 1 entry"),
        ({"order": 1, "lines": [{"sku": "ABC"}, {}]}, "answer.lines[1].sku", "is missing"),
        ({"order": 1, "lines": [{"sku": "abc"}]}, "answer.lines[0].sku", "must match the pattern"),
        ({"order": 1, "surprise": 1}, "answer.surprise", "is not allowed here"),
        ({"order": float("nan")}, "answer.order", "finite"),
        ({"order": 1, "note": "\0"}, "answer.note", "U+0000"),
    ],
)
def test_an_answer_that_does_not_fit_says_where_and_why(answer: Any, field: str, rule: str) -> None:
    """In words for people, at the spot to mend."""
    with pytest.raises(InvalidAnswer) as refusal:
        check_against(REFUND, answer)
    assert refusal.value.field == field
    assert refusal.value.detail.startswith(f"{field} ")
    assert rule in refusal.value.detail


@pytest.mark.parametrize(
    ("schema", "good", "bad", "where", "rule"),
    [
        ({"const": {"a": 1}}, {"a": 1.0}, {"a": True}, "answer", 'must be {"a": 1}'),
        ({"exclusiveMinimum": 3}, 3.5, 3, "answer", "must be more than 3"),
        ({"exclusiveMaximum": 3}, 2, 3, "answer", "must be less than 3"),
        ({"maximum": 3}, 3, 4, "answer", "must be at most 3"),
        ({"minLength": 2}, "äö", "ä", "answer", "at least 2 characters"),
        ({"maxItems": 1}, [1], [1, 2], "answer", "at most 1 entry"),
        ({"minProperties": 1}, {"a": 1}, {}, "answer", "at least 1 property"),
        ({"maxProperties": 1}, {"a": 1}, {"a": 1, "b": 1}, "answer", "at most 1 property"),
        (
            {"uniqueItems": True},
            [1, True, "1", [1]],
            [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}],
            "answer",
            "equal",
        ),
        ({"contains": {"const": 1}}, [0, 1], [0], "answer", "lacks an entry"),
        ({"contains": {"const": 1}, "minContains": 2}, [1, 1], [1], "answer", "at least 2 entries"),
        ({"contains": {"const": 1}, "maxContains": 1}, [1], [1, 1], "answer", "at most 1 entry"),
        ({"prefixItems": [{"type": "null"}], "items": False}, [None], [None, 1], "answer[1]", "not allowed"),
        ({"properties": {"a": False}}, {"b": 1}, {"a": 1}, "answer.a", "not allowed"),
        ({"not": {"type": "null"}}, 1, None, "answer", "ruled out"),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 1, 3, "answer", "more than one"),
        (
            {"oneOf": [{"type": "null"}, {"type": "boolean"}]},
            True,
            1,
            "answer",
            "null or must be true or false",
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}, "answer.b", 'is missing: "a" needs it'),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {}, {"a": 1}, "answer.b", "is missing"),
        (
            {"propertyNames": {"maxLength": 2}},
            {"ab": 1},
            {"abc": 1},
            "answer.abc",
            "name that is not allowed",
        ),
        (
            {"patternProperties": {"^x": {"type": "null"}}},
            {"x": None, "y": 1},
            {"xy": 1},
            "answer.xy",
            "null",
        ),
        (
            {"patternProperties": {"^x": True}, "additionalProperties": {"type": "null"}},
            {"x": 1, "y": None},
            {"x": 1, "y": 1},
            "answer.y",
            "must be null",
        ),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
            {"c": 1},
            {"a": 1},
            "answer.b",
            "is missing",
        ),
        (
            {
                "allOf": [{"properties": {"a": True}}, {"patternProperties": {"^b": True}}],
                "anyOf": [{"required": ["z"]}, {"properties": {"c": True}}],
                "dependentSchemas": {"a": {"properties": {"d": True}}},
                "unevaluatedProperties": False,
            },
            {"a": 1, "b2": 1, "c": 1, "d": 1},
            {"b": 1, "d": 1},
            "answer.d",
            "not allowed",
        ),
        (
            {
                "$ref": "#/$defs/first",
                "if": {"contains": {"const": 1}},
                "unevaluatedItems": {"type": "null"},
                "$defs": {"first": {"prefixItems": [True]}},
            },
            [5, 1, 1, None],
            [5, 1, 2],
            "answer[2]",
            "must be null",
        ),
        (
            {
                "anyOf": [{"additionalProperties": True, "required": ["a"]}, True],
                "unevaluatedProperties": False,
            },
            {"a": 1, "b": 1},
            {"b": 1},
            "answer.b",
            "not allowed",
        ),
    ],
)
def test_keywords_mean_what_the_standard_says(
    schema: dict[str, Any], good: Any, bad: Any, where: str, rule: str
) -> None:
    """Each keyword takes what fits and names what does not."""
    check_against(schema, good)
    with pytest.raises(InvalidAnswer) as refusal:
        check_against(schema, bad)
    assert refusal.value.field == where
    assert rule in refusal.value.detail


@every_draft
def test_each_draft_is_read_in_its_own_way(draft: str) -> None:
    """`$schema` chooses; a `#` at its end does not matter; the metaschema is the draft's own."""
    old = draft.endswith("draft-04/schema#")
    above_three = {"minimum": 3, "exclusiveMinimum": True} if old else {"exclusiveMinimum": 3}
    place = "$defs" if draft.startswith("https") else "definitions"
    schema = {
        "$schema": draft,
        "id" if old else "$id": "https://example.com/amounts",
        "properties": {"n": {"$ref": f"#/{place}/amount"}},
        place: {"amount": above_three},
    }
    assert check_schema(schema) == schema
    assert fits(schema, {"n": 4})
    with pytest.raises(InvalidAnswer, match=r"answer\.n must be more than 3"):
        check_against(schema, {"n": 3})
    with pytest.raises(InvalidRequest) as refusal:
        check_schema({"$schema": draft, "properties": {"a": {"allOf": [{"minLength": -1}]}}})
    assert refusal.value.field == "schema.properties.a.allOf[0].minLength"


@pytest.mark.parametrize("draft", ["2019-09", "draft-07", "draft-06", "draft-04"])
def test_the_earlier_drafts_have_lists_of_items_and_dependencies(draft: str) -> None:
    """What 2020-12 spells `prefixItems`, `dependentRequired` and `dependentSchemas`."""
    schema = {
        "$schema": DRAFTS[draft],
        "properties": {"pair": {"items": [{"type": "null"}], "additionalItems": False}},
        "dependencies": {"a": ["b"], "c": {"required": ["d"]}},
    }
    assert fits(schema, {"pair": [None], "b": 1, "d": 1})
    assert not fits(schema, {"pair": [1]})
    assert not fits(schema, {"pair": [None, None]})
    if draft != "2019-09":
        assert not fits(schema, {"a": 1})
        assert not fits(schema, {"c": 1})


def test_2019_09_knows_what_was_not_evaluated() -> None:
    """Its `items` and `additionalItems` count."""
    base = {"$schema": DRAFTS["2019-09"], "unevaluatedItems": False}
    assert fits({**base, "allOf": [{"items": [True]}]}, [1])
    assert not fits({**base, "allOf": [{"items": [True]}]}, [1, 2])
    assert fits({**base, "allOf": [{"items": [True], "additionalItems": True}]}, [1, 2])
    assert fits({**base, "$ref": "#/$defs/a", "$defs": {"a": {"items": True}}}, [1, 2])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2026-02-28", 5], ["2026-02-30", "2026-W01-1", "28.2.2026", "x" * 100_000]),
        (
            "date-time",
            ["2026-02-28T10:00:00Z", "2026-02-28t10:00:00.123456789+02:00", "2026-02-28T10:00Z", None],
            ["2026-02-28T10:00:00", "2026-02-30T10:00:00Z", "2026-02-28T25:00:00Z", "now", "1" * 100_000],
        ),
        ("time", ["10:00:00Z", "00:00:00-01:00", "10:00:00", "10:00", {}], ["10", "24:00:00Z", "10:0"]),
        ("email", ["a@b.example", "ä@localhost", True], ["a", "@b", "a@", "a b@c", "a" * 100_000]),
        ("ipv4", ["127.0.0.1", 1], ["127.0.0.256", "::1", "." * 100_000]),
        ("ipv6", ["::1", 1], ["127.0.0.1", "::g", ":" * 100_000]),
        ("uuid", ["0190c3a0-0000-7000-8000-000000000000"], ["0190", "x" * 36, "a" * 100_000]),
        (
            "uri",
            ["https://acme.example/?a=b", "urn:x:y", "mailto:a@b", 3],
            ["acme", "/x", "http://[x", "a b:c"],
        ),
    ],
)
def test_formats_are_asserted(name: str, good: list[Any], bad: list[str]) -> None:
    """The common ones; of values that are no text a format says nothing."""
    for value in good:
        assert fits({"format": name}, value), value
    for value in bad:
        assert not fits({"format": name}, value), value[:40]


def test_other_formats_are_annotations() -> None:
    """Nothing is refused for a format that is not checked."""
    assert fits({"format": "iri-template"}, "anything")
    assert fits({"format": "regex"}, "(")


def test_a_long_value_is_not_echoed() -> None:
    """Neither what was sent nor what was expected makes the error long."""
    schema = {"properties": {"a": {"enum": ["y" * 1000] * 1 + [f"z{n}" for n in range(500)]}}}
    for answer in ({"a": "x" * 500_000}, {"a": ["x"] * 100_000}):
        with pytest.raises(InvalidAnswer) as refusal:
            check_against(schema, answer)
        assert len(refusal.value.detail) < 300
    with pytest.raises(InvalidAnswer) as refusal:
        check_against({"additionalProperties": False}, {"k" * 100_000: 1})
    assert len(refusal.value.detail) < 300


def test_the_caller_says_whose_error_it_is() -> None:
    """A default that does not fit is the fault of who asks."""
    with pytest.raises(InvalidRequest) as refusal:
        check_against({"type": "null"}, 1, "default", error=InvalidRequest)
    assert refusal.value.field == "default"


# --- Schemas that are refused ---


@pytest.mark.parametrize(
    ("schema", "field", "rule"),
    [
        (None, "schema", "object"),
        (True, "schema", "object"),
        ([], "schema", "object"),
        ("{}", "schema", "object"),
        ({"type": "strin"}, "schema.type", '"string"'),
        ({"type": 5}, "schema.type", "must be one of"),
        ({"required": "a"}, "schema.required", "must be a list"),
        ({"required": ["a", "a"]}, "schema.required", "equal"),
        ({"properties": []}, "schema.properties", "must be an object"),
        ({"properties": {"a": 5}}, "schema.properties.a", "must be an object or true or false"),
        ({"allOf": []}, "schema.allOf", "at least 1 entry"),
        ({"items": [{}]}, "schema.items", "must be an object or true or false"),
        ({"multipleOf": 0}, "schema.multipleOf", "more than 0"),
        ({"maxLength": 1.5}, "schema.maxLength", "whole number"),
        ({"minimum": float("nan")}, "schema.minimum", "finite"),
        ({"title": "\0"}, "schema.title", "U+0000"),
        ({"maximum": 2**53}, "schema.maximum", "as a string"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "schema.$schema", "known"),
        ({"$schema": "https://example.com/mine"}, "schema.$schema", "known"),
        ({"$schema": 7}, "schema.$schema", "known"),
        ({"items": {"$schema": DRAFTS["draft-07"]}}, "schema.items.$schema", "at the top only"),
        ({"items": {"$id": "http://["}}, "schema.items.$id", "at the top only"),
        ({"$ref": "https://example.com/x"}, "schema.$ref", "must lead to"),
        ({"$ref": "file:///etc/passwd"}, "schema.$ref", "must lead to"),
        ({"$ref": "other.json#/a"}, "schema.$ref", "must lead to"),
        ({"$ref": DRAFTS["draft-07"]}, "schema.$ref", "must lead to"),
        ({"$ref": "#/$defs/absent"}, "schema.$ref", "must lead to"),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, "schema.$ref", "must lead to"),
        ({"items": {"$ref": "#/default"}, "default": {"type": 5}}, "schema.items.$ref", "must lead to"),
        ({"items": {"$ref": "#/properties"}, "properties": {}}, "schema.items.$ref", "must lead to"),
        ({"items": {"$ref": 5}}, "schema.items.$ref", "must lead to"),
        ({"items": {"$dynamicRef": "#a"}}, "schema.items.$dynamicRef", "use $ref"),
        (
            {"$schema": DRAFTS["2019-09"], "items": {"$recursiveRef": "#"}},
            "schema.items.$recursiveRef",
            "use $ref",
        ),
        ({"pattern": "(?=a)"}, "schema.pattern", "linear time"),
        ({"pattern": r"(a)\1"}, "schema.pattern", "linear time"),
        ({"pattern": "("}, "schema.pattern", "missing )"),
        ({"pattern": "((a{100}){100}){100}"}, "schema.pattern", "linear time"),
        ({"properties": {"a": {"patternProperties": {"(?!x)": {}}}}}, None, "linear time"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, field: str | None, rule: str) -> None:
    """At the call that brings it, naming the spot and the rule."""
    with pytest.raises(InvalidRequest) as refusal:
        check_schema(schema)
    assert refusal.value.field == (field or 'schema.properties.a.patternProperties["(?!x)"]')
    assert rule in refusal.value.detail


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        (nested(DEPTH_LIMIT, {}), "nested deeper than 32"),
        ({"description": "x" * BYTES_LIMIT}, "larger than 65,536 bytes"),
        ({"properties": {str(n): {} for n in range(SUBSCHEMAS_LIMIT)}}, "more than 1,000 subschemas"),
        (
            {"allOf": [{"pattern": f"a{n}"} for n in range(PATTERNS_LIMIT + 1)]},
            "more than 100 different patterns",
        ),
        ({"allOf": [{"pattern": rf"\pL{{{n}}}"} for n in range(10, 40)]}, "too large in all"),
    ],
)
def test_a_schema_has_limits(schema: dict[str, Any], rule: str) -> None:
    """Each is stated in the error."""
    with pytest.raises(InvalidRequest, match=rule):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"anyOf": [{"$ref": "#"}]}]},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"oneOf": [{"$ref": "#/$defs/a"}]}}},
        {"$schema": DRAFTS["draft-07"], "dependencies": {"a": {"$ref": "#"}}},
    ],
)
def test_a_schema_that_applies_itself_to_the_same_value_is_refused(schema: dict[str, Any]) -> None:
    """It would never end, whatever the answer."""
    with pytest.raises(InvalidRequest, match="leads back to itself"):
        check_schema(schema)


def test_a_schema_that_multiplies_is_refused() -> None:
    """Each level doubles the last; together they are more than may apply to one value."""
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(15)}
    with pytest.raises(InvalidRequest, match="unfolds to more than 10,000"):
        check_schema({"$defs": {**levels, "l15": {}}})


def test_a_schema_from_elsewhere_is_checked_before_it_is_used() -> None:
    """`check_against` relies on nobody else having looked."""
    with pytest.raises(InvalidRequest, match="leads back"):
        check_against({"$ref": "#"}, 1)


# --- Answers and schemas that want to run away ---


def test_recursion_into_the_value_is_what_references_are_for() -> None:
    """A tree as deep as any answer may be."""
    tree = {"properties": {"a": {"$ref": "#"}}, "additionalProperties": False}
    assert fits(tree, nested(63, {}))
    assert not fits(tree, nested(62, {"b": 1}))


def test_more_recursion_than_the_stack_holds_is_an_answer_that_does_not_fit() -> None:
    """Thirty references for each level of a deep value are refused, not a crash."""
    links = {f"l{n}": {"$ref": f"#/$defs/l{n + 1}"} for n in range(29)}
    schema = {"$defs": {**links, "l29": {"properties": {"a": {"$ref": "#/$defs/l0"}}}}, "$ref": "#/$defs/l0"}
    assert fits(schema, nested(5, {}))
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        check_against(schema, nested(60, {}))


@every_draft
def test_no_keyword_of_the_library_searches_by_itself(draft: str) -> None:
    """Whatever of the library's runs on our schemas neither uses `re` nor calls what does."""
    dialect = dialect_of({"$schema": draft})
    unused = {"$dynamicRef", "$recursiveRef", *_OWN}
    for name in dialect.validator.VALIDATORS.keys() - unused:
        source = inspect.getsource(dialect.validator.VALIDATORS[name])
        assert not [trap for trap in ("re.", "find_", "uniq(", "_validate_reference") if trap in source], name
    assert _validator_of(dialect).VALIDATORS.keys() == dialect.validator.VALIDATORS.keys()


@every_draft
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"text": {"pattern": HOSTILE_PATTERN}}},
        {"patternProperties": {HOSTILE_PATTERN: {}}},
        {"patternProperties": {HOSTILE_PATTERN: {}}, "additionalProperties": False},
        {"propertyNames": {"pattern": HOSTILE_PATTERN}},
        {"allOf": [{"patternProperties": {HOSTILE_PATTERN: {}}}], "unevaluatedProperties": False},
    ],
)
def test_patterns_never_backtrack(draft: str, schema: dict[str, Any]) -> None:
    """Two to the hundred-thousandth steps would not end, wherever a pattern stands: it is answered as a short
    text that does not match either."""
    hostile, short = {"text": HOSTILE_TEXT, HOSTILE_TEXT: 1}, {"text": "b", "b": 1}
    place = "$defs" if draft.startswith("https") else "definitions"
    for version in (schema, {"properties": {"in": {"$ref": f"#/{place}/s"}}, place: {"s": schema}}):
        dated = {"$schema": draft, **version}
        assert fits(dated, hostile) is fits(dated, short)
        assert fits(dated, {"in": hostile}) is fits(dated, {"in": short})


def test_an_automaton_that_explodes_is_paid_for_beforehand() -> None:
    """RE2's own worst case is length times size; what costs too much is not started."""
    schema = {"pattern": "[ab]*a[ab]{900}c"}
    assert not fits(schema, "ab" * 1000)
    with pytest.raises(InvalidAnswer, match="too much work"):
        check_against(schema, "ab" * 400_000)


RUNAWAYS = [
    ({"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}, nested(60, {})),
    ({"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["b"]}] * 2}, nested(60, {})),
    ({"oneOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["b"]}] * 2}, nested(60, {})),
    ({"not": {"properties": {"a": {"$ref": "#"}}}, "properties": {"a": {"$ref": "#"}}}, nested(60, {})),
    (
        {
            "unevaluatedProperties": False,
            "allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}],
        },
        nested(60, {}),
    ),
    ({"items": {"enum": list(range(1, 10_000))}}, [9_999] * 100_000),
    ({"items": {"anyOf": [{"type": "string"}] * 500 + [True]}}, [0] * 100_000),
    ({"items": {}}, [{}] * 300_000),
    ({"patternProperties": {f"a{n}": {} for n in range(100)}}, {str(n): 0 for n in range(50_000)}),
]

# What else could be much work for few steps.
LABORIOUS = [
    ({"items": {"anyOf": [{"properties": {"a": {"type": "string"}}}] * 200 + [True]}}, [{"a": 0}] * 1_000),
    ({"items": {"anyOf": [{"const": {"a": [n, [n]]}} for n in range(100)]}}, [{"a": [99, [99]]}] * 1_000),
    ({"items": {"enum": [[n] for n in range(4_000)]}}, [[3_999]] * 1_000),
    ({"items": {"properties": {f"p{n}": {} for n in range(300)}}}, [{f"p{n}": 0 for n in range(300)}] * 20),
    ({"items": {"multipleOf": 0.01}}, [19.99] * 1_000),
    ({"items": {"format": "email"}}, ["a@b.example"] * 1_000),
    ({"allOf": [{"uniqueItems": True}] * 900}, [number + 0.5 for number in range(3_000)]),
    ({"allOf": [{"uniqueItems": True}] * 900}, [{"n": number} for number in range(3_000)]),
    ({"propertyNames": {"maxLength": 9}, "additionalProperties": False}, {str(n): 0 for n in range(1_000)}),
    (
        {"$schema": DRAFTS["draft-07"], "items": {"dependencies": {"a": {"required": ["a"]}}}},
        [{"a": 1}] * 1_000,
    ),
]


@pytest.mark.parametrize(("schema", "answer"), RUNAWAYS)
def test_work_that_multiplies_with_the_answer_ends_with_its_budget(
    schema: dict[str, Any], answer: Any
) -> None:
    """The schema is fine and so is the answer; together they would take too long, and that is said."""
    check_schema(schema)
    with pytest.raises(InvalidAnswer, match=r"too much work .*: more than 800,000 steps"):
        check_against(schema, answer)


@pytest.mark.parametrize(("schema", "answer"), RUNAWAYS + LABORIOUS)
def test_a_step_is_about_as_much_work_whatever_it_is_for(schema: dict[str, Any], answer: Any) -> None:
    """Counted in calls of functions, which are the same on every machine."""
    document = _read_and_check(json.dumps(schema))
    few = answer[:1_000] if isinstance(answer, list) else dict(list(answer.items())[:1_000])
    evaluation = Evaluation(document, budget=50_000)
    calls = calls_of(lambda: evaluation.first_error(few)) - calls_of(lambda: prepare(few))
    assert calls < 10 * evaluation.spent


def calls_of(action: Callable[[], object]) -> int:
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        action()
    except FlawError:
        pass
    finally:
        sys.setprofile(None)
    return calls


def test_one_wrong_leaf_of_a_recursive_union_is_found_in_few_steps() -> None:
    """Alternatives that a constant tells apart end there, however many of them could be tried in all."""
    child = {"$ref": "#/$defs/node"}
    nodes = [
        {"required": ["kind"], "properties": {"kind": {"const": kind}, "left": child, "right": child}}
        for kind in "abcdefgh"
    ]
    document = _read_and_check(json.dumps({**child, "$defs": {"node": {"anyOf": nodes}}}))
    good: dict[str, Any] = {"kind": "h"}
    bad: dict[str, Any] = {"kind": "z"}
    for _ in range(5):
        good, bad = {"kind": "h", "left": good, "right": good}, {"kind": "h", "left": good, "right": bad}
    evaluation = Evaluation(document)
    assert evaluation.first_error(good) is None
    assert evaluation.first_error(bad) is not None
    assert evaluation.spent < 60_000


def test_what_says_nothing_costs_nothing() -> None:
    """Unknown keywords of a subschema are not looked at again for each value."""
    schema = {"items": {f"x{n}": 1 for n in range(4_000)}}
    document = _read_and_check(json.dumps(schema))
    answer = [0] * 1_000
    assert calls_of(lambda: Evaluation(document).first_error(answer)) < 50 * len(answer)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"uniqueItems": True}, [{"n": n} for n in range(60_000)]),
        ({"uniqueItems": True}, [n if n % 2 else [n] for n in range(100_000)]),
        ({"enum": [{} if n % 2 else [] for n in range(20_000)] + [1]}, 1),
        ({"anyOf": [{"type": "string"}] * 500 + [True]}, list(range(150_000))),
        ({"items": {"type": "object", "required": ["n"]}}, [{"n": n} for n in range(20_000)]),
    ],
)
def test_large_answers_fit_where_the_work_is_linear(schema: dict[str, Any], answer: Any) -> None:
    """The budget is no obstacle to what is merely large."""
    assert fits(schema, answer)


# --- Against the library itself ---

names = st.sampled_from(["a", "b", "ab", "c"])
texts = st.sampled_from(["", "a", "b", "ab", "abc"])
small = st.integers(0, 3)
values = st.recursive(
    st.none() | st.integers(-2, 4) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
patterns = st.sampled_from(["a", "^b", "c$", "^(a|b)+$"])


def _keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    by_name = st.dictionaries(names, inner, max_size=2)
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "null", ["object", "array"]]),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "minimum": small,
            "exclusiveMaximum": small,
            "multipleOf": st.integers(1, 3),
            "minLength": small,
            "maxLength": small,
            "pattern": patterns,
            "minItems": small,
            "maxItems": small,
            "uniqueItems": st.booleans(),
            "prefixItems": branches,
            "items": inner,
            "contains": inner,
            "minContains": small,
            "maxContains": small,
            "properties": by_name,
            "patternProperties": st.dictionaries(patterns, inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "required": st.lists(names, unique=True, max_size=2),
            "minProperties": small,
            "maxProperties": small,
            "dependentRequired": st.dictionaries(names, st.lists(names, unique=True, max_size=2), max_size=2),
            "dependentSchemas": by_name,
            "allOf": branches,
            "anyOf": branches,
            "oneOf": branches,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
        },
    )


schemas = st.recursive(st.booleans() | _keywords(st.booleans()), _keywords, max_leaves=6)


@effort(30)
@given(_keywords(schemas), _keywords(st.booleans()), values)
def test_what_fits_is_what_the_library_says(
    schema: dict[str, Any], other: dict[str, Any], value: Any
) -> None:
    """Our keywords, budget and spelling change how it is found out, not what."""
    other.pop("$ref", None)
    schema = {**schema, "$defs": {"x": other, "y": True}}
    try:
        check_schema(schema)
    except InvalidRequest:
        assume(False)
    assert fits(schema, value) is Draft202012Validator(schema).is_valid(value)


@effort(100)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-1, 3)
        | st.sampled_from(["object", "#", "(", "^a", *DRAFTS.values()]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    sorted(
                        {key for uri in DRAFTS.values() for key in dialect_of({"$schema": uri}).keywords}
                        | {"$schema", "id"}
                    )
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    values,
)
def test_anything_is_either_taken_or_refused(schema: Any, value: Any) -> None:
    """Nonsense made of real keywords raises nothing but what is promised, nor does an answer to it."""
    try:
        check_schema(schema)
    except InvalidRequest as refusal:
        json.dumps(refusal.detail).encode()
        return
    assert fits(schema, value) in {True, False}
