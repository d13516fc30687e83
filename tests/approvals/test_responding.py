"""A text instead of a yes, and the reason that a decision needs: through every door, and on the trail."""

from __future__ import annotations

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, transaction
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.delivery.messages import compose
from approvals.domain.commands import Actor
from approvals.exceptions import AlreadyDecided, ApprovalError, InvalidAnswer, InvalidRequest, KeyConflict
from approvals.models import HumanRequest, Notification
from approvals.queries.notices import notices
from approvals.testing import decide
from approvals.trail import verification
from tests import factories as make
from tests.approvals.web.api.program import Program
from tests.clients import browser_of, client_of, text
from tests.submissions import Page, post
from tests.told import look

pytestmark = pytest.mark.django_db

ALL = ["approve", "reject", "respond"]
SAID = "Ask the supplier first."


@pytest.fixture
def ada() -> User:
    return make.reviewer("ada")


def trail(request: str) -> list[queries.TimelineEntry]:
    return queries.history(HumanRequest.objects.get(pk=request))


def instead(**terms: Any) -> str:
    return make.approval(decisions=ALL, **terms)


class TestRespond:
    def test_a_text_closes_it_and_is_no_yes(self, ada: User) -> None:
        request = instead(arguments={"order": 812})
        outcome = deciding.decide(make.actor(ada), request, "respond", answer=SAID, comment="as ever")
        assert (outcome.status, outcome.approved, outcome.answer) == ("answered", False, SAID)
        assert (outcome.decided_by, outcome.comment, outcome.arguments) == ("ada", "as ever", {"order": 812})
        assert gate.outcome(request) == outcome
        assert [entry.event for entry in trail(request)] == ["opened", "answered"]
        assert verification.verify().holds

    def test_it_is_decided_once(self, ada: User) -> None:
        request = instead()
        first = deciding.decide(make.actor(ada), request, "respond", answer=SAID)
        assert deciding.decide(make.actor(ada), request, "respond", answer=SAID) == first
        with pytest.raises(AlreadyDecided, match=r"already answered by ada"):
            deciding.decide(make.actor(ada), request, "approve")
        with pytest.raises(AlreadyDecided):
            deciding.decide(make.actor(make.reviewer()), request, "respond", answer="Something else.")

    @pytest.mark.parametrize("verdict", ALL[:2])
    def test_after_ones_own_vote_no_answer_at_all_is_no_repetition_of_it(
        self, ada: User, verdict: str
    ) -> None:
        request = instead()
        deciding.decide(make.actor(ada), request, verdict)
        with pytest.raises(AlreadyDecided):
            deciding.decide(make.actor(ada), request, "respond")

    @pytest.mark.parametrize("answer", [None, "", " \n", 7, "x" * 100_001], ids=str)
    def test_what_is_no_text_is_refused(self, ada: User, answer: Any) -> None:
        request = instead()
        with pytest.raises(InvalidAnswer, match=r"^answer must") as refused:
            deciding.decide(make.actor(ada), request, "respond", answer=answer)
        assert refused.value.field == "answer"
        assert not gate.outcome(request).closed

    @pytest.mark.parametrize("actor", ["ada", "program"])
    def test_only_where_the_request_takes_it(self, ada: User, actor: str) -> None:
        request = make.approval()
        by = make.actor(ada) if actor == "ada" else Actor.program()
        with pytest.raises(ApprovalError, match=r"^answer: an approval is approved or rejected") as refused:
            deciding.decide(by, request, "respond", answer=SAID)
        assert refused.value.field == "answer"
        assert not gate.outcome(request).closed

    def test_arguments_and_answers_stay_with_their_decisions(self, ada: User) -> None:
        request = instead(editable=True)
        with pytest.raises(InvalidAnswer, match=r"arguments can be edited by an approval only"):
            deciding.decide(make.actor(ada), request, "respond", answer=SAID, arguments={"a": 1})
        with pytest.raises(InvalidAnswer, match=r"answer is for the decision 'respond' only"):
            deciding.decide(make.actor(ada), request, "approve", answer=SAID)

    def test_somebody_who_stands_for_another_responds_on_their_behalf(self, ada: User) -> None:
        ben = make.user("ben")
        make.delegation(ada, ben)
        request = instead(assignees=[ada])
        deciding.decide(make.actor(ben), request, "respond", answer=SAID)
        assert trail(request)[-1].on_behalf_of == "ada"

    def test_a_forged_text_is_found(self, ada: User) -> None:
        """Also where both the row and its trail say that it was answered."""
        request, open_still = instead(), make.approval()
        deciding.decide(make.actor(ada), request, "respond", answer=SAID)
        HumanRequest.writing.filter(pk=request).update(decisions=ALL[:2])
        HumanRequest.writing.filter(pk=open_still).update(answer=SAID)
        for id_, said in [
            (request, "It was answered with a text, which its decisions do not allow."),
            (open_still, "The row has answer, which nothing on its trail has given it."),
        ]:
            assert said in [fault.detail for fault in verification.verify_request(UUID(id_))]

    def test_the_database_knows_no_text_beside_votes(self) -> None:
        request = make.approval(required=2, assignees=[make.user(), make.user()])
        with pytest.raises(IntegrityError), transaction.atomic():
            HumanRequest.writing.filter(pk=request).update(status="answered", closed_at="2026-01-01T00:00Z")


