"""Notifications in the admin: each attempt, for whoever may see the request; sent again by those who may."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals import deciding
from approvals.domain.commands import Channel
from approvals.writer import notifications
from tests import factories as make
from tests.clients import client_of, text
from tests.told import give_up, told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

NOTIFICATIONS = "/admin/approvals/notification/"


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> None:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("view_humanrequest", "resend_callback"), is_staff=True)


def test_each_attempt_is_told_with_its_result(rita: User) -> None:
    row = told("Refund", assignees=[make.user("ann")])
    give_up(row)
    client = client_of(rita)
    listed = text(client.get(f"{NOTIFICATIONS}?status__exact=given_up&event__exact=opened&q=ann"))
    for piece in ("Refund", "ann", "Given up"):
        assert piece in listed
    assert "Refund" not in text(client.get(f"{NOTIFICATIONS}?status__exact=waiting"))
    page = text(client.get(f"{NOTIFICATIONS}{row.pk}/change/"))
    for piece in ("A request for you", "ann", "Given up", "Answered 554", "Not &lt;this&gt; one.", "0.50 s"):
        assert piece in page


def test_it_is_sent_again_by_those_who_may_and_the_log_says_so(rita: User) -> None:
    row = told("Refund", assignees=[make.user("ann")])
    give_up(row)
    address = f"{NOTIFICATIONS}{row.pk}/send_again/"
    reader = make.user("ravi", may=("view_humanrequest",), is_staff=True)
    assert client_of(reader).post(address).status_code == 403
    assert "Send again" not in client_of(reader).get(f"{NOTIFICATIONS}{row.pk}/change/").text
    client = client_of(rita)
    assert client.get(address, follow=True).redirect_chain == [(f"{NOTIFICATIONS}{row.pk}/change/", 302)]
    assert client.post(address).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("waiting", 1)
    assert row.due_at is not None
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_who_may_not_see_the_request_does_not_see_whom_it_was_told() -> None:
    sam = make.user("sam", may=("resend_callback",), is_staff=True)
    row = told("Foreign", assignees=[make.user("ann")])
    client = client_of(sam)
    assert "Foreign" not in text(client.get(NOTIFICATIONS))
    assert client.get(f"{NOTIFICATIONS}{row.pk}/change/").status_code == 404
    assert client.post(f"{NOTIFICATIONS}{row.pk}/send_again/").status_code == 404


def test_when_its_link_decided_is_shown(rita: User) -> None:
    ann = make.user("ann")
    row = told("Refund", assignees=[ann])
    address = f"{NOTIFICATIONS}{row.pk}/change/"
    assert "Its link decided" not in text(client_of(rita).get(address))
    deciding.decide(make.actor(ann, Channel.LINK, link_id=row.pk), row.request_id, "approve")
    assert "Its link decided" in text(client_of(rita).get(address))


def test_how_often_its_link_was_fetched_is_shown(rita: User) -> None:
    row = told("Refund", assignees=[make.user("ann")])
    client, address = client_of(rita), f"{NOTIFICATIONS}{row.pk}/change/"
    assert "Its link was fetched" not in text(client.get(address))
    notifications.count_fetch(row.pk)
    assert "Its link was fetched Once" in text(client.get(address))
    notifications.count_fetch(row.pk)
    assert "Its link was fetched 2 times" in text(client.get(address))
    assert re.search('<td class="field-fetches[^>]*>2</td>', client.get(NOTIFICATIONS).text)
