"""What is removed, what stays, and that the trail verifies and tells of it."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import REMOVED, Status
from approvals.exceptions import KeyConflict, NotPermitted
from approvals.management.screen import Misuse, Refused
from approvals.models import (
    ApiToken,
    AuditEntry,
    Callback,
    DeliveryStatus,
    Destination,
    HumanRequest,
    Notification,
    Preference,
    Response,
    ShownContent,
)
from approvals.trail import retention, verification
from approvals.trail.verification import FaultKind
from approvals.web.edge import tokens
from approvals.writer import callbacks, chain
from tests import factories as make
from tests.in_process import as_superuser
from tests.tampering import without_triggers
from tests.told import told

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("as_keeper")]

SECRET_WORDS = "the yearly bonus"


@pytest.fixture
def keeper() -> User:
    """An administrator, who purges."""
    return make.user("keeper", may=("change_humanrequest",))


@pytest.fixture
def ann() -> User:
    return make.reviewer("ann")


@pytest.fixture
def rita() -> User:
    return make.user("rita")


def run(*arguments: str, **options: Any) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output, **options)
    return output.getvalue()


def refusal(*arguments: str, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    return caught.value


def in_the_past(days: int = 400) -> None:
    """Let all that is on record so far have been recorded so long ago, as if it had been done then.

    Chains are hashed over their moments, so they are made anew as the writer would have made them.
    """
    with without_triggers():
        for row in HumanRequest.objects.all():
            _move_back(row, timedelta(days=days))


def _move_back(row: HumanRequest, by: timedelta) -> None:
    previous = ""
    for entry in AuditEntry.objects.filter(request=row).order_by("sequence"):
        beside = json.loads(entry.canonical)
        if beside["policy"]["deadline"] and row.deadline:
            beside["policy"]["deadline"] = chain.as_text(row.deadline - by)
        entry.recorded_at -= by
        entry.previous_hash = previous
        entry.canonical = chain.canonical_entry(vars(entry), beside)
        entry.hash = previous = hashlib.sha256(entry.canonical.encode()).hexdigest()
        AuditEntry.writing.filter(pk=entry.pk).update(
            recorded_at=entry.recorded_at,
            previous_hash=entry.previous_hash,
            canonical=entry.canonical,
            hash=entry.hash,
        )
    Response.writing.filter(request=row).update(given_at=row.closed_at - by if row.closed_at else None)
    moments = ("opened_at", "changed_at", "closed_at", "deadline")
    earlier = {name: getattr(row, name) and getattr(row, name) - by for name in moments}
    HumanRequest.writing.filter(pk=row.pk).update(trail_head=previous, **earlier)
    for entry in AuditEntry.objects.filter(request=row, event__in=("decided", "answered")):
        with as_superuser():
            Response.writing.filter(request=row, actor_id=entry.actor_id).update(given_at=entry.recorded_at)


def decided(decider: User, requester: User | None = None, **terms: Any) -> str:
    """An approval with words everywhere, approved with edited arguments."""
    id_ = make.approval(
        f"Pay {SECRET_WORDS}",
        details=f"About {SECRET_WORDS}",
        severity="high",
        arguments={"what": SECRET_WORDS, SECRET_WORDS: 1},
        highlight=[SECRET_WORDS],
        editable=True,
        requester=requester,
        timeout=600,
        **terms,
    )
    deciding.record_view(make.actor(decider), id_)
    deciding.decide(
        make.actor(decider),
        id_,
        "approve",
        comment=f"Yes: {SECRET_WORDS}",
        arguments={"what": SECRET_WORDS, "n": 1},
    )
    return id_


def answered(person: User, **terms: Any) -> str:
    id_ = make.clarification(f"What of {SECRET_WORDS}?", default=SECRET_WORDS, **terms)
    deciding.answer(make.actor(person), id_, SECRET_WORDS, comment=SECRET_WORDS)
    return id_


def everything_on_record() -> str:
    """All text in the database: what is removed is in no table, the admin's log included."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found.append(repr(cursor.fetchall()))
    return "\n".join(found)


def faults() -> list[str]:
    return [str(fault) for fault in verification.verify().first]


