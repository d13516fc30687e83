"""The page of one's own preferences."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from approvals import queries
from approvals.models import Preference
from tests import factories as make
from tests.marks import both_databases
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PREFERENCES = "/preferences/"


@pytest.fixture
def ann() -> User:
    return make.user("ann")


@pytest.fixture
def client(ann: User) -> Client:
    client = Client()
    client.force_login(ann)
    return client


@both_databases
def test_a_setting_is_saved_and_shown_again(client: Client, ann: User) -> None:
    """Twice, since the first time makes the row; others keep theirs."""
    bob = make.user("bob")
    for wanted in (False, True):
        form = Page(client.get(PREFERENCES).text, "opens_next")
        assert [one["checked"] for one in form.controls if one["name"] == "opens_next"] == [not wanted]
        form.pick("opens_next", *(["on"] if wanted else []))
        response = post(client, PREFERENCES, form.sent())
        assert (response.status_code, response["Location"]) == (303, f"{PREFERENCES}?saved")
        assert "Saved." in client.get(response["Location"]).text
        assert queries.preference_of(ann.pk).opens_next is wanted
    assert queries.preference_of(bob.pk).opens_next


def test_it_is_in_the_menu_and_for_those_who_are_logged_in(client: Client) -> None:
    assert f'href="{PREFERENCES}"' in client.get("/").text
    assert Client().get(PREFERENCES).status_code == 302


def test_it_has_room_for_the_settings_of_the_browser(client: Client) -> None:
    """A script fills it."""
    assert "This browser" in client.get(PREFERENCES).text


def test_what_somebody_is_told_by_mail_is_chosen(client: Client, ann: User, settings: Settings) -> None:
    """Unasked, all that somebody waits for; where this installation tells people."""
    assert "email" not in client.get(PREFERENCES).text
    settings.SAYSO_NOTIFY = "on"
    form = Page(client.get(PREFERENCES).text, "opens_next")
    chosen = {one["value"] for one in form.controls if one["name"] == "told" and one["checked"]}
    assert chosen == {"opened", "reminder", "reassigned", "question"}
    form.pick("told", "closed", "opened")
    post(client, PREFERENCES, form.sent())
    assert queries.told_by_mail(ann.pk) == ["opened", "closed"]
    form = Page(client.get(PREFERENCES).text, "opens_next")
    form.pick("told")
    post(client, PREFERENCES, form.sent())
    assert queries.told_by_mail(ann.pk) == []
    client.post(PREFERENCES, {"told": "everything"})
    assert queries.told_by_mail(ann.pk) == []


def test_it_goes_with_the_account(ann: User) -> None:
    Preference.objects.create(user=ann, opens_next=False)
    ann.delete()
    assert not Preference.objects.exists()
