"""Several at once: each is shown with what differs, each gets its own outcome."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import deciding, gate, queries
from approvals.exceptions import Busy
from approvals.web.pages import chosen
from approvals.web.pages.chosen import MOST_AT_ONCE
from tests import factories as make
from tests.clients import browser_of, text
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


@pytest.fixture
def ravi() -> User:
    return make.user("ravi")


@pytest.fixture
def client(ravi: User) -> Client:
    return browser_of(ravi)


def look(client: Client, *requests: str, **more: str) -> Any:
    return client.get("/decide/", {"id": requests, **more})


def shown(response: Any) -> list[str]:
    """What the page sends back of what it shows."""
    return re.findall(r'name="id" form="decide" value="([^"]+)"', response.content.decode())


def decide(client: Client, page: Any, verdict: str = "approve", **more: str) -> Any:
    return client.post("/decide/", {"id": shown(page), "decision": verdict, **more})


def status(*requests: str) -> list[str]:
    return [gate.outcome(request).status for request in requests]


def events(request: str) -> list[tuple[str, str | None]]:
    return [(entry.event, entry.actor) for entry in queries.history(queries.requests_by_id([request])[0])]


def refund(order: int, *people: User, **terms: Any) -> str:
    arguments = {"order": order, "amount": "12.00", "currency": "EUR"}
    return make.approval(f"Refund order {order}", assignees=list(people), arguments=arguments, **terms)


class TestLooking:
    def test_what_differs_is_a_table_and_what_is_the_same_is_said_once(
        self, client: Client, ravi: User
    ) -> None:
        html = look(client, *(refund(order, ravi) for order in (811, 812))).content.decode()
        assert "2 requests that differ in order" in html
        assert html.count("EUR") == html.count("12.00") == 1
        assert "Refund order 811" in html
        assert "<code>812</code>" in html

    def test_what_follows_an_approval_is_said_once(self, client: Client, ravi: User) -> None:
        other = make.approval("Delete", assignees=[ravi], arguments={"path": "/srv"})
        said = text(look(client, refund(1, ravi), refund(2, ravi), other))
        assert said.count("If approved") == 1
        assert "If approved The program that asked goes on." in said

    def test_values_that_only_look_the_same_to_python_differ(self, client: Client, ravi: User) -> None:
        """Also inside of others: what is said once must be true of each."""
        each = [make.approval(assignees=[ravi], arguments={"a": {"b": value}, "c": 1}) for value in (1, True)]
        assert "2 requests that differ in a" in look(client, *each).content.decode()

    def test_other_requests_stand_one_under_the_other_with_their_exact_action(
        self, client: Client, ravi: User
    ) -> None:
        """Also those with more differences than a table has columns for."""
        wide = [
            make.approval(f"Wide {n}", assignees=[ravi], arguments=dict.fromkeys("abcdefg", n))
            for n in (1, 2)
        ]
        other = make.approval("Delete", assignees=[ravi], arguments={"path": "/srv"}, details="**All** of it")
        html = look(client, *wide, other).content.decode()
        assert html.count("<article") == 3
        assert "<strong>All</strong>" in html
        assert "/srv" in html

    def test_details_and_askers_are_said_of_each_where_they_differ(self, client: Client, ravi: User) -> None:
        terms: list[dict[str, Any]] = [
            {"details": "For Ada", "requester": make.user("nina")},
            {"details": "For Bob"},
        ]
        html = look(client, *(refund(order, ravi, **terms[order]) for order in (0, 1))).content.decode()
        for said in ("For Ada", "For Bob", "nina", "A program"):
            assert html.count(said) == 1, said

    def test_secrets_in_headers_are_hidden(self, client: Client, ravi: User) -> None:
        sent = [
            {"headers": {"Authorization": f"Bearer s3cret{n}"}, "url": "https://example.com"} for n in "ab"
        ]
        each = [make.approval(assignees=[ravi], arguments=arguments) for arguments in sent]
        assert "s3cret" not in look(client, *each).content.decode()

    @both_databases
    def test_a_person_who_looks_has_seen_each(self, client: Client, ravi: User) -> None:
        """Once; not what the page leaves out, nor where a browser only fetches ahead."""
        first, closed = refund(1, ravi), refund(2, ravi)
        deciding.decide(make.actor(ravi), closed, "approve")
        client.get("/decide/", {"id": [first, closed]}, headers={"Sec-Purpose": "prefetch"})
        assert events(first) == [("opened", None)]
        for _ in range(2):
            look(client, first, closed)
        assert events(first) == [("opened", None), ("viewed", "ravi")]
        assert ("viewed", "ravi") not in events(closed)

    def test_looking_decides_nothing(self, client: Client, ravi: User) -> None:
        request = refund(1, ravi)
        look(client, request, decision="approve")
        assert status(request) == ["pending"]

    def test_who_is_not_logged_in_is_asked_to(self) -> None:
        assert Client().get("/decide/?id=1")["Location"].startswith("/accounts/login/?next=/decide/")

    @both_databases
    def test_looking_costs_the_same_however_many_there_are(self, client: Client, ravi: User) -> None:
        nina = make.user("nina")
        asked = [refund(order, ravi, nina, required=2, four_eyes=True) for order in range(12)]
        asked += [make.approval(f"Delete {n}", assignees=[ravi], arguments={str(n): n}) for n in range(12)]
        few, many = [asked[0], asked[12]], asked
        counts = []
        for requests in (few, many):
            look(client, *requests)
            with CaptureQueriesContext(connection) as captured:
                look(client, *requests)
            counts.append(len(captured))
        assert counts[0] == counts[1]


class TestLeftOut:
    def test_each_that_can_not_be_decided_says_why(self, client: Client, ravi: User) -> None:
        nina = make.user("nina")
        question = make.clarification("Which centre?", assignees=[ravi])
        closed, others = refund(1, ravi, nina), refund(2, nina, requester=ravi)
        voted, long = refund(3, ravi, nina, required=2), make.approval(assignees=[ravi], details="x" * 20_000)
        deciding.decide(make.actor(nina), closed, "reject")
        deciding.decide(make.actor(ravi), voted, "approve")
        response = look(client, question, closed, others, voted, long, refund(4, ravi))
        said = text(response)
        assert "Decide 1 request" in said
        assert "Answer these one by one Which centre?" in said
        assert "Rejected by nina" in said
        assert "others decide it" in said
        assert "You have approved this already" in said
        assert "Too long to be shown" in said
        assert re.search("5 of those that you chose can.t be decided here", said)
        assert len(shown(response)) == 1

    def test_all_of_them_together_are_not_larger_than_one_page_shows(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chosen, "MOST_BYTES", 2_500)
        requests = [make.approval(assignees=[ravi], details="x" * 1_000) for _ in range(3)]
        response = look(client, *requests)
        assert shown(response) == requests[:2]
        assert "Too long to be shown" in text(response)

    def test_what_the_page_would_not_show_whole_has_its_own(self, client: Client, ravi: User) -> None:
        """What differs could be what is not shown."""
        ids = list(range(1000))
        other = [*ids[:900], -1, *ids[901:]]
        each = [make.approval(assignees=[ravi], arguments={"ids": one}) for one in (ids, other)]
        response = look(client, *each)
        assert text(response).count("Too long to be shown") == 2
        assert shown(response) == []

    def test_what_may_not_be_seen_is_as_unknown_as_what_does_not_exist(self, client: Client) -> None:
        foreign, nowhere = make.approval("Secret", assignees=[make.user()]), str(uuid4())
        said = text(look(client, foreign, nowhere, "nonsense<", ""))
        for id_ in (foreign, nowhere, "nonsense&lt;", ""):
            assert re.sub(" +", " ", f"There is no request {id_} , or you may not see it.") in said
        assert "Secret" not in said
        assert "Nothing to decide together" in said
        assert events(foreign) == [("opened", None)]

    def test_nothing_chosen_says_what_to_do(self, client: Client) -> None:
        assert "Tick requests in the inbox first" in text(client.get("/decide/"))
        assert "Tick requests in the inbox first" in text(client.post("/decide/", {"decision": "approve"}))

    def test_more_than_a_hundred_are_refused(self, client: Client, ravi: User) -> None:
        requests = [str(uuid4()) for _ in range(MOST_AT_ONCE)]
        assert "At most" not in text(look(client, *requests))
        request = refund(1, ravi)
        said = text(look(client, *requests, request), 422)
        assert "At most 100 requests can be decided at once; you chose 101. Nothing was recorded." in said
        sent = {"id": [*requests, request], "decision": "approve"}
        assert "At most 100" in text(client.post("/decide/", sent), 422)
        assert status(request) == ["pending"]


class TestDeciding:
    @both_databases
    def test_each_gets_its_outcome_with_the_one_note(self, client: Client, ravi: User) -> None:
        requests = [refund(order, ravi) for order in (811, 812)]
        response = decide(client, look(client, *requests), "reject", comment="Not this month.")
        assert "2 recorded Refund order 811 Rejected by ravi Refund order 812 Rejected by ravi" in text(
            response
        )
        assert {gate.outcome(request).comment for request in requests} == {"Not this month."}
        for request in requests:
            assert f'href="/requests/{request}/"' in response.content.decode()
            assert events(request) == [("opened", None), ("viewed", "ravi"), ("decided", "ravi")]

    @both_databases
    def test_who_was_slower_is_told_who_won(self, client: Client, ravi: User) -> None:
        """Decided by somebody else meanwhile, too late, taken away, not there: each says so, the rest is
        recorded, and the same sent again says the same."""
        nina = make.user("nina")
        won, away, mine = refund(1, ravi, nina), refund(2, ravi), refund(3, ravi)
        late = refund(4, ravi, timeout=0.1)
        page = look(client, won, away, mine, late)
        deciding.decide(make.actor(nina), won, "reject")
        deciding.reassign(make.actor(ravi), away, users=["nina"])
        assert async_to_sync(gate.wait_for_outcome)(late).timed_out
        sent = {"id": [*shown(page), str(uuid4())], "decision": "approve"}
        said = text(client.post("/decide/", sent))
        assert "1 recorded, 4 refused" in said
        assert "Refund order 1 Not recorded: It was already rejected by nina." in said
        assert "Not recorded: There is no request" in said
        assert "Refund order 4 Not recorded: The deadline has passed. On record: timed out, rejected" in said
        assert status(won, away, mine, late) == ["rejected", "pending", "approved", "timed_out"]
        assert text(client.post("/decide/", sent)) == said

    def test_what_the_page_would_not_show_is_not_decided(self, client: Client, ravi: User) -> None:
        """Whoever sends its id: each says why. High severity of what is left out wants no tick."""
        nina = make.user("nina")
        left = {
            make.approval(assignees=[ravi], details="x" * 20_000, severity="high"): "Too long to be shown",
            make.approval(assignees=[ravi], arguments={"ids": list(range(500))}): "Too long to be shown",
            make.earlier(required=2, editable=True, user_ids=(ravi.pk, nina.pk)): "Others who approve it",
            make.clarification("Which?", assignees=[ravi]): "This is a question",
            refund(1, nina, requester=ravi): "others decide it",
            make.approval("Secret", assignees=[nina]): "There is no request",
        }
        mine = refund(2, ravi)
        said = text(client.post("/decide/", {"id": [*left, mine], "decision": "approve"}))
        assert "1 recorded, 6 refused" in said
        for why in left.values():
            assert f"Not recorded: {why}" in said.replace("You may see this, but ", "")
        assert status(*left, mine) == ["pending"] * 6 + ["approved"]

    @both_databases
    def test_the_same_sent_again_says_what_is_on_record(self, client: Client, ravi: User) -> None:
        """Also without the tick, and of a vote that is one of several; another decision is refused."""
        nina = make.user("nina")
        voted, closed = refund(1, ravi, nina, required=2), refund(2, ravi, severity="high")
        sent = {"id": [voted, closed], "decision": "approve"}
        said = text(client.post("/decide/", {**sent, "read": "on"}))
        assert "2 recorded" in said
        assert text(client.post("/decide/", sent)) == said
        changed = text(client.post("/decide/", {**sent, "decision": "reject"}))
        assert "2 refused" in changed
        assert "a vote can" in changed
        assert status(voted, closed) == ["pending", "approved"]

    def test_what_others_can_change_is_left_to_its_own_page(self, client: Client, ravi: User) -> None:
        """Where each of several approvers could change the arguments, something else than shown would be
        decided: such requests are on record from before they were refused."""
        request = make.earlier(required=2, editable=True, user_ids=(ravi.pk, make.user().pk))
        response = look(client, request)
        assert "decide it on its own page" in text(response)
        assert shown(response) == []

    def test_a_request_that_can_be_changed_is_approved_as_asked(self, client: Client, ravi: User) -> None:
        request = refund(1, ravi, editable=True)
        assert "Approved by ravi" in text(decide(client, look(client, request)))
        assert gate.outcome(request).arguments == {"order": 1, "amount": "12.00", "currency": "EUR"}

    def test_what_matters_much_wants_to_have_been_read(self, client: Client, ravi: User) -> None:
        """One of them is enough; rejecting needs no tick."""
        requests = [refund(1, ravi), refund(2, ravi, severity="high")]
        page = look(client, *requests)
        assert "Refund order 2 High severity" in text(page)
        assert "I have read what will happen" in text(page)
        assert "must be ticked before you approve" in text(decide(client, page), 422)
        assert status(*requests) == ["pending", "pending"]
        assert "2 recorded" in text(decide(client, page, read="on"))
        other = refund(3, ravi, severity="high")
        assert "1 recorded" in text(decide(client, look(client, other), "reject"))
        assert "I have read" not in text(look(client, refund(4, ravi)))

    def test_an_approval_that_needs_more_says_so(self, client: Client, ravi: User) -> None:
        request = refund(1, ravi, make.user(), required=2)
        page = look(client, request)
        assert "0 of 2 approvals so far" in text(page)
        assert "Your approval is on record; more are needed" in text(decide(client, page))

    def test_what_can_not_be_recorded_is_shown_again_with_what_was_typed(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = look(client, refund(1, ravi))
        said = text(decide(client, page, comment="x" * 10_001), 422)
        assert "Note" in said
        assert "x" * 10_001 in said
        assert "Decision must be one of the options" in text(decide(client, page, "maybe"), 422)

        def busy(*args: object, **terms: object) -> None:
            raise Busy("Full.")

        monkeypatch.setattr(deciding, "decide_many", busy)
        response = decide(client, page, comment="My note")
        assert response["Retry-After"] == "2"
        assert "Full. What you sent was not recorded." in text(response, 503)
        assert "My note" in text(response, 503)

    def test_enter_in_a_field_decides_nothing(self, client: Client, ravi: User) -> None:
        """Without scripts it sends the form with a button of no meaning; what was typed stays."""
        request = refund(1, ravi)
        said = text(decide(client, look(client, request), nothing="", comment="My note"))
        assert "Nothing was recorded: press the button" in said
        assert "My note" in said
        assert status(request) == ["pending"]

    def test_nobody_decides_without_the_token_of_a_page(self, ravi: User) -> None:
        request = refund(1, ravi)
        strict = browser_of(ravi, enforce_csrf_checks=True)
        assert decide(strict, look(strict, request)).status_code == 403
        assert status(request) == ["pending"]

    def test_the_way_back_keeps_the_filters(self, client: Client, ravi: User) -> None:
        request = refund(1, ravi)
        page = look(client, request, back="?kind=approval&q=refund&nonsense=1")
        back = 'href="/?kind=approval&amp;q=refund"'
        assert back in page.content.decode()
        assert f'href="/requests/{request}/?kind=approval&amp;q=refund"' in page.content.decode()
        done = decide(client, page, back="?kind=approval&q=refund")
        assert back in done.content.decode()
        assert 'href="/"' in look(client, request, back="https://evil.example/").content.decode()
        assert "evil" not in look(client, request, back="https://evil.example/").content.decode()


class TestNews:
    @both_databases
    def test_only_what_waits_for_this_person_is_new_for_them(self, client: Client, ravi: User) -> None:
        """With hidden characters marked as text; asking counts as no view."""
        nina = make.user("nina")
        mine = make.approval("Pay \u202etxt", assignees=[ravi], requester=nina)
        closed, asked, foreign = (
            refund(1, ravi),
            refund(2, nina, requester=ravi),
            make.approval(assignees=[nina]),
        )
        deciding.decide(make.actor(ravi), closed, "approve")
        html = client.get("/requests/new/", {"id": [mine, closed, asked, foreign, "x"]}).content.decode()
        assert re.findall('data-id="([^"]+)"', html) == [mine]
        assert 'title="Pay [U+202E]txt">nina<' in html
        assert events(mine) == [("opened", None)]
        assert "<li" not in client.get("/requests/new/").content.decode()

    def test_of_what_is_confidential_it_says_nothing(self, client: Client, ravi: User) -> None:
        request = make.approval("Merger", assignees=[ravi], requester=make.user("nina"), confidential=True)
        html = client.get("/requests/new/", {"id": [request]}).content.decode()
        assert 'title="A confidential request"></a>' in html
        assert "Merger" not in html
        assert "nina" not in html
