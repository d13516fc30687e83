"""Unsubscribing by one click (RFC 8058): whoever holds a message's link ends messages, and nothing else."""

from __future__ import annotations

import pytest
from django.conf import settings as project
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from approvals import queries
from approvals.delivery.notifications import make_mail
from approvals.delivery.unsubscribing import destination_of, token_of
from approvals.models import Destination
from approvals.writer import notifications
from tests import factories as make
from tests.told import told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def ann(settings: Settings) -> User:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com/here"
    return make.user("ann", email="ann@example.org")


@pytest.fixture
def mail(ann: User) -> Destination:
    return Destination.objects.create(user=ann)


def address_of(mail: Destination) -> str:
    return f"/unsubscribe/{token_of(mail.pk)}/"


def events(mail: Destination) -> list[str]:
    mail.refresh_from_db()
    return list(mail.events)


def test_a_mail_program_unsubscribes_by_the_headers_of_a_message(ann: User, mail: Destination) -> None:
    """Without log-in, cookies or redirect; a second time is as well. What was on its way is not sent."""
    told("Pay", assignees=[ann])
    (due,) = notifications.outbox.claim(5)
    headers = make_mail(due.notice).message()
    assert headers["List-Unsubscribe-Post"] == ONE_CLICK
    link = headers["List-Unsubscribe"]
    assert link == f"<https://sayso.example.com/here{address_of(mail)}>"
    program = Client(enforce_csrf_checks=True)
    for _ in range(2):
        response = program.post(address_of(mail), ONE_CLICK, content_type=FORM)
        assert response.status_code == 200
        assert not response.cookies
        assert "You are unsubscribed" in response.text
        assert queries.told_by_mail(ann.pk) == []
    notice = queries.notices.notices([due.id])[0]
    assert notice.moot == "Its destination is not told of this any more."


def test_one_click_is_offered_over_https_only(ann: User, mail: Destination, settings: Settings) -> None:
    settings.SAYSO_URL = "http://sayso.example.com"
    told("Pay", assignees=[ann])
    (due,) = notifications.outbox.claim(5)
    headers = make_mail(due.notice).message()
    assert headers["List-Unsubscribe"] == f"<http://sayso.example.com{address_of(mail)}>"
    assert "List-Unsubscribe-Post" not in headers


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_fetching_the_link_changes_nothing(mail: Destination, method: str) -> None:
    before = events(mail)
    response = getattr(Client(), method)(address_of(mail), headers={"Sec-Purpose": "prefetch"})
    assert response.status_code == (405 if method == "options" else 200)
    assert events(mail) == before != []


def test_the_page_asks_once_names_nobody_and_is_kept_nowhere(ann: User, mail: Destination) -> None:
    response = Client().get(address_of(mail))
    assert response.text.count("<button") == 1
    assert "csrfmiddlewaretoken" not in response.text
    assert "ann@" not in response.text
    assert ">ann" not in response.text
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Robots-Tag"] == "noindex"


def test_a_link_that_was_not_made_here_or_whose_account_is_gone_is_not_found(
    ann: User, mail: Destination
) -> None:
    right = token_of(mail.pk)
    other = Destination.objects.create(user=make.user())
    number, proof = right.split(".")
    forged = [
        f"{other.pk}.{proof}",
        f"0{number}.{proof}",
        f"{right}A",
        right[:-1],
        f"{number}.",
        number,
        "x",
        f"{number}.{proof[:-1]}é",
    ]
    for token in forged:
        assert destination_of(token) is None
        assert Client().post(f"/unsubscribe/{token}/").status_code == 404
    assert events(mail) != []
    assert events(other) != []
    ann.delete()
    assert Client().post(f"/unsubscribe/{right}/").status_code == 404


def test_links_outlive_a_new_secret_key_while_the_old_one_is_kept(
    mail: Destination, settings: Settings
) -> None:
    """Old messages stay in mailboxes."""
    token, old = token_of(mail.pk), project.SECRET_KEY
    settings.SECRET_KEY = "another" * 10
    assert destination_of(token) is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert destination_of(token) == mail.pk
