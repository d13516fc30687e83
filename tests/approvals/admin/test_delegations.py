"""Delegations in the admin: made for others and ended by those who may; nothing is edited or deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import delegations
from approvals.database.clock import database_now
from approvals.models import Delegation
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

ALL = "/admin/approvals/delegation/"
ADD = f"{ALL}add/"
HOUR = timedelta(hours=1)


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("manage_delegation",), is_staff=True)


@pytest.fixture
def client(rita: User) -> Client:
    return client_of(rita)


@pytest.fixture
def ann() -> User:
    return make.user("ann")


@pytest.fixture
def bob() -> User:
    return make.user("bob")


def fill(client: Client, **said: str) -> Page:
    form = Page(client.get(ADD).text, "delegate")
    for name, value in said.items():
        form.fill(name, value)
    return form


def pairs(response: Any) -> set[str]:
    assert response.status_code == 200
    rows = response.context["cl"].result_list
    return {f"{row.delegate.username} for {row.principal.username}" for row in rows}


@both_databases
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"bob for ann", "carl for bob", "ann for carl", "bob for carl"}),
        ("state=now", {"bob for ann"}),
        ("state=coming", {"carl for bob"}),
        ("state=over", {"ann for carl", "bob for carl"}),
        ("principal=carl", {"ann for carl", "bob for carl"}),
        ("delegate=bob&state=over", {"bob for carl"}),
        ("q=ann", {"bob for ann", "ann for carl"}),
        ("q={now}", {"bob for ann"}),
        ("made_until=2020-01-01", set()),
    ],
)
def test_they_are_listed_by_state_person_and_date(
    client: Client, ann: User, bob: User, query: str, expected: set[str]
) -> None:
    carl = make.user("carl")
    now = make.delegation(ann, bob)
    make.delegation(bob, carl, starts_at=database_now() + HOUR, ends_at=database_now() + 2 * HOUR)
    delegations.end(make.delegation(carl, ann))
    gone = make.delegation(carl, bob)
    Delegation.writing.filter(pk=gone).update(starts_at=database_now() - HOUR, ends_at=database_now())
    assert pairs(client.get(f"{ALL}?{query.format(now=now)}")) == expected


def test_who_may_not_manage_them_sees_their_own_and_those_to_them(ann: User, bob: User) -> None:
    sam = make.user("sam", is_staff=True)
    make.delegation(sam, ann)
    to_sam, foreign = make.delegation(bob, sam), make.delegation(ann, bob)
    client = client_of(sam)
    assert pairs(client.get(ALL)) == {"ann for sam", "sam for bob"}
    assert "Delegate…" not in client.get(ALL).text
    assert client.get(ADD).status_code == client.post(ADD).status_code == 403
    for address in (f"{ALL}{foreign}/change/", f"{ALL}{foreign}/end/"):
        assert client.get(address).status_code == 404
    assert client.post(f"{ALL}{foreign}/end/").status_code == 404
    assert client.post(f"{ALL}{to_sam}/end/").status_code == 302
    assert set(Delegation.objects.filter(ended_at=None).values_list("delegate__username", flat=True)) == {
        "ann",
        "bob",
    }
    assert client_of(ann).get(ALL).status_code == 302


@pytest.mark.usefixtures("ann", "bob")
def test_one_is_made_for_others_shown_and_ended_once(client: Client, rita: User) -> None:
    form = fill(client, principal="ann", delegate="bob", ends_at="2090-01-01T00:00", reason="On leave")
    made = client.get(post(client, ADD, form.sent())["Location"])
    row = Delegation.objects.get()
    assert (row.principal.username, row.delegate.username, row.made_by) == ("ann", "bob", rita)
    shown = text(made)
    for words in ("bob for ann", "State Now", "On leave", "by rita", "Saved."):
        assert words in shown
    end = f"{ALL}{row.pk}/end/"
    assert "bob does not decide for ann any more" in text(client.get(end))
    assert Delegation.objects.get().ended_at is None
    assert "Ended: bob for ann." in text(client.post(end, follow=True))
    assert "It was over already." in text(client.post(end, follow=True))
    row = Delegation.objects.get()
    assert (row.ended_by, row.reason) == (rita, "On leave")
    assert "End…" not in client.get(f"{ALL}{row.pk}/change/").text
    assert "It is over already." in text(client.get(end))
    logged = LogEntry.objects.order_by("pk").values_list("object_id", "object_repr", "change_message")
    assert list(logged) == [(str(row.pk), f"delegation {row.pk}", said) for said in ("Made.", "Ended.")]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"principal": "nobody"}, "Who is away: there is no active user &#x27;nobody&#x27;"),
        ({"delegate": "nobody"}, "Who decides instead: there is no active user"),
        ({"delegate": "ann"}, "Who decides instead must be somebody else"),
        ({"delegate": ""}, "Who decides instead is required."),
        ({"ends_at": "2001-01-01T00:00"}, "Until must be later than the start"),
        ({"ends_at": ""}, "Until is required."),
        ({"reason": "x" * 501}, "at most 500 characters"),
    ],
)
@pytest.mark.usefixtures("ann", "bob")
def test_what_will_not_do_is_said_at_its_field(client: Client, said: dict[str, str], error: str) -> None:
    filled = {"principal": "ann", "delegate": "bob", "ends_at": "2090-01-01T00:00", "reason": "Away"} | said
    response = post(client, ADD, fill(client, **filled).sent())
    assert response.status_code == 422
    (name,) = said
    field = response.context["form"][name]
    assert error in str(field.errors)
    assert 'aria-invalid="true"' in str(field)
    assert not Delegation.objects.exists()


def test_nothing_is_edited_or_deleted(client: Client, ann: User, bob: User) -> None:
    made = make.delegation(ann, bob)
    before = Delegation.objects.values().get()
    boss = client_of(make.user(is_staff=True, is_superuser=True))
    for one in (client, boss):
        one.post(f"{ALL}{made}/change/", {"reason": "Another"})
        assert one.post(f"{ALL}{made}/delete/", {"post": "yes"}).status_code in {403, 404}
        one.post(ALL, {"action": "delete_selected", "_selected_action": [made], "post": "yes"})
    assert Delegation.objects.values().get() == before


def test_the_list_takes_the_same_queries_however_long_it_is(client: Client, ann: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(ALL).status_code == 200
        return len(captured)

    numbers = []
    for _ in range(2):
        for _ in range(3):
            make.delegation(make.user(), ann)
        numbers.append(queries())
    assert numbers[0] == numbers[1]