@pytest.mark.one_stack
class TestAsking:
    @pytest.mark.parametrize(
        ("terms", "message"),
        [
            ({"decisions": []}, "decisions must be 'approve' and 'reject', and may be 'respond' besides."),
            ({"decisions": ["approve"]}, "decisions must be 'approve' and 'reject'"),
            ({"decisions": ["approve", "reject", "reject"]}, "decisions must be 'approve' and 'reject'"),
            ({"decisions": "respond"}, "decisions must be 'approve' and 'reject'"),
            ({"decisions": [*ALL, {"later": 1}]}, "decisions must be 'approve' and 'reject'"),
            ({"decisions": ALL, "required": 2}, "decisions can't have 'respond' with required above 1"),
            ({"reason_required": 1}, "reason_required must be true or false."),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, terms: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            make.approval(**terms)
        assert str(refused.value).startswith(message)
        assert refused.value.field == next(iter(terms))

    def test_the_order_makes_no_difference(self) -> None:
        first = make.approval(key="k", decisions=["respond", "reject", "approve"])
        assert make.approval(key="k", decisions=tuple(ALL)) == first

    @pytest.mark.parametrize("terms", [{"decisions": ALL}, {"reason_required": True}])
    def test_they_are_part_of_the_question(self, terms: dict[str, Any]) -> None:
        make.approval(key="k")
        with pytest.raises(KeyConflict) as conflict:
            make.approval(key="k", **terms)
        assert list(conflict.value.differs) == list(terms)


class TestReason:
    @pytest.mark.parametrize("verdict", ["approve", "reject"])
    def test_nobody_decides_without_one(self, ada: User, verdict: str) -> None:
        request = make.approval(reason_required=True)
        for comment in ("", " \n"):
            with pytest.raises(ApprovalError, match=r"^comment must say why") as refused:
                deciding.decide(make.actor(ada), request, verdict, comment=comment)
            assert (refused.value.code, refused.value.field) == ("invalid", "comment")
        assert not gate.outcome(request).closed
        assert deciding.decide(make.actor(ada), request, verdict, comment="Seen.").comment == "Seen."

    @pytest.mark.one_stack
    def test_a_text_is_its_own_reason_and_programs_need_none(self, ada: User) -> None:
        request = instead(reason_required=True)
        assert deciding.decide(make.actor(ada), request, "respond", answer=SAID).answer == SAID
        assert decide(make.approval(reason_required=True)).approved

    @pytest.mark.one_stack
    def test_who_may_not_decide_does_not_learn_of_it(self) -> None:
        request = make.approval(reason_required=True, assignees=[make.user()])
        with pytest.raises(ApprovalError) as refused:
            deciding.decide(make.actor(make.user()), request, "approve")
        assert refused.value.code == "unknown_request"


@pytest.mark.one_stack
class TestDoors:
    def test_over_http(self, ada: User) -> None:
        program = Program.of(ada)
        request = instead()
        assert program.get(f"/requests/{request}")["decisions"] == ALL
        told = program.post(f"/requests/{request}/decision", {"decision": "respond", "answer": SAID})
        assert (told["status"], told["approved"], told["answer"]) == ("answered", False, SAID)
        many = [instead(), instead(), make.approval()]
        body = {"decisions": [{"request_id": one, "decision": "respond", "answer": SAID} for one in many]}
        results = program.post("/decisions", body)["results"]
        assert ["error" in one and one["error"] is not None for one in results] == [False, False, True]

    def test_on_the_page(self, ada: User) -> None:
        client, request = browser_of(ada), instead(title="Refund order 812", reason_required=True)
        address = f"/requests/{request}/"
        form = Page(client.get(address).text, about="comment")
        for nothing, error in [("", "Answer is required."), ("  ", "Answer must not be empty")]:
            blank = post(client, address, form.fill("answer", nothing).press("decision", "respond"))
            assert (blank.status_code, error in blank.text) == (422, True)
        assert '<details class="fold small" open><summary>Answer instead' in blank.text
        form = Page(blank.text, about="comment")
        assert (
            post(client, address, form.fill("answer", SAID).press("decision", "respond")).status_code == 303
        )
        shown = text(client.get(address))
        assert "Answered, not approved, by ada" in shown
        assert SAID in shown

    def test_on_the_page_of_what_takes_no_text_there_is_none(self, ada: User) -> None:
        client, request = browser_of(ada), make.approval()
        assert "Answer instead" not in client.get(f"/requests/{request}/").text
        sent = {"decision": "respond", "answer": SAID}
        assert client.post(f"/requests/{request}/", sent).status_code == 422
        assert not gate.outcome(request).closed

    def test_the_page_approves_what_was_edited_also_where_it_takes_a_text(self, ada: User) -> None:
        client, request = browser_of(ada), instead(arguments={"amount": 5}, editable=True)
        address = f"/requests/{request}/"
        form = Page(client.get(address).text, about="edits").fill("arguments", '{"amount": 7}')
        reviewed = post(client, address, form.press("decision", "approve"))
        assert "You are about to approve these changes" in text(reviewed)
        form = Page(reviewed.text, about="reviewed")
        assert post(client, address, form.press("decision", "approve")).status_code == 303
        assert gate.outcome(request).arguments == {"amount": 7}

    def test_the_page_asks_for_a_reason_and_keeps_what_was_typed(self, ada: User) -> None:
        client, request = browser_of(ada), make.approval(reason_required=True)
        address = f"/requests/{request}/"
        assert "Say why: nobody approves or rejects this without a reason." in client.get(address).text
        for nothing, error in [("", "Reason is required."), ("  ", "Reason must say why")]:
            refused = client.post(address, {"decision": "reject", "comment": nothing})
            assert (refused.status_code, error in refused.text) == (422, True)
        assert client.post(address, {"decision": "reject", "comment": "Too much."}).status_code == 303

    def test_in_the_admin_each_of_several_needs_its_reason(self) -> None:
        rita = make.user("rita", may=("decide_humanrequest", "view_humanrequest"), is_staff=True)
        ids = [make.approval(), make.approval(reason_required=True)]
        client = client_of(rita)
        address = "/admin/approvals/approval/decide/"
        refused = client.post(address, {"ids": ids, "decision": "approve"})
        assert "Reason is required." in refused.text
        client.post(address, {"ids": ids, "decision": "approve", "comment": "Seen."})
        assert all(gate.outcome(one).approved for one in ids)

    @pytest.mark.parametrize("path", ["/decide/?id={0}&id={1}", "/requests/group/?key=turn-7"])
    def test_together_with_others_one_reason_is_needed_and_is_for_all(self, ada: User, path: str) -> None:
        group = {"key": "turn-7", "title": "Two calls"}
        ids = [make.approval(group=group), make.approval(group=group, reason_required=True)]
        client, address = browser_of(ada), path.format(*ids)
        refused = client.post(address, {"id": ids, "all": "on", "decision": "reject"})
        assert (refused.status_code, "Reason is required." in refused.text) == (422, True)
        client.post(address, {"id": ids, "all": "on", "decision": "reject", "comment": "Seen."})
        assert [gate.outcome(one).comment for one in ids] == ["Seen.", "Seen."]

    def test_in_the_terminal(self, ada: User) -> None:
        request, said = instead(), StringIO()
        call_command("decide", request, "respond", "--answer", SAID, "--as", "ada", stdout=said)
        assert said.getvalue().startswith("Answered instead of approved by ada at ")
        other = instead()
        call_command("answer", other, SAID, "--as", "ada", stdout=said)
        assert gate.outcome(other).answer == SAID

    def test_in_the_message_about_the_outcome(self, ada: User, settings: Settings) -> None:
        settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"
        eve = make.user("eve", email="eve@example.org")
        make.destination(eve, "email", "eve@example.org", events=["closed"])
        request = instead(requester=eve)
        deciding.decide(make.actor(ada), request, "respond", answer=SAID)
        look()
        (notice,) = notices(list(Notification.objects.filter(event="closed").values_list("pk", flat=True)))
        message = compose(notice)
        assert "Not approved, but answered by ada." in message.text
