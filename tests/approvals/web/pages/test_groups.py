"""The page of a group: each request of it that a person may see, decided by itself or with the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals import deciding, gate, queries
from approvals.exceptions import Busy
from tests import factories as make
from tests.clients import browser_of, client_of, text
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

GROUP = {"key": "turn-7 / a", "title": "Three calls for order 812"}
PAGE = "/requests/group/"
OF = {"requester": "agent", "key": GROUP["key"]}


@pytest.fixture
def ravi() -> User:
    return make.user("ravi")


@pytest.fixture
def agent() -> User:
    return make.user("agent")


@pytest.fixture
def client(ravi: User) -> Client:
    return browser_of(ravi)


def call(name: str, agent: User | None, *people: User, **terms: Any) -> str:
    arguments = {"tool": name}
    return make.approval(
        f"Call {name}",
        **{
            "arguments": arguments,
            "requester": agent,
            "assignees": list(people),
            "group": GROUP,
            **terms,
        },
    )


def address(**of: str) -> str:
    return f"{PAGE}?" + "&".join(f"{name}={value}" for name, value in (of or OF).items())


def look(client: Client, **of: str) -> Any:
    return client.get(PAGE, of or OF)


def send(client: Client, *ids: str, decision: str = "approve", **more: str) -> Any:
    return client.post(address(), {"id": ids, "decision": decision, **more})


def status(*requests: str) -> list[str]:
    return [gate.outcome(request).status for request in requests]


def cards(response: Any) -> list[str]:
    """Which requests the page shows, in its order."""
    return re.findall(r'<article id="request-([^"]+)"', response.content.decode())


def forms(response: Any) -> list[list[str]]:
    """The ids that each form of the page sends."""
    html = response.content.decode()
    found = re.findall(r'<form method="post"[^>]*>.*?</form>|<form id="decide".*?</form>', html, re.DOTALL)
    return [ids for form in found if (ids := re.findall(r'name="id" value="([^"]+)"', form))]


class TestLooking:
    @both_databases
    def test_each_request_is_shown_with_its_details_and_arguments(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        first = call("search", agent, ravi, details="**Why** so")
        second = call("pay", agent, ravi, timeout=None)
        response = look(client)
        html = response.content.decode()
        assert cards(response) == [first, second]
        assert forms(response) == [[first], [second], [first, second]]
        assert "Three calls for order 812</h1>" in html
        assert "<strong>Why</strong>" in html
        assert all(name in text(response) for name in ("search", "pay", "2 to decide", "Approve all 2"))

    @both_databases
    def test_who_may_not_see_a_request_sees_nothing_of_it(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        own = call("search", agent, ravi)
        call("secret", agent, make.user("nina"))
        response = look(client)
        assert cards(response) == [own]
        assert "secret" not in response.content.decode()
        assert "1 request" in text(response)
        assert look(browser_of(make.user("eve"))).status_code == 404

    def test_two_requesters_with_one_key_have_two_groups(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        """A program of the installation, which is nobody, has its own, too."""
        of_agent, of_other, of_nobody = (
            call("search", asker, ravi) for asker in (agent, make.user("other"), None)
        )
        assert cards(look(client)) == [of_agent]
        assert cards(look(client, requester="other", key=GROUP["key"])) == [of_other]
        assert cards(look(client, key=GROUP["key"])) == [of_nobody]

    @pytest.mark.parametrize(
        "of",
        [{"key": ""}, {"requester": "agent"}, {"requester": "nobody", "key": GROUP["key"]}, {"key": "\0"}],
    )
    def test_what_is_no_group_is_not_found(
        self, client: Client, ravi: User, agent: User, of: dict[str, str]
    ) -> None:
        call("search", agent, ravi)
        make.approval(assignees=[ravi], requester=agent)
        assert client.get(PAGE, of).status_code == 404

    def test_a_question_is_answered_on_its_page_and_all_is_for_approvals(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        first, second = (call(name, agent, ravi) for name in ("search", "pay"))
        question = make.clarification("Why?", assignees=[ravi], requester=agent, group=GROUP)
        response = look(client)
        assert cards(response) == [first, second, question]
        assert forms(response)[-1] == [first, second]
        assert f'<a class="button" href="{reverse("request", args=[question])}">Answer' in (
            response.content.decode()
        )

    def test_what_others_decide_is_closed_or_too_long_is_shown_without_a_form(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        closed, long = call("search", agent, ravi), call("pay", agent, ravi, details="x" * 20_000)
        voted = call("post", agent, ravi, make.user("nina"), required=2)
        foreign = call("look", agent, make.user("olga"), requester=ravi)
        for request in (closed, voted):
            deciding.decide(make.actor(ravi), request, "approve", comment="As ever.")
        response = look(client)
        assert cards(response) == [closed, long, voted]
        assert forms(response) == []
        said = text(response)
        for words in ("Approved by ravi", "As ever.", "Too long to be shown", "You have approved this"):
            assert words in said
        assert cards(look(client, requester="ravi", key=GROUP["key"])) == [foreign]

    def test_the_page_of_a_request_leads_there(self, client: Client, ravi: User, agent: User) -> None:
        html = client.get(reverse("request", args=[call("search", agent, ravi)])).content.decode()
        (there,) = re.findall(r'Part of <a href="([^"]+)"', html)
        assert cards(client.get(there.replace("&amp;", "&")))
        alone = make.approval(assignees=[ravi])
        assert "Part of" not in client.get(reverse("request", args=[alone])).content.decode()

    @both_databases
    def test_a_person_who_looks_has_seen_each(self, client: Client, ravi: User, agent: User) -> None:
        requests = [call(name, agent, ravi) for name in ("search", "pay")]
        client.get(PAGE, OF, headers={"Sec-Purpose": "prefetch"})
        for _ in range(2):
            look(client)
        for request in requests:
            (row,) = queries.requests_by_id([request])
            assert [entry.event for entry in queries.history(row)] == ["opened", "viewed"]

    def test_it_costs_the_same_however_many_there_are(self, client: Client, ravi: User, agent: User) -> None:
        counts = []
        for number in (2, 20):
            for n in range(number):
                call(f"call {number} {n}", agent, ravi, make.user(), required=2, four_eyes=True)
            look(client)
            with CaptureQueriesContext(connection) as captured:
                look(client)
            counts.append(len(captured))
        assert counts[0] == counts[1]


class TestDeciding:
    @both_databases
    def test_one_is_decided_and_stays_in_its_place(self, client: Client, ravi: User, agent: User) -> None:
        first, second, third = requests = [call(name, agent, ravi) for name in ("search", "pay", "post")]
        response = send(client, second, decision="reject", comment="Not now.")
        assert status(*requests) == ["pending", "rejected", "pending"]
        assert cards(response) == requests
        assert forms(response) == [[first], [third], [first, third]]
        assert all(words in text(response) for words in ("1 recorded.", "Rejected by ravi", "Not now."))

    @both_databases
    def test_all_are_decided_each_with_its_outcome(self, client: Client, ravi: User, agent: User) -> None:
        requests = [call(name, agent, ravi) for name in ("search", "pay", "post")]
        (*_, all_of_them) = forms(look(client))
        response = send(client, *all_of_them, all="on", comment="Fine.")
        assert status(*requests) == ["approved"] * 3
        assert "3 recorded." in text(response)
        assert text(response).count("Approved by ravi") == 3
        assert [gate.outcome(request).comment for request in requests] == ["Fine."] * 3
        assert forms(response) == []

    @both_databases
    def test_never_two_decisions(self, client: Client, ravi: User, agent: User) -> None:
        """What was decided meanwhile keeps its outcome, which its card says; repeating changes nothing."""
        first, second = (call(name, agent, ravi) for name in ("search", "pay"))
        nina = make.user("nina")
        taken = call("post", agent, ravi, nina)
        page = forms(look(client))[-1]
        deciding.decide(make.actor(nina), taken, "reject")
        for _ in range(2):
            response = send(client, *page, all="on")
            assert status(first, second, taken) == ["approved", "approved", "rejected"]
            assert "2 recorded, 1 not recorded." in text(response)
            assert text(response).count("Not recorded:") == 1
            assert "Rejected by nina" in text(response)
        (row,) = queries.requests_by_id([first])
        assert [entry.event for entry in queries.history(row)].count("decided") == 1

    def test_what_may_not_be_seen_or_decided_is_refused_by_itself(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        own, foreign = call("search", agent, ravi), call("secret", agent, make.user("nina"))
        handed_on = call("pay", agent, ravi)
        page = forms(look(client))[-1]
        deciding.reassign(make.actor(ravi), handed_on, ["nina"])
        response = send(client, *page, foreign, all="on")
        assert status(own, foreign, handed_on) == ["approved", "pending", "pending"]
        assert "1 recorded, 2 not recorded." in text(response)
        assert text(response).count("or you may not see it") == 2
        assert "secret" not in text(response)

    def test_the_last_that_could_be_seen_may_be_gone(self, client: Client, ravi: User, agent: User) -> None:
        request = call("pay", agent, ravi)
        deciding.reassign(make.actor(ravi), request, [make.user("nina").username])
        response = send(client, request)
        assert response.status_code == 200
        assert "1 not recorded." in text(response)
        assert look(client).status_code == 404

    def test_what_matters_much_wants_to_have_been_read(self, client: Client, ravi: User, agent: User) -> None:
        high, other = call("pay", agent, ravi, severity="high"), call("search", agent, ravi)
        for ids, more in (((high,), {}), ((high, other), {"all": "on"})):
            response = send(client, *ids, comment="Sure.", **more)
            assert response.status_code == 422
            assert text(response, 422).count("must be ticked before you approve") == 1
            assert response.content.decode().count("Sure.") == 1
        assert status(high, other) == ["pending", "pending"]
        send(client, other)
        send(client, high, read="on")
        assert status(high, other) == ["approved", "approved"]

    def test_enter_decides_nothing(self, client: Client, ravi: User, agent: User) -> None:
        request = call("pay", agent, ravi)
        response = client.post(address(), {"id": request, "nothing": ""})
        assert "Nothing was recorded" in text(response)
        assert client.post(address(), {"decision": "approve"}).status_code == 200
        assert status(request) == ["pending"]

    def test_without_its_token_nothing_is_decided(self, ravi: User, agent: User) -> None:
        request = call("pay", agent, ravi)
        assert send(client_of(ravi, enforce_csrf_checks=True), request).status_code == 403
        assert status(request) == ["pending"]

    def test_where_the_writer_has_no_room_nothing_is_decided(
        self, client: Client, ravi: User, agent: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests = [call(name, agent, ravi) for name in ("search", "pay")]

        def busy(*args: object, **terms: object) -> None:
            raise Busy("Full.")

        monkeypatch.setattr(deciding, "decide_many", busy)
        response = send(client, *requests, all="on", comment="Fine.")
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert "What you sent was not recorded." in text(response, 503)
        assert "Fine." in response.content.decode()


def rows(client: Client, *ids: str, **query: str) -> list[tuple[str, str]]:
    """The rows of the inbox, or those that a live page gets of these ids: what each is, and its text."""
    address = "/rows/" if ids else "/"
    html = client.get(address, {"id": ids, **query} if ids else query).content.decode()
    found = re.findall(r'<li id="row-([^"]+)"(.*?)</li>', html, re.DOTALL)
    return [
        ("group" if name.startswith("group-") else name, re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", inner)))
        for name, inner in found
    ]


def shapes(client: Client, *ids: str, **query: str) -> list[str]:
    return [name for name, _ in rows(client, *ids, **query)]


class TestRow:
    @both_databases
    def test_what_this_person_can_decide_of_a_group_is_one_row(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        """With its title, how many there are, and what is due first; at the place of that."""
        sooner = make.approval(assignees=[ravi], timeout=60)
        call("search", agent, ravi, timeout=9_000)
        call("pay", agent, ravi, timeout=610, severity="high")
        make.clarification("Why?", assignees=[ravi], requester=agent, group=GROUP, timeout=None)
        later = make.approval(assignees=[ravi], timeout=3_600)
        assert shapes(client) == [sooner, "group", later]
        (said,) = [said for name, said in rows(client) if name == "group"]
        for words in (GROUP["title"], "3 requests to decide", "agent", "10 min", "High severity"):
            assert words in said
        html = client.get("/").content.decode()
        assert '<a href="/requests/group/?requester=agent&amp;key=turn-7+%2F+a"' in html
        assert 'data-tab="mine" aria-current="page">For me <span class="count">5' in html

    @both_databases
    def test_what_others_decide_and_what_is_closed_or_voted_on_is_no_part_of_it(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        nina = make.user("nina")
        call("secret", agent, nina)
        one = call("search", agent, ravi)
        assert shapes(client) == [one]
        voted = call("post", agent, ravi, nina, required=2)
        assert shapes(client) == ["group"]
        deciding.decide(make.actor(ravi), voted, "approve")
        assert sorted(shapes(client)) == sorted([one, voted])
        call("pay", agent, ravi)
        assert sorted(shapes(client)) == sorted(["group", voted])
        assert "secret" not in str(rows(client))

    def test_two_requesters_with_one_key_have_two_rows(self, client: Client, ravi: User, agent: User) -> None:
        for asker in (agent, make.user("other"), None):
            for name in ("search", "pay"):
                call(name, asker, ravi)
        assert shapes(client) == ["group"] * 3

    def test_other_tabs_and_filters_show_what_they_have(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        first, second, third = (call(name, agent, ravi) for name in ("search", "pay", "pay again"))
        assert shapes(client, tab="all") == [first, second, third]
        assert shapes(client, q="search") == [first]
        ((name, said),) = rows(client, q="pay")
        assert (name, "2 requests to decide" in said) == ("group", True)
        assert shapes(client, group="requester") == ["group"]

    @both_databases
    def test_a_live_page_is_told_what_became_of_the_row(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        """Of whichever request it asks that may be seen: what is left is a row of fewer, one, or none."""
        first, second, third = (call(name, agent, ravi) for name in ("search", "pay", "post"))
        actor = make.actor(ravi)
        assert shapes(client, third) == ["group"]
        deciding.decide(actor, first, "reject")
        assert sorted(shapes(client, first)) == sorted(["group", first])
        deciding.reassign(actor, second, [make.user("nina").username])
        assert shapes(client, second, third) == [third]
        deciding.reassign(actor, third, ["nina"])
        assert shapes(client, second, third) == []

    @both_databases
    def test_a_request_that_may_not_be_seen_does_not_tell_its_group(
        self, client: Client, ravi: User, agent: User
    ) -> None:
        """Whoever knows its id learns no more than of any id that there is not."""
        secret = call("secret", agent, make.user("nina"))
        call("search", agent, ravi)
        assert shapes(client, secret) == []
        call("pay", agent, ravi)
        assert shapes(client, secret) == []

    def test_who_may_see_nothing_of_it_is_told_nothing(self, ravi: User, agent: User) -> None:
        requests = [call(name, agent, ravi) for name in ("search", "pay")]
        assert rows(browser_of(make.user("eve")), *requests) == []

    def test_it_costs_the_same_however_many_there_are(self, client: Client, ravi: User, agent: User) -> None:
        counts = []
        for number in (2, 20):
            for n in range(number):
                call(f"call {n}", agent, ravi, make.user(), required=2)
                call(f"call {n}", agent, ravi, group={"key": f"{number} {n % 4}", "title": "Others"})
            with CaptureQueriesContext(connection) as captured:
                assert "group" in shapes(client)
            counts.append(len(captured))
        assert counts[0] == counts[1]
