"""What a list shows of a request's arguments in one line, however its row was read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from approvals import deciding, queries
from approvals.domain.commands import Actor
from approvals.models import HumanRequest
from approvals.queries import large_columns
from approvals.queries.highlights import highlights_of
from tests import factories as make

REFUND = {"order": 812, "amount": "12.00", "to": {"name": "ACME", "paid": [True, None]}}

texts = st.text(max_size=50)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(texts, values, max_size=4), st.data())
def test_any_argument_is_told_shortly(arguments: dict[str, Any], data: st.DataObject) -> None:
    """Those that are named, in that order, or the first two."""
    named = data.draw(st.lists(st.sampled_from(sorted(arguments)), unique=True)) if arguments else []
    told = highlights_of(HumanRequest(arguments=arguments, highlight=named))
    assert [name for name, _ in told] == [
        name if len(name) <= 40 else f"{name[:40]}…" for name in named or list(arguments)[:2]
    ]
    assert all(len(text) <= 41 for _, text in told)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12.00", "12.00"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 40 + "…"),
        ("", ""),
        (812, "812"),
        (12.5, "12.5"),
        (True, "true"),
        (None, "null"),
        (["ä", 1], '["ä",1]'),
        ({"to": "ACME", "cc": []}, '{"to":"ACME","cc":[]}'),
        (list(range(100)), "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,1…"),
    ],
)
def test_values_are_plain_text(value: Any, text: str) -> None:
    assert highlights_of(HumanRequest(arguments={"what": value})) == [("what", text)]


def test_headers_that_carry_a_secret_are_hidden() -> None:
    arguments = {"url": "https://example.org", "headers": {"Authorization": "Bearer abc", "Accept": "*/*"}}
    assert highlights_of(HumanRequest(arguments=arguments, highlight=["headers"])) == [
        ("headers", '{"Authorization":"•••","Accept":"*/*"}')
    ]


@pytest.mark.django_db
class TestReading:
    def test_lists_read_what_is_small_along(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        """Whether by name or not; closed or not; nothing more is read for it."""
        reviewer = make.reviewer()
        first = make.approval(arguments=REFUND)
        named = make.approval(arguments=REFUND, highlight=["to", "order"])
        make.approval(arguments={})
        make.clarification(choices=["a", "b"])
        told = {
            first: [("order", "812"), ("amount", "12.00")],
            named: [("to", '{"name":"ACME","paid":[true,null]}'), ("order", "812")],
        }
        deciding.decide(Actor.program(), named, "approve")
        rows = [
            *queries.Inbox(reviewer.pk).read(queries.Selection(), 9).rows,
            *queries.Inbox(reviewer.pk).read(queries.Selection(tab=queries.Tab.DECIDED), 9).rows,
            *queries.requests_by_id(list(told)),
        ]
        live: list[Any] = queries.ask_for_rows([queries.as_id(pk) for pk in told])()
        queries.load_large(live, 100_000)
        assert (len(rows), len(live)) == (6, 2)
        with django_assert_num_queries(0):
            for row in (*rows, *live):
                assert highlights_of(row) == told.get(str(row.pk), [])

    def test_large_arguments_are_not_read(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        """They are shown up to 4 KiB as they are stored, to the byte, and not at all beyond."""
        reviewer = make.reviewer()
        room = large_columns.SMALL - len(json.dumps({"order": 812, "text": ""}, separators=(",", ":")))
        text = "ä" * (room // 2) + "x" * (room % 2)
        small = make.approval(arguments={"order": 812, "text": text})
        large = make.approval(arguments={"order": 812, "text": f"{text}x"}, highlight=["order"])
        rows = {str(row.pk): row for row in queries.Inbox(reviewer.pk).read(queries.Selection(), 9).rows}
        live: list[Any] = queries.ask_for_rows([queries.as_id(large)])()
        with django_assert_num_queries(0):
            assert highlights_of(rows[small]) == [("order", "812"), ("text", "ä" * 40 + "…")]
            assert highlights_of(rows[large]) == highlights_of(live[0]) == []
        assert "arguments" in rows[large].get_deferred_fields()
        assert vars(rows[large])["small_arguments"] is None
