"""The pages: they show what one may see, decide by plain forms, and say what is on record when that fails."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import Busy
from approvals.models import UserAssignment
from approvals.queries import inbox
from approvals.templatetags import sayso
from approvals.web.pages import filters
from orchestration.models import Run
from tests import factories as make
from tests.clients import browser_of, text
from tests.looking import blocked_until
from tests.marks import both_databases
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

REFUND = {"amount": "12.00", "to": "ACME"}
AMOUNT = {"type": "object", "properties": {"amount": {"type": "string", "pattern": "^[0-9.]+$"}}}


@pytest.fixture
def ravi() -> User:
    return make.user("ravi")


@pytest.fixture
def client(ravi: User) -> Client:
    return browser_of(ravi)


def page(request: str) -> str:
    return f"/requests/{request}/"


def titles(response: Any) -> list[str]:
    return re.findall(r'class="title">([^<]+)<', response.content.decode())


def events(request: str) -> list[tuple[str, str | None]]:
    return [(entry.event, entry.actor) for entry in trail(request)]


def trail(request: str) -> list[queries.TimelineEntry]:
    return queries.history(queries.requests_by_id([request])[0])


def outcome(request: str) -> Outcome:
    return gate.outcome(request)


class TestWho:
    @pytest.mark.parametrize(
        "path", ["/", "/rows/", "/requests/01890a5d-ac96-774b-bcce-b302099a8057/", "/runs/"]
    )
    def test_pages_are_for_people_who_are_logged_in(self, path: str) -> None:
        response = Client().get(path)
        assert response.status_code == 302
        assert response["Location"] == f"/accounts/login/?next={path}"

    @both_databases
    def test_what_may_not_be_seen_is_as_unknown_as_what_does_not_exist(self, client: Client) -> None:
        """Reading, deciding, withdrawing and the raw arguments alike."""
        foreign = make.approval("Secret", assignees=[make.user()])
        for request in (foreign, str(uuid4())):
            for answered in (
                client.get(page(request)),
                client.post(page(request), {"decision": "approve"}),
                client.post(page(request) + "withdraw/"),
                client.get(page(request) + "arguments.json"),
            ):
                assert "Secret" not in text(answered, 404)
        assert client.get("/requests/1/").status_code == 404
        assert events(foreign) == [("opened", None)]

    def test_nobody_decides_without_the_token_of_a_page(self, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        strict = browser_of(ravi, enforce_csrf_checks=True)
        assert "Nothing was recorded" in text(strict.post(page(request), {"decision": "approve"}), 403)
        assert outcome(request).status == "pending"

    def test_reading_decides_nothing(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        client.get(page(request), {"decision": "approve"})
        for act in ("withdraw", "reassign"):
            response = client.get(f"{page(request)}{act}/", follow=True)
            assert response.redirect_chain == [(f"{page(request)}?unsent=", 302)]
            assert "was not recorded" in response.text
        assert outcome(request).status == "pending"

    def test_pages_are_not_cached_and_carry_a_strict_policy(self, client: Client) -> None:
        response = client.get("/")
        assert "no-store" in response["Cache-Control"]
        assert "unsafe" not in response["Content-Security-Policy"]

    @pytest.mark.parametrize("path", ["/", "request", "/accounts/password/", "/nowhere/"])
    def test_pages_have_nothing_inline(self, client: Client, ravi: User, path: str) -> None:
        request = make.approval(assignees=[ravi], details="<b onclick=x>!</b>", editable=True)
        html = client.get(page(request) if path == "request" else path).content.decode()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|javascript:|<script(?![^>]*\ssrc=)", html)


class TestInbox:
    @both_databases
    def test_what_is_due_first_comes_first_then_what_waits_longest(self, client: Client, ravi: User) -> None:
        make.clarification("Old", assignees=[ravi], timeout=None)
        make.approval("Later", assignees=[ravi], timeout=900)
        make.approval("Sooner", assignees=[ravi], timeout=600)
        make.approval("New", assignees=[ravi], timeout=None)
        make.approval("Foreign", assignees=[make.user()])
        assert titles(client.get("/")) == ["Sooner", "Later", "Old", "New"]
        assert titles(client.get("/?sort=age")) == ["Old", "Later", "Sooner", "New"]
        assert titles(client.get("/?sort=newest")) == ["New", "Sooner", "Later", "Old"]

    @both_databases
    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ("", {"Pay", "Which centre?", "Overdue"}),
            ("?show=mine", {"Pay", "Which centre?", "Overdue"}),
            ("?tab=asked", {"Asked by me"}),
            ("?tab=all", {"Pay", "Which centre?", "Overdue", "Asked by me"}),
            ("?tab=all&kind=approval", {"Pay", "Overdue", "Asked by me"}),
            ("?kind=clarification", {"Which centre?"}),
            ("?soon=1", {"Overdue"}),
            ("?q=centre", {"Which centre?"}),
            ("?q=requester:ravi&tab=all", {"Asked by me"}),
            ("?q=nothing+like+it", set()),
            ("?tab=decided", {"Approved", "Withdrawn"}),
            ("?tab=decided&by=me", {"Approved"}),
            ("?tab=decided&status=withdrawn", {"Withdrawn"}),
            ("?tab=decided&soon=1&sort=age&q=approved", {"Approved"}),
            (
                "?tab=nonsense&kind=nonsense&sort=x&group=x&status=pending&limit=x&show=%00&q=%00&before=x",
                {"Pay", "Which centre?", "Overdue"},
            ),
        ],
    )
    def test_filters_live_in_the_address(
        self, client: Client, ravi: User, query: str, shown: set[str]
    ) -> None:
        """Whatever makes no sense in it is as if it were not there."""
        make.approval("Pay", assignees=[ravi], timeout=60)
        make.approval("Overdue", assignees=[ravi], timeout=0.001)
        make.clarification("Which centre?", assignees=[ravi], timeout=None)
        make.approval("Asked by me", requester=ravi, assignees=[make.user()], timeout=None)
        deciding.decide(make.actor(ravi), make.approval("Approved", assignees=[ravi]), "approve")
        deciding.withdraw(Actor.program(), make.approval("Withdrawn", assignees=[ravi]))
        assert set(titles(client.get(f"/{query}"))) == shown
        assert set(titles(client.get(f"/rows/{query}"))) == shown

    def test_an_empty_inbox_says_so_kindly_and_when_the_last_request_was(
        self, client: Client, ravi: User
    ) -> None:
        assert "Nothing waits for you." in text(client.get("/"))
        request = make.approval("Pay", assignees=[ravi])
        deciding.decide(make.actor(ravi), request, "approve")
        assert "The last request closed just now : Pay" in text(client.get("/"))

    @pytest.mark.parametrize(
        ("tab", "words"),
        [
            ("asked", "Nothing that you asked is pending."),
            ("all", "Nothing is pending."),
            ("decided", "Nothing has been decided yet."),
        ],
    )
    def test_each_empty_tab_says_what_it_is_for(self, client: Client, tab: str, words: str) -> None:
        assert words in text(client.get(f"/?tab={tab}"))
        assert "No requests match." in text(client.get(f"/?tab={tab}&q=nothing"))

    def test_the_tab_stays_when_a_request_is_opened_and_decided(self, client: Client, ravi: User) -> None:
        """So do the filters; a row's link has them, and the way back."""
        request = make.approval("Pay", assignees=[ravi])
        for query in ("", "?tab=all&amp;group=requester&amp;q=pay"):
            address = f'href="{page(request)}{query}"'
            assert address in client.get(f"/{query.replace('&amp;', '&')}").content.decode()
        shown = client.get(f"{page(request)}?tab=all&q=pay").content.decode()
        assert re.search(r'data-tab="all" aria-current="page"', shown)
        assert 'href="/?tab=all&amp;q=pay">← Inbox' in shown
        decided = client.post(f"{page(request)}?tab=all&q=pay", {"decision": "approve"})
        assert decided["Location"] == f"/?tab=all&q=pay&done={request}"

    def test_tabs_say_what_their_counts_are_of(self, client: Client, ravi: User) -> None:
        """Everything is for those who see more than the other two, and for whoever chooses it."""
        make.approval(assignees=[ravi])
        shown = text(client.get("/"))
        assert "For me 1 to decide I asked 0 pending Decided 0 closed" in shown
        assert "Everything 1 pending" in text(client.get("/?tab=all"))
        auditor = browser_of(make.user(may=("view_humanrequest",)))
        assert "For me 0 to decide I asked 0 pending Everything 1 pending Decided 0 closed" in text(
            auditor.get("/")
        )

    @both_databases
    def test_rows_have_groups_in_the_order_of_their_first_ones(self, client: Client, ravi: User) -> None:
        ann, run = make.user("ann"), run_of("refund")
        origin = {"kind": "run", "id": str(run.pk), "url": "/"}
        make.approval("Later", assignees=[ravi], requester=ann, timeout=900, origin=origin)
        make.approval("Program's", assignees=[ravi], timeout=800)
        make.approval("Sooner", assignees=[ravi], requester=ann, timeout=600)

        def grouped(by: str) -> list[str]:
            html = client.get(f"/?group={by}").content.decode()
            return re.findall(r'<h2>([^<]+)</h2></li>|class="title">([^<]+)<', html)

        assert ["".join(one) for one in grouped("requester")] == [
            "ann",
            "Sooner",
            "Later",
            "A program",
            "Program&#x27;s",
        ]
        assert ["".join(one) for one in grouped("orchestration")] == [
            "No orchestration",
            "Sooner",
            "Program&#x27;s",
            "refund",
            "Later",
        ]

    def test_a_row_says_what_matters(self, client: Client, ravi: User) -> None:
        make.approval(
            "Pay",
            assignees=[ravi],
            requester=make.user("ann"),
            severity="high",
            arguments={"to": "ACME", "amount": "12.00", "order": 7},
            highlight=["amount"],
            timeout=3600,
        )
        (row,) = re.findall(r"<li id=.*?</li>", client.get("/").content.decode(), re.DOTALL)
        said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row))
        assert re.fullmatch(
            r" Approv\w+ High severity: Pay amount 12.00 ann (59 min|1 h).* left just now ", said
        )

    def test_what_one_may_decide_now_can_be_ticked(self, client: Client, ravi: User) -> None:
        nina = make.user("nina")
        mine = make.approval("Mine", assignees=[ravi])
        voted = make.approval("Voted", assignees=[ravi, nina], required=2)
        deciding.decide(make.actor(ravi), voted, "approve")
        make.approval("Asked", assignees=[nina], requester=ravi)
        deciding.decide(make.actor(ravi), make.approval("Closed", assignees=[ravi]), "approve")
        for query in ("/", "/?tab=asked", "/?tab=all", "/?tab=decided"):
            boxes = re.findall(
                r'<input type="checkbox" name="id" value="([^"]+)"', client.get(query).content.decode()
            )
            assert boxes == ([mine] if query in ("/", "/?tab=all") else []), query
        assert "You have approved this: Voted" in text(client.get("/"))

    @both_databases
    def test_what_was_decided_has_pages(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filters, "PAGE", 2)
        for number in range(5):
            deciding.decide(make.actor(ravi), make.approval(f"Number {number}", assignees=[ravi]), "approve")
        shown, address = [], "/?tab=decided&by=me"
        while address:
            response = client.get(address)
            shown.append(titles(response))
            older = re.search(r'href="(/\?[^"]+)" rel="next"', response.content.decode())
            address = unescape(older[1]) if older else ""
        assert shown == [["Number 4", "Number 3"], ["Number 2", "Number 1"], ["Number 0"]]
        assert 'href="/?tab=decided&amp;by=me">Newest' in response.content.decode()

    def test_how_far_a_search_went_is_said(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbox, "SEARCHED", 2)
        for number in range(3):
            deciding.decide(make.actor(ravi), make.approval(f"Number {number}", assignees=[ravi]), "approve")
        for path in ("/?tab=decided&q=number", "/rows/?tab=decided&q=number"):
            response = client.get(path)
            assert titles(response) == ["Number 2", "Number 1"]
            assert "Only the newest 2 requests were searched." in text(response)
        assert "were searched" not in text(client.get("/?tab=decided"))

    def test_the_filter_says_how_soon_is_soon(self, client: Client) -> None:
        assert "Due soon: less than a fifth of its time left" in text(client.get("/"))

    def test_a_long_list_is_shown_in_parts(self, client: Client, ravi: User) -> None:
        for number in range(51):
            make.approval(f"Number {number}", assignees=[ravi])
        first = client.get("/?kind=approval")
        assert len(titles(first)) == 50
        assert "?kind=approval&amp;limit=200" in first.content.decode()
        assert len(titles(client.get("/?kind=approval&limit=200"))) == 51

    def test_no_more_is_offered_than_a_page_shows(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filters, "LONGEST_PAGE", 50)
        for number in range(51):
            make.approval(f"Number {number}", assignees=[ravi])
        for path in ("/", "/rows/"):
            html = client.get(path).content.decode()
            assert "Show more" not in html
            assert "These are the first 50. Search to find others." in html

    def test_the_server_counts_whatever_is_shown(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            make.approval(f"Number {number}", assignees=[ravi])
        make.approval("Asked", requester=ravi, assignees=[make.user()])
        for path in ("/", "/?q=nothing", "/?tab=all"):
            shown = text(client.get(path))
            assert "(3) Inbox" in shown
            assert "For me 3 to decide I asked 1 pending" in shown
        assert "Everything 4 pending" in shown
        counts = '<data class="mine">3</data> <data class="seen">4</data>'
        assert counts in client.get("/rows/?q=nothing").content.decode()
        for module in (inbox, sayso):
            monkeypatch.setattr(module, "COUNTED", 3)
        assert "For me 2+ to decide" in text(client.get("/"))

    def test_what_is_open_stays_in_the_list_unless_it_is_filtered(self, client: Client, ravi: User) -> None:
        for number in range(60):
            make.approval(f"Number {number}", assignees=[ravi])
        beyond, foreign = make.approval("Beyond", assignees=[ravi]), make.approval(assignees=[make.user()])
        assert titles(client.get(page(beyond)))[50:] == ["Beyond"]
        assert titles(client.get("/rows/", {"open": beyond}))[50:] == ["Beyond"]
        assert titles(client.get("/rows/", {"open": beyond, "id": beyond})) == ["Beyond"]
        assert titles(client.get("/rows/", {"open": beyond, "q": "nothing"})) == []
        for nothing in (foreign, "nonsense", str(uuid4())):
            assert len(titles(client.get("/rows/", {"open": nothing}))) == 50
        deciding.decide(make.actor(ravi), beyond, "approve")
        assert titles(client.get(page(beyond))).count("Beyond") == 1

    def test_what_is_open_is_in_a_list_only_where_it_belongs(self, client: Client, ravi: User) -> None:
        asked = make.approval("Asked", requester=ravi, assignees=[make.user()])
        for query, shown in (
            ("", []),
            ("?tab=asked", ["Asked"]),
            ("?tab=all", ["Asked"]),
            ("?tab=decided", []),
        ):
            assert titles(client.get(page(asked) + query)) == shown
        deciding.withdraw(Actor.program(), asked)
        for query, shown in (
            ("", []),
            ("?tab=asked", ["Asked"]),
            ("?tab=all", ["Asked"]),
            ("?tab=decided", ["Asked"]),
        ):
            assert titles(client.get(page(asked) + query)) == shown

    def test_what_arrived_since_the_page_was_loaded_is_part_of_its_list(
        self, client: Client, ravi: User
    ) -> None:
        for number in range(60):
            make.approval(f"Number {number}", assignees=[ravi])
        assert len(titles(client.get("/rows/?shown=57"))) == 57
        assert len(titles(client.get("/rows/?shown=nonsense"))) == 50

    def test_an_inbox_takes_the_same_queries_however_long_it_is(self, client: Client, ravi: User) -> None:
        """In each tab, grouped, searched."""
        pending = ("/", "/?tab=asked", "/?tab=all&group=requester", "/?group=orchestration&sort=age&soon=1")
        decided = ("", "&by=me&group=orchestration", "&q=refund")
        addresses = (*pending, *(f"/?tab=decided{rest}" for rest in decided))

        def queries() -> list[int]:
            counts = []
            for address in addresses:
                with CaptureQueriesContext(connection) as captured:
                    assert client.get(address).status_code == 200
                counts.append(len(captured))
            return counts

        def fill() -> None:
            terms: dict[str, Any] = {
                "assignees": [ravi, make.group(None, ravi), nina],
                "requester": make.user(),
            }
            make.approval(**terms, origin={"kind": "run", "id": str(run.pk), "url": "/"}, four_eyes=True)
            make.approval(**terms, required=2)
            make.approval(requester=ravi, assignees=[ravi, nina], timeout=0.001)
            deciding.decide(make.actor(ravi), make.approval(**terms), "approve")

        nina, run = make.user("nina"), run_of("refund", ravi)
        fill()
        few = queries()
        for _ in range(5):
            fill()
        assert queries() == few

    @both_databases
    def test_rows_by_id_are_those_that_fit_and_those_that_closed(self, client: Client, ravi: User) -> None:
        """What a live page asks for when it hears of changes; nothing that it may not see."""
        waits = make.approval("Waits", assignees=[ravi])
        other_kind = make.clarification("Other kind", assignees=[ravi])
        closed = make.approval("Closed", assignees=[ravi])
        foreign = make.approval("Foreign", assignees=[make.user()])
        deciding.decide(make.actor(ravi), closed, "reject")
        deciding.withdraw(Actor.program(), foreign)
        query = {"kind": "approval", "id": [waits, other_kind, closed, foreign, str(uuid4())]}
        response = client.get("/rows/", query)
        assert titles(response) == ["Waits", "Closed"]
        assert "Rejected by ravi" in text(response)
        assert titles(client.get("/rows/", {"tab": "decided", "id": query["id"]})) == ["Closed"]
        assert text(client.get("/rows/?id=nonsense"), 404)

    def test_a_title_in_disguise_is_shown_as_it_is(self, client: Client, ravi: User) -> None:
        make.approval("Pay <b>Bank\u202eelgnA</b>", assignees=[ravi])
        html = client.get("/").content.decode()
        assert "\u202e" not in html
        assert "Pay &lt;b&gt;Bank" in html


class TestRequest:
    @both_databases
    def test_it_says_what_who_when_and_what_if_nobody_does(self, client: Client, ravi: User) -> None:
        olga = make.user("olga")
        request = make.approval(
            "Rotate the key",
            details="Only **once** a year.",
            arguments={"key": "release", "hosts": ["a", "b"]},
            requester=olga,
            assignees=[ravi, make.user("nina"), make.group("Security", make.user("sam"))],
            required=2,
            four_eyes=True,
            timeout=600,
        )
        response = client.get(page(request))
        shown = text(response)
        for words in (
            "Rotate the key",
            "olga",
            "nina, ravi, the group Security",
            "neither the requester, olga, nor anybody who reassigned it",
            "0 of 2 so far",
            "min",
            "Rejected automatically at the deadline.",
            "key release hosts a b",
            "Raw JSON",
            "Asked by a program for olga",
            "Seen by ravi",
        ):
            assert words in shown
        assert "<strong>once</strong>" in response.content.decode()

    def test_what_will_happen_comes_first_then_the_act_then_the_facts(
        self, client: Client, ravi: User
    ) -> None:
        request = make.approval(
            "Refund", assignees=[ravi], details="Twice **delivered**.", arguments=REFUND, timeout=600
        )
        shown = text(client.get(page(request)))
        order = ["Refund Asked by", "What exactly will happen amount", "If approved The program that asked"]
        order += ["goes on and does exactly this. Deadline", "If nobody decides Rejected", "Twice", "Note"]
        order += ["Approve Reject", "Who decides ravi", "History"]
        places = [shown.find(words) for words in order]
        assert -1 not in places
        assert places == sorted(places)

    def test_a_closed_request_says_what_became_of_it(self, client: Client, ravi: User) -> None:
        """In the title of the page, over the action, and instead of what would happen if nobody decided."""
        requests = [make.approval("Pay", assignees=[ravi], arguments=REFUND, timeout=600) for _ in range(3)]
        deciding.decide(make.actor(ravi), requests[0], "approve")
        deciding.decide(make.actor(ravi), requests[1], "reject")
        deciding.withdraw(Actor.program(), requests[2])
        for request, (state, heading) in zip(
            requests,
            [
                ("Approved", "What was approved"),
                ("Rejected", "What was rejected"),
                ("Withdrawn", "What was asked"),
            ],
            strict=True,
        ):
            response = client.get(page(request))
            shown = text(response)
            assert f"{state}: Pay · Sayso" in shown
            assert f'data-name="{state}: Pay"' in response.text
            assert heading in shown
            assert "If nobody decides" not in shown
            assert "If approved" not in shown

    def test_a_kind_is_a_noun(self, client: Client, ravi: User) -> None:
        make.approval("Pay", assignees=[ravi])
        question = make.clarification("Why?", assignees=[ravi])
        word = r'class="kind"[^>]*>.*?</svg>(?: |<span class="unseen">)(\w+)<'
        kinds = re.findall(word, client.get(page(question)).text)
        assert kinds == ["Approval", "Question", "Question"]

    def test_times_are_those_of_the_server_and_name_its_zone(
        self, client: Client, ravi: User, settings: Any
    ) -> None:
        """Where no script replaces them by those of the reader."""
        request = make.approval(assignees=[ravi], timeout=600)
        settings.TIME_ZONE = "Asia/Tokyo"
        (deadline,) = re.findall(
            r'<time class="exact"[^>]* title="([^"]+)">([^<]+)<', client.get(page(request)).text
        )
        due = queries.requests_by_id([request])[0].deadline
        assert due
        there = due.astimezone(ZoneInfo("Asia/Tokyo"))
        assert deadline == (f"{there:%Y-%m-%d %H:%M:%S} JST", f"{there:%-d %B %Y, %H:%M:%S} JST")

    def test_approve_and_reject_share_a_form_and_a_note(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        html = client.get(page(request)).text
        assert re.findall(r'<button[^>]*name="decision" value="(\w+)" data-key', html) == [
            "approve",
            "reject",
        ]
        assert html.count('name="comment"') == 1
        form = Page(html, "comment").fill("comment", "Too much.")
        post(client, page(request), form.press("decision", "reject"))
        assert (outcome(request).status, outcome(request).comment) == ("rejected", "Too much.")

    def test_a_part_of_our_own_page_gets_the_request_alone(self, client: Client, ravi: User) -> None:
        request = make.approval("Pay", assignees=[ravi])
        html = client.get(page(request), headers={"HX-Target": "detail"}).content.decode()
        assert "<html" not in html
        assert "Pay" in html

    def test_a_view_is_on_record_once_with_where_it_came_from(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        for _ in range(3):
            client.get(page(request))
        assert events(request) == [("opened", None), ("viewed", "ravi")]
        viewed = trail(request)[-1]
        assert (viewed.channel, viewed.address, viewed.user_agent) == ("page", "192.0.2.7", "Firefox")

    def test_a_page_takes_the_same_queries_however_long_its_history_is(
        self, client: Client, ravi: User
    ) -> None:
        request = make.approval(assignees=[ravi, make.user()])
        client.get(page(request))

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(page(request)).status_code == 200
            return len(captured)

        few = queries()
        for _ in range(8):
            deciding.reassign(make.actor(ravi), request, [ravi.pk, make.user().pk])
        assert queries() == few

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sayso-Unasked": "true", "HX-Target": "detail"},
            {"Sec-Purpose": "prefetch"},
            {"Sec-Purpose": "prefetch;prerender"},
            {"Purpose": "prefetch"},
            {"X-Moz": "prefetch"},
        ],
    )
    def test_what_nobody_has_asked_to_see_is_not_seen(
        self, client: Client, ravi: User, headers: dict[str, str]
    ) -> None:
        request = make.approval(assignees=[ravi])
        assert client.get(page(request), headers=headers).status_code == 200
        assert client.head(page(request)).status_code == 200
        assert events(request) == [("opened", None)]

    def test_what_has_stood_before_somebodys_eyes_is_seen_once(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        for _ in range(2):
            response = client.post(f"{page(request)}viewed/")
            assert (response.status_code, response["Location"]) == (303, page(request))
        assert events(request) == [("opened", None), ("viewed", "ravi")]
        foreign = make.approval(assignees=[make.user()])
        assert client.post(f"{page(foreign)}viewed/").status_code == 404
        assert client.get(f"{page(request)}viewed/").status_code == 405
        assert Client().post(f"{page(request)}viewed/").status_code == 302

    def test_a_page_is_shown_even_if_the_view_can_not_be_recorded(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*args: object) -> None:
            raise Busy("Too much to do.")

        request = make.approval("Pay", assignees=[ravi])
        monkeypatch.setattr(deciding, "record_view", busy)
        assert "Pay" in text(client.get(page(request)))

    def test_long_arguments_are_one_click_away(self, client: Client, ravi: User) -> None:
        long = {"text": "x" * 20_000}
        request = make.approval(assignees=[ravi], arguments=long)
        assert f"{page(request)}arguments.json" in client.get(page(request)).content.decode()
        assert client.get(page(request) + "arguments.json").json() == long

    @both_databases
    def test_it_says_who_has_voted_and_who_is_still_to(self, client: Client, ravi: User) -> None:
        """Where several must or may: people and groups by name, nobody whom four eyes bar or who is gone."""
        nina, olga, gone = make.user("nina"), make.user("olga"), make.user("gone", is_active=False)
        security = make.group("Security", make.user("sam"))
        request = make.approval(
            assignees=[ravi, nina, olga, security], requester=olga, required=3, four_eyes=True
        )
        UserAssignment.writing.bulk_create([UserAssignment(request_id=request, user=gone)])
        shown = text(client.get(page(request)))
        assert "Has voted" not in shown
        assert "Still to vote nina, ravi (you), anybody of the group Security; 3 are enough" in shown
        deciding.decide(make.actor(nina), request, "approve")
        shown = text(client.get(page(request)))
        assert "Has voted nina approved just now Still" in shown
        assert "Still to vote ravi (you), anybody of the group Security; 2 are enough" in shown
        User.objects.filter(pk=nina.pk).update(is_active=False)
        assert "nina approved just now , which does not count any more" in text(client.get(page(request)))
        deciding.decide(make.actor(ravi), request, "reject")
        shown = text(client.get(page(request)))
        assert "Has voted nina approved just now ; ravi rejected just now" in shown
        assert "Still to vote" not in shown

    def test_one_vote_of_several_people_is_enough(self, client: Client, ravi: User) -> None:
        """Who alone decides is not listed; nor is who answers a question."""
        several = make.approval(assignees=[ravi, make.user("nina")])
        assert "Still to vote nina, ravi (you); 1 is enough" in text(client.get(page(several)))
        for alone in (make.approval(assignees=[ravi]), make.clarification(assignees=[ravi, make.user()])):
            assert "Still to vote" not in text(client.get(page(alone)))
        reviewers = [browser_of(make.reviewer()) for _ in range(2)]
        any_two = make.approval(required=2)
        assert "Still to vote any reviewer; 2 are enough" in text(reviewers[0].get(page(any_two)))

    @both_databases
    def test_what_is_said_beside_it_is_shown_and_links_say_where_they_lead(
        self, client: Client, ravi: User
    ) -> None:
        request = make.approval(
            assignees=[ravi],
            context="A *long* talk <script>",
            links=[{"title": "The order", "url": "https://shop.example:8443/812?a=1"}],
            metadata={"tenant": "acme"},
        )
        response = client.get(page(request))
        shown = response.content.decode()
        assert '<a href="https://shop.example:8443/812?a=1" rel="noopener noreferrer">The order</a>' in shown
        assert "shop.example:8443" in text(response)
        assert "<summary>Context</summary>" in shown
        assert "A <em>long</em> talk &lt;script&gt;" in shown
        assert "acme" in text(response)

    def test_other_open_requests_of_the_same_origin_are_linked(self, client: Client, ravi: User) -> None:
        """Those that this person may see, and not what names the same id in another kind of origin."""
        origin = {"kind": "job", "id": "j" * 120}
        request = make.approval("This", assignees=[ravi], origin=origin)
        beside = make.clarification("Beside", assignees=[ravi], origin=origin)
        make.approval("Secret", assignees=[make.user()], origin=origin)
        make.approval("Of another kind", assignees=[ravi], origin={**origin, "kind": "agent"})
        make.approval("Of another id", assignees=[ravi], origin={**origin, "id": "j" * 119})
        deciding.decide(make.actor(ravi), make.approval("Closed", assignees=[ravi], origin=origin), "approve")
        html = client.get(f"{page(request)}?kind=approval").text
        (listed,) = re.findall(r'data-part="beside"[^>]*>(.*?)</div>', html, re.DOTALL)
        assert "Other open requests of the same origin" in listed
        assert re.findall(r'<a href="([^"]+)"', listed) == [f"{page(beside)}?kind=approval"]
        assert re.findall(r'class="title">([^<]+)<', listed) == ["Beside"]
        for _ in range(12):
            make.approval("More", assignees=[ravi], origin=origin)
        assert "And 3 more." in text(client.get(page(request)))

    def test_a_page_takes_the_same_queries_however_many_vote_and_wait_beside_it(
        self, client: Client, ravi: User
    ) -> None:
        people = [make.user() for _ in range(12)]
        origin = {"kind": "job", "id": "7"}
        request = make.approval(assignees=[ravi, *people], required=13, origin=origin)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(page(request)).status_code == 200
            return len(captured)

        def grow(some: list[User]) -> None:
            for person in some:
                deciding.decide(make.actor(person), request, "approve")
                make.approval(assignees=[person, ravi], origin=origin)

        grow(people[:2])
        client.get(page(request))  # the first look is on the trail
        few = queries()
        grow(people[2:])
        assert queries() == few

    def test_who_only_may_see_gets_no_form(self, ravi: User) -> None:
        request = make.approval(requester=ravi, assignees=[make.user()])
        html = browser_of(ravi).get(page(request)).content.decode()
        assert "others decide it" in html
        assert 'name="decision"' not in html


class TestDeciding:
    @both_databases
    def test_an_approval_is_on_record_with_its_note(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        response = client.post(page(request), {"decision": "approve", "comment": "Fine."})
        assert response.status_code == 303
        assert outcome(request).approved
        decided = trail(request)[-1]
        assert (decided.event, decided.channel, decided.address) == ("decided", "page", "192.0.2.7")
        shown = text(client.get(page(request)))
        assert "Approved by ravi" in shown
        assert "Fine." in shown

    def test_a_rejection_takes_its_reason_along(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi], editable=AMOUNT, arguments={"amount": "1"})
        client.post(page(request), {"decision": "reject", "comment": "Not on\r\na Friday."})
        assert outcome(request).status == "rejected"
        assert outcome(request).comment == "Not on\na Friday."

    def test_the_same_decision_twice_is_the_same_page(self, client: Client, ravi: User) -> None:
        """Who decides has seen it, also where the page had opened it by itself just before."""
        request = make.approval(assignees=[ravi])
        for _ in range(2):
            assert client.post(page(request), {"decision": "approve"}).status_code == 303
        assert events(request) == [("opened", None), ("viewed", "ravi"), ("decided", "ravi")]

    def test_edited_arguments_are_shown_as_a_difference_before_they_count(
        self, client: Client, ravi: User
    ) -> None:
        request = make.approval(assignees=[ravi], editable=AMOUNT, arguments=REFUND)
        edit = {"decision": "approve", "edits": "1", "arguments.amount": "9.00"}
        review = client.post(page(request), edit)
        assert "amount 12.00 9.00" in text(review)
        assert outcome(request).status == "pending"
        fingerprint = re.search(r'name="reviewed" value="(\w+)"', review.content.decode())
        assert fingerprint
        assert client.post(page(request), {**edit, "reviewed": fingerprint[1]}).status_code == 303
        assert outcome(request).arguments == {"amount": "9.00", "to": "ACME"}
        assert "Approved with these changes" in text(client.get(page(request)))

    def test_what_matters_much_is_approved_once_it_was_ticked_as_read(
        self, client: Client, ravi: User
    ) -> None:
        """The page says so in words; a rejection needs no tick."""
        request, other = [
            make.approval("Delete", assignees=[ravi], severity="high", arguments=REFUND) for _ in range(2)
        ]
        html = client.get(page(request)).text
        assert "High severity" in html
        assert re.search(r'<input type="checkbox" name="read"[^>]* required', html)
        refused = client.post(page(request), {"decision": "approve", "comment": "Fine."})
        (error,) = re.findall(
            r'<ul class="errors" id="id_read_error" role="alert"><li>([^<]+)</li>', refused.text
        )
        assert error == "“I have read what will happen” must be ticked before you approve."
        assert (refused.status_code, outcome(request).status) == (422, "pending")
        assert "Fine." in refused.text
        assert client.post(page(request), {"decision": "approve", "read": "on"}).status_code == 303
        assert outcome(request).approved
        assert client.post(page(other), {"decision": "reject"}).status_code == 303
        plain = client.get(page(make.approval(assignees=[ravi]))).text
        assert 'name="read"' not in plain
        assert "High severity" not in plain

    def test_a_tick_counts_for_what_will_happen_then(self, client: Client, ravi: User) -> None:
        """Not for what was edited after it: the changes, once shown, have to be ticked as well."""
        request = make.approval(assignees=[ravi], severity="high", editable=AMOUNT, arguments=REFUND)
        form = Page(client.get(page(request)).text, "arguments").fill("arguments.amount", "9.00")
        review = post(client, page(request), form.pick("read", "on").press("decision", "approve"))
        assert "amount 12.00 9.00" in text(review)
        changed = Page(review.text, "arguments")
        refused = post(client, page(request), changed.press("decision", "approve"))
        assert "must be ticked before you approve" in text(refused, 422)
        assert "amount 12.00 9.00" in text(refused, 422)
        assert outcome(request).status == "pending"
        ticked = Page(refused.text, "arguments").pick("read", "on")
        assert post(client, page(request), ticked.press("decision", "approve")).status_code == 303
        assert outcome(request).arguments == {"amount": "9.00", "to": "ACME"}

    def test_a_secret_header_is_shown_nowhere_and_survives_an_edit(self, client: Client, ravi: User) -> None:
        """What is executed, and hashed, is the real one. On the page it has a mask, which stands for it."""
        headers = {"Authorization": "Bearer hunter2", "X-Kind": "test"}
        arguments = {"steps": [{"arguments": {"headers": headers, "url": "https://example.org/"}}]}
        request = make.approval(assignees=[ravi], editable=True, arguments=arguments)
        before = client.get(page(request)).content.decode()
        form = Page(before, "arguments").controls
        (box,) = (control for control in form if control["name"] == "arguments")
        edit = {"decision": "approve", "edits": "1", "arguments": box["value"].replace("test", "trial")}
        review = client.post(page(request), edit)
        fingerprint = re.search(r'name="reviewed" value="(\w+)"', review.content.decode())
        assert fingerprint
        assert client.post(page(request), {**edit, "reviewed": fingerprint[1]}).status_code == 303
        headers["X-Kind"] = "trial"
        assert outcome(request).arguments == arguments
        after = client.get(page(request)).content.decode()
        raw = client.get(f"{page(request)}arguments.json").content.decode()
        for html in (before, review.content.decode(), after, raw):
            assert "hunter2" not in html
            assert "•••" in html

    def test_edits_that_break_their_rule_are_shown_on_their_field(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi], editable=AMOUNT, arguments={"amount": "12.00"})
        response = client.post(
            page(request), {"decision": "approve", "edits": "1", "arguments.amount": "lots"}
        )
        html = response.content.decode()
        assert response.status_code == 422
        assert 'id="id_arguments--amount_error"' in html
        assert 'value="lots"' in html
        assert outcome(request).status == "pending"

    def test_what_is_no_decision_is_refused(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi])
        assert "Select a valid choice" in text(client.post(page(request), {"decision": "maybe"}), 422)

    def test_two_approvals_are_counted_and_a_vote_is_not_asked_for_twice(self, ravi: User) -> None:
        nina = make.user("nina")
        request = make.approval(assignees=[ravi, nina], required=2)
        browser_of(ravi).post(page(request), {"decision": "approve"})
        shown = text(browser_of(ravi).get(page(request)))
        assert "1 of 2 so far" in shown
        assert "You have approved this. It needs 1 more approval." in shown
        browser_of(nina).post(page(request), {"decision": "approve"})
        assert outcome(request).approved

    def test_a_vote_that_does_not_count_and_a_quorum_that_is_impossible_are_named(self, ravi: User) -> None:
        nina, omar = make.user("nina"), make.user("omar")
        request = make.approval(assignees=[ravi, nina, omar], required=2, requester=ravi)
        browser_of(nina).post(page(request), {"decision": "approve"})
        User.objects.filter(pk=nina.pk).update(is_active=False)
        shown = text(browser_of(ravi).get(page(request)))
        assert "0 of 2 so far" in shown
        assert "Not counted: the approval of nina, who may no longer decide this." in shown
        assert "Too few" not in shown
        User.objects.filter(pk=omar.pk).update(is_active=False)
        shown = text(browser_of(ravi).get(page(request)))
        sentence = "Too few people may decide this: 2 must approve, but only 1 may"
        assert shown.count(sentence) == 2, "beside the facts, and in the history"
        assert f"{sentence}. Reassign or withdraw it." in shown

    def test_whose_approvals_counted_is_in_the_history(self, ravi: User) -> None:
        nina = make.user("nina")
        request = make.approval(assignees=[ravi, nina], required=2)
        for person in (nina, ravi):
            browser_of(person).post(page(request), {"decision": "approve"})
        assert "Approved by ravi; the approvals of ravi and nina count" in text(
            browser_of(ravi).get(page(request))
        )

    def test_a_vote_that_can_close_it_may_be_repeated(self, ravi: User) -> None:
        nina = make.user("nina")
        request = make.approval(assignees=[ravi, nina], required=2)
        browser_of(nina).post(page(request), {"decision": "approve"})
        User.objects.filter(pk=nina.pk).update(is_active=False)
        browser_of(ravi).post(page(request), {"decision": "approve"})
        assert "You have approved this" in text(browser_of(ravi).get(page(request)))
        User.objects.filter(pk=nina.pk).update(is_active=True)
        assert 'value="approve"' in browser_of(ravi).get(page(request)).content.decode()
        browser_of(ravi).post(page(request), {"decision": "approve"})
        assert outcome(request).approved

    def test_who_may_see_but_not_decide_is_refused_on_record(self, ravi: User) -> None:
        request = make.approval(requester=ravi, assignees=[make.user()])
        response = browser_of(ravi).post(page(request), {"decision": "approve"})
        assert "What you sent was not recorded." in text(response, 403)
        assert trail(request)[-1].event == "refused"
        assert outcome(request).status == "pending"

    def test_a_lost_race_shows_who_decided_and_what(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi, nina := make.user("nina")])
        deciding.decide(make.actor(nina), request, "reject", comment="Too much.")
        shown = text(client.post(page(request), {"decision": "approve"}), 409)
        assert "It was already rejected by nina. What you sent was not recorded." in shown
        assert "Too much." in shown
        assert trail(request)[-1].event == "refused"

    def test_too_late_is_too_late(self, client: Client, ravi: User) -> None:
        request = make.approval(assignees=[ravi], timeout=0.01)
        (deadline,) = [one.deadline for one in queries.requests_by_id([request])]
        assert deadline
        blocked_until(lambda: database_now() >= deadline)
        shown = text(client.post(page(request), {"decision": "reject", "comment": "No"}), 409)
        assert "The deadline has passed. What you sent was not recorded." in shown
        assert "Timed out, rejected by default" in shown

    def test_when_too_much_is_queued_what_was_typed_is_kept(
        self, client: Client, ravi: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*args: object, **terms: object) -> None:
            raise Busy("Too much to do; try again.")

        request = make.approval(assignees=[ravi])
        monkeypatch.setattr(deciding, "decide", busy)
        response = client.post(page(request), {"decision": "reject", "comment": "My reason"})
        assert response["Retry-After"]
        assert "My reason" in text(response, 503)

    def test_the_requester_takes_a_question_back(self, ravi: User) -> None:
        request = make.approval(requester=ravi, assignees=[make.user()])
        client = browser_of(ravi)
        assert "Withdraw this request" in text(client.get(page(request)))
        assert client.post(page(request) + "withdraw/", {"reason": "Solved."}).status_code == 303
        assert outcome(request).withdrawn
        assert "Solved." in text(client.get(page(request)))

    def test_others_do_not_take_it_back(self, client: Client, ravi: User) -> None:
        """What they see then still decides, and withdraws nothing."""
        request = make.approval(requester=make.user(), assignees=[ravi])
        refused = client.post(page(request) + "withdraw/")
        assert refused.status_code == 403
        assert f'<form id="decide" method="post" novalidate action="{page(request)}"' in refused.text
        assert outcome(request).status == "pending"


