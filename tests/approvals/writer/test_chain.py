"""The trail: append-only in the database itself, chained per request, and verifiable."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connection, transaction

from approvals import deciding
from approvals.database import clock, triggers
from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Channel, Escalate, Expire, Forget, Purge, Reschedule
from approvals.exceptions import ApprovalError
from approvals.models import AuditEntry, Event, HumanRequest, ShownContent
from approvals.trail import verification
from approvals.web.edge import tokens
from approvals.writer import chain, queue
from tests import factories as make
from tests.in_process import as_superuser
from tests.processes import PROJECT
from tests.tampering import as_a_superuser_might

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_row() -> HumanRequest:
    request_id = make.approval(arguments={"order": 812})
    deciding.decide(make.actor(make.reviewer()), request_id, "approve", comment="fine")
    row: HumanRequest = HumanRequest.objects.get(pk=request_id)
    return row


class TestTriggers:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE approvals_auditentry SET event = 'viewed'",
            "DELETE FROM approvals_auditentry",
            "TRUNCATE approvals_auditentry CASCADE",
            "INSERT OR REPLACE INTO approvals_auditentry SELECT * FROM approvals_auditentry",
        ],
    )
    def test_the_table_refuses(self, statement: str, request_row: HumanRequest) -> None:
        """SQLite knows no TRUNCATE and PostgreSQL no REPLACE: there the statement itself is refused."""
        before = list(AuditEntry.objects.order_by("pk").values())
        with as_superuser(), pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute(statement)
        assert list(AuditEntry.objects.order_by("pk").values()) == before

    def test_an_entry_is_not_overwritten_under_another_id(self, request_row: HumanRequest) -> None:
        """Nor by a row that shares only its place in the chain."""
        entry = AuditEntry.objects.get(request=request_row, sequence=1)
        entry.pk = None
        with pytest.raises(DatabaseError), transaction.atomic():
            AuditEntry.writing.bulk_create([entry])

    def test_all_are_installed_and_their_absence_is_noticed(self) -> None:
        assert triggers.faults(connection) == []
        with as_a_superuser_might():
            faults = triggers.faults(connection)
        assert len(faults) == {"postgresql": 4, "sqlite": 6}[connection.vendor]
        assert all(fault.endswith(" is missing") for fault in faults)


class TestEntries:
    def test_an_entry_says_who_from_where_and_what_allowed_it(self, request_row: HumanRequest) -> None:
        entry = AuditEntry.objects.get(request=request_row, event="decided")
        assert entry.actor is not None
        assert entry.actor.username in ShownContent.objects.get(entry=entry).content
        assert (entry.channel, entry.address, entry.user_agent) == ("page", "127.0.0.1", "tests")
        assert entry.allowed_by == "permission decide_humanrequest"
        assert entry.outcome == "approved"

    def test_the_hash_of_the_exact_action_is_on_record(self, request_row: HumanRequest) -> None:
        """SHA-256 of the arguments' canonical JSON (RFC 8785), which anyone can recompute."""
        content = json.loads(ShownContent.objects.get(entry__request=request_row, entry__sequence=1).content)
        assert content["arguments_sha256"] == hashlib.sha256(b'{"order":812}').hexdigest()

    def test_the_entry_itself_holds_no_words_that_retention_must_remove(
        self, request_row: HumanRequest
    ) -> None:
        entry = AuditEntry.objects.get(request=request_row, event="decided")
        assert "fine" not in entry.canonical
        assert str(entry.actor) not in entry.canonical

    def test_equal_contents_have_different_hashes(self) -> None:
        """A salt each: a hash can't be guessed back from a short comment once the comment is purged."""
        hashes = {AuditEntry.objects.get(request_id=make.approval()).content_hash for _ in range(2)}
        assert len(hashes) == 2


