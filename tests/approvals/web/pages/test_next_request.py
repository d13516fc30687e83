"""After a decision the next request of the list opens, with a line that says what was done."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import deciding
from approvals.models import Preference
from approvals.web.pages import filters
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

APPROVE = {"decision": "approve"}


@pytest.fixture
def ravi() -> User:
    return make.user("ravi")


@pytest.fixture
def client(ravi: User) -> Client:
    return client_of(ravi)


def page(request: str) -> str:
    return f"/requests/{request}/"


def line(response: Any) -> str:
    """What is said of the decision before; empty if nothing is."""
    found = re.search(r'<div class="notice done" role="status">(.*?)</div>', response.content.decode())
    return " ".join(re.sub(r"<[^>]+>", "", found[1]).split()) if found else ""


def led_to(client: Client, request: str, data: dict[str, str] = APPROVE, query: str = "") -> str:
    """Where a decision leads the browser."""
    response = client.post(page(request) + query, data)
    assert response.status_code == 303
    address: str = response["Location"]
    return address


@both_databases
def test_the_next_in_order_opens_then_those_before(client: Client, ravi: User) -> None:
    """Until nothing is left; the address keeps the filters, and says what was decided."""
    first, second, third = [
        make.approval(f"Number {number}", assignees=[ravi], timeout=600 + number) for number in range(3)
    ]
    make.clarification("Another kind", assignees=[ravi], timeout=601)
    query = "?kind=approval"
    assert led_to(client, second, query=query) == f"{page(third)}{query}&done={second}"
    shown = client.get(f"{page(third)}{query}&done={second}")
    assert line(shown) == "Approved: Number 1. The program that asked goes on."
    assert f'href="{page(second)}{query}"' in shown.text
    assert f'action="{page(third)}{query}"' in shown.text
    assert led_to(client, third, {"decision": "reject"}, query) == f"{page(first)}{query}&done={third}"
    assert (
        line(client.get(page(first), {"done": third}))
        == "Rejected: Number 2. The program that asked is told."
    )
    assert led_to(client, first, query=query) == f"/{query}&done={first}"
    left = client.get(f"/{query}&done={first}")
    assert line(left).startswith("Approved: Number 0.")
    assert "That was the last one in this list. Show all pending requests" in text(left)


def test_the_last_one_leads_to_a_kind_word(client: Client, ravi: User) -> None:
    request = make.clarification("Why?", assignees=[ravi])
    assert led_to(client, request, {"answer": "Because"}) == f"/?done={request}"
    left = client.get(f"/?done={request}")
    assert line(left) == "Answered: Why?. The program that asked goes on."
    assert "That was the last one. Nothing else waits for you now." in text(left)


@both_databases
def test_only_what_this_person_has_still_to_decide_opens(ravi: User) -> None:
    """Not what others decide, what ravi has voted on, or what somebody closed meanwhile."""
    ravi = make.user("rosa", may=("view_humanrequest",))
    client, nina = client_of(ravi), make.user("nina")
    request = make.approval("First", assignees=[ravi], timeout=600)
    make.approval("Of others", assignees=[nina], timeout=601)
    voted = make.approval("Voted", assignees=[ravi, nina], required=2, timeout=602)
    barred = make.approval("Asked", requester=ravi, assignees=[ravi, nina], four_eyes=True, timeout=603)
    following = make.approval("Last", assignees=[ravi], timeout=604)
    assert led_to(client, voted) == f"{page(following)}?done={voted}"
    assert line(client.get(page(following), {"done": voted})) == (
        "Your approval of Voted is recorded; 1 more is needed."
    )
    assert led_to(client, following) == f"{page(request)}?done={following}"
    assert led_to(client, request) == f"/?done={request}"
    assert "That was the last one. Nothing else waits for you now." in text(client.get(f"/?done={request}"))
    assert "1 more is needed" in line(client.get(page(barred), {"done": voted}))


@both_databases
def test_what_one_has_voted_on_does_not_wait_any_more(client: Client, ravi: User) -> None:
    """Its row stays, with its tick mark; neither the tab, the title nor the page after the last has it."""
    nina = make.user("nina")
    for number in range(2):
        request = make.approval(f"Number {number}", assignees=[ravi, nina], required=2)
        address = led_to(client, request)
    shown = client.get("/")
    assert "<title>Inbox · Sayso</title>" in shown.text
    assert "For me 0 to decide" in text(shown)
    assert "You have approved this: Number 0" in text(shown)
    assert "You have approved this: Number 1" in text(shown)
    for headers in ({}, {"HX-Target": "detail"}):
        assert "That was the last one. Nothing else waits for you now." in text(
            client.get(address, headers=headers)
        )
    make.approval("Number 2", assignees=[ravi])
    assert "<title>(1) Inbox · Sayso</title>" in client.get("/").text
    assert "That was the last one in this list. Show what waits for you" in text(client.get(address))


@pytest.mark.parametrize("query", ["", "?sort=newest", "?group=requester", "?kind=approval"])
def test_a_decision_sent_twice_leads_where_it_led_at_first(client: Client, query: str) -> None:
    client = client_of(ravi := make.reviewer("rosa"))
    requests = [make.approval(f"Number {n}", timeout=600 + n, assignees=[ravi]) for n in range(3)]
    address = led_to(client, requests[1], query=query)
    assert page(requests[0 if "newest" in query else 2]) in address
    assert led_to(client, requests[1], query=query) == address


def test_who_has_chosen_so_stays_on_the_decided_request(client: Client, ravi: User) -> None:
    Preference.objects.create(user=ravi, opens_next=False)
    request, _ = [make.approval("Pay", assignees=[ravi]) for _ in range(2)]
    address = led_to(client, request)
    assert address == f"{page(request)}?done={request}"
    shown = client.get(address)
    assert line(shown) == "Approved: Pay. The program that asked goes on."
    assert "Approved by ravi" in text(shown)


def test_a_refused_decision_leads_nowhere(client: Client, ravi: User) -> None:
    """Whoever lost a race sees who decided, and an error stays before the eyes that made it."""
    nina = make.user("nina")
    request, _ = [make.approval("Pay", assignees=[ravi, nina], severity="high") for _ in range(2)]
    assert "must be ticked" in text(client.post(page(request), APPROVE), 422)
    deciding.decide(make.actor(nina), request, "reject")
    lost = client.post(page(request), {**APPROVE, "read": "on"})
    assert "It was already rejected by nina. What you sent was not recorded." in text(lost, 409)
    assert line(lost) == ""


def test_the_line_says_only_what_is_on_record(client: Client, ravi: User) -> None:
    """Of this person's own decisions, whatever the address says; somebody else may have closed it since."""
    nina = make.user("nina")
    request, other = [make.approval("Pay", assignees=[ravi, nina], required=2) for _ in range(2)]
    foreign = make.approval("Secret", assignees=[nina])
    for done in (other, foreign, request, "nonsense", str(uuid4()), ""):
        for address in ("/", page(other)):
            assert line(client.get(address, {"done": done})) == ""
    client.post(page(request), APPROVE)
    deciding.decide(make.actor(nina), request, "reject")
    assert (
        line(client.get("/", {"done": request})) == "Rejected by nina: Pay. The program that asked is told."
    )