class TestAnswering:
    @pytest.mark.parametrize(
        ("terms", "data", "answer"),
        [
            ({"choices": ["A", "B"]}, {"answer": "B"}, "B"),
            ({"choices": ["A", "B"], "multiple": True}, {"answer": ["B", "A"]}, ["A", "B"]),
            ({"choices": ["A", "B"], "multiple": True}, {}, []),
            ({}, {"answer": "Tomorrow.\r\nPerhaps."}, "Tomorrow.\nPerhaps."),
            ({"schema": AMOUNT}, {"answer.amount": "12"}, {"amount": "12"}),
            ({"schema": {"type": "array"}}, {"answer": "[1, 2]"}, [1, 2]),
        ],
    )
    def test_each_kind_of_answer(
        self, client: Client, ravi: User, terms: Any, data: dict[str, Any], answer: Any
    ) -> None:
        request = make.clarification(assignees=[ravi], **terms)
        assert client.get(page(request)).status_code == 200
        assert client.post(page(request), data).status_code == 303
        assert (outcome(request).status, outcome(request).answer) == ("answered", answer)
        assert "Answered by ravi" in text(client.get(page(request)))

    @pytest.mark.parametrize(
        ("terms", "data", "field"),
        [
            ({"choices": ["A", "B"]}, {"answer": "C"}, "answer"),
            ({}, {"answer": ""}, "answer"),
            ({"schema": AMOUNT}, {"answer.amount": "lots"}, "answer--amount"),
            ({"schema": {"type": "array", "maxItems": 1}}, {"answer": "[1, 2]"}, "answer"),
            ({"schema": {"type": "array"}}, {"answer": "[1,"}, "answer"),
        ],
    )
    def test_an_answer_that_does_not_fit_is_refused_on_its_field(
        self, client: Client, ravi: User, terms: Any, data: dict[str, Any], field: str
    ) -> None:
        request = make.clarification(assignees=[ravi], **terms)
        response = client.post(page(request), data)
        assert response.status_code == 422
        assert re.search(rf'id="id_{field}_error"|<fieldset[^>]*aria-invalid', response.content.decode())
        assert outcome(request).status == "pending"

    def test_labels_are_picked_and_values_are_answered(self, client: Client, ravi: User) -> None:
        """The page and its history show both."""
        choices = {"eu": "Europe", "af": "Africa"}
        request = make.clarification(assignees=[ravi], choices=choices, default="af", timeout=600)
        shown = text(client.get(page(request)))
        assert "Europe Africa" in shown
        assert "This answer is recorded automatically at the deadline: Africa (af)" in shown
        assert client.post(page(request), {"answer": "Europe"}).status_code == 422
        assert client.post(page(request), {"answer": "eu"}).status_code == 303
        assert outcome(request).answer == "eu"
        assert text(client.get(page(request))).count("Europe (eu)") == 2

    def test_a_row_is_added_and_removed_without_a_script(self, client: Client, ravi: User) -> None:
        """What was typed stays; nothing is recorded, and nothing is said to be wrong, before it is sent."""
        line = {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "urgent": {"type": "boolean", "default": True}},
            "required": ["sku"],
        }
        schema = {"type": "object", "properties": {"lines": {"type": "array", "items": line}}}
        request = make.clarification(assignees=[ravi], schema=schema)
        form = Page(client.get(page(request)).text, "comment")
        response = post(client, page(request), form.press("more", "answer.lines"))
        assert response.status_code == 200
        form = Page(response.text, "comment").fill("answer.lines[0].sku", "A")
        form = Page(post(client, page(request), form.press("more", "answer.lines")).text, "comment")
        form.fill("answer.lines[1].sku", "B")
        response = post(client, page(request), form.press("less", "answer.lines[0]"))
        assert 'class="errors"' not in response.text
        assert outcome(request).status == "pending"
        assert post(client, page(request), Page(response.text, "comment").sent()).status_code == 303
        assert outcome(request).answer == {"lines": [{"sku": "B", "urgent": True}]}

    def test_an_error_names_the_label_once(self, client: Client, ravi: User) -> None:
        """On the field at fault, in the row where it is, though rows were removed before it."""
        line = {
            "type": "object",
            "properties": {"sku": {"title": "Article", "type": "string", "minLength": 3}},
            "required": ["sku"],
        }
        schema = {"type": "object", "properties": {"lines": {"type": "array", "items": line}}}
        request = make.clarification(assignees=[ravi], schema=schema)
        data = {"answer.lines": ["3", "7"], "answer.lines[3].sku": "ABC", "answer.lines[7].sku": "A"}
        response = client.post(page(request), data)
        assert response.status_code == 422
        (error,) = re.findall(r'<ul class="errors" id="([^"]+)" role="alert"><li>([^<]+)</li>', response.text)
        assert error == (
            "id_answer--lines-5b-7-5d---sku_error",
            "Article must have at least 3 characters.",
        )

    def test_the_default_is_named_before_the_time_is_up(self, client: Client, ravi: User) -> None:
        request = make.clarification(assignees=[ravi], choices=["A", "B"], default="B", timeout=600)
        assert "This answer is recorded automatically at the deadline: B" in text(client.get(page(request)))