class TestPurgeHistory:
    def test_what_was_shown_and_said_is_gone_and_the_trail_verifies(self, keeper: User, ann: User) -> None:
        decided(ann)
        answered(ann)
        in_the_past()
        assert faults() == []
        assert SECRET_WORDS in everything_on_record()
        printed = run("purge_history", older_than="365", username="keeper")
        assert "requests\t2" in printed
        assert SECRET_WORDS not in everything_on_record()
        assert faults() == []

    def test_what_remains_says_who_when_and_what_it_came_to(self, keeper: User, ann: User) -> None:
        id_ = decided(ann)
        in_the_past()
        before = HumanRequest.objects.get(pk=id_)
        run("purge_history", older_than="365", username="keeper")
        row = HumanRequest.objects.get(pk=id_)
        assert (row.title, row.arguments, row.final_arguments, row.comment) == (REMOVED, {}, None, "")
        assert (row.highlight, row.severity) == ([], "high")
        assert (row.status, row.decided_by_id, row.closed_at) == (Status.APPROVED, ann.pk, before.closed_at)
        assert row.purged_at is not None
        response = Response.objects.get(request=row)
        assert (response.actor_id, response.verdict, response.comment) == (ann.pk, "approve", "")
        events = list(
            AuditEntry.objects.filter(request=row).order_by("sequence").values_list("event", flat=True)
        )
        assert events == ["opened", "viewed", "decided", "purged"]

    def test_the_removal_is_an_entry_that_tells_who_and_which(self, keeper: User, ann: User) -> None:
        id_ = decided(ann)
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        entry = AuditEntry.objects.get(request_id=id_, event="purged")
        assert (entry.actor_id, entry.channel, entry.user_agent) == (
            keeper.pk,
            "command",
            "manage.py purge_history",
        )
        assert entry.allowed_by == "permission change_humanrequest"
        told = json.loads(ShownContent.objects.get(entry=entry).content)
        assert (told["entries"], told["actor"]) == ([1, 2, 3], "keeper")

    def test_what_is_pending_or_closed_lately_is_left_alone(self, keeper: User, ann: User) -> None:
        pending = make.approval(f"Pay {SECRET_WORDS}")
        in_the_past()
        lately = decided(ann)
        assert "requests\t0" in run("purge_history", older_than="1", username="keeper")
        titles = set(HumanRequest.objects.values_list("title", flat=True))
        assert titles == {f"Pay {SECRET_WORDS}"}
        assert not AuditEntry.objects.filter(request_id__in=(pending, lately), event="purged").exists()

    def test_a_second_call_finds_nothing(self, keeper: User, ann: User) -> None:
        decided(ann)
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        assert "requests\t0" in run("purge_history", older_than="365", username="keeper")
        assert AuditEntry.objects.filter(event="purged").count() == 1

    def test_a_dry_run_counts_and_changes_nothing(self, keeper: User, ann: User) -> None:
        decided(ann)
        in_the_past()
        before = everything_on_record()
        printed = run("purge_history", older_than="365", username="keeper", dry_run=True)
        assert [line.split("\t") for line in printed.splitlines()[1:]] == [
            ["requests", "1"],
            ["contents of entries", "3"],
            ["responses", "1"],
            ["runs", "0"],
            ["steps", "0"],
            ["messages", "0"],
        ]
        assert everything_on_record() == before

    def test_many_requests_are_purged_set_by_set(
        self, keeper: User, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "SET", 2)
        for _ in range(5):
            answered(ann)
        in_the_past()
        assert "requests\t5" in run("purge_history", older_than="365", username="keeper")
        assert faults() == []

    def test_stopped_half_way_it_goes_on_where_it_was(
        self, keeper: User, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "SET", 2)
        for _ in range(5):
            answered(ann)
        in_the_past()
        actor, before = make.actor(keeper), database_now() - timedelta(days=365)
        sets = retention.purge(actor, before, sparing=lambda origins: [])
        assert next(sets).done == 2
        assert faults() == []
        assert "requests\t3" in run("purge_history", older_than="365", username="keeper")

    def test_content_that_was_altered_is_evidence_and_stays(self, keeper: User, ann: User) -> None:
        id_ = decided(ann)
        in_the_past()
        with as_superuser():
            ShownContent.writing.filter(entry__request_id=id_, entry__event="viewed").update(content="{}")
        error = refusal("purge_history", older_than="365", username="keeper")
        assert (error.returncode, id_ in str(error)) == (1, True)
        assert HumanRequest.objects.get(pk=id_).purged_at is None
        assert [fault.kind for fault in verification.verify().first] == [FaultKind.CHANGED_ENTRY]

    def test_content_that_somebody_deleted_is_named_by_verification(self, ann: User) -> None:
        """Only what the trail says was removed may be missing."""
        id_ = decided(ann)
        with as_superuser():
            ShownContent.writing.filter(entry__request_id=id_, entry__event="viewed").delete()
        (fault,) = verification.verify_request(HumanRequest.objects.get(pk=id_).pk)
        assert (fault.kind, fault.sequence) == (FaultKind.CHANGED_ENTRY, 2)
        assert "no removal is on record" in fault.detail

    @pytest.mark.one_stack
    @pytest.mark.parametrize("days", ["0", "-1", "soon", "1.5", "", "36501"])
    def test_an_impossible_number_of_days_is_misuse(self, keeper: User, days: str) -> None:
        error = refusal("purge_history", older_than=days, username="keeper")
        assert isinstance(error, Misuse)
        assert error.returncode == 2

    def test_only_who_manages_requests_may(self, ann: User) -> None:
        error = refusal("purge_history", older_than="1", username="ann")
        assert isinstance(error, Refused)
        assert str(error).startswith("not_permitted")

    def test_the_writer_refuses_who_may_not(self, ann: User) -> None:
        decided(ann)
        in_the_past()
        with pytest.raises(NotPermitted):
            list(retention.purge(make.actor(ann), database_now(), sparing=lambda origins: []))

    def test_a_purged_key_is_used_up(self, keeper: User, ann: User) -> None:
        """The recorded outcome must not stand for words that nobody can compare any more."""
        decided(ann, key="bonus", key_scope="books")
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        with pytest.raises(KeyConflict, match="has been removed"):
            gate.open_approval(REMOVED, arguments={}, key="bonus", key_scope="books")

    def test_an_outcome_on_its_way_is_posted_first_and_never_again(
        self, keeper: User, ann: User, settings: Settings
    ) -> None:
        settings.SAYSO_CALLBACK_HOSTS = ["books.example"]
        id_ = decided(ann, callback_url="https://books.example/hook/s3cret?token=s3cret")
        in_the_past()
        assert "requests\t0" in run("purge_history", older_than="365", username="keeper")
        Callback.writing.update(status=DeliveryStatus.DELIVERED, due_at=None)
        assert "requests\t1" in run("purge_history", older_than="365", username="keeper")
        callback = Callback.objects.get(request_id=id_)
        assert callback.url == HumanRequest.objects.get(pk=id_).callback_url == "https://books.example"
        assert not callbacks.send_again(callback.pk)
        assert "s3cret" not in everything_on_record()

    @pytest.mark.one_stack
    def test_the_log_of_the_admin_keeps_no_address_of_an_outcome(
        self, keeper: User, ann: User, settings: Settings, client: Client
    ) -> None:
        """Who sent it again stays, and which one it was."""
        settings.SAYSO_CALLBACK_HOSTS = ["books.example"]
        id_ = decided(ann, callback_url="https://books.example/hook/s3cret?token=s3cret")
        callback = Callback.objects.get(request_id=id_)
        boss = make.user("boss", is_staff=True, is_superuser=True)
        client.force_login(boss)
        client.post(f"/admin/approvals/callback/{callback.pk}/send_again/")
        Callback.writing.update(status=DeliveryStatus.DELIVERED, due_at=None)
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        logged = LogEntry.objects.get()
        assert (logged.user, logged.object_repr) == (boss, f"callback of {id_}")
        assert "s3cret" not in everything_on_record()

    @pytest.mark.one_stack
    def test_a_purged_request_still_has_a_page(self, keeper: User, ann: User) -> None:
        id_ = decided(ann)
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        asked = queries.request_for(ann.pk, id_)
        assert queries.on_the_wire(asked)["title"] == REMOVED
        assert [entry.event for entry in queries.history(asked)][-1] == "purged"


