"""The admin: the record to read for staff, decisions for those who may, and nothing else for anybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from approvals import deciding, gate
from approvals.domain.commands import Channel
from approvals.models import AuditEntry
from approvals.web.edge import tokens
from tests import factories as make
from tests.clients import browser_of
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

REQUESTS = "/admin/approvals/humanrequest/"
APPROVALS = "/admin/approvals/approval/"
CLARIFICATIONS = "/admin/approvals/clarification/"
ENTRIES = "/admin/approvals/auditentry/"
DECIDE = f"{APPROVALS}decide/"
ANSWER = f"{CLARIFICATIONS}answer/"


@pytest.fixture
def rita() -> User:
    return make.user(
        "rita", may=("decide_humanrequest", "view_humanrequest"), is_staff=True, password="secret"
    )


@pytest.fixture
def client(rita: User) -> Client:
    return browser_of(rita)


def text(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def told(response: Any) -> list[str]:
    """What came of each, in the table that many decisions lead to, or on the page that one leads to."""
    return [str(one) for one in response.context.get("results") or response.context["messages"]]


def decide(client: Client, ids: list[str], decision: str, **data: str) -> Any:
    return client.post(DECIDE, {"ids": ids, "decision": decision, "comment": "", **data}, follow=True)


class TestLists:
    def test_each_kind_has_its_list(self, client: Client) -> None:
        make.approval("Refund ACME")
        make.clarification("Which cost centre?")
        approvals, clarifications = text(client.get(APPROVALS)), text(client.get(CLARIFICATIONS))
        assert "Refund ACME" in approvals
        assert "Which cost centre?" not in approvals
        assert "Which cost centre?" in clarifications

    def test_a_kind_is_called_as_on_the_pages(self) -> None:
        """In tabs and headings, and in the filters of the trail and of its export."""
        client = browser_of(make.user(is_staff=True, is_superuser=True))
        tabs = text(client.get(CLARIFICATIONS)).partition('<ul class="tabs">')[2].partition("</ul>")[0]
        assert re.findall(r">([^<]+)</a>", tabs) == ["All", "Approvals", "Questions"]
        for path in (CLARIFICATIONS, ENTRIES, f"{ENTRIES}export/"):
            shown = text(client.get(path))
            assert "Question" in shown, path
            assert "Clarification" not in shown, path

    @both_databases
    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            ("status=pending", {"Mine", "Late", "Theirs"}),
            ("status=rejected", {"Closed"}),
            ("mine=yes", {"Mine"}),
            ("due=none", {"Mine", "Theirs", "Closed"}),
            ("due=soon", {"Late"}),
            ("due=overdue", {"Late"}),
            ("due=missed", set()),
            ("requester=sam", {"Theirs"}),
            ("requester=nobody", set()),
            ("assignee=rita", {"Mine"}),
            ("group=payments", {"Late"}),
            ("decided_by=rita", {"Closed"}),
            ("orchestration=disk_cleanup", set()),
            ("q=thei", {"Theirs"}),
            ("q=their+key-7", {"Theirs"}),
            ("q=%22key-7%22", {"Theirs"}),
            ("q={run}", {"Theirs"}),
            ("q={closed}", {"Closed"}),
            ("opened_until=1999-12-31", set()),
            ("opened_from=1999-12-31", {"Mine", "Late", "Theirs", "Closed"}),
            ("closed_from=1999-12-31T00:00:00Z", {"Closed"}),
            ("opened_from=yesterday", set()),
        ],
    )
    def test_lists_are_filtered_and_searched(
        self, client: Client, rita: User, query: str, titles: set[str]
    ) -> None:
        sam = make.user("sam")
        make.approval("Mine", assignees=[rita], timeout=None)
        make.approval("Late", assignees=[make.group("payments", sam)], timeout=0.001)
        run = str(uuid4())
        origin = {"kind": "run", "id": run, "url": f"/runs/{run}/"}
        make.approval("Theirs", requester=sam, timeout=None, key="key-7", origin=origin)
        closed = make.approval("Closed", timeout=None)
        deciding.decide(make.actor(rita), closed, "reject")
        page = text(client.get(f"{APPROVALS}?{query.format(closed=closed, run=run)}"))
        assert {
            title for title in ("Mine", "Late", "Theirs", "Closed") if f" {title}</span>" in page
        } == titles

    def test_the_kinds_are_tabs_of_one_list_which_keep_search_and_filters(self, client: Client) -> None:
        """The index has the one list; what only the list of all has, is left behind."""
        make.approval("Refund ACME")
        make.clarification("Which cost centre?")
        index = text(client.get("/admin/"))
        assert REQUESTS in index
        assert APPROVALS not in index
        given = "status=pending&due=none&requester=sam&q=refund"
        page = text(client.get(f"{REQUESTS}?{given}&p=oldest&kind=approval"))
        kept = escape(given)
        for address in (REQUESTS, APPROVALS, CLARIFICATIONS):
            assert f'href="{address}?{kept}"' in page
            assert client.get(f"{address}?{given}").status_code == 200
        assert f'href="{REQUESTS}?{kept}" aria-current="page"' in page
        page = text(client.get(f"{APPROVALS}?status=approved"))
        assert f'href="{REQUESTS}?status=approved"' in page
        assert f'href="{CLARIFICATIONS}"' in page
        assert f'href="{APPROVALS}?status=approved" aria-current="page"' in page

    @both_databases
    def test_a_person_sees_in_the_admin_what_that_person_may_see(self) -> None:
        """Staff without the permission to see all see their own."""
        sam = make.user("sam", is_staff=True)
        mine, foreign = make.approval("Mine", assignees=[sam]), make.approval("Foreign")
        client = browser_of(sam)
        assert "Foreign" not in text(client.get(APPROVALS))
        assert "Mine" in text(client.get(f"{APPROVALS}{mine}/change/"))
        assert client.get(f"{APPROVALS}{foreign}/change/").status_code == 404
        assert "Foreign" not in text(client.get(ENTRIES))
        entry = AuditEntry.objects.get(request_id=foreign)
        assert client.get(f"{ENTRIES}{entry.pk}/change/").status_code == 404

    def test_people_who_are_not_staff_stay_outside(self) -> None:
        client = browser_of(make.user("sam"))
        for address in (APPROVALS, CLARIFICATIONS, ENTRIES, DECIDE, ANSWER):
            assert client.get(address).status_code == 302

    @pytest.mark.parametrize("address", [APPROVALS, ENTRIES])
    def test_the_number_of_queries_does_not_grow_with_the_list(
        self, client: Client, rita: User, address: str
    ) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                text(client.get(address))
            return len(captured)

        queries()  # what is asked once a process, is asked
        self.ask(rita, 2)
        few = queries()
        self.ask(rita, 10)
        assert queries() == few

    @staticmethod
    def ask(rita: User, number: int) -> None:
        for _ in range(number):
            make.approval(requester=make.user(), assignees=[rita, make.group(None, make.user())])


def test_what_asks_is_linked_by_its_kind_or_its_address(client: Client) -> None:
    for origin, shown in (({"kind": "job"}, "job"), ({}, "https://jobs.example/7")):
        asked = make.approval(origin={**origin, "url": "https://jobs.example/7"})
        page = client.get(f"/admin/approvals/approval/{asked}/change/", follow=True).content.decode()
        assert f'<a href="https://jobs.example/7" rel="noreferrer">{shown}</a>' in page


class TestPages:
    def test_a_request_shows_what_is_asked_and_its_whole_history(self, client: Client, rita: User) -> None:
        """The exact arguments, and who did what, when, from where."""
        request_id = make.approval(
            arguments={"order": "812", "note": "<b>bold</b>"}, details="Was *doubled*.", severity="high"
        )
        decide(client, [request_id], "reject", comment="Not twice.")
        page = text(client.get(f"{APPROVALS}{request_id}/change/"))
        for piece in (
            "812",
            "&lt;b&gt;bold&lt;/b&gt;",
            "<em>doubled</em>",
            "<dt>Severity</dt><dd>High</dd>",
            "Not twice.",
            "192.0.2.7",
            "Firefox",
        ):
            assert piece in page
        assert "Rejected by rita" in page
        assert "every entry of this trail is as it was written" in page

    @pytest.mark.parametrize("page", ["change", "approve", "reassign"])
    def test_the_number_of_queries_does_not_grow_with_the_people(
        self, client: Client, rita: User, page: str
    ) -> None:
        def queries(people: int) -> int:
            named = [make.group(None, make.user(), make.user()) for _ in range(people)]
            request_id = make.approval(
                requester=make.user(), assignees=[rita, *(make.user() for _ in range(people)), *named]
            )
            for _ in range(people):
                deciding.record_view(make.actor(rita), request_id)
            with CaptureQueriesContext(connection) as captured:
                text(client.get(f"{APPROVALS}{request_id}/{page}/"))
            return len(captured)

        queries(1)  # what is asked once a process, is asked
        assert queries(1) == queries(12)

    def test_looking_is_on_record_once(self, client: Client) -> None:
        request_id = make.approval()
        for _ in range(2):
            text(client.get(f"{APPROVALS}{request_id}/change/"))
        (entry,) = AuditEntry.objects.filter(request_id=request_id, event="viewed")
        assert (entry.actor.username, entry.channel, entry.address) == ("rita", "admin", "192.0.2.7")

    def test_an_entry_shows_its_evidence(self, client: Client) -> None:
        entry = AuditEntry.objects.get(request_id=make.approval("Refund ACME"))
        page = text(client.get(f"{ENTRIES}{entry.pk}/change/"))
        for piece in (entry.hash, entry.content_hash, "Refund ACME"):
            assert piece in page

    def test_the_api_token_of_an_entry_is_named(self, client: Client, rita: User) -> None:
        """On the request's pages, in the list and on the entry; linked for those who may see the token."""
        ann = make.user("ann")
        token, _ = tokens.issue(ann.pk, "nightly job", ["ask"])
        actor = make.actor(ann, Channel.API, token_id=token.pk)
        request_id = make.approval("By token", requester=ann, actor=actor)
        entry = AuditEntry.objects.get(request_id=request_id)
        link = f"/admin/approvals/apitoken/{token.pk}/change/"
        for address in (f"{APPROVALS}{request_id}/change/", f"/requests/{request_id}/"):
            assert "nightly job" in text(client.get(address))
        page = text(client.get(f"{ENTRIES}{entry.pk}/change/"))
        assert "nightly job" in page
        assert link not in page
        boss = browser_of(make.user("boss", is_staff=True, is_superuser=True))
        assert link in text(boss.get(f"{ENTRIES}{entry.pk}/change/"))
        make.approval("By page")
        listed = text(client.get(f"{ENTRIES}?token={token.pk}"))
        assert "By token" in listed
        assert "By page" not in listed
        assert "By token" in text(client.get(f"{ENTRIES}?token=nightly+job"))

    def test_the_exact_arguments_are_those_that_were_approved(self, client: Client, rita: User) -> None:
        """Where they were edited, what was asked stands beside them, under a heading that says so."""
        asked, same = (make.approval(arguments={"amount": "12.00"}, editable=True) for _ in range(2))
        assert "Exact arguments amount 12.00" in self.words_of(client, asked)
        deciding.decide(make.actor(rita), asked, "approve", arguments={"amount": "11.00"})
        edited = self.words_of(client, asked)
        assert "Exact arguments, as approved amount 11.00" in edited
        assert "Arguments as requested amount 12.00" in edited
        deciding.decide(make.actor(rita), same, "approve")
        assert "Exact arguments amount 12.00" in self.words_of(client, same)

    @staticmethod
    def words_of(client: Client, request_id: str) -> str:
        page = text(client.get(f"{APPROVALS}{request_id}/change/"))
        return " ".join(re.sub(r"<[^>]+>", " ", page).split())

    def test_hidden_characters_are_shown(self, client: Client) -> None:
        request_id = make.approval(arguments={"to": "acme\u202eknab"})
        assert "U+202E" in text(client.get(f"{APPROVALS}{request_id}/change/"))

    @pytest.mark.parametrize("address", [APPROVALS, CLARIFICATIONS, ENTRIES])
    def test_nobody_adds_changes_or_deletes(self, address: str) -> None:
        """Superusers included: the record is written by decisions alone."""
        boss = browser_of(make.user("boss", is_staff=True, is_superuser=True))
        row = make.approval() if address == APPROVALS else make.clarification()
        if address == ENTRIES:
            row = str(AuditEntry.objects.get(request_id=row).pk)
        assert boss.get(f"{address}add/").status_code == 403
        assert boss.post(f"{address}{row}/delete/", {"post": "yes"}).status_code == 403
        boss.post(f"{address}{row}/change/", {"title": "Changed", "status": "approved"})
        boss.post(address, {"action": "delete_selected", "_selected_action": [row], "post": "yes"})
        page = text(boss.get(f"{address}{row}/change/"))
        assert "Changed" not in page
        assert "delete_selected" not in text(boss.get(address))
        assert not AuditEntry.objects.exclude(event__in=["opened", "viewed"]).exists()


