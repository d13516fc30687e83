"""The page of one's own preferences."""

from __future__ import annotations

from datetime import time
from typing import Any

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
    assert chosen == {"opened", "reminder", "reassigned", "escalated", "question"}
    form.pick("told", "closed", "opened")
    post(client, PREFERENCES, form.sent())
    assert queries.told_by_mail(ann.pk) == ["opened", "closed"]
    form = Page(client.get(PREFERENCES).text, "opens_next")
    form.pick("told")
    post(client, PREFERENCES, form.sent())
    assert queries.told_by_mail(ann.pk) == []
    client.post(PREFERENCES, {"told": "everything"})
    assert queries.told_by_mail(ann.pk) == []


def test_quiet_hours_and_days_are_chosen_on_the_clock_of_ones_zone(
    client: Client, ann: User, settings: Settings
) -> None:
    """Where this installation tells people; what is shown again is what was saved."""
    assert "quiet" not in client.get(PREFERENCES).text
    settings.SAYSO_NOTIFY = "on"
    form = Page(client.get(PREFERENCES).text, "opens_next")
    form.fill("time_zone", " Europe/Berlin ").fill("quiet_from", "22:00").fill("quiet_until", "07:30")
    form.fill("digest_at", "09:15").pick("quiet_days", "5", "6").pick("urgent_breaks_quiet")
    assert post(client, PREFERENCES, form.sent()).status_code == 303
    saved = queries.preference_of(ann.pk)
    assert (saved.time_zone, saved.quiet_days) == ("Europe/Berlin", [5, 6])
    assert (saved.quiet_from, saved.quiet_until) == (time(22), time(7, 30))
    assert saved.digest_at == time(9, 15)
    assert saved.urgent_breaks_quiet is False
    again = Page(client.get(PREFERENCES).text, "opens_next")
    shown = again.sent()
    assert [shown[name] for name in ("time_zone", "quiet_from", "quiet_until")] == [
        "Europe/Berlin",
        "22:00",
        "07:30",
    ]
    assert shown.getlist("quiet_days") == ["5", "6"]
    assert "urgent_breaks_quiet" not in shown
    form.fill("quiet_from", "").fill("quiet_until", "").pick("quiet_days")
    post(client, PREFERENCES, form.sent())
    saved = queries.preference_of(ann.pk)
    assert (saved.quiet_from, saved.quiet_until, saved.quiet_days) == (None, None, [])


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (
            {"time_zone": "Atlantis"},
            "Time zone must be the name of an IANA time zone, such as Europe/Berlin.",
        ),
        ({"quiet_from": "late"}, "Quiet from must be a time such as 22:00."),
        ({"digest_at": "25:00"}, "One email a day, at must be a time such as 22:00."),
        ({"quiet_from": "22:00"}, "Quiet until goes with Quiet from: set both, or none."),
        (
            {"quiet_from": "22:00", "quiet_until": "22:00"},
            "Quiet until must be another time than Quiet from.",
        ),
        ({"quiet_days": list("0123456")}, "Days without messages must leave one day of the week."),
        ({"quiet_days": ["7"]}, "Days without messages must be one of the options."),
    ],
)
def test_what_can_not_be_saved_is_refused_at_its_field(
    client: Client, settings: Settings, sent: dict[str, Any], refusal: str
) -> None:
    settings.SAYSO_NOTIFY = "on"
    assert refusal in client.post(PREFERENCES, sent).text
    assert not Preference.objects.exists()


def test_it_goes_with_the_account(ann: User) -> None:
    Preference.objects.create(user=ann, opens_next=False)
    ann.delete()
    assert not Preference.objects.exists()


@pytest.mark.parametrize(
    "form",
    [
        "webhooks/",
        "addresses/",
        "addresses/code/",
        "addresses/another-code/",
        "addresses/drop/",
        "destinations/1/",
        "destinations/1/remove/",
    ],
)
def test_who_logs_in_again_on_the_way_to_a_form_is_back_on_the_page(client: Client, form: str) -> None:
    """So is who reloads a form that was refused: its address is not another page's."""
    client.logout()
    sent_away = client.post(f"{PREFERENCES}{form}")
    assert f"next={PREFERENCES}{form}" in sent_away["Location"]
    client.force_login(User.objects.get())
    back = client.get(f"{PREFERENCES}{form}", follow=True)
    assert back.redirect_chain == [(f"{PREFERENCES}?unsent=", 302)]
    assert "What you meant to send was not recorded." in back.text
    assert client.options(f"{PREFERENCES}{form}").status_code == 405