def test_a_script_gets_the_part_and_its_address(client: Client, ravi: User) -> None:
    """The address without what was done, which a reload would repeat; none for a refusal."""
    requests = [make.approval(f"Number {number}", assignees=[ravi], timeout=600) for number in range(2)]
    part = {"HX-Target": "detail"}
    following = client.get(f"{led_to(client, requests[0], query='?q=number')}", headers=part)
    assert following["HX-Push-Url"] == f"{page(requests[1])}?q=number"
    assert "<html" not in following.text
    assert 'id="title"' in following.text
    left = client.get(led_to(client, requests[1]), headers=part)
    assert left["HX-Push-Url"] == "/"
    assert "<html" not in left.text
    assert '<h2 id="title" tabindex="-1" autofocus>That was the last one.' in left.text
    refused = client.post(page(requests[0]), {"decision": "maybe"}, headers=part)
    assert refused["HX-Push-Url"] == "false"
    assert "HX-Push-Url" not in client.get(page(requests[0]), headers=part)


def test_in_a_grouped_list_the_next_of_the_same_group_opens(client: Client, ravi: User) -> None:
    """As its rows are shown, not as they would be without groups."""
    ann, bob = make.user("ann"), make.user("bob")
    first, other, same = (
        make.approval(f"For {one}", requester=one, assignees=[ravi], timeout=600 + place)
        for place, one in enumerate((ann, bob, ann))
    )
    decided = client.post(page(first) + "?group=requester", {"decision": "approve"})
    assert decided["Location"].startswith(page(same))
    decided = client.post(page(same) + "?group=requester", {"decision": "approve"})
    assert decided["Location"].startswith(page(other))


def test_the_next_is_found_beyond_what_the_list_shows(
    client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    rosa = make.user("rosa", may=("view_humanrequest",))
    monkeypatch.setattr(filters, "PAGE", 2)
    request = make.approval("First", assignees=[rosa], timeout=600)
    for number in range(3):
        make.approval(f"Of others {number}", assignees=[ravi], timeout=700)
    last = make.approval("Last", assignees=[rosa], timeout=800)
    assert led_to(client_of(rosa), request) == f"{page(last)}?done={request}"


def test_a_decision_takes_the_same_queries_however_long_the_list_is(client: Client, ravi: User) -> None:
    def queries() -> int:
        request = make.approval(assignees=[ravi], timeout=600)
        with CaptureQueriesContext(connection) as captured:
            address = led_to(client, request)
            assert line(client.get(address))
        return len(captured)

    client.get(page(make.approval(assignees=[ravi, make.group(None, ravi)], requester=make.user())))
    few = queries()
    for _ in range(15):
        make.approval(assignees=[ravi, make.group(None, ravi)], requester=make.user())
    assert queries() == few
