"""Whatever is there, and whatever its schema: a form that is sent as it is shown changes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.http import QueryDict
from hypothesis import example, given
from hypothesis import strategies as st

from approvals.web.pages.differences import changes
from approvals.web.pages.forms import DecisionForm
from tests.effort import effort
from tests.submissions import Page

# A schema, and a value that fits it.
Pair = tuple[dict[str, Any], Any]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = (
    st.sampled_from(["a", "b", "order no", "x.y", "é", "[0]", "a-b", "<b>", '"', "edits", "+", "[+]"]) | texts
)
LINES = ["", " ", "a\nb", "\na", "a\r\nb", "a\rb", " a ", "Ünï", "</textarea>", '"<&', "\u2028", "null", "1"]

scalars: st.SearchStrategy[Pair] = st.one_of(
    st.tuples(st.just({"type": "string"}), texts | st.sampled_from(LINES)),
    st.tuples(st.just({"type": "string", "maxLength": 300}), texts | st.sampled_from(LINES)),
    st.tuples(st.sampled_from([{"type": "string", "format": "email"}, {"type": "string"}]), st.emails()),
    st.tuples(st.just({"type": "integer"}), st.integers(-(2**53) + 1, 2**53 - 1)),
    st.tuples(st.just({"type": "number"}), st.floats(-(2**52), 2**52) | st.integers(-9, 9)),
    st.tuples(
        st.just({"anyOf": [{"type": "number"}, {"type": "string"}]}),
        st.decimals(-1000, 1000, places=3).map(str) | st.floats(-5, 5) | st.integers(-5, 5) | texts,
    ),
    st.tuples(st.just({"type": "boolean"}), st.booleans()),
    st.tuples(st.just({"type": "string", "format": "date"}), st.dates().map(str)),
    st.tuples(
        st.just({"type": "string", "format": "date-time"}),
        st.builds(
            "{}{}{}".format,
            st.datetimes().map(lambda moment: moment.isoformat("T")),
            st.sampled_from(["", ".5", ".123"]).map(lambda _: ""),
            st.sampled_from(["Z", "z", "+02:00", "-00:30"]),
        ),
    ),
    st.tuples(
        st.just({"type": "string", "format": "time"}),
        st.builds("{}{}".format, st.times().map(str), st.sampled_from(["", "Z", "+05:45"])),
    ),
    st.tuples(
        st.just({}),
        st.recursive(st.none() | st.booleans() | texts, lambda inner: st.lists(inner, max_size=2)),
    ),
    st.tuples(st.just({"type": "array", "prefixItems": [{}, {}]}), st.just([1, "a"])),
)


@st.composite
def options(draw: st.DrawFn) -> Pair:
    values = draw(st.lists(st.integers(0, 2) | texts | st.booleans(), min_size=1, max_size=7, unique_by=repr))
    value = draw(st.sampled_from(values))
    if draw(st.booleans()):
        return {"enum": values}, value
    return {"anyOf": [{"const": one, "title": f"The {number}"} for number, one in enumerate(values)]}, value


@st.composite
def ticks(draw: st.DrawFn) -> Pair:
    values = draw(st.lists(texts, min_size=1, max_size=7, unique=True))
    return {"type": "array", "items": {"enum": values}}, draw(st.lists(st.sampled_from(values), max_size=4))


def nullable(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.builds(
        lambda pair, null: ({"anyOf": [pair[0], {"type": "null"}]}, None if null else pair[1]),
        inner,
        st.booleans(),
    )


@st.composite
def lists(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(inner)
    return {"type": "array", "items": schema, "minItems": draw(st.integers(0, 1))}, [value] * draw(
        st.integers(1, 3)
    )


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    properties = draw(st.dictionaries(names, inner, min_size=1, max_size=4))
    there = draw(st.sets(st.sampled_from(sorted(properties))))
    required = draw(st.sets(st.sampled_from(sorted(there)))) if there else set()
    schema = {
        "type": "object",
        "properties": {name: draw(with_default(pair)) for name, pair in properties.items()},
        "required": sorted(required),
    }
    beside = draw(st.dictionaries(st.sampled_from(["other", "another"]), st.integers(), max_size=1))
    value = {name: pair[1] for name, pair in properties.items() if name in there}
    return schema, {**beside, **value} if not beside.keys() & properties.keys() else value


def with_default(pair: Pair) -> st.SearchStrategy[dict[str, Any]]:
    schema, value = pair
    return st.sampled_from([schema, {**schema, "default": value}, {**schema, "default": None}])


@st.composite
def variants(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    one, two = draw(objects(inner)), draw(objects(inner))
    branches = [
        {**schema, "title": title, "properties": {**schema["properties"], "kind": {"const": title}}}
        for (schema, _), title in ((one, "one"), (two, "two"))
    ]
    for branch in branches:
        branch["required"] = sorted({*branch["required"], "kind"})
    return {"oneOf": branches}, {**two[1], "kind": "two"}


values = st.recursive(
    scalars | options() | ticks(),
    lambda inner: nullable(inner) | lists(inner) | objects(inner) | variants(inner),
    max_leaves=6,
)


def approval(schema: Any, arguments: Any) -> Any:
    return SimpleNamespace(editable=schema, arguments=arguments, final_arguments=None)


def with_decision(sent: QueryDict) -> QueryDict:
    sent.update({"decision": "approve", "edits": "1"})
    return sent


NO_LISTS = {
    "anyOf": [
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}, "minItems": 1},
        {"type": "null"},
    ]
}


@effort(50)
@given(objects(values))
@example(({"type": "object", "properties": {"a": NO_LISTS}, "required": ["a"]}, {"a": None}))
def test_arguments_that_are_sent_as_they_are_shown_are_not_edited(pair: Pair) -> None:
    schema, arguments = pair
    asked = approval(schema, arguments)
    sent = Page.of(DecisionForm(asked)).sent()
    form = DecisionForm(asked, with_decision(sent))
    assert form.is_valid(), form.errors
    assert form.arguments is None, (changes(arguments, form.arguments), sent)
    # The same once more: what is shown after a submission is what was sent.
    again = DecisionForm(asked, with_decision(Page.of(form).sent()))
    assert again.is_valid(), again.errors
    assert again.arguments is None, changes(arguments, again.arguments)
