"""The groups that migrations make: each lets its members do what its name says, and nothing else."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection

from approvals import deciding, queries
from approvals.exceptions import InvalidRequest, NotPermitted, UnknownRequest
from approvals.models import AuditEntry, HumanRequest
from approvals.queries import permissions
from orchestration import OrchestrationManager
from orchestration import queries as runs
from orchestration.exceptions import UnknownRun
from tests import factories as make
from tests.clients import client_of

pytestmark = pytest.mark.django_db

ROLES = ("requester", "reviewer", "auditor", "administrator")
migration = import_module("orchestration.migrations.0003_roles")
overriding = import_module("orchestration.migrations.0007_deciders")


def member(role: str, **fields: Any) -> User:
    return make.user(role, groups=(Group.objects.get(name=role),), **fields)


@pytest.fixture
def people() -> dict[str, User]:
    """Somebody in each role, staff as the admin wants it."""
    return {role: member(role, is_staff=True) for role in ROLES}


def decides(person: User, request_id: str) -> bool:
    try:
        deciding.decide(make.actor(person), request_id, "approve")
    except (NotPermitted, UnknownRequest):
        return False
    return True


def test_reviewers_alone_decide_what_is_assigned_to_nobody(people: dict[str, User]) -> None:
    deciding_roles = [role for role, person in people.items() if decides(person, make.approval())]
    assert deciding_roles == ["reviewer"]


def test_auditors_and_administrators_see_every_request(people: dict[str, User]) -> None:
    make.approval(assignees=[make.user()])
    seen = [role for role, person in people.items() if queries.visible_to(person.pk).exists()]
    assert seen == ["auditor", "administrator"]


def test_administrators_alone_withdraw_and_hand_on_what_others_asked(people: dict[str, User]) -> None:
    for role, person in people.items():
        request_id = make.approval(assignees=[make.user()])
        rights = queries.rights_of(person.pk, HumanRequest.objects.get(pk=request_id))
        assert (rights.withdraw, rights.reassign) == ((role == "administrator"),) * 2, role


class TestWhatAnAdministratorCanDo:
    """Choose who decides, and be it; but not where four eyes are asked for."""

    def test_decides_nothing_unless_named(self, people: dict[str, User]) -> None:
        kim = people["administrator"]
        assert not decides(kim, make.approval())
        assert not decides(kim, make.approval(assignees=[make.user()]))

    def test_can_name_himself_and_decide_which_is_on_the_trail(self, people: dict[str, User]) -> None:
        kim, request_id = people["administrator"], make.approval(assignees=[make.user()])
        deciding.reassign(make.actor(kim), request_id, [kim.username])
        assert decides(kim, request_id)
        entries = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
        assert list(entries.values_list("event", "actor_id", "allowed_by"))[1:] == [
            ("reassigned", kim.pk, "permission change_humanrequest"),
            ("decided", kim.pk, "assigned"),
        ]

    def test_cannot_decide_what_needs_four_eyes_after_reassigning_it(self, people: dict[str, User]) -> None:
        kim, ann = people["administrator"], make.user("ann")
        request_id = make.approval(assignees=[make.user()], four_eyes=True)
        deciding.reassign(make.actor(kim), request_id, [kim.username, "ann"])
        row = HumanRequest.objects.get(pk=request_id)
        assert not queries.rights_of(kim.pk, row).decide
        assert row not in queries.list_inbox(kim.pk, mine=True)
        assert queries.list_requests(kim.pk, mine=True, limit=9) == ([], False)
        with pytest.raises(NotPermitted):
            deciding.decide(make.actor(kim), request_id, "approve")
        assert decides(ann, request_id)

    def test_cannot_be_the_only_one_to_decide_it(self, people: dict[str, User]) -> None:
        kim = people["administrator"]
        request_id = make.approval(assignees=[make.user()], four_eyes=True)
        with pytest.raises(InvalidRequest, match=r"^four_eyes") as refused:
            deciding.reassign(make.actor(kim), request_id, [kim.username])
        assert refused.value.field == "four_eyes"

    def test_cannot_have_it_back_by_way_of_another(self, people: dict[str, User]) -> None:
        kim, ann = people["administrator"], make.user("ann")
        request_id = make.approval(assignees=[make.user()], four_eyes=True)
        deciding.reassign(make.actor(kim), request_id, ["ann"])
        deciding.reassign(make.actor(ann), request_id, [kim.username, make.user("ben").username])
        assert not decides(kim, request_id)
        assert not decides(ann, request_id)


def test_requesters_start_runs(people: dict[str, User]) -> None:
    assert [role for role, person in people.items() if runs.may_start(person.pk)] == ["requester"]


def test_who_sees_and_who_cancels_the_runs_of_others(people: dict[str, User]) -> None:
    owner = make.user(may=("add_run",))
    run_id = OrchestrationManager().start("checklist", {"title": "t", "items": ["one"]}, owner)
    for role, person in people.items():
        seen = role in {"auditor", "administrator"}
        if seen:
            run = runs.run_for(person.pk, run_id)
            assert runs.may_change(person.pk, run) == (role == "administrator")
        else:
            with pytest.raises(UnknownRun):
                runs.run_for(person.pk, run_id)


def test_reports_are_for_auditors_and_administrators(people: dict[str, User]) -> None:
    readers = [role for role, person in people.items() if person.has_perm("approvals.view_report")]
    assert readers == ["auditor", "administrator"]


def test_tokens_callbacks_and_accounts_are_the_administrators(people: dict[str, User]) -> None:
    for permission in (
        "approvals.revoke_apitoken",
        "approvals.resend_callback",
        "auth.add_user",
        "auth.change_user",
        "auth.change_group",
    ):
        assert [role for role, person in people.items() if person.has_perm(permission)] == ["administrator"]


class TestAuditor:
    """Reads everything, decides nothing."""

    @pytest.fixture
    def auditor(self) -> User:
        return member("auditor", is_staff=True)

    def test_an_auditor_may_read_every_table_of_the_record(self, auditor: User) -> None:
        for label in ("approvals", "orchestration"):
            for model in apps.get_app_config(label).get_models():
                name = model._meta.model_name
                if not model._meta.default_permissions:
                    continue  # no part of the record
                assert auditor.has_perm(f"{label}.view_{name}"), name
                for verb in ("add", "change", "delete"):
                    assert not auditor.has_perm(f"{label}.{verb}_{name}"), name

    @pytest.mark.one_stack
    def test_the_api_shows_everything_and_decides_nothing(self, auditor: User) -> None:
        client = client_of(auditor)
        for request_id in (make.approval(), make.approval(assignees=[make.user()])):
            assert client.get(f"/api/v1/requests/{request_id}").status_code == 200
            assert client.get(f"/api/v1/requests/{request_id}/history").status_code == 200
            for deed, body in (
                ("decision", {"decision": "approve"}),
                ("withdraw", {"reason": ""}),
                ("reassign", {"users": ["auditor"]}),
            ):
                answer = client.post(
                    f"/api/v1/requests/{request_id}/{deed}", body, content_type="application/json"
                )
                assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), deed
            assert HumanRequest.objects.get(pk=request_id).status == "pending"

    @pytest.mark.one_stack
    def test_the_pages_show_everything_without_a_form(self, auditor: User) -> None:
        client = client_of(auditor)
        request_id = make.approval("Pay the invoice", assignees=[make.user()])
        page = client.get(f"/requests/{request_id}/")
        assert page.status_code == 200
        assert "Pay the invoice" in page.content.decode()
        assert 'value="approve"' not in page.content.decode()

    @pytest.mark.one_stack
    def test_the_admin_shows_everything_and_offers_nothing(self, auditor: User) -> None:
        client = client_of(auditor)
        request_id = make.approval("Pay the invoice", assignees=[make.user()])
        for page in (
            "approvals/approval/",
            f"approvals/approval/{request_id}/change/",
            "approvals/clarification/",
            "approvals/auditentry/",
            "approvals/apitoken/",
            "orchestration/run/",
            "auth/user/",
            "auth/group/",
        ):
            assert client.get(f"/admin/{page}").status_code == 200, page
        assert client.get(f"/admin/auth/user/{auditor.pk}/delete/").status_code == 403
        assert client.get("/admin/auth/user/add/").status_code == 403

    def test_a_refused_decision_is_on_the_trail(self, auditor: User) -> None:
        request_id = make.approval()
        assert not decides(auditor, request_id)
        entry = AuditEntry.objects.get(request_id=request_id, event="refused")
        assert entry.actor_id == auditor.pk

    def test_who_is_named_to_decide_decides_in_any_role(self, auditor: User) -> None:
        """To be named is a decision of whoever asked, and on the trail; a role takes nothing away."""
        assert decides(auditor, make.approval(assignees=[auditor]))


class TestMaking:
    """What the migration does, and does again."""

    def make_roles(self) -> None:
        with connection.schema_editor() as editor:
            migration.make_roles(apps, SimpleNamespace(connection=editor.connection))
            overriding.grant(apps, SimpleNamespace(connection=editor.connection))

    def permissions_of(self, role: str) -> set[str]:
        return set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))

    def test_roles_are_made_where_there_are_none(self) -> None:
        before = {role: self.permissions_of(role) for role in ROLES}
        Group.objects.all().delete()
        self.make_roles()
        assert {role: self.permissions_of(role) for role in ROLES} == before

    def test_migrating_a_new_database_gives_roles_their_permissions(self) -> None:
        """Django makes permissions only after all migrations; so they are made with the roles."""
        assert {"view_report", "view_auditentry", "view_run"} <= self.permissions_of("auditor")
        assert self.permissions_of("reviewer") == {permissions.DECIDE}

    def test_a_group_of_that_name_is_left_as_it_is(self) -> None:
        """Its members were chosen for something else; nor is anything taken back that was changed since."""
        auditors = Group.objects.get(name="auditor")
        auditors.permissions.set(Permission.objects.filter(codename="view_run"))
        self.make_roles()
        assert self.permissions_of("auditor") == {"view_run"}


def test_nobody_without_a_role_may_do_anything_with_what_others_asked() -> None:
    stranger = make.user()
    request_id = make.approval()
    assert not queries.visible_to(stranger.pk).exists()
    assert not decides(stranger, request_id)
    assert not runs.may_start(stranger.pk)
