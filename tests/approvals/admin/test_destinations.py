"""Where groups and people are told, in the admin: for those who manage it, without any secret."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from approvals.database.clock import database_now
from approvals.delivery import addresses
from approvals.models import Destination
from tests import factories as make
from tests.clients import client_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

DESTINATIONS = "/admin/approvals/destination/"
SECRET = "https://hooks.example.org/T0KEN"


@pytest.fixture(autouse=True)
def telling(settings: Settings, allowed: None) -> None:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"
    settings.SAYSO_CHAT_SCHEMES = ["json"]


@pytest.fixture
def client() -> Client:
    return client_of(make.user("boss", may=("manage_destination",), is_staff=True))


@pytest.fixture
def team() -> Group:
    return make.group("finance")


@pytest.fixture
def ann() -> User:
    return make.user("ann")


def sent(**fields: object) -> dict[str, object]:
    return {
        "user": "",
        "group": "finance",
        "kind": "webhook",
        "address": SECRET,
        "events": ["opened"],
    } | fields


def test_an_address_is_entered_and_not_shown_again(client: Client, team: Group) -> None:
    added = client.post(f"{DESTINATIONS}add/", sent(label="pager"))
    assert added.status_code == 302
    row = Destination.objects.get()
    assert (row.group, row.kind, row.label, row.events) == (team, "webhook", "pager", ["opened"])
    assert addresses.decrypt(row.address) == SECRET
    page, listed = client.get(added["Location"]), client.get(DESTINATIONS)
    for shown in (page, listed):
        assert "https://hooks.example.org/…" in text(shown)
        assert "T0KEN" not in shown.text
    assert "T0KEN" not in "".join(
        f"{entry.object_repr}{entry.change_message}" for entry in LogEntry.objects.all()
    )


def test_a_group_is_told_only_about_what_it_may_decide(client: Client, team: Group) -> None:
    """Whatever was ticked beside that."""
    client.post(f"{DESTINATIONS}add/", sent(events=["opened", "question", "closed"]))
    assert Destination.objects.get().events == ["opened"]


def test_what_is_left_empty_stays_as_it_is(client: Client, team: Group) -> None:
    row = make.destination(team, "webhook", SECRET, failing_since=database_now())
    address = f"{DESTINATIONS}{row.pk}/change/"
    client.post(address, {"address": "", "label": "pager", "events": ["reminder"]})
    row.refresh_from_db()
    assert (row.label, row.events, addresses.decrypt(row.address)) == ("pager", ["reminder"], SECRET)
    client.post(address, {"address": "https://hooks.example.org/new", "label": "", "events": ["opened"]})
    row.refresh_from_db()
    assert addresses.decrypt(row.address) == "https://hooks.example.org/new"
    assert row.failing_since is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"address": "https://evil.example.com/"},
            "has a host that is none of those",
        ),
        ({"kind": "chat", "address": "slack://a/b/c"}, "must begin with one of json://"),
        ({"kind": "chat", "address": "json://host/?redirect=yes"}, "must not have the parameter redirect"),
        ({"kind": "email", "address": "nobody"}, "valid email address"),
        ({"group": "", "user": ""}, "Say for whom it is"),
        ({"user": "ann"}, "Say for whom it is"),
        ({"group": "crew"}, "There is no group of this name"),
        ({"group": "", "user": "zoe"}, "There is no active account of this name"),
        (
            {"group": "", "user": "ann", "kind": "email", "address": "x@example.org"},
            "at the address of the account",
        ),
        ({"events": ["closed"]}, "groups are told of requests that they may decide"),
        ({"events": []}, "Tell it about is required"),
    ],
)
def test_what_can_not_be_is_refused_at_its_field(
    client: Client, team: Group, ann: User, fields: dict[str, object], said: str
) -> None:
    response = client.post(f"{DESTINATIONS}add/", sent(**fields))
    assert response.status_code == 422
    assert said in response.text.replace("&#x27;", "'")
    assert not Destination.objects.exists()


def test_what_fails_is_found_also_the_mail_of_accounts(client: Client, team: Group, ann: User) -> None:
    make.destination(team, "chat", "json://well", label="fine")
    make.destination(team, "chat", "json://ill", label="ill", failing_since=database_now())
    Destination.objects.create(user=ann, failing_since=database_now())
    Destination.objects.create(user=make.user("bob"))
    listed = text(client.get(f"{DESTINATIONS}?failing=yes"))
    assert "ill" in listed
    assert "ann" in listed
    assert "the address of the account" in listed
    assert "fine" not in listed
    assert "bob" not in text(client.get(DESTINATIONS))


def test_one_is_removed_with_what_was_told_there(client: Client, team: Group) -> None:
    row = make.destination(team, "webhook", SECRET)
    removing = client.get(f"{DESTINATIONS}{row.pk}/remove/", follow=True)
    assert removing.redirect_chain == [(f"{DESTINATIONS}{row.pk}/change/", 302)]
    assert client.post(f"{DESTINATIONS}{row.pk}/remove/").status_code == 302
    assert not Destination.objects.exists()


def test_others_of_the_staff_see_none_of_it(team: Group) -> None:
    row = make.destination(team, "webhook", SECRET)
    other = client_of(make.user("sam", may=("view_humanrequest",), is_staff=True))
    for address in (DESTINATIONS, f"{DESTINATIONS}add/", f"{DESTINATIONS}{row.pk}/change/"):
        assert other.get(address).status_code == 403
    assert other.post(f"{DESTINATIONS}add/", sent()).status_code == 403
    assert other.post(f"{DESTINATIONS}{row.pk}/remove/").status_code == 403
    assert Destination.objects.count() == 1
