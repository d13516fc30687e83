"""Forms for what pydantic, dataclasses and zod make of models: filled in as people do, the answer fits."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from approvals.domain.schemas import check_against, check_schema
from approvals.web.pages.forms import AnswerForm
from approvals.web.pages.forms.fields import JSONValueField
from tests.approvals.web.pages.forms.producers.pydantic_models import MODELS, schemas
from tests.submissions import Page

SCHEMAS = Path(__file__).parent / "schemas"
PYDANTIC = {path.stem: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("pydantic-*.json"))}
PYDANTIC["pydantic, as installed"] = schemas()
ZOD = {path.stem: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("zod-*.json"))}
DRAFTS = ("", " (draft 7)")

ADDRESS = {"street": "Main St 1"}
# What a person types and picks, by the end of the input's name; buttons pressed first; and the answer.
Act = tuple[dict[str, str | list[str]], list[str], Any]

PYDANTIC_ACTS: dict[str, Act] = {
    "optionals": ({"must_be_said": "3"}, [], {"must_be_said": 3, "with_default": 5}),
    "choices": (
        {"colour": "red", "level": "2", "literal": "1", "colours": ["blue"], "letters": ["p", "q"]},
        [],
        {"colour": "red", "level": 2, "literal": 1, "only": "x", "colours": ["blue"], "letters": ["p", "q"]},
    ),
    "numbers": (
        {"amount": "-0.10", "price": "1240.50", "digits": "12.5", "even": "4", "share": "0.5"},
        [],
        {"amount": "-0.10", "price": "1240.50", "digits": "12.5", "places": "1.5", "even": 4, "share": 0.5},
    ),
    "formats": (
        {
            "day": "2026-03-29",
            "at": "09:30",
            "moment": "2026-03-29T09:30",
            "length": "PT1H30M",
            "uuid": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
            "url": "https://example.org/",
            "code": "abc",
        },
        [],
        {
            "day": "2026-03-29",
            "at": "09:30:00Z",
            "moment": "2026-03-29T09:30:00Z",
            "length": "PT1H30M",
            "uuid": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
            "url": "https://example.org/",
            "code": "abc",
        },
    ),
    "nested": (
        {
            "billing.street": "Main St 1",
            "shipping.street": "Side St 2",
            "shipping.city": "Delft",
            "lines[0].street": "A",
            "lines[1].street": "B",
            "tags[0]": "new",
            "pet": "0",
            "pet<0>.lives": "9",
        },
        ["lines"],
        {
            "billing": ADDRESS,
            "shipping": {"street": "Side St 2", "city": "Delft"},
            "fallback": {"street": "Main St 1", "city": None},
            "lines": [{"street": "A"}, {"street": "B"}],
            "tags": ["new"],
            "pet": {"kind": "cat", "lives": 9},
        },
    ),
    "odd": (
        {
            "plain": "as it is",
            "pair": '[1, "a"]',
            "mapping": '{"a": 1}',
            "anything": "null",
            "either": '"5"',
            "node.name": "root",
            "node.children": '[{"name": "leaf"}]',
        },
        [],
        {
            "plain": "as it is",
            "pair": [1, "a"],
            "mapping": {"a": 1},
            "anything": None,
            "either": "5",
            "node": {"name": "root", "children": [{"name": "leaf"}]},
        },
    ),
    "dataclass": (
        {"owner": "ann", "items[0].title": "Milk", "items[0].labels[0]": "cold", "limit": "2.5"},
        ["items", "items[0].labels"],
        {"owner": "ann", "items": [{"title": "Milk", "done": False, "labels": ["cold"]}], "limit": 2.5},
    ),
    "numbers out": (
        {"amount": "-0.10", "price": "1240.50", "digits": "12.5", "even": "4", "share": "0.5"},
        [],
        {"amount": "-0.10", "price": "1240.50", "digits": "12.5", "places": "1.5", "even": 4, "share": 0.5},
    ),
}

ZOD_ACTS: dict[str, Act] = {
    "optionals": (
        {},
        [],
        {"must_be_said": None, "colour": None, "yes": None, "or_null": None, "with_default": "five"},
    ),
    "choices": (
        {"colour": "red", "literals": "1", "titled": "us", "colours": ["red", "blue"]},
        [],
        {"colour": "red", "literals": 1, "only": "x", "titled": "us", "colours": ["red", "blue"]},
    ),
    "numbers": (
        {"whole": "-3", "positive": "1", "stepped": "1.5", "share": "0.25"},
        [],
        {"whole": -3, "positive": 1, "stepped": 1.5, "share": 0.25},
    ),
    "formats": (
        {
            "email": "ann@example.org",
            "url": "https://example.org/",
            "uuid": "01996c1e-7c1a-4d53-9d0e-0f6f6d3b8a11",
            "day": "2026-03-29",
            "moment": "2026-03-29T09:30",
            "with_offset": "2026-03-29T09:30:15",
            "local": "2026-03-29T09:30",
            "milliseconds": "2026-03-29T09:30",
            "at": "09:30",
            "to_the_second": "09:30",
            "to_the_minute": "09:30",
            "moment_to_the_minute": "2026-03-29T09:30",
            "length": "P2DT3H",
            "host": "www.example.org",
            "emoji": "👍🏽",
            "ipv4": "192.0.2.1",
            "base64": "YQ==",
        },
        [],
        {
            "email": "ann@example.org",
            "url": "https://example.org/",
            "uuid": "01996c1e-7c1a-4d53-9d0e-0f6f6d3b8a11",
            "day": "2026-03-29",
            "moment": "2026-03-29T09:30:00Z",
            "with_offset": "2026-03-29T09:30:15Z",
            "local": "2026-03-29T09:30:00Z",
            "milliseconds": "2026-03-29T09:30:00.000Z",
            "at": "09:30:00",
            "to_the_second": "09:30:00",
            "to_the_minute": "09:30",
            "moment_to_the_minute": "2026-03-29T09:30Z",
            "length": "P2DT3H",
            "host": "www.example.org",
            "emoji": "👍🏽",
            "ipv4": "192.0.2.1",
            "base64": "YQ==",
        },
    ),
    "nested": (
        {
            "billing.street": "Main St 1",
            "lines[0].street": "A",
            "tags[0]": "new",
            "tags[1]": "old",
            "pet": "1",
            "pet<1>.tricks[0]": "roll",
            "both.a": "x",
            "both.b": "1",
            "known_keys.north": "1",
            "known_keys.south": "-1",
        },
        ["tags"],
        {
            "billing": ADDRESS,
            "lines": [{"street": "A"}],
            "tags": ["new", "old"],
            "pet": {"kind": "dog", "tricks": ["roll"]},
            "both": {"a": "x", "b": 1},
            "known_keys": {"north": 1, "south": -1},
        },
    ),
    "odd": (
        {
            "plain": "as it is",
            "pair": '["a", 1]',
            "mapping": "{}",
            "anything": '{"any": "thing"}',
            "either": "5",
            "node.name": "root",
            "node.children": "[]",
        },
        [],
        {
            "plain": "as it is",
            "pair": ["a", 1],
            "mapping": {},
            "anything": {"any": "thing"},
            "either": 5,
            "node": {"name": "root", "children": []},
        },
    ),
}
ODD = {"pair", "mapping", "anything", "either", "node.children"}


def asked(schema: Any) -> Any:
    return SimpleNamespace(choices=None, multiple=False, schema=check_schema(schema))


def answer(schema: Any, act: Act) -> Any:
    """The answer of a person who presses the buttons for more rows, then fills in and sends."""
    typed, buttons, _ = act
    form = AnswerForm(asked(schema))
    for button in buttons:
        form = AnswerForm(asked(schema), Page.of(form).press("more", f"answer.{button}"))
    page = Page.of(form)
    for name, value in typed.items():
        kinds = {one["kind"] for one in page.controls if one["name"] == f"answer.{name}"}
        if kinds & {"radio", "checkbox", "select"}:
            page.pick(f"answer.{name}", *([value] if isinstance(value, str) else value))
        else:
            page.fill(f"answer.{name}", str(value))
    form = AnswerForm(asked(schema), page.sent())
    assert form.is_valid(), form.errors
    return form.cleaned_data["answer"]


def json_fields(schema: Any) -> set[str]:
    fields = AnswerForm(asked(schema)).fields
    return {
        name.removeprefix("answer.") for name, field in fields.items() if isinstance(field, JSONValueField)
    }


@pytest.mark.parametrize("made_by", PYDANTIC)
@pytest.mark.parametrize("name", PYDANTIC_ACTS)
def test_what_pydantic_makes_of_a_model_is_answered_field_by_field(made_by: str, name: str) -> None:
    schema, act = PYDANTIC[made_by][name], PYDANTIC_ACTS[name]
    given = answer(schema, act)
    assert given == act[2]
    assert check_against(schema, given) == given
    assert json_fields(schema) == (ODD if name == "odd" else set())


@pytest.mark.parametrize("name", MODELS)
def test_pydantic_takes_the_answer_to_its_own_schema(name: str) -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(MODELS[name])
    adapter.validate_json(json.dumps(answer(schemas()[name], PYDANTIC_ACTS[name])))


@pytest.mark.parametrize("draft", DRAFTS, ids=["2020-12", "draft 7"])
@pytest.mark.parametrize("made_by", ZOD)
@pytest.mark.parametrize("name", ZOD_ACTS)
def test_what_zod_makes_of_a_schema_is_answered_field_by_field(made_by: str, name: str, draft: str) -> None:
    schema, act = ZOD[made_by][name + draft], ZOD_ACTS[name]
    given = answer(schema, act)
    assert given == act[2]
    assert check_against(schema, given) == given
    assert json_fields(schema) == (ODD if name == "odd" else set())


def test_alternatives_with_titles_are_labelled_options() -> None:
    (field,) = [
        field
        for name, field in AnswerForm(asked(ZOD["zod-4.6"]["choices"])).fields.items()
        if name == "answer.titled"
    ]
    assert field.choices == [("eu", "Europe"), ("us", "United States")]  # type: ignore[attr-defined]


def test_only_the_odd_property_is_json_with_an_example_and_its_schema_beside_it() -> None:
    form = AnswerForm(asked(PYDANTIC["pydantic-2.14"]["odd"]))
    shown = {part.html_name: part for part in form.bound_structure().parts}  # type: ignore[union-attr]
    assert json.loads(shown["answer.pair"].example) == [0, "text"]
    assert '"prefixItems"' in shown["answer.pair"].schema
    assert shown["answer.plain"].schema == ""
    (children,) = (part for part in shown["answer.node"].parts if part.html_name.endswith("children"))
    assert json.loads(children.schema)["with"]["#/$defs/Node"]["properties"].keys() == {"name", "children"}


@pytest.mark.parametrize("producer", [*PYDANTIC.values(), *ZOD.values()], ids=[*PYDANTIC, *ZOD])
def test_a_label_is_the_propertys_own_not_that_of_its_class(producer: dict[str, Any]) -> None:
    form = AnswerForm(asked(producer["nested"]))
    labels = [part.label for part in form.bound_structure().parts]  # type: ignore[union-attr]
    assert labels[0] == "Billing"
    assert "Address" not in labels
