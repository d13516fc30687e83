"""Searching lists of requests: words, `requester:` and `orchestration:` with names, and what stays hidden."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.models import HumanRequest
from approvals.queries.search import search_condition
from orchestration.models import Run
from tests import factories as make
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, both_databases]


def found(search: str) -> set[str]:
    return set(HumanRequest.objects.filter(search_condition(search)).values_list("title", flat=True))


@pytest.fixture
def requests() -> None:
    ann = make.user("ann.lee@example.org")
    now = datetime.now(UTC)
    run = Run.objects.create(orchestration="refund order", title="812", created_at=now, changed_at=now)
    origin = {"kind": "run", "id": str(run.pk), "url": "/"}
    make.approval("Refund ACME", arguments={"amount": "1240.00", "note": 'say "hi"\\'}, origin=origin)
    make.approval("Pay the printer", requester=ann, key="printer-7", arguments={"to": ["Müller", {"no": 12}]})
    make.approval("Ask ann")


@pytest.mark.usefixtures("requests")
@pytest.mark.parametrize(
    ("search", "titles"),
    [
        ("", {"Refund ACME", "Pay the printer", "Ask ann"}),
        ("acme", {"Refund ACME"}),
        ("a " * 100, {"Refund ACME", "Pay the printer", "Ask ann"}),
        ("refund 1240.00", {"Refund ACME"}),
        ("refund printer", set()),
        ("ann", {"Pay the printer", "Ask ann"}),
        ("printer-7", {"Pay the printer"}),
        ("amount", {"Refund ACME"}),
        ("Müller 12", {"Pay the printer"}),
        ('"the printer"', {"Pay the printer"}),
        ('"printer the"', set()),
        ('hi"\\', {"Refund ACME"}),
        ("requester:ann", {"Pay the printer"}),
        ("Requester:ANN", {"Pay the printer"}),
        ('requester:"ann.lee@example.org" pay', {"Pay the printer"}),
        ('requester:"ann.l', {"Pay the printer"}),
        ("requester:lee", set()),
        ("requester:", {"Refund ACME", "Pay the printer", "Ask ann"}),
        ('requester:"', {"Refund ACME", "Pay the printer", "Ask ann"}),
        ('"', {"Refund ACME", "Pay the printer", "Ask ann"}),
        ("{", set()),
        ("[ }", set()),
        (":", set()),
        ('": "', set()),
        ("orchestration:refund", {"Refund ACME"}),
        ('orchestration:"refund order"', {"Refund ACME"}),
        ("orchestration:order", set()),
        ("orchestration:refund requester:ann", set()),
        ("note:acme", set()),
        ("50%", set()),
        ("_", set()),
    ],
)
def test_a_search_finds_what_has_all_of_it(search: str, titles: set[str]) -> None:
    assert found(search) == titles


def test_an_operator_that_is_none_is_a_word() -> None:
    make.approval("Fix error:42 now")
    make.approval("See 'error:disk full'")
    assert found("error:42") == {"Fix error:42 now"}
    assert found("42 error:") == {"Fix error:42 now"}
    assert found('error:"disk full"') == {"See 'error:disk full'"}


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters='\x00":', exclude_categories=("C", "Z")), min_size=1
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=1, max_size=10))
def test_every_word_of_the_arguments_is_found(words: list[str], stack: Any) -> None:
    """Whatever JSON writes in another way, and whatever means something to the database."""
    title = f"Number {HumanRequest.objects.count()}"
    make.approval(title, arguments={"words": words})
    for word in words:
        assert title in found(f'"{word}"')


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"request_headers": [["X-Session-Token", "hunter2"]]},
        {"x_api_key": "hunter2"},
        {"nested": [{"Set-Cookie ": "hunter2"}]},
        {"text": "x" * 5_000, "end": "hunter2"},
    ],
)
def test_what_lists_do_not_show_is_not_found(arguments: dict[str, Any]) -> None:
    """Neither headers that pages hide, of which a search would tell every letter, nor what is long."""
    make.approval("Call", arguments=arguments)
    assert found("hunter2") == set()
    assert found("call") == {"Call"}


def test_arguments_without_hidden_parts_are_found_though_they_speak_of_them() -> None:
    make.approval("Rotate", arguments={"what": "the cookie of the token service"})
    assert found("cookie") == {"Rotate"}