class TestDeciding:
    def test_a_list_action_asks_for_confirmation_first(self, client: Client) -> None:
        """The page lists what will be decided; nothing is decided yet."""
        ids = [make.approval(f"Refund {number}", arguments={"order": number}) for number in (811, 812)]
        page = text(client.post(APPROVALS, {"action": "approve", "_selected_action": ids}))
        for piece in ("Refund 811", "Refund 812", *ids, "Approve these 2"):
            assert piece in page
        assert {gate.outcome(request_id).status for request_id in ids} == {"pending"}

    @both_databases
    @pytest.mark.parametrize("nonsense", ["abc", "1" * 30, "", "\0"])
    def test_what_is_ticked_and_no_key_is_left_out(self, client: Client, nonsense: str) -> None:
        ids = [make.approval("Refund ACME"), nonsense]
        page = text(client.post(APPROVALS, {"action": "approve", "_selected_action": ids}))
        assert "Refund ACME" in page
        alone = {"action": "approve", "index": 0, "_selected_action": nonsense}
        assert "Items must be selected" in text(client.post(APPROVALS, alone, follow=True))

    @both_databases
    def test_of_several_each_is_folded_with_what_tells_it_from_the_others(self, client: Client) -> None:
        """Headers that carry secrets are no part of that; a single one is shown in full."""
        secret = {"Authorization": "Bearer 12345"}
        ids = [make.approval(arguments={"order": order, "headers": secret}) for order in (812, 813)]
        page = text(client.get(f"{DECIDE}?decision=approve&ids={ids[0]}&ids={ids[1]}"))
        summaries = re.findall(r'<details class="folded"><summary>(.*?)</summary>', page, re.DOTALL)
        assert [order for order in ("812", "813") for one in summaries if f"order {order}" in one] == [
            "812",
            "813",
        ]
        assert "12345" not in "".join(summaries)
        assert '<details class="folded">' not in text(client.get(f"{DECIDE}?decision=approve&ids={ids[0]}"))

    def test_confirmed_decisions_are_recorded_with_reason_and_address(self, client: Client) -> None:
        ids = [make.approval(f"Refund {number}") for number in (811, 812)]
        response = decide(client, ids, "reject", comment="Not now.")
        assert told(response) == ["Refund 811: rejected by rita", "Refund 812: rejected by rita"]
        for request_id in ids:
            entry = AuditEntry.objects.get(request_id=request_id, event="decided")
            assert (entry.channel, entry.address, entry.user_agent) == ("admin", "192.0.2.7", "Firefox")
            assert gate.outcome(request_id).comment == "Not now."

    def test_what_matters_much_is_approved_once_it_is_ticked_as_read(self, client: Client) -> None:
        """One or several of them, which then stand unfolded; a rejection needs no tick."""
        ids = [make.approval("Refund", severity=severity) for severity in ("high", "normal", "high")]
        asked = f"{DECIDE}?ids={ids[0]}&ids={ids[1]}&decision="
        assert 'class="folded" open' in (page := client.get(f"{asked}approve").text)
        assert page.count('name="read"') == 1
        assert 'name="read"' not in client.get(f"{asked}reject").text
        for some in (ids[:1], ids[:2]):
            assert "must be ticked before you approve" in text(decide(client, some, "approve"))
        assert {gate.outcome(request_id).status for request_id in ids} == {"pending"}
        assert told(decide(client, ids[:2], "approve", read="on")) == ["Refund: approved by rita"] * 2
        assert told(decide(client, ids[2:], "reject")) == ["Refund: rejected by rita"]

    def test_each_refusal_is_told_beside_each_success(self, client: Client) -> None:
        """One request that somebody else decided does not keep the others back."""
        ruth = make.reviewer("ruth")
        taken, free = make.approval("Taken"), make.approval("Free")
        foreign = make.approval("Foreign", assignees=[ruth])
        deciding.decide(make.actor(ruth), taken, "reject")
        messages = told(decide(client, [taken, free, foreign], "approve"))
        assert messages[0].startswith("Taken: ")
        assert "already_decided" in messages[0]
        assert messages[1] == "Free: approved by rita"
        assert "not_permitted" in messages[2]
        assert AuditEntry.objects.filter(request_id=foreign, event="refused").exists()

    def test_what_is_not_open_is_named_and_left_out(self, client: Client, rita: User) -> None:
        closed, open_one = make.approval("Closed"), make.approval("Open")
        foreign = make.approval("Foreign", assignees=[make.user("sam")])
        deciding.decide(make.actor(rita), closed, "reject")
        ids = [closed, open_one, foreign]
        page = text(client.post(APPROVALS, {"action": "reject", "_selected_action": ids}))
        assert f'name="ids" value="{open_one}"' in page
        assert f'name="ids" value="{closed}"' not in page
        assert "Rejected by rita" in page
        assert "You may not decide this" in page

    def test_deciding_from_the_page_leads_back_to_it(self, client: Client) -> None:
        request_id = make.approval()
        address = f"{APPROVALS}{request_id}/change/"
        approve = f"{APPROVALS}{request_id}/approve/"
        assert approve in text(client.get(address))
        assert "Approve?" in text(client.get(approve))
        response = client.post(approve, {"comment": "As agreed."}, follow=True)
        assert response.redirect_chain == [(address, 302)]
        assert approve not in text(response)
        assert gate.outcome(request_id).comment == "As agreed."

    def test_edited_arguments_are_shown_before_they_are_approved(self, client: Client) -> None:
        """The first POST shows the difference, the second, which says it was seen, decides."""
        request_id = make.approval(arguments={"amount": 12}, editable=True)
        page = text(client.get(f"{DECIDE}?ids={request_id}&decision=approve"))
        assert 'name="arguments"' in page
        response = decide(client, [request_id], "approve", edits="1", arguments='{"amount": 10}')
        assert "You are about to approve these changes" in text(response)
        assert gate.outcome(request_id).status == "pending"
        reviewed = response.context["form"].fingerprint
        edited = {"edits": "1", "arguments": '{"amount": 10}', "reviewed": reviewed}
        decide(client, [request_id], "approve", **edited)
        assert gate.outcome(request_id).arguments == {"amount": 10}

    def test_edited_arguments_that_break_their_schema_are_refused_in_place(self, client: Client) -> None:
        schema = {"type": "object", "properties": {"amount": {"maximum": 12}}}
        request_id = make.approval(arguments={"amount": 12}, editable=schema)
        edited = {"edits": "1", "arguments.amount": "99"}
        response = decide(client, [request_id], "approve", **edited)
        reviewed = response.context["form"].fingerprint
        response = decide(client, [request_id], "approve", **edited, reviewed=reviewed)
        assert "arguments.amount" in response.context["form"].errors
        assert gate.outcome(request_id).status == "pending"

    def test_viewers_get_no_actions_and_cannot_decide(self) -> None:
        vera = browser_of(make.user("vera", may=("view_humanrequest",), is_staff=True))
        request_id = make.approval()
        assert 'name="action"' not in text(vera.get(APPROVALS))
        assert DECIDE not in text(vera.get(f"{APPROVALS}{request_id}/change/"))
        assert vera.post(DECIDE, {"ids": [request_id], "decision": "approve"}).status_code == 403
        vera.post(APPROVALS, {"action": "approve", "_selected_action": [request_id]})
        assert gate.outcome(request_id).status == "pending"

    def test_assignees_decide_without_further_permission(self) -> None:
        sam = make.user("sam", is_staff=True)
        request_id = make.approval(assignees=[sam])
        assert told(decide(browser_of(sam), [request_id], "approve")) == ["Refund 12.00 EUR: approved by sam"]

    def test_a_superuser_does_not_decide_for_others(self) -> None:
        boss = browser_of(make.user("boss", is_staff=True, is_superuser=True))
        request_id = make.approval(assignees=[make.user("sam")])
        (message,) = told(decide(boss, [request_id], "approve"))
        assert "not_permitted" in message
        assert gate.outcome(request_id).status == "pending"

    def test_forged_forms_are_refused(self, rita: User) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(rita)
        request_id = make.approval()
        response = strict.post(DECIDE, {"ids": [request_id], "decision": "approve"})
        assert response.status_code == 403
        assert gate.outcome(request_id).status == "pending"

    @both_databases
    def test_ids_that_do_not_exist_are_told_and_nonsense_is_ignored(self, client: Client) -> None:
        (message,) = told(decide(client, [str(uuid4()), "nonsense"], "approve"))
        assert "unknown_request" in message

    def test_too_many_at_once_are_cut_and_said_so(self, client: Client) -> None:
        ids = [make.approval(f"Refund {number}") for number in range(101)]
        page = text(client.post(APPROVALS, {"action": "approve", "_selected_action": ids}))
        assert page.count('name="ids"') == 100
        assert "At most 100 at once" in page