class TestForgetPerson:
    def test_name_and_words_are_gone_and_the_trail_verifies(self, keeper: User, ann: User) -> None:
        ann.first_name, ann.email = "Ann", "ann@example.org"
        ann.save()
        Preference.objects.create(user=ann, opens_next=False)
        id_ = decided(ann)
        answered(ann)
        printed = run("forget_person", "ann", username="keeper")
        assert f"removed-{ann.pk}" in printed
        row, record = HumanRequest.objects.get(pk=id_), everything_on_record()
        assert "Yes:" not in record
        assert '"actor":"ann"' not in record
        ann.refresh_from_db()
        assert (ann.username, ann.first_name, ann.email) == (f"removed-{ann.pk}", "", "")
        assert not Preference.objects.exists()
        assert (row.comment, row.decided_by_id) == ("", ann.pk)
        assert HumanRequest.objects.get(kind="clarification").answer is None
        assert faults() == []

    def test_what_they_were_told_by_goes_with_what_is_on_its_way_there(
        self, keeper: User, ann: User, rita: User, settings: Settings
    ) -> None:
        settings.SAYSO_NOTIFY = "on"
        deciding.withdraw(Actor.program(), str(told("Theirs", assignees=[ann]).request_id))
        others = told("Another's", assignees=[rita])
        run("forget_person", "ann", username="keeper")
        assert list(Notification.objects.all()) == [others]
        assert [destination.user for destination in Destination.objects.all()] == [rita]

    def test_what_was_decided_stays_and_is_vouched_for_anew(
        self, keeper: User, ann: User, rita: User
    ) -> None:
        """The question that she asked is what another decided; changed later, that is noticed."""
        id_ = decided(ann, requester=rita)
        opened_by(id_, rita)
        run("forget_person", "rita", username="keeper")
        run("forget_person", "ann", username="keeper")
        row = HumanRequest.objects.get(pk=id_)
        assert row.title == f"Pay {SECRET_WORDS}"
        assert faults() == []
        HumanRequest.writing.filter(pk=id_).update(final_arguments={"what": "something else"})
        assert [fault.kind for fault in verification.verify().first] == [FaultKind.ROW]

    def test_a_question_that_was_asked_by_the_person_is_kept(
        self, keeper: User, ann: User, rita: User
    ) -> None:
        id_ = gate.open_approval("Pay", arguments={"n": 1}, requester=rita, actor=make.actor(rita))
        deciding.decide(make.actor(ann), id_, "approve", comment="Fine")
        run("forget_person", "rita", username="keeper")
        assert faults() == []
        assert '"actor":"rita"' not in everything_on_record()
        assert HumanRequest.objects.get(pk=id_).comment == "Fine"
        HumanRequest.writing.filter(pk=id_).update(title="Pay more")
        assert [fault.kind for fault in verification.verify().first] == [FaultKind.ROW]

    def test_what_was_kept_is_purged_in_its_time(self, keeper: User, ann: User, rita: User) -> None:
        id_ = gate.open_approval(
            f"Pay {SECRET_WORDS}", arguments={"n": 1}, requester=rita, actor=make.actor(rita)
        )
        deciding.decide(make.actor(ann), id_, "approve")
        run("forget_person", "rita", username="keeper")
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        assert SECRET_WORDS not in everything_on_record()
        assert faults() == []

    def test_what_was_kept_lately_of_an_old_request_is_purged_with_it(
        self, keeper: User, ann: User, rita: User
    ) -> None:
        """The question is as old as its request, whenever its asker was forgotten."""
        asked_by(rita, decider=ann)
        in_the_past()
        run("forget_person", "rita", username="keeper")
        counted = run("purge_history", older_than="365", username="keeper", dry_run=True)
        assert "contents of entries\t2" in counted
        run("purge_history", older_than="365", username="keeper")
        assert SECRET_WORDS not in everything_on_record()
        assert faults() == []
        assert "requests\t0" in run("purge_history", older_than="365", username="keeper")

    def test_a_request_of_which_all_is_kept_is_due_all_the_same(self, keeper: User, rita: User) -> None:
        """Its asker has decided it, too: nothing else is left that was shown or said."""
        rita.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))
        asked_by(rita, decider=rita)
        in_the_past()
        run("forget_person", "rita", username="keeper")
        assert "requests\t1" in run("purge_history", older_than="365", username="keeper")
        assert SECRET_WORDS not in everything_on_record()
        assert faults() == []

    @pytest.mark.one_stack
    @pytest.mark.parametrize("order", list(permutations(("rita", "ann", "purge", "keeper"))), ids="-".join)
    def test_removals_in_any_order_verify(
        self, order: tuple[str, ...], keeper: User, ann: User, rita: User
    ) -> None:
        successor = make.user("successor", may=("change_humanrequest",))
        asked_by(rita, decider=ann)
        in_the_past()
        operator = keeper
        for removal in order:
            operator = successor if removal == "keeper" else operator
            if removal == "purge":
                run("purge_history", older_than="365", username=operator.username)
            else:
                run("forget_person", removal, username=operator.username)
            assert faults() == [], removal
        assert SECRET_WORDS not in everything_on_record()

    def test_who_is_named_after_a_handing_on_is_vouched_for(
        self, keeper: User, ann: User, rita: User
    ) -> None:
        """The asker named others: what is kept of the question does not say who is named now."""
        id_ = gate.open_approval(
            "Pay", arguments={}, requester=rita, actor=make.actor(rita), assignees=[keeper]
        )
        deciding.reassign(make.actor(keeper), id_, users=[ann.pk])
        deciding.decide(make.actor(ann), id_, "approve")
        run("forget_person", "rita", username="keeper")
        assert faults() == []

    def test_nobody_gets_in_with_the_account_any_more(self, keeper: User, ann: User) -> None:
        token, secret = tokens.issue(ann.pk, "ann's laptop", ["read"])
        assert tokens.bearer(secret)
        run("forget_person", "ann", username="keeper")
        ann.refresh_from_db()
        assert not ann.is_active
        assert not ann.has_usable_password()
        assert not ann.user_permissions.exists()
        assert tokens.bearer(secret) is None
        row = ApiToken.objects.get(pk=token.pk)
        assert (row.name, row.revoked_by_id) == (REMOVED, keeper.pk)

    def test_the_admins_log_does_not_name_the_person(self, keeper: User, ann: User) -> None:
        LogEntry.objects.create(
            user=keeper,
            content_type=ContentType.objects.get_for_model(User),
            object_id=str(ann.pk),
            object_repr="ann",
            action_flag=CHANGE,
        )
        run("forget_person", "ann", username="keeper")
        assert LogEntry.objects.get().object_repr == f"removed-{ann.pk}"

    def test_who_is_needed_is_not_forgotten(self, keeper: User, ann: User) -> None:
        id_ = make.approval(assignees=[ann])
        error = refusal("forget_person", "ann", username="keeper")
        assert (error.returncode, id_ in str(error)) == (1, True)
        ann.refresh_from_db()
        assert ann.is_active

    def test_having_looked_at_something_pending_is_no_obstacle(self, keeper: User, ann: User) -> None:
        id_ = make.approval()
        deciding.record_view(make.actor(ann), id_)
        run("forget_person", "ann", username="keeper")
        assert '"actor":"ann"' not in everything_on_record()
        assert HumanRequest.objects.get(pk=id_).status == Status.PENDING
        assert faults() == []

    def test_a_dry_run_counts_and_changes_nothing(self, keeper: User, ann: User) -> None:
        decided(ann)
        before = everything_on_record()
        printed = run("forget_person", "ann", username="keeper", dry_run=True)
        assert [line.split("\t") for line in printed.splitlines()[1:]] == [
            ["requests", "1"],
            ["contents of entries", "2"],
            ["responses", "1"],
        ]
        assert everything_on_record() == before
        ann.refresh_from_db()
        assert ann.username == "ann"

    def test_a_second_call_finds_nothing(self, keeper: User, ann: User) -> None:
        decided(ann)
        run("forget_person", "ann", username="keeper")
        entries = AuditEntry.objects.count()
        assert "from 0 requests" in run("forget_person", f"removed-{ann.pk}", username="keeper")
        assert AuditEntry.objects.count() == entries

    @pytest.mark.one_stack
    @pytest.mark.parametrize("person", ["nobody", "keeper"])
    def test_an_unknown_person_and_oneself_are_misuse(self, keeper: User, person: str) -> None:
        assert refusal("forget_person", person, username="keeper").returncode == 2

    def test_who_purged_can_be_forgotten_too(self, keeper: User, ann: User) -> None:
        decided(ann)
        in_the_past()
        run("purge_history", older_than="365", username="keeper")
        successor = make.user("successor", may=("change_humanrequest",))
        run("forget_person", "keeper", username=successor.username)
        assert '"actor":"keeper"' not in everything_on_record()
        assert faults() == []
        assert "requests\t0" in run("purge_history", older_than="365", username="successor")


def asked_by(person: User, *, decider: User) -> str:
    """An approval that a person has asked, approved with edited arguments."""
    id_ = gate.open_approval(
        f"Pay {SECRET_WORDS}", arguments={"n": 1}, editable=True, requester=person, actor=make.actor(person)
    )
    deciding.decide(make.actor(decider), id_, "approve", arguments={"what": SECRET_WORDS})
    return id_


def opened_by(id_: str, person: User) -> None:
    """Nothing but that this person looked at it, too."""
    deciding.record_view(Actor(user_id=person.pk, channel=Channel.PAGE), id_)