class TestAccounts:
    def test_logging_in_leads_to_the_page_that_was_wanted(self, ravi: User) -> None:
        ravi.set_password("a long secret")
        ravi.save()
        data = {"username": "ravi", "password": "a long secret", "next": "/runs/"}
        response = Client().post("/accounts/login/", data)
        assert response["Location"] == "/runs/"

    def test_a_wrong_password_says_so(self, ravi: User) -> None:
        response = Client().post("/accounts/login/", {"username": "ravi", "password": "wrong"})
        assert "Please enter a correct username and password" in text(response)

    def test_logging_in_never_leads_away(self, ravi: User) -> None:
        ravi.set_password("a long secret")
        ravi.save()
        data = {"username": "ravi", "password": "a long secret", "next": "https://evil.example/"}
        assert Client().post("/accounts/login/", data)["Location"] == "/"

    def test_logging_out_ends_the_session(self, client: Client) -> None:
        assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
        assert client.get("/").status_code == 302

    @pytest.mark.parametrize(
        "path", ["password/", "password/changed/", "reset/", "reset/sent/", "reset/done/"]
    )
    def test_pages_about_passwords_are_our_own(self, client: Client, path: str) -> None:
        response = client.get(f"/accounts/{path}")
        assert "approvals/sayso.css" in response.content.decode()
        assert response.status_code == 200


