"""The page of who decides for whom while one is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from approvals import deciding, delegations
from approvals.models import Delegation
from tests import factories as make
from tests.clients import client_of, text
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

AWAY = "/away/"


@pytest.fixture
def ann() -> User:
    return make.user("ann")


@pytest.fixture
def bob() -> User:
    return make.user("bob")


@pytest.fixture
def client(ann: User) -> Client:
    return client_of(ann)


def fill(client: Client, **said: str) -> Page:
    form = Page(client.get(AWAY).text, "delegate")
    for name, value in said.items():
        form.fill(name, value)
    return form


@pytest.mark.usefixtures("bob")
def test_one_is_made_shown_to_both_and_ended(client: Client, ann: User) -> None:
    until = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    sent = fill(client, delegate="bob", ends_at=until, reason="On leave").sent()
    response = post(client, AWAY, sent)
    assert (response.status_code, response["Location"]) == (303, f"{AWAY}?saved")
    row = Delegation.objects.get()
    assert (row.principal, row.delegate.username, row.made_by) == (ann, "bob", ann)
    assert row.ends_at == datetime.fromisoformat(f"{until}:00+00:00")
    shown = text(client.get(response["Location"]))
    assert "Saved." in shown
    assert "Who decides for me bob Now" in shown
    assert "On leave" in shown
    other = client_of(row.delegate)
    assert "For whom I decide ann Now" in text(other.get(AWAY))
    assert client_of(make.user()).post(f"{AWAY}{row.pk}/end/").status_code == 404
    assert "was not recorded" in other.get(f"{AWAY}{row.pk}/end/", follow=True).text
    assert Delegation.objects.get(ended_at=None) == row
    assert other.post(f"{AWAY}{row.pk}/end/")["Location"] == AWAY
    assert "by bob" in text(client.get(AWAY))
    assert f"{AWAY}{row.pk}/end/" not in client.get(AWAY).text


def test_what_will_not_do_is_said_at_its_field(client: Client) -> None:
    form = fill(client, delegate="nobody", ends_at="2030-01-01T00:00")
    assert "there is no active user" in text(post(client, AWAY, form.sent()), 422)
    form = fill(client, delegate="ann", ends_at="2001-01-01T00:00")
    assert "Who decides instead must be somebody else" in text(post(client, AWAY, form.sent()), 422)
    make.user("carl")
    form = fill(client, delegate="carl", starts_at="2030-01-02T00:00", ends_at="2030-01-01T00:00")
    assert "Until must be later than the start" in text(post(client, AWAY, form.sent()), 422)
    assert not Delegation.objects.exists()


@pytest.mark.usefixtures("ann", "bob")
def test_administrators_say_it_for_others(client: Client) -> None:
    assert 'name="principal"' not in client.get(AWAY).text
    admin = make.user("rita")
    admin.user_permissions.set(Permission.objects.filter(codename="manage_delegation"))
    form = fill(client_of(admin), principal="ann", delegate="bob", ends_at="2090-01-01T00:00")
    assert post(client_of(admin), AWAY, form.sent()).status_code == 303
    assert Delegation.objects.get().principal.username == "ann"
    assert "made by rita" in text(client.get(AWAY))


def test_it_is_in_the_menu_and_for_those_who_are_logged_in(client: Client) -> None:
    assert f'href="{AWAY}"' in client.get("/").text
    assert Client().get(AWAY).status_code == 302


def test_the_page_of_a_request_says_on_whose_behalf(client: Client, ann: User, bob: User) -> None:
    request_id = make.approval(assignees=[bob, make.user()], required=2)
    page = f"/requests/{request_id}/"
    assert client.get(page).status_code == 404
    made = make.delegation(bob, ann)
    assert "You decide on behalf of bob." in text(client.get(page))
    deciding.decide(make.actor(ann), request_id, "approve")
    shown = text(client.get(page))
    assert "Approved by ann, on behalf of bob, one of 2 that are needed" in shown
    assert "ann, on behalf of bob, approved" in shown
    assert "You have approved this. It needs 1 more approval." in shown
    assert "The vote that you have was given already" in text(client_of(bob).get(page))
    assert "You have approved this already" in text(client_of(bob).get(f"/decide/?id={request_id}"))
    delegations.end(made)
    assert client.get(page).status_code == 404
