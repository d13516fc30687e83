"""Callbacks in the admin: each attempt to read, for whoever may see the request; another try for who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding
from approvals.database.clock import database_now
from approvals.models import Callback, CallbackAttempt, DeliveryStatus
from tests import factories as make
from tests.clients import client_of
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

CALLBACKS = "/admin/approvals/callback/"
URL = "https://hooks.example.org/sayso?shop=7"


@pytest.fixture(autouse=True)
def allowed_hosts(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = ["hooks.example.org", "other.example.org"]


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("view_humanrequest", "resend_callback"), is_staff=True)


def text(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def closed(title: str = "Refund ACME", *, url: str = URL, **terms: Any) -> Callback:
    """The callback of an approval that has just been rejected."""
    request_id = make.approval(title, callback_url=url, **terms)
    decider = terms.get("assignees", [make.reviewer()])[0]
    deciding.decide(make.actor(decider), request_id, "reject")
    return callback_of(request_id)


def callback_of(request_id: str) -> Callback:
    found: Callback = Callback.objects.get(request_id=request_id)
    return found


def ended(callback: Callback, status: DeliveryStatus, *attempts: tuple[int | None, str]) -> None:
    """As the outbox worker would leave it after these attempts."""
    now = database_now()
    CallbackAttempt.writing.bulk_create(
        CallbackAttempt(
            callback=callback, number=number, ended_at=now, seconds=0.25, status_code=code, error=error
        )
        for number, (code, error) in enumerate(attempts, 1)
    )
    due = now + timedelta(minutes=4) if status == DeliveryStatus.WAITING else None
    rows = Callback.writing.filter(pk=callback.pk)
    rows.update(status=status, due_at=due, attempts=len(attempts), changed_at=now)


class TestReading:
    def test_each_attempt_is_told_with_its_result(self, rita: User) -> None:
        callback = closed()
        ended(callback, DeliveryStatus.WAITING, (503, ""), (None, "Connection refused <b>"))
        page = text(client_of(rita).get(f"{CALLBACKS}{callback.pk}/change/"))
        for piece in (
            "https://hooks.example.org/sayso?shop=7",
            "Refund ACME",
            f"/admin/approvals/approval/{callback.request_id}/change/",
            "Waiting",
            "Next attempt",
            "Gives up",
            "Answered 503",
            "Connection refused &lt;b&gt;",
            "0.25 s",
            str(callback.pk),
        ):
            assert piece in page

    @pytest.mark.parametrize(
        ("status", "words"), [(DeliveryStatus.DELIVERED, "Delivered"), (DeliveryStatus.GIVEN_UP, "Given up")]
    )
    def test_what_became_of_it_is_told(self, rita: User, status: DeliveryStatus, words: str) -> None:
        callback = closed()
        ended(callback, status, (200, ""))
        page = text(client_of(rita).get(f"{CALLBACKS}{callback.pk}/change/"))
        assert f"<dt>{words}</dt>" in page
        assert "Next attempt" not in page

    @both_databases
    def test_callbacks_are_filtered_and_searched(self, rita: User) -> None:
        first, second = closed("First"), closed("Second", url="https://other.example.org/")
        ended(first, DeliveryStatus.GIVEN_UP, (500, ""))
        ended(second, DeliveryStatus.DELIVERED, (200, ""))
        for query, titles in (
            ("", {"First", "Second"}),
            ("status__exact=given_up", {"First"}),
            ("status__exact=delivered", {"Second"}),
            ("status__exact=waiting", set()),
            ("q=other.example", {"Second"}),
            ("q=first", {"First"}),
        ):
            page = text(client_of(rita).get(f"{CALLBACKS}?{query}"))
            assert {title for title in ("First", "Second") if f">{title}</a>" in page} == titles, query

    def test_a_request_leads_to_its_callback(self, rita: User) -> None:
        client = client_of(rita)
        pending = make.approval(callback_url=URL)
        assert "will be posted to" in text(client.get(f"/admin/approvals/approval/{pending}/change/"))
        callback = closed()
        page = text(client.get(f"/admin/approvals/approval/{callback.request_id}/change/"))
        assert f"{CALLBACKS}{callback.pk}/change/" in page

    def test_who_may_not_see_the_request_does_not_see_its_callback(self) -> None:
        """Neither its address nor that there is one; the permission to send again changes nothing."""
        sam = make.user("sam", may=("resend_callback",), is_staff=True)
        mine, foreign = closed("Mine", assignees=[sam]), closed("Foreign")
        client = client_of(sam)
        listed = text(client.get(CALLBACKS))
        assert "Mine" in listed
        assert "Foreign" not in listed
        assert client.get(f"{CALLBACKS}{mine.pk}/change/").status_code == 200
        assert client.get(f"{CALLBACKS}{foreign.pk}/change/").status_code == 404
        assert client.post(f"{CALLBACKS}{foreign.pk}/send_again/").status_code == 404

    def test_the_number_of_queries_does_not_grow_with_the_list(self, rita: User) -> None:
        client = client_of(rita)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                text(client.get(CALLBACKS))
            return len(captured)

        closed(requester=make.user())
        few = queries()
        for _ in range(5):
            closed(requester=make.user())
        assert queries() == few

    def test_nobody_adds_changes_or_deletes(self) -> None:
        callback = closed()
        client = client_of(make.user("boss", is_staff=True, is_superuser=True))
        assert client.get(f"{CALLBACKS}add/").status_code == 403
        assert client.post(f"{CALLBACKS}{callback.pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(f"{CALLBACKS}{callback.pk}/change/", {"url": "https://evil.example.org/"})
        client.post(
            CALLBACKS, {"action": "delete_selected", "_selected_action": [callback.pk], "post": "yes"}
        )
        assert Callback.objects.get().url == URL


class TestSendingAgain:
    @both_databases
    @pytest.mark.parametrize("status", [DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP])
    def test_it_is_due_at_once_and_who_asked_is_on_record(self, rita: User, status: DeliveryStatus) -> None:
        callback = closed()
        ended(callback, status, (500, ""))
        client, address = client_of(rita), f"{CALLBACKS}{callback.pk}/send_again/"
        assert f'action="{address}"' in text(client.get(f"{CALLBACKS}{callback.pk}/change/"))
        response = client.post(address, follow=True)
        assert response.redirect_chain == [(f"{CALLBACKS}{callback.pk}/change/", 302)]
        assert "It is sent again." in text(response)
        again = callback_of(str(callback.request_id))
        assert again.status == DeliveryStatus.WAITING
        assert again.due_at is not None
        assert again.due_at <= database_now()
        (logged,) = LogEntry.objects.all()
        assert (logged.user, UUID(logged.object_id)) == (rita, callback.pk)
        assert "<dt>Sent again</dt>" in text(client.get(f"{CALLBACKS}{callback.pk}/change/"))

    def test_who_may_not_has_no_button_and_is_refused(self) -> None:
        callback = closed()
        ended(callback, DeliveryStatus.GIVEN_UP, (500, ""))
        vera = client_of(make.user("vera", may=("view_humanrequest", "view_callback"), is_staff=True))
        assert "send_again" not in text(vera.get(f"{CALLBACKS}{callback.pk}/change/"))
        assert vera.post(f"{CALLBACKS}{callback.pk}/send_again/").status_code == 403
        assert callback_of(str(callback.request_id)).status == DeliveryStatus.GIVEN_UP

    def test_looking_sends_nothing(self, rita: User) -> None:
        callback = closed()
        ended(callback, DeliveryStatus.DELIVERED, (200, ""))
        page = f"{CALLBACKS}{callback.pk}/change/"
        response = client_of(rita).get(f"{CALLBACKS}{callback.pk}/send_again/", follow=True)
        assert response.redirect_chain == [(page, 302)]
        assert "was not recorded" in response.text
        assert callback_of(str(callback.request_id)).status == DeliveryStatus.DELIVERED

    def test_one_that_does_not_exist_is_not_found(self, rita: User) -> None:
        assert client_of(rita).post(f"{CALLBACKS}{uuid4()}/send_again/").status_code == 404

    def test_forged_forms_are_refused(self, rita: User) -> None:
        callback = closed()
        ended(callback, DeliveryStatus.DELIVERED, (200, ""))
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(rita)
        assert strict.post(f"{CALLBACKS}{callback.pk}/send_again/").status_code == 403
        assert callback_of(str(callback.request_id)).status == DeliveryStatus.DELIVERED