class TestDestinations:
    """Where else somebody is told."""

    @pytest.fixture(autouse=True)
    def telling(self, settings: Settings, allowed: None) -> None:
        settings.SAYSO_NOTIFY = "on"

    def test_one_adds_a_webhook_of_ones_own_and_removes_it(self, client: Client, ann: User) -> None:
        said = {"address": "https://hooks.example.org/T0KEN", "label": "pager", "events": ["opened"]}
        assert client.post(f"{PREFERENCES}webhooks/", said).status_code == 303
        (row,) = queries.destinations_of(ann.pk)
        assert (row.user_id, row.kind, row.label, row.events) == (ann.pk, "webhook", "pager", ["opened"])
        page = client.get(PREFERENCES).text
        assert "pager" in page
        assert "https://hooks.example.org/…" in page
        assert "T0KEN" not in page
        client.post(f"{PREFERENCES}destinations/{row.pk}/remove/")
        assert queries.destinations_of(ann.pk) == []

    def test_it_goes_to_hosts_that_the_installation_allows(
        self, client: Client, ann: User, settings: Settings
    ) -> None:
        said = {"address": "https://evil.example.com/", "events": ["opened"]}
        refused = client.post(f"{PREFERENCES}webhooks/", said)
        assert refused.status_code == 422
        assert "has a host that is none of those" in refused.text
        settings.SAYSO_CALLBACK_HOSTS = []
        assert "Add a webhook" not in client.get(PREFERENCES).text
        client.post(f"{PREFERENCES}webhooks/", said)
        assert queries.destinations_of(ann.pk) == []

    def test_one_has_five_at_most(self, client: Client, ann: User) -> None:
        for number in range(6):
            said = {"address": f"https://hooks.example.org/{number}", "events": ["opened"]}
            last = client.post(f"{PREFERENCES}webhooks/", said)
        assert last.status_code == 422
        assert len(queries.destinations_of(ann.pk)) == 5

    def test_nobody_removes_what_is_anothers_or_a_groups(self, client: Client, ann: User) -> None:
        group = make.group("finance", ann)
        theirs = [
            make.destination(make.user("bob"), "webhook", "https://hooks.example.org/"),
            make.destination(group, "webhook", "https://hooks.example.org/", label="team pager"),
        ]
        for row in theirs:
            client.post(f"{PREFERENCES}destinations/{row.pk}/remove/")
            row.refresh_from_db()
        page = client.get(PREFERENCES).text
        assert "team pager" in page
        assert "finance" in page

    @both_databases
    def test_one_changes_of_what_each_of_ones_places_is_told(self, client: Client, ann: User) -> None:
        """Those that an administrator added included; of nothing, too."""
        for kind, address in (("webhook", "https://hooks.example.org/"), ("chat", "slack://a/b/c")):
            row = make.destination(ann, kind, address, label=kind, events=["opened", "closed"])
            path = f"{PREFERENCES}destinations/{row.pk}/"
            for chosen in (["reminder"], []):
                form = Page(
                    "<form>" + client.get(PREFERENCES).text.partition(f'action="{path}#')[2], "events"
                )
                form.pick("events", *chosen)
                assert post(client, path, form.sent()).status_code == 303
                row.refresh_from_db()
                assert row.events == chosen
        assert client.get(PREFERENCES).text.count("Told about: nothing") == 2

    def test_what_is_no_event_is_refused_there(self, client: Client, ann: User) -> None:
        row = make.destination(ann, "webhook", "https://hooks.example.org/", events=["opened"])
        refused = client.post(f"{PREFERENCES}destinations/{row.pk}/", {"events": ["everything"]})
        assert refused.status_code == 422
        assert "Tell it about must be one of the options." in refused.text
        assert '<details class="section" open>' in refused.text

    def test_nobody_changes_what_is_anothers_or_a_groups(self, client: Client, ann: User) -> None:
        for owner in (make.user("bob"), make.group("finance", ann)):
            row = make.destination(owner, "webhook", "https://hooks.example.org/", events=["opened"])
            client.post(f"{PREFERENCES}destinations/{row.pk}/", {"events": []})
            row.refresh_from_db()
            assert row.events == ["opened"]