class TestContents:
    """docs/audit.md says what stands beside an entry of each kind: no member is without its word there."""

    PAGE = (PROJECT / "docs" / "audit.md").read_text()

    @pytest.fixture
    def documented(self) -> dict[str, set[str]]:
        table = self.PAGE.split("<!-- contents -->")[1].split("\n\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
        return {event: {"actor", *re.findall(r"`(\w+)`", text)} for event, text in rows}

    @pytest.mark.usefixtures("as_keeper")
    def test_every_member_is_documented(self, documented: dict[str, set[str]]) -> None:
        everything_that_happens()
        found: defaultdict[str, set[str]] = defaultdict(set)
        for shown in ShownContent.objects.select_related("entry"):
            found[shown.entry.event] |= json.loads(shown.content).keys()
        assert found.keys() == documented.keys() == set(Event.values)
        assert {event: names - documented[event] for event, names in found.items()} == {
            event: set() for event in documented
        }

    @pytest.mark.usefixtures("as_keeper")
    def test_every_fact_is_documented(self) -> None:
        everything_that_happens()
        table = self.PAGE.split("The `facts` by event")[1].split("\n\n")[1]
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
        for entry in AuditEntry.objects.all():
            for name in json.loads(entry.canonical)["facts"]:
                assert f"`{name}`" in rows[entry.event]


def everything_that_happens() -> None:
    """An entry of each kind, refusals of every deed among them."""
    ada, grace, stranger = make.reviewer(), make.reviewer(), make.user()
    keeper = make.actor(make.user(groups=(Group.objects.get(name="administrator"),)))
    decided = make.approval(arguments={"order": 1}, editable=True, requester=grace, actor=make.actor(grace))
    deciding.record_view(make.actor(ada), decided)
    deciding.decide(make.actor(ada), decided, "approve", arguments={"order": 2}, comment="fine")
    answered = make.clarification(assignees=[ada])
    deciding.reassign(make.actor(ada), answered, users=[grace.pk])
    deciding.answer(make.actor(grace), answered, "4711")
    refusals: tuple[Callable[[], object], ...] = (
        lambda: deciding.decide(make.actor(stranger), decided, "reject"),
        lambda: deciding.answer(make.actor(stranger), answered, "4712"),
        lambda: deciding.withdraw(make.actor(stranger), answered, "no"),
        lambda: deciding.reassign(make.actor(stranger), answered, users=[stranger.pk]),
        lambda: deciding.comment(make.actor(stranger), answered, "And me?", question=True),
    )
    for refused in refusals:
        with pytest.raises(ApprovalError):
            refused()
    deciding.record_misuse(make.actor(stranger, Channel.LINK), UUID(decided), ada.pk)
    deciding.comment(make.actor(ada), decided, "What for?", question=True)
    deciding.comment(Actor.program(), decided, "A gift.", reply_to=AuditEntry.objects.latest("pk").sequence)
    withdrawn = make.approval(requester=ada)
    deciding.withdraw(make.actor(ada), withdrawn, "not needed")
    moved = make.approval(timeout=600)
    program = Actor.program()
    queue.submit(Reschedule(request_id=UUID(moved), actor=program, timeout=60)).result()
    for late in (make.approval(timeout=1e-6), make.clarification(timeout=1e-6)):
        queue.submit(Expire(request_id=UUID(late))).result()
    escalated = make.approval(assignees=[ada], timeout=600, escalation=[{"after": 0.001, "users": [grace]}])
    clock.move(timedelta(seconds=1))
    queue.submit(Escalate(request_id=UUID(escalated), step=0)).result()
    clock.move_back()
    short = make.approval(assignees=[ada, grace], required=2)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    deciding.record_view(make.actor(grace), short)
    User.objects.filter(pk=ada.pk).update(is_active=True)
    old = make.approval(requester=ada)
    deciding.withdraw(make.actor(ada), old, "not needed any more")
    later = database_now() + timedelta(seconds=1)
    queue.submit(Purge(request_id=UUID(old), actor=keeper, before=later)).result()
    queue.submit(Forget(request_id=UUID(decided), actor=keeper, user_id=grace.pk)).result()


class TestWriters:
    @pytest.mark.parametrize("model", [HumanRequest, AuditEntry, ShownContent])
    def test_default_managers_expose_no_writes(self, model: type[HumanRequest]) -> None:
        for write in (
            model.objects.update,
            model.objects.all().delete,
            model.objects.create,
            model().save,
            model().delete,
        ):
            with pytest.raises(TypeError):
                write()


class TestTokens:
    """Which API token was shown is part of what is hashed."""

    @pytest.fixture
    def by_token(self) -> AuditEntry:
        reviewer = make.reviewer()
        token, _ = tokens.issue(reviewer.pk, "deploy", ["decide"])
        request_id = make.approval()
        deciding.decide(make.actor(reviewer, Channel.API, token_id=token.pk), request_id, "approve")
        return self.entry(request_id, 2)

    def test_an_entry_says_which_token_was_shown(self, by_token: AuditEntry) -> None:
        assert by_token.token is not None
        hashed = json.loads(by_token.canonical)
        assert (hashed["token"], hashed["format"]) == (str(by_token.token.pk), chain.FORMAT)
        assert by_token.token.name not in by_token.canonical
        assert verification.verify_request(by_token.request_id) == []

    def test_without_a_token_that_is_hashed_too(self, request_row: HumanRequest) -> None:
        assert json.loads(self.entry(request_row.pk, 1).canonical)["token"] is None

    def test_a_chain_that_began_before_there_were_tokens_holds_and_goes_on(self) -> None:
        request_id = make.approval()
        self.write_in_format_1(request_id)
        deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        formats = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
        assert list(formats.values_list("format", flat=True)) == [1, chain.FORMAT]
        assert verification.verify_request(UUID(request_id)) == []

    def test_a_token_added_to_an_entry_from_before_is_named(self) -> None:
        request_id = make.approval()
        self.write_in_format_1(request_id)
        token, _ = tokens.issue(make.user().pk, "late", ["read"])
        with as_a_superuser_might():
            AuditEntry.writing.filter(request_id=request_id).update(token=token)
        (found,) = verification.verify_request(UUID(request_id))
        assert (found.kind, found.sequence) == ("changed entry", 1)

    @staticmethod
    def entry(request_id: object, sequence: int) -> AuditEntry:
        found: AuditEntry = AuditEntry.objects.get(request_id=request_id, sequence=sequence)
        return found

    def write_in_format_1(self, request_id: str) -> None:
        """The only entry of this request as it would have been written then: without `token`."""
        hashed = json.loads(self.entry(request_id, 1).canonical)
        for later in ("token", "kind", "policy", "facts"):
            del hashed[later]
        text = json.dumps(hashed | {"format": 1}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        head = hashlib.sha256(text.encode()).hexdigest()
        with as_a_superuser_might():
            AuditEntry.writing.filter(request_id=request_id).update(format=1, canonical=text, hash=head)
        HumanRequest.writing.filter(pk=request_id).update(trail_head=head)