def test_where_nobody_is_told_one_by_one_the_page_says_so(
    client: Client, ravi: User, settings: Settings
) -> None:
    crowd = make.group("crowd", ravi, *[make.user() for _ in range(50)])
    many, one = make.approval(assignees=[crowd]), make.approval(assignees=[ravi])
    said = "More than 50 people may decide this, so they are not told one by one."
    assert said not in client.get(page(many)).text
    settings.SAYSO_NOTIFY = "on"
    assert said in client.get(page(many)).text
    assert said not in client.get(page(one)).text


def test_a_first_page_is_light(client: Client, ravi: User) -> None:
    """What a browser loads until a full page of the inbox is there, the first one opened: under 100 KB."""
    arguments = {"recipient": "ACME Corporation", "amount": "1240.00"}
    titles = [f"Number {n}{', which has a long title, of what is to be done' * (n % 2)}" for n in range(60)]
    requests = [
        make.approval(title, assignees=[ravi], timeout=600, arguments=arguments, highlight=list(arguments))
        for title in titles
    ]
    opened = client.get(page(requests[0]), headers={"HX-Target": "detail"})
    inbox = client.get("/")
    assert inbox.text.count('<li id="row-') == 50
    pages = len(inbox.content) + len(opened.content)
    assert size(client, "/static/approvals/sayso.css") < 20 * 1024
    assert pages + sum(size(client, name) for name in loaded()) < 100 * 1024


def loaded() -> list[str]:
    scripts = ("announce", "clock", "fragments", "inbox", "keys", "sayso", "socket")
    styles = ("sayso.css", "inbox.css", "select.css")
    ours = [*styles, "icon.svg", "icons.svg", *(f"{script}.js" for script in scripts)]
    return ["/files/htmx.js", *(f"/static/approvals/{name}" for name in ours)]


def run_of(orchestration: str, owner: User | None = None) -> Run:
    now = database_now()
    return Run.objects.create(
        orchestration=orchestration, title="812", owner=owner, created_at=now, changed_at=now
    )


def size(client: Client, name: str) -> int:
    response: Any = client.get(name, headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 200, name
    return len(b"".join(response.streaming_content if response.streaming else [response.content]))
