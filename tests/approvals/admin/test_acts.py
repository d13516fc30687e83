"""What may be done to one request in the admin, each at an address of its own, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from approvals import deciding, gate
from approvals.models import AuditEntry, HumanRequest
from tests import factories as make
from tests.clients import client_of
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

APPROVALS = "/admin/approvals/approval/"
CLARIFICATIONS = "/admin/approvals/clarification/"


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("decide_humanrequest", "view_humanrequest"), is_staff=True)


def page(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def said(response: Any) -> str:
    """The one message of the page that a deed leads to."""
    (message,) = response.context["messages"]
    return str(message)


def deeds_on(text: str, address: str) -> set[str]:
    every = ("approve", "reject", "answer", "reassign", "withdraw")
    return {deed for deed in every if f'href="{address}{deed}/"' in text}


class TestButtons:
    def test_everybody_gets_the_buttons_of_what_they_may(self, rita: User) -> None:
        """A reviewer decides, an assignee also hands on, who asked takes back, an auditor reads."""
        ann = make.user("ann", is_staff=True)
        auditor = make.user("ines", is_staff=True, groups=(Group.objects.get(name="auditor"),))
        boss = make.user("adam", is_staff=True, groups=(Group.objects.get(name="administrator"),))
        free = f"{APPROVALS}{make.approval(requester=ann)}/"
        assigned = f"{APPROVALS}{make.approval(requester=ann, assignees=[rita])}/"
        for person, address, deeds in (
            (rita, free, {"approve", "reject"}),
            (rita, assigned, {"approve", "reject", "reassign"}),
            (ann, free, {"withdraw"}),
            (boss, free, {"reassign", "withdraw"}),
            (auditor, free, set()),
            (auditor, assigned, set()),
        ):
            found = deeds_on(page(client_of(person).get(f"{address}change/")), address)
            assert found == deeds, (person.username, address)

    def test_what_is_closed_or_has_ones_vote_has_no_buttons_to_decide(self, rita: User) -> None:
        request_id = make.approval(assignees=[rita, make.user("sam")], required=2)
        address = f"{APPROVALS}{request_id}/"
        client_of(rita).post(f"{address}approve/", {"comment": ""})
        assert deeds_on(page(client_of(rita).get(f"{address}change/")), address) == {"reassign"}
        deciding.decide(make.actor(User.objects.get(username="sam")), request_id, "approve")
        assert not deeds_on(page(client_of(rita).get(f"{address}change/")), address)

    def test_a_quorum_that_has_become_impossible_is_named(self, rita: User) -> None:
        sam = make.user("sam")
        request_id = make.approval(assignees=[rita, sam], required=2)
        deciding.decide(make.actor(sam), request_id, "approve")
        User.objects.filter(pk=sam.pk).update(is_active=False)
        shown = page(client_of(rita).get(f"{APPROVALS}{request_id}/change/"))
        assert "0 of 2 approvals" in shown
        assert "Not counted: the approval of sam" in shown
        assert shown.count("Too few people may decide this: 2 must approve, but only 1 may") == 2, (
            "state and history"
        )

    def test_an_auditor_decides_nothing(self) -> None:
        """Nor may one who is no reviewer by a form made by hand; the refusal is told and on record."""
        auditor = make.user("ines", is_staff=True, groups=(Group.objects.get(name="auditor"),))
        client, request_id = client_of(auditor), make.approval()
        assert "that you can decide now" in page(client.get(f"{APPROVALS}{request_id}/approve/"))
        for deed in ("approve", "reject", "withdraw", "reassign"):
            response = client.post(f"{APPROVALS}{request_id}/{deed}/", {"comment": ""}, follow=True)
            assert "not_permitted" in said(response), deed
        assert gate.outcome(request_id).status == "pending"
        refused = AuditEntry.objects.filter(request_id=request_id, event="refused", actor=auditor)
        assert refused.count() == 4
        assert 'value="approve"' not in page(client.get(APPROVALS))


class TestWithdrawing:
    def test_it_is_confirmed_and_recorded_with_its_reason(self) -> None:
        ann = make.user("ann", is_staff=True)
        client, request_id = client_of(ann), make.approval(requester=ann)
        address = f"{APPROVALS}{request_id}/withdraw/"
        assert "be undone" in page(client.get(address))
        assert gate.outcome(request_id).status == "pending"
        response = client.post(address, {"reason": "Asked by mistake."}, follow=True)
        assert said(response) == "Refund 12.00 EUR: withdrawn by ann"
        assert "Asked by mistake." in page(response)

    def test_what_was_decided_meanwhile_stays_so_and_is_told(self, rita: User) -> None:
        ann = make.user("ann", is_staff=True)
        request_id = make.approval(requester=ann)
        deciding.decide(make.actor(rita), request_id, "approve")
        response = client_of(ann).post(f"{APPROVALS}{request_id}/withdraw/", {"reason": ""}, follow=True)
        assert "already_decided" in said(response)
        assert "Approved by rita" in page(response)


class TestReassigning:
    @both_databases
    def test_others_decide_from_then_on(self, rita: User) -> None:
        make.user("sam")
        make.group("payments", make.user("pat"))
        request_id = make.approval(assignees=[rita])
        address = f"{APPROVALS}{request_id}/reassign/"
        assert "rita" in page(client_of(rita).get(address))
        given = {"users": "sam,\nrita", "groups": ["payments"]}
        response = client_of(rita).post(address, given, follow=True)
        assert said(response) == "Refund 12.00 EUR: reassigned"
        asked = HumanRequest.objects.get()
        assert {one.username for one in asked.assigned_users.all()} == {"sam", "rita"}
        assert [one.name for one in asked.assigned_groups.all()] == ["payments"]

    def test_an_unknown_name_is_said_beside_what_was_typed(self, rita: User) -> None:
        request_id = make.approval(assignees=[rita])
        text = page(client_of(rita).post(f"{APPROVALS}{request_id}/reassign/", {"users": "smith"}))
        assert "smith" in text
        assert 'class="errors"' in text
        assert [one.username for one in HumanRequest.objects.get().assigned_users.all()] == ["rita"]

    def test_who_hands_on_the_right_to_see_it_is_led_to_the_list(self) -> None:
        sam = make.user("sam", is_staff=True)
        make.user("pat")
        request_id = make.approval(assignees=[sam])
        response = client_of(sam).post(f"{APPROVALS}{request_id}/reassign/", {"users": "pat"}, follow=True)
        assert response.redirect_chain == [(APPROVALS, 302)]
        assert said(response) == "Refund 12.00 EUR: reassigned"

    def test_a_clarification_is_handed_on_and_taken_back_too(self, rita: User) -> None:
        make.user("sam", is_staff=True)
        request_id = make.clarification(requester=rita, assignees=[rita])
        client, address = client_of(rita), f"{CLARIFICATIONS}{request_id}/"
        client.post(f"{address}reassign/", {"users": "sam"}, follow=True)
        assert [one.username for one in HumanRequest.objects.get().assigned_users.all()] == ["sam"]
        assert "withdrawn by rita" in said(client.post(f"{address}withdraw/", {"reason": ""}, follow=True))


class TestDecidingOne:
    def test_the_loser_of_a_race_reads_who_won(self, rita: User) -> None:
        request_id = make.approval()
        deciding.decide(make.actor(make.reviewer("ruth")), request_id, "reject")
        response = client_of(rita).post(f"{APPROVALS}{request_id}/approve/", {"comment": ""}, follow=True)
        assert "already_decided" in said(response)
        assert "Rejected by ruth" in page(response)

    def test_who_comes_late_reads_what_was_recorded_instead(self, rita: User) -> None:
        request_id = make.approval(timeout=0.001, on_timeout="approve")
        response = client_of(rita).post(f"{APPROVALS}{request_id}/reject/", {"comment": ""}, follow=True)
        assert "too_late" in said(response)
        assert "On record: timed out, approved by default." in said(response)

    def test_the_address_says_what_is_decided_whatever_the_form_says(self, rita: User) -> None:
        request_id = make.approval()
        client_of(rita).post(f"{APPROVALS}{request_id}/reject/", {"decision": "approve", "comment": ""})
        assert gate.outcome(request_id).status == "rejected"

    def test_a_comment_that_is_too_long_is_refused_in_place(self, rita: User) -> None:
        request_id = make.approval()
        text = page(client_of(rita).post(f"{APPROVALS}{request_id}/approve/", {"comment": "x" * 10_001}))
        assert 'class="errors"' in text
        assert gate.outcome(request_id).status == "pending"

    def test_a_question_is_answered_at_its_own_address(self, rita: User) -> None:
        request_id = make.clarification()
        address = f"{CLARIFICATIONS}{request_id}/answer/"
        assert "Your answer" in page(client_of(rita).get(address))
        response = client_of(rita).post(
            address, {"ids": [request_id], f"{request_id}-answer": "4711"}, follow=True
        )
        assert said(response) == "Which cost centre?: answered by rita"

    @pytest.mark.parametrize("deed", ["approve", "reject", "withdraw", "reassign"])
    def test_what_may_not_be_seen_does_not_exist(self, deed: str) -> None:
        request_id = make.approval(assignees=[make.user("sam")])
        client = client_of(make.user("pat", is_staff=True))
        assert client.get(f"{APPROVALS}{request_id}/{deed}/").status_code == 404
        assert client.post(f"{APPROVALS}{request_id}/{deed}/").status_code == 404


class TestDecidingMany:
    def test_an_outcome_for_each_and_refusals_one_by_one(self, rita: User) -> None:
        ruth = make.reviewer("ruth")
        free, taken = make.approval("Free"), make.approval("Taken")
        foreign = make.approval("Foreign", assignees=[ruth])
        question = make.clarification("Which cost centre?")
        deciding.decide(make.actor(ruth), taken, "reject")
        data = {"ids": [free, taken, foreign, question], "decision": "approve", "comment": "Monthly run."}
        text = page(client_of(rita).post(f"{APPROVALS}decide/", data))
        assert "1 recorded, 3 refused." in text
        for code in ("already_decided", "not_permitted"):
            assert code in text
        assert {gate.outcome(one).status for one in (foreign, question)} == {"pending"}
        assert gate.outcome(free).comment == "Monthly run."

    def test_what_the_list_no_longer_shows_is_named_all_the_same(self, rita: User) -> None:
        """It was decided while the list was looked at: it is not dropped without a word."""
        request_id = make.approval("Taken meanwhile")
        deciding.decide(make.actor(make.reviewer("ruth")), request_id, "reject")
        ticked = {"action": "approve", "_selected_action": [request_id, make.approval("Open")]}
        text = page(client_of(rita).post(f"{APPROVALS}?status=pending", ticked))
        assert "Taken meanwhile" in text
        assert "Rejected by ruth" in text
