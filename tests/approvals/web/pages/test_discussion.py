"""Asking back, commenting and handing on, on the page of a request."""

from __future__ import annotations

import html
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals import deciding
from approvals.database import clock
from approvals.domain.commands import Actor
from approvals.models import AuditEntry, GroupAssignment, UserAssignment
from tests import factories as make
from tests.clients import browser_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


@pytest.fixture
def ravi() -> User:
    return make.user("ravi")


@pytest.fixture
def client(ravi: User) -> Client:
    return browser_of(ravi)


@pytest.fixture
def request_id(ravi: User) -> str:
    return make.approval("Pay", assignees=[ravi], requester=make.user("olga"))


def said(request_id: str) -> list[tuple[str, str]]:
    entries = AuditEntry.objects.filter(request_id=request_id, event__in=("commented", "questioned"))
    return [(entry.event, entry.shown.content) for entry in entries.order_by("sequence")]


class TestComments:
    def address(self, request_id: str) -> str:
        return f"/requests/{request_id}/comments/"

    def test_a_comment_and_a_question_are_on_the_trail_and_shown(
        self, client: Client, request_id: str
    ) -> None:
        response = client.post(self.address(request_id), {"text": "Looks right.\r\nNearly."})
        assert (response.status_code, response["Location"]) == (303, f"/requests/{request_id}/")
        client.post(self.address(request_id), {"text": "Which order?", "question": "on"})
        assert [event for event, _ in said(request_id)] == ["commented", "questioned"]
        shown = text(client.get(f"/requests/{request_id}/"))
        assert "Comment by ravi" in shown
        assert "Looks right. Nearly." in " ".join(shown.split())
        assert "Question by ravi" in shown
        assert "Ask olga" in shown

    def test_who_asked_replies_and_a_program_is_asked_back(self, client: Client, request_id: str) -> None:
        olga = browser_of(User.objects.get(username="olga"))
        assert "Ask" not in text(olga.get(f"/requests/{request_id}/")).partition("Comment or question")[2]
        olga.post(self.address(request_id), {"text": "812."})
        assert "Comment by olga" in text(client.get(f"/requests/{request_id}/"))
        unasked = make.approval("Pay", assignees=[User.objects.get(username="ravi")])
        assert "Ask back" in text(client.get(f"/requests/{unasked}/"))

    def test_nothing_is_no_comment_and_what_was_typed_is_kept(self, client: Client, request_id: str) -> None:
        response = client.post(self.address(request_id), {"text": " "})
        assert response.status_code == 422
        assert said(request_id) == []
        response = client.post(self.address(request_id), {"text": "x" * 10_001})
        assert response.status_code == 422
        assert "x" * 100 in response.text
        assert said(request_id) == []

    def test_it_is_for_those_who_may_see_the_request(self, request_id: str) -> None:
        response = browser_of(make.user()).post(self.address(request_id), {"text": "Hello"})
        assert response.status_code == 404
        assert said(request_id) == []

    def test_who_fetches_the_forms_address_is_led_to_the_request(
        self, client: Client, request_id: str
    ) -> None:
        response = client.get(self.address(request_id), {"q": "Hello"}, follow=True)
        assert response.redirect_chain == [(f"/requests/{request_id}/?q=Hello&unsent=", 302)]
        assert "was not recorded" in response.text
        assert said(request_id) == []

    def test_a_month_after_the_end_there_is_no_form_and_the_writer_refuses(
        self, client: Client, request_id: str
    ) -> None:
        deciding.withdraw(Actor.program(), request_id)
        assert "Comment or question" in text(client.get(f"/requests/{request_id}/"))
        clock.move(timedelta(days=31))
        try:
            assert "Comment or question" not in text(client.get(f"/requests/{request_id}/"))
            response = client.post(self.address(request_id), {"text": "Late"})
        finally:
            clock.move_back()
        assert "30 days ago" in text(response, 409)
        assert said(request_id) == []


class TestHandingOn:
    def address(self, request_id: str) -> str:
        return f"/requests/{request_id}/reassign/"

    def test_those_who_are_named_decide_instead_and_the_reason_is_on_the_trail(
        self, client: Client, request_id: str
    ) -> None:
        make.user("ann lee")
        make.group("finance", make.user("fay"))
        assert "Hand this on" in text(client.get(f"/requests/{request_id}/"))
        response = client.post(
            self.address(request_id), {"to": "ann lee\r\n\r\n finance ", "reason": "They know."}
        )
        assert (response.status_code, response["Location"]) == (303, "/")
        assert UserAssignment.objects.get(request_id=request_id).user.username == "ann lee"
        assert GroupAssignment.objects.get(request_id=request_id).group.name == "finance"
        assert client.get(f"/requests/{request_id}/").status_code == 404
        olga = browser_of(User.objects.get(username="olga"))
        shown = text(olga.get(f"/requests/{request_id}/"))
        assert "Reassigned by ravi" in shown
        assert "They know." in shown

    def test_who_still_sees_it_stays_on_its_page(self, client: Client, request_id: str) -> None:
        response = client.post(self.address(request_id), {"to": "ravi\nolga"})
        assert response["Location"] == f"/requests/{request_id}/"

    @pytest.mark.parametrize(
        ("to", "rule"),
        [
            ("", "To is required."),
            ("nobody", "There is no active user and no group 'nobody'."),
            ("twice", "'twice' is a user and a group: write user:twice or group:twice."),
            ("group:empty", "may decide"),
        ],
    )
    def test_names_that_will_not_do_are_named_at_their_field(
        self, client: Client, request_id: str, to: str, rule: str
    ) -> None:
        make.group("twice", make.user("twice"))
        make.group("empty")
        response = client.post(self.address(request_id), {"to": to, "reason": "Kept."})
        assert rule in html.unescape(text(response, 422))
        assert "Kept." in response.text
        assert not AuditEntry.objects.filter(request_id=request_id, event="reassigned").exists()

    def test_who_may_not_is_not_told_who_there_is(self, request_id: str) -> None:
        """Neither on the page nor by trying; the attempt is on the trail."""
        olga = browser_of(User.objects.get(username="olga"))
        assert "Hand this on" not in text(olga.get(f"/requests/{request_id}/"))
        make.user("ann")
        answers = []
        for name in ("ann", "nobody"):
            shown = text(olga.post(self.address(request_id), {"to": name}), 403)
            answers.append(shown.partition("History")[0])
        assert answers[0] == answers[1]
        refused = AuditEntry.objects.filter(request_id=request_id, event="refused")
        assert refused.exists()

    def test_what_is_closed_is_handed_to_nobody(self, client: Client, request_id: str) -> None:
        deciding.withdraw(Actor.program(), request_id)
        assert "Hand this on" not in text(client.get(f"/requests/{request_id}/"))
        make.user("ann")
        response = client.post(self.address(request_id), {"to": "ann"})
        assert "was not recorded" in text(response, 409)
