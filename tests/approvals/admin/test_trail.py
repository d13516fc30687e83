"""Audit entries and seals in the admin: verified, exported, and changed by nobody."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from approvals import deciding
from approvals.admin.export import ExportForm, stream
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import ApiToken, AuditEntry, Delegation, Destination, HumanRequest, Seal
from approvals.trail import exports, seals
from approvals.web.edge import tokens
from orchestration.models import DecidersOverride, Run
from tests import factories as make
from tests.clients import client_of
from tests.marks import both_databases
from tests.told import told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

ENTRIES = "/admin/approvals/auditentry/"
EXPORT = f"{ENTRIES}export/"
SEALS = "/admin/approvals/seal/"


@pytest.fixture
def auditor() -> User:
    return make.user("ines", is_staff=True, groups=(Group.objects.get(name="auditor"),))


@pytest.fixture
def client(auditor: User) -> Client:
    return client_of(auditor)


def page(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def decided(title: str = "Refund 12.00 EUR") -> str:
    request_id = make.approval(title)
    deciding.decide(make.actor(make.reviewer()), request_id, "approve")
    return request_id


def tampered(request_id: str) -> None:
    """As somebody would who owns the database: the row says what its trail does not."""
    with connection.cursor() as cursor:
        pk = HumanRequest.objects.get(pk=request_id).pk
        stored = pk.hex if connection.vendor == "sqlite" else pk
        cursor.execute("UPDATE approvals_humanrequest SET status = 'rejected' WHERE id = %s", [stored])


class TestVerifying:
    def test_the_button_says_that_a_trail_holds(self, client: Client) -> None:
        request_id = decided()
        address = f"{ENTRIES}verify/?request={request_id}"
        assert f'href="{address}"' in page(client.get(f"/admin/approvals/approval/{request_id}/change/"))
        assert "The trail holds" in page(client.get(address))

    def test_a_row_that_was_changed_is_named_wherever_it_is_shown(self, client: Client) -> None:
        request_id = decided()
        tampered(request_id)
        entry = AuditEntry.objects.filter(request_id=request_id).latest("sequence")
        for address in (
            f"{ENTRIES}verify/?request={request_id}",
            f"/admin/approvals/approval/{request_id}/change/",
            f"{ENTRIES}{entry.pk}/change/",
        ):
            assert "row that disagrees" in page(client.get(address)).lower(), address

    def test_a_selection_is_verified_trail_by_trail(self, client: Client) -> None:
        whole, broken = decided("Whole"), decided("Broken")
        tampered(broken)
        ticked = AuditEntry.objects.filter(request_id__in=[whole, broken]).values_list("pk", flat=True)
        text = page(client.post(ENTRIES, {"action": "verify", "_selected_action": ticked}, follow=True))
        assert "1 of 2 trails do not hold" in text
        assert "Whole" in text
        assert text.count("Row that disagrees") == 1

    @both_databases
    @pytest.mark.parametrize("nonsense", ["abc", "1" * 30, "1" * 5000, "", "\0", "½"])
    def test_what_is_ticked_and_no_key_is_left_out(self, client: Client, nonsense: str) -> None:
        request_id = decided()
        entry = AuditEntry.objects.filter(request_id=request_id).latest("sequence")
        sent = {"action": "verify", "_selected_action": [nonsense, entry.pk]}
        assert "The trail holds" in page(client.post(ENTRIES, sent, follow=True))
        alone = {"action": "verify", "index": 0, "_selected_action": nonsense}
        assert "Items must be selected" in page(client.post(ENTRIES, alone, follow=True))

    def test_what_may_not_be_seen_is_not_verified(self) -> None:
        request_id = decided("Secret")
        client = client_of(make.user("sam", is_staff=True))
        text = page(client.get(f"{ENTRIES}verify/?request={request_id}&request=nonsense"))
        assert "Secret" not in text
        assert "No request was named that you may see" in text


class TestEntries:
    def test_an_entry_says_for_whom_under_which_policy_and_what_stands_beside_it(
        self, client: Client
    ) -> None:
        ann = make.user("ann")
        sam = make.user("sam")
        request_id = make.approval(requester=ann, four_eyes=True, assignees=[sam], severity="high")
        deciding.decide(make.actor(sam), request_id, "reject")
        first, second = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
        text = page(client.get(f"{ENTRIES}{first.pk}/change/"))
        for piece in (
            "on behalf of ann",
            "neither the requester nor anybody who reassigns it, severity high",
            f"{ENTRIES}{second.pk}/change/",
        ):
            assert piece in text
        assert "Previous entry" not in text

    def test_the_history_names_the_group_that_allowed_it(self, client: Client) -> None:
        sam = make.user("sam")
        group = make.group("payments", sam)
        request_id = make.approval(assignees=[group])
        deciding.decide(make.actor(sam), request_id, "approve")
        text = page(client.get(f"/admin/approvals/approval/{request_id}/change/"))
        assert f"allowed by assigned group {group.pk} (payments)" in text
        assert "policy: one decides" in text

    @both_databases
    @pytest.mark.parametrize(
        "query", ["address=nowhere", "event=%00", "outcome=%00", "kind=%00", "actor=%00"]
    )
    def test_a_filter_by_what_can_not_be_is_no_error(self, client: Client, query: str) -> None:
        decided()
        assert page(client.get(f"{ENTRIES}?{query}"))


class TestExporting:
    @both_databases
    async def test_it_is_the_whole_trail_to_its_end(self) -> None:
        """The end says how many entries there are."""
        for number in range(3):
            await in_database(decided, f"Refund {number}")
        sent = "".join([piece async for piece in stream(exports.Filters(), "jsonl")])
        records = [json.loads(line) for line in sent.splitlines()]
        assert records[-1]["entries"] == 6

    @both_databases
    async def test_who_leaves_early_leaves_nothing_behind(self) -> None:
        """The thread and its transaction end: that they do, every test of ours is asked."""
        await in_database(decided)
        pieces = stream(exports.Filters(), "jsonl")
        assert await anext(pieces)
        await pieces.aclose()

    @both_databases
    def test_what_is_chosen_is_sent_as_a_file(self, client: Client, auditor: User) -> None:
        chosen = {"since": "2020-01-01", "until": "2020-01-02", "actor": "ines", "kind": "approval"}
        response = client.get(EXPORT, {"format": "csv", **chosen})
        assert response.status_code == 200
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert re.fullmatch(r'attachment; filename="audit-\d{8}-\d{6}\.csv"', response["Content-Disposition"])
        assert "no-store" in response["Cache-Control"]
        form = ExportForm({"format": "csv", **chosen})
        assert form.is_valid()
        assert form.filters == exports.Filters(
            since=datetime(2020, 1, 1, tzinfo=UTC),
            until=datetime(2020, 1, 3, tzinfo=UTC),
            actor=auditor.pk,
            kind="approval",
        )

    def test_what_can_be_no_filter_is_said_beside_it(self, client: Client) -> None:
        text = page(client.get(EXPORT, {"format": "xml", "actor": "nobody", "since": "yesterday"}))
        assert text.count('class="errors"') == 3

    @pytest.mark.parametrize(
        ("period", "said"),
        [
            ("until=9999-12-31", "This date is too late."),
            ("since=2026-02-01&until=2026-01-31", "This must not be before the first day."),
        ],
    )
    def test_an_impossible_period_is_said_beside_it(self, client: Client, period: str, said: str) -> None:
        assert said in page(client.get(f"{EXPORT}?format=csv&{period}"))

    def test_it_is_for_those_who_may_read_the_trail(self, client: Client) -> None:
        assert EXPORT in page(client.get(ENTRIES))
        assert set(exports.FORMATS) == {"csv", "jsonl"}
        sam = client_of(make.user("sam", is_staff=True))
        assert EXPORT not in page(sam.get(ENTRIES))
        assert sam.get(EXPORT, {"format": "csv"}).status_code == 403


class TestSeals:
    def test_a_seal_is_shown_with_its_evidence_and_the_one_before(self, client: Client) -> None:
        key = Ed25519PrivateKey.generate()
        for _ in range(2):
            decided()
            seals.make(key)
        text = page(client.get(f"{SEALS}2/change/"))
        second = Seal.objects.get(number=2)
        for piece in (second.signature, second.hash, second.public_key, f"{SEALS}1/change/"):
            assert piece in text
        assert "is missing" not in text
        assert "Seal 2" in page(client.get(SEALS))

    def test_seals_are_for_those_who_may_see_them(self) -> None:
        """The list, and each page: whether there is one, is not told either."""
        decided()
        seals.make(Ed25519PrivateKey.generate())
        client = client_of(make.user("sam", is_staff=True))
        for address in (SEALS, f"{SEALS}1/change/", f"{SEALS}2/change/", f"{SEALS}1/history/"):
            assert client.get(address).status_code == 403, address


admin.autodiscover()
RECORDS = [
    model
    for label in ("approvals", "orchestration")
    for model in apps.get_app_config(label).get_models()
    if admin.site.is_registered(model) and model is not DecidersOverride
] + [model for model in admin.site._registry if model._meta.proxy and model._meta.app_label == "approvals"]


@pytest.fixture
def a_row_of_each(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = ["hooks.example.org"]
    request_id = make.approval(callback_url="https://hooks.example.org/")
    deciding.decide(make.actor(make.reviewer()), request_id, "approve")
    make.clarification()
    settings.SAYSO_NOTIFY = "on"
    told("Refund", assignees=[make.user()])
    make.delegation(make.user(), make.user())
    make.destination(make.group(), "webhook", "https://hooks.example.org/")
    seals.make(Ed25519PrivateKey.generate())
    tokens.issue(make.user().pk, "nightly job", ["ask"])
    now = database_now()
    Run.objects.create(orchestration="tidy", created_at=now, changed_at=now)


@pytest.mark.usefixtures("a_row_of_each")
@pytest.mark.parametrize("model", dict.fromkeys(RECORDS), ids=lambda model: model.__name__)
def test_nobody_adds_changes_or_deletes_a_record(model: Any) -> None:
    """Superusers included; and no list offers it. What is made has a form with rules of its own."""
    made = model in {ApiToken, Delegation, Destination}
    boss = make.user("boss", is_staff=True, is_superuser=True)
    request = RequestFactory().get("/")
    request.user = boss
    record_admin = admin.site.get_model_admin(model)
    assert record_admin.has_add_permission(request) is made
    assert not record_admin.has_change_permission(request)
    assert not record_admin.has_delete_permission(request)
    assert "delete_selected" not in record_admin.get_actions(request)
    client, named = client_of(boss), f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pk = record_admin.get_queryset(request).values_list("pk", flat=True)[0]
    list_, change = reverse(f"{named}_changelist"), reverse(f"{named}_change", args=[pk])
    for address in (list_, change):  # that the page was looked at, is on record from here on
        assert client.get(address, follow=True).status_code == 200

    before = rows_of(model)
    forged = {field.name: "1" for field in model._meta.fields} | {"post": "yes", "_save": "Save"}
    assert client.post(reverse(f"{named}_add"), forged).status_code == (422 if made else 403)
    assert client.post(reverse(f"{named}_delete", args=[pk]), forged).status_code == 403
    client.post(change, forged)
    client.post(list_, {"action": "delete_selected", "index": 0, "_selected_action": pk, "post": "yes"})
    client.post(list_, {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": pk, **forged})
    assert rows_of(model) == before


def rows_of(model: Any) -> list[dict[str, Any]]:
    found = list(model._default_manager.order_by("pk").values())
    assert found
    return found
