"""Lists in the admin: pages that follow each other without a count, and a constant number of queries."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.models import HumanRequest
from tests import factories as make

pytestmark = pytest.mark.django_db

APPROVALS = "/admin/approvals/approval/"
ENTRIES = "/admin/approvals/auditentry/"


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("decide_humanrequest", "view_humanrequest"), is_staff=True)


@pytest.fixture
def client(rita: User) -> Client:
    client = Client()
    client.force_login(rita)
    return client


def titles(response: Any) -> list[str]:
    assert response.status_code == 200
    return [row.title for row in response.context["cl"].result_list]


def links(response: Any) -> dict[str, str]:
    found: dict[str, str] = response.context["cl"].links
    return found


def ask(number: int) -> list[str]:
    """So many approvals; their titles, newest first."""
    names = [f"Refund {one:03}" for one in range(number)]
    for name in names:
        make.approval(name, timeout=None)
    return names[::-1]


def test_each_row_is_on_one_page_in_order_newest_first(client: Client) -> None:
    expected = ask(120)
    page, found = client.get(APPROVALS), []
    while True:
        found += titles(page)
        if "older" not in links(page):
            break
        page = client.get(APPROVALS + links(page)["older"])
    assert found == expected
    assert links(page).keys() == {"newest", "newer"}


def test_pages_lead_back_and_to_both_ends(client: Client) -> None:
    expected = ask(120)
    first = client.get(APPROVALS)
    assert links(first).keys() == {"older", "oldest"}
    last = client.get(APPROVALS + links(first)["oldest"])
    assert titles(last) == expected[-50:]
    before = client.get(APPROVALS + links(last)["newer"])
    assert titles(before) == expected[20:70]
    assert links(before).keys() == {"newest", "newer", "older", "oldest"}
    # Twenty would be left: the newest page is a whole one.
    assert titles(client.get(APPROVALS + links(before)["newer"])) == expected[:50]
    assert titles(client.get(APPROVALS + links(before)["newest"])) == expected[:50]


def test_what_comes_meanwhile_moves_no_row_to_another_page(client: Client) -> None:
    expected = ask(70)
    first = client.get(APPROVALS)
    make.approval("Meanwhile")
    assert titles(client.get(APPROVALS + links(first)["older"])) == expected[50:]


@pytest.mark.one_stack
def test_pages_keep_filters_and_filters_begin_anew(client: Client) -> None:
    ask(60)
    make.approval("Something else")
    first = client.get(f"{APPROVALS}?q=refund&status=pending")
    second = client.get(APPROVALS + links(first)["older"])
    assert len(titles(second)) == 10
    assert not re.search(r'href="\?[^"]*status=rejected[^"]*p=', second.content.decode())


@pytest.mark.parametrize(
    "page",
    [
        "older,nonsense,1",
        "older,2026-01-01T00:00:00Z,nonsense",
        "newer,,",
        "older,9999-12-31T23:59:59-23:00,1",
    ],
)
def test_an_address_that_names_no_page_leads_to_the_first(client: Client, page: str) -> None:
    (title,) = ask(1)
    response = client.get(APPROVALS, {"p": page}, follow=True)
    assert response.redirect_chain
    assert titles(response) == [title]


@pytest.mark.one_stack
@pytest.mark.parametrize("nonsense", ["3", "first", "oldest,", ""])
def test_what_is_no_page_of_ours_is_the_newest(client: Client, nonsense: str) -> None:
    expected = ask(2)
    assert titles(client.get(APPROVALS, {"p": nonsense})) == expected


@pytest.mark.one_stack
def test_two_hundred_rows_take_the_queries_of_five_and_none_counts(client: Client, rita: User) -> None:
    """Neither people nor groups nor numbers of rows are asked for row by row, or for the whole table."""

    def queries(address: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        return [query["sql"] for query in captured.captured_queries]

    addresses = [APPROVALS, ENTRIES, f"{APPROVALS}?q=person&mine=yes&group=none"]
    few: dict[str, int] = {}
    for number in (5, 195):
        for _ in range(number):
            make.approval(requester=make.user(), assignees=[rita, make.group(None, rita)])
        for address in addresses:
            found = queries(address)
            assert len(found) == few.setdefault(address, len(found)), address
            assert not [sql for sql in found if "COUNT(" in sql.upper()], address


def test_a_row_is_found_by_its_run(client: Client) -> None:
    run = "01a205db-66f0-7055-9d71-3bb010585970"
    make.approval("By a run", origin={"kind": "run", "id": run, "url": ""})
    make.approval("By nobody")
    assert titles(client.get(APPROVALS, {"q": run.upper()})) == ["By a run"]
    page = client.get(ENTRIES, {"q": run})
    assert [entry.request.title for entry in page.context["cl"].result_list] == ["By a run"]


def test_ages_and_times_left_are_of_the_databases_clock(client: Client) -> None:
    make.approval(timeout=5_400)
    page = client.get(APPROVALS).content.decode()
    assert re.search("1 h (29|30) min left", page)
    assert "just now" in page


def test_entries_are_filtered(client: Client, rita: User) -> None:
    """By event, outcome, channel, kind, person, address and day, each by itself."""
    make.clarification("Which cost centre?", requester=rita)
    client.post(f"{APPROVALS}{make.approval('Refund')}/reject/", {"comment": ""}, REMOTE_ADDR="192.0.2.9")
    for query, expected in (
        ("event=decided", {"Refund"}),
        ("outcome=rejected", {"Refund"}),
        ("outcome=answered", set()),
        ("channel=admin", {"Refund"}),
        ("kind=clarification", {"Which cost centre?"}),
        ("actor=rita", {"Refund"}),
        ("on_behalf_of=rita", {"Which cost centre?"}),
        ("address=192.0.2.9", {"Refund"}),
        ("recorded_from=2020-01-01", {"Refund", "Which cost centre?"}),
        ("recorded_until=2020-01-01", set()),
        ("recorded_until=9999-12-31", set()),
        ("token=nobody", set()),
    ):
        page = client.get(f"{ENTRIES}?{query}")
        assert {entry.request.title for entry in page.context["cl"].result_list} == expected, query


@pytest.mark.one_stack
def test_closed_rows_say_when_and_open_ones_without_deadline_nothing(client: Client, rita: User) -> None:
    client.post(f"{APPROVALS}{make.approval()}/approve/", {"comment": ""})
    closed = HumanRequest.objects.get().closed_at
    assert f"{closed:%Y-%m-%d %H:%M}" in client.get(APPROVALS).content.decode()