class TestAnswering:
    def test_each_question_has_its_own_answer(self, client: Client) -> None:
        free = make.clarification("Which cost centre?")
        choice = make.clarification("Which colour?", choices=["red", "blue"])
        page = text(client.post(CLARIFICATIONS, {"action": "answer", "_selected_action": [free, choice]}))
        assert 'value="blue"' in page
        data = {
            "ids": [free, choice],
            f"{free}-answer": "4711",
            f"{free}-comment": "As always.",
            f"{choice}-answer": "blue",
        }
        response = client.post(ANSWER, data, follow=True)
        assert told(response) == ["Which cost centre?: answered by rita", "Which colour?: answered by rita"]
        assert (gate.outcome(free).answer, gate.outcome(free).comment) == ("4711", "As always.")
        assert gate.outcome(choice).answer == "blue"

    def test_nothing_is_answered_until_every_answer_can_be_read(self, client: Client) -> None:
        free = make.clarification()
        choice = make.clarification("Which colour?", choices=["red", "blue"])
        data = {"ids": [free, choice], f"{free}-answer": "4711", f"{choice}-answer": "green"}
        page = text(client.post(ANSWER, data))
        assert "4711" in page
        assert {gate.outcome(free).status, gate.outcome(choice).status} == {"pending"}

    def test_a_form_made_from_a_schema_is_filled_in(self, client: Client) -> None:
        schema = {"type": "object", "properties": {"count": {"type": "integer", "maximum": 5}}}
        request_id = make.clarification(schema=schema)
        page = text(client.get(f"{ANSWER}?ids={request_id}"))
        assert f'name="{request_id}-answer.count"' in page
        page = text(
            client.post(ANSWER, {"ids": [request_id], f"{request_id}-answer.count": "9"}, follow=True)
        )
        assert gate.outcome(request_id).status == "pending"
        client.post(ANSWER, {"ids": [request_id], f"{request_id}-answer.count": "3"})
        assert gate.outcome(request_id).answer == {"count": 3}

    def test_the_one_who_comes_late_learns_who_answered(self, client: Client) -> None:
        request_id = make.clarification()
        deciding.answer(make.actor(make.reviewer("ruth")), request_id, "0815")
        response = client.post(ANSWER, {"ids": [request_id], f"{request_id}-answer": "4711"}, follow=True)
        (message,) = told(response)
        assert "already_decided" in message
        assert "ruth" in message


def test_the_admin_has_the_colours_of_the_pages() -> None:
    """It loads no stylesheet of theirs, and so repeats the colours by their names."""
    of_pages, of_admin = (colours_in(name) for name in ("sayso.css", "admin-look.css"))
    shared = of_pages.keys() & of_admin.keys()
    assert {"--surface", "--good", "--bad", "--warn"} <= shared
    assert {name: of_admin[name] for name in shared} == {name: of_pages[name] for name in shared}


def colours_in(name: str) -> dict[str, str]:
    path = finders.find(f"approvals/{name}") or ""
    return dict(re.findall(r"(--[\w-]+): (light-dark\([^;]+\));", Path(path).read_text()))
