"""Verification names what was done to the trail behind its back: each kind of tampering."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import TextField, Value
from django.db.models.functions import Cast

from approvals import deciding
from approvals.database import stored_columns
from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Answer, Channel, Decision, Expire, Purge, Reschedule
from approvals.domain.lifecycle import Kind, Verdict
from approvals.models import (
    AuditEntry,
    GroupAssignment,
    HumanRequest,
    Response,
    ShownContent,
    UserAssignment,
)
from approvals.trail import exports, retention, verification
from approvals.trail.exports import Filters
from approvals.trail.verification import FaultKind
from approvals.web.edge import tokens
from approvals.writer import chain, queue
from tests import factories as make
from tests.in_process import as_superuser
from tests.tampering import as_a_superuser_might

pytestmark = pytest.mark.django_db


def approved(**terms: Any) -> UUID:
    """A request that was asked and approved: two entries."""
    request_id = make.approval(**{"arguments": {"order": 812}, **terms})
    deciding.decide(make.actor(make.reviewer()), request_id, "approve", comment="fine")
    return UUID(request_id)


def entry(request_id: UUID, sequence: int) -> AuditEntry:
    found: AuditEntry = AuditEntry.objects.get(request_id=request_id, sequence=sequence)
    return found


def change_entry(request_id: UUID, sequence: int, **columns: Any) -> None:
    with as_a_superuser_might():
        AuditEntry.writing.filter(request_id=request_id, sequence=sequence).update(**columns)


def change_row(request_id: UUID, **columns: Any) -> None:
    HumanRequest.writing.filter(pk=request_id).update(**columns)


def delete_entries(request_id: UUID, *sequences: int) -> None:
    with as_a_superuser_might():
        entries = AuditEntry.writing.filter(request_id=request_id, sequence__in=sequences)
        ShownContent.writing.filter(entry__in=entries).delete()
        entries.delete()


def named(request_id: UUID) -> list[tuple[FaultKind, int | None]]:
    return [(fault.kind, fault.sequence) for fault in verification.verify_request(request_id)]


class TestOneRequest:
    def test_what_nobody_touched_holds(self) -> None:
        """However it ended, and however it came there."""
        ada, grace = make.reviewer(), make.reviewer()
        asked = make.clarification(requester=ada, choices=["one", "two"])
        deciding.answer(make.actor(grace), asked, "two")
        labelled = make.clarification(requester=ada, choices={"eu": "Europe", "af": "Africa"})
        deciding.answer(make.actor(grace), labelled, "eu")
        withdrawn = make.approval(requester=ada)
        deciding.withdraw(make.actor(ada), withdrawn, "not needed")
        edited = make.approval(editable=True, arguments={"amount": 3.5})
        deciding.decide(make.actor(ada), edited, "approve", arguments={"amount": 2.5})
        voted = make.approval(required=2)
        deciding.decide(make.actor(ada), voted, "approve")
        deciding.decide(make.actor(grace), voted, "reject", comment="no")
        handed_on = make.approval(assignees=[ada], timeout=60)
        deciding.record_view(make.actor(ada), handed_on)
        deciding.reassign(make.actor(ada), handed_on, users=[grace.pk])
        for request_id in (asked, labelled, withdrawn, edited, voted, handed_on, approved()):
            assert verification.verify_request(UUID(str(request_id))) == []

    def test_a_changed_label_is_named(self) -> None:
        """What an answer means is on the trail as well."""
        request_id = UUID(make.clarification(choices={"eu": "Europe", "af": "Africa"}))
        deciding.answer(make.actor(make.reviewer()), request_id, "eu")
        change_row(request_id, choices={"eu": "Africa", "af": "Europe"})
        assert verification.verify_request(request_id) != []

    def test_content_is_gone_only_where_the_trail_says_that_it_was_removed(self) -> None:
        request_id = approved()
        with as_superuser():
            ShownContent.writing.all().delete()
        change_row(request_id, title="", comment="", arguments={})
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 1)]

    @pytest.mark.parametrize(
        ("columns", "sequence"),
        [({"address": "10.0.0.1"}, 2), ({"canonical": "{}"}, 1), ({"hash": "0" * 64}, 2), ({"format": 9}, 1)],
    )
    def test_a_changed_entry_is_named(self, columns: dict[str, Any], sequence: int) -> None:
        request_id = approved()
        change_entry(request_id, sequence, **columns)
        assert named(request_id)[0] == (FaultKind.CHANGED_ENTRY, sequence)

    def test_a_time_that_is_none_is_a_changed_entry(self) -> None:
        """Only SQLite can be made to keep one."""
        if connection.vendor != "sqlite":
            return
        request_id = approved()
        with as_a_superuser_might(), connection.cursor() as cursor:
            cursor.execute("UPDATE approvals_auditentry SET recorded_at = 'never' WHERE sequence = 2")
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 2)]

    def test_a_changed_entry_that_was_hashed_anew_is_named(self) -> None:
        """The entry after it was chained to the one it was."""
        request_id = approved()
        rewrite(request_id, 1, channel="admin")
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 2)]

    def test_a_changed_last_entry_that_was_hashed_anew_is_named(self) -> None:
        """The request knows another."""
        request_id = approved()
        rewrite(request_id, 2, channel="admin")
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 2)]

    def test_changed_content_is_named(self) -> None:
        request_id = approved()
        with as_superuser():
            ShownContent.writing.filter(entry__sequence=1).update(content="{}")
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 1)]

    @pytest.mark.parametrize("sequence", [1, 2, 3])
    def test_a_missing_entry_is_named(self, sequence: int) -> None:
        """The first, one in the middle, and the last, behind which there is none to miss it."""
        ada, grace = make.reviewer(), make.reviewer()
        request_id = UUID(make.approval(required=2))
        for who in (ada, grace):
            deciding.decide(make.actor(who), request_id, "approve")
        delete_entries(request_id, sequence)
        assert named(request_id) == [(FaultKind.MISSING_ENTRY, sequence)]

    def test_a_missing_chain_is_named(self) -> None:
        request_id = approved()
        delete_entries(request_id, 1, 2)
        assert named(request_id) == [(FaultKind.MISSING_CHAIN, None)]

    def test_a_forged_entry_is_named(self) -> None:
        """Well made and well chained: but the request does not know it."""
        request_id = approved()
        append_forged(request_id)
        assert named(request_id) == [(FaultKind.SURPLUS_ENTRY, 3)]

    @pytest.mark.parametrize(
        "columns",
        [
            {"status": "rejected"},
            {"approvals": 2},
            {"decided_by": None},
            {"title": "Refund 12,000.00 EUR"},
            {"arguments": {"order": 813}},
            {"final_arguments": {"order": 813}},
            {"comment": "not fine"},
            {"required": 2},
            {"four_eyes": True},
            {"on_timeout": "approve"},
            {"opened_at": "2020-01-01T00:00:00Z"},
            {"closed_at": "2020-01-01T00:00:00Z"},
        ],
        ids=lambda columns: next(iter(columns)),
    )
    def test_a_row_that_disagrees_is_named(self, columns: dict[str, Any]) -> None:
        request_id = approved()
        change_row(request_id, **columns)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("column", ["arguments", "answer", "final_arguments"])
    def test_a_value_that_is_no_json_is_named_and_hides_nothing_else(self, column: str) -> None:
        """Somebody wrote it by SQL; the requests after it are verified all the same."""
        request_id, other = approved(), approved()
        change_row(request_id, **{column: Cast(Value("xx"), TextField())})
        change_row(other, status="rejected")
        assert named(request_id) == [(FaultKind.ROW, None)]
        assert named(other) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize(
        "columns",
        [
            {"default": "no"},
            {"choices": ["yes", "no", "later"]},
            {"multiple": True},
            {"editable": True},
            {"schema": {"type": "string"}},
            {"details": "more"},
            {"origin": {"kind": "job", "id": "another", "url": ""}},
            {"callback_url": "https://elsewhere.example"},
            {"answer": "yes"},
            {"comment": "yes"},
        ],
        ids=lambda columns: next(iter(columns)),
    )
    def test_what_is_pending_is_compared_with_what_was_asked(self, columns: dict[str, Any]) -> None:
        request_id = UUID(make.clarification(choices=["yes", "no"], default="yes", timeout=600))
        assert named(request_id) == []
        change_row(request_id, **columns)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("answer", ["yes", None])
    def test_the_answer_of_a_timeout_is_compared(self, answer: str | None) -> None:
        request_id = timed_out(default="no")
        assert named(request_id) == []
        change_row(request_id, answer=answer)
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_a_timeout_without_default_gives_no_answer(self) -> None:
        request_id = timed_out()
        change_row(request_id, answer="yes")
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_a_default_that_was_changed_while_its_timeout_came_is_named(self) -> None:
        """Changed back, the row is as it was asked; the entry of the timeout is not."""
        request_id = UUID(make.clarification(default="no", timeout=0.001))
        change_row(request_id, default="yes")
        let_time_out(request_id)
        change_row(request_id, default="no")
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_a_policy_that_was_changed_for_one_decision_is_named(self) -> None:
        """Two had to approve; one was enough, and then two again."""
        make.reviewer(), make.reviewer()
        request_id = UUID(make.approval(required=2))
        change_row(request_id, required=1)
        deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        change_row(request_id, required=2)
        assert {kind for kind, _ in named(request_id)} == {FaultKind.ROW}
        change_row(request_id, required=1)
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_who_may_move_the_deadline_is_no_suspect(self) -> None:
        request_id = UUID(make.approval(timeout=600))
        queue.submit(
            Reschedule(request_id=request_id, actor=Actor(user_id=None, channel=Channel.PROGRAM), timeout=60)
        ).result()
        deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        assert named(request_id) == []

    @pytest.mark.parametrize("handed_on", [False, True])
    def test_who_is_named_to_decide_is_compared(self, handed_on: bool) -> None:
        ada, grace, group = make.user(), make.user(), make.group()
        request_id = UUID(make.approval(assignees=[ada, group]))
        if handed_on:
            deciding.reassign(make.actor(ada), request_id, users=[grace.pk], groups=[group.pk])
        assert named(request_id) == []
        UserAssignment.writing.bulk_create([UserAssignment(request_id=request_id, user=make.user())])
        assert named(request_id) == [(FaultKind.ROW, None)]
        UserAssignment.writing.filter(request_id=request_id).delete()
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("model", [UserAssignment, GroupAssignment])
    def test_who_is_named_where_nobody_was_is_told(self, model: Any) -> None:
        request_id = UUID(make.approval())
        who = {"user": make.user()} if model is UserAssignment else {"group": make.group()}
        model.writing.bulk_create([model(request_id=request_id, **who)])
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_who_asked_is_compared(self) -> None:
        ada = make.user()
        request_id = UUID(make.approval(requester=ada))
        assert named(request_id) == []
        change_row(request_id, requester=make.user())
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_who_asked_is_compared_where_nobody_is_put_in_their_place(self) -> None:
        """Under four eyes the requester may not decide: for a moment there must be none."""
        ada = make.user()
        make.reviewer()
        request_id = UUID(make.approval(requester=ada, actor=make.actor(ada), four_eyes=True))
        assert named(request_id) == []
        change_row(request_id, requester=None)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize(
        "columns",
        [
            {"key": "invoice-2"},
            {"key": ""},
            {"key_scope": "user:1"},
            {"round": 2},
            {"fingerprint": "0" * 64},
            {"origin_id": "another"},
            {"origin": {}},
            {"purged_at": "2020-01-01T00:00:00Z"},
        ],
        ids=lambda columns: ",".join(f"{name}={value}" for name, value in columns.items()),
    )
    def test_what_hands_an_outcome_to_another_question_is_named(self, columns: dict[str, Any]) -> None:
        """The approval of one invoice must not become that of another that is asked under its key."""
        origin = {"kind": "job", "id": "7", "url": ""}
        request_id = approved(key="invoice-1", origin=origin)
        assert named(request_id) == []
        change_row(request_id, **columns)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.usefixtures("as_keeper")
    def test_what_identifies_a_request_is_compared_after_its_words_were_removed(self) -> None:
        request_id = approved(key="invoice-1", timeout=600)
        kim = make.user(groups=(Group.objects.get(name="administrator"),))
        later = database_now() + timedelta(seconds=1)
        queue.submit(Purge(request_id=request_id, actor=make.actor(kim), before=later)).result()
        assert named(request_id) == []
        removed = HumanRequest.objects.get(pk=request_id).purged_at
        for column, value, before in (
            ("key", "invoice-2", "invoice-1"),
            ("origin", {"id": "7"}, {}),
            ("purged_at", None, removed),
            ("multiple", True, False),
            ("callback_url", "https://elsewhere.example", ""),
        ):
            change_row(request_id, **{column: value})
            assert named(request_id) == [(FaultKind.ROW, None)], column
            change_row(request_id, **{column: before})
        assert named(request_id) == []

    @pytest.mark.usefixtures("as_keeper")
    def test_who_is_named_is_compared_after_whoever_named_them_was_forgotten(self) -> None:
        """The words of handing on are gone, and the request is pending still."""
        ada, grace = make.user(), make.user()
        request_id = UUID(make.approval(assignees=[ada]))
        deciding.reassign(make.actor(ada), request_id, users=[grace.pk])
        forget(ada.pk)
        assert named(request_id) == []
        UserAssignment.writing.bulk_create([UserAssignment(request_id=request_id, user=make.user())])
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("model", [UserAssignment, GroupAssignment])
    def test_who_is_named_is_listed_as_waited_for_while_the_request_is_pending(self, model: Any) -> None:
        ada, group = make.user(), make.group()
        request_id = UUID(make.approval(assignees=[ada, group]))
        for pending in (False, True):
            model.writing.filter(request_id=request_id).update(pending=pending)
            assert named(request_id) == ([] if pending else [(FaultKind.ROW, None)])
        deciding.decide(make.actor(ada), request_id, "approve")
        assert named(request_id) == []
        model.writing.filter(request_id=request_id).update(pending=True)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize(
        "columns", [{"verdict": "reject"}, {"channel": "admin"}, {"given_at": "2020-01-01T00:00:00Z"}]
    )
    def test_a_changed_response_is_named(self, columns: dict[str, Any]) -> None:
        request_id = approved()
        with as_superuser():
            Response.writing.filter(request_id=request_id).update(**columns)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize(
        "columns", [{"comment": "not fine"}, {"arguments": {"order": 813}}, {"arguments": None}]
    )
    def test_what_a_response_says_is_compared(self, columns: dict[str, Any]) -> None:
        request_id = UUID(make.approval(arguments={"order": 812}, editable=True))
        deciding.decide(
            make.actor(make.reviewer()), request_id, "approve", arguments={"order": 810}, comment="fine"
        )
        assert named(request_id) == []
        with as_superuser():
            Response.writing.filter(request_id=request_id).update(**columns)
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_what_an_answer_says_is_compared(self) -> None:
        request_id = UUID(make.clarification())
        deciding.answer(make.actor(make.reviewer()), request_id, "4711")
        assert named(request_id) == []
        with as_superuser():
            Response.writing.filter(request_id=request_id).update(answer="4712")
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.usefixtures("as_keeper")
    def test_words_that_come_back_after_a_removal_are_named(self) -> None:
        """Nothing vouches for them any more."""
        request_id = UUID(make.clarification())
        ann = make.reviewer()
        deciding.answer(make.actor(ann), request_id, "no", comment="never")
        forget(ann.pk)
        assert named(request_id) == []
        for columns in ({"answer": "yes"}, {"comment": "always"}):
            change_row(request_id, **columns)
            assert named(request_id) == [(FaultKind.ROW, None)]
            change_row(request_id, answer=None, comment="")
            with as_superuser():
                Response.writing.filter(request_id=request_id).update(**columns)
            assert named(request_id) == [(FaultKind.ROW, None)]
            with as_superuser():
                Response.writing.filter(request_id=request_id).update(answer=None, comment="")

    @pytest.mark.usefixtures("as_keeper")
    def test_what_was_edited_is_compared_after_its_editor_was_forgotten(self) -> None:
        request_id = UUID(make.approval(arguments={"order": 812}, editable=True))
        ann = make.reviewer()
        deciding.decide(make.actor(ann), request_id, "approve", arguments={"order": 810})
        forget(ann.pk)
        assert named(request_id) == []
        with as_superuser():
            Response.writing.filter(request_id=request_id).update(arguments={"order": 813})
        assert named(request_id) == [(FaultKind.ROW, None)]

    def test_a_missing_response_is_named(self) -> None:
        request_id = approved()
        with as_superuser():
            Response.writing.filter(request_id=request_id).delete()
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"title":1e400,"arguments":[1e400]}'])
    @pytest.mark.parametrize("sequence", [1, 2])
    def test_a_chain_that_was_made_anew_in_another_form_is_named(self, sequence: int, content: str) -> None:
        """Its hashes fit; what it showed is nothing that is ever written."""
        request_id = approved()
        salt = ShownContent.objects.get(entry=entry(request_id, sequence)).salt
        with as_superuser():
            ShownContent.writing.filter(entry=entry(request_id, sequence)).update(content=content)
        head = entry(request_id, sequence - 1).hash if sequence > 1 else ""
        for number in range(sequence, 3):
            changed: dict[str, Any] = {"previous_hash": head}
            if number == sequence:
                changed["content_hash"] = chain.content_hash(salt, content)
            rewrite(request_id, number, **changed)
            head = entry(request_id, number).hash
        change_row(request_id, trail_head=head)
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, sequence)]

    @pytest.mark.usefixtures("as_keeper")
    def test_a_removal_explains_what_it_names_and_nothing_else(self) -> None:
        """Content that was stolen before, or since, is missed all the same."""
        request_id = approved()
        forget(Response.objects.get(request_id=request_id).actor_id)
        assert named(request_id) == []
        with as_superuser():
            ShownContent.writing.filter(entry=entry(request_id, 1)).delete()
        assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 1)]

    @pytest.mark.usefixtures("as_keeper")
    def test_a_removal_whose_own_record_is_gone_explains_nothing(self) -> None:
        """All content is stolen after a removal: nothing says any more what was removed, and by whom."""
        request_id = approved()
        forget(Response.objects.get(request_id=request_id).actor_id)
        with as_superuser():
            ShownContent.writing.filter(entry__request_id=request_id).delete()
        change_row(request_id, title="Refund 12,000.00 EUR", arguments={"order": 813})
        assert named(request_id)[0] == (FaultKind.CHANGED_ENTRY, 3)

    def test_a_sentence_says_what_and_where(self) -> None:
        request_id = approved()
        change_entry(request_id, 2, address="10.0.0.1")
        (fault,) = verification.verify_request(request_id)
        assert str(fault) == (
            f"changed entry (request {request_id}, entry 2):"
            " Its columns disagree with the text that was hashed."
        )


WEI = {"wei": [1e18, -(2.0**53), 1.5e20]}


class TestNumbersFromBefore:
    """Floats that RFC 8785 writes as integers beyond the safe ones were accepted once: such records hold."""

    def test_an_approval_with_them_holds(self) -> None:
        request_id = UUID(make.earlier(arguments=WEI, editable={"maximum": 1e18}))
        assert named(request_id) == []
        deciding.record_view(make.actor(make.reviewer()), request_id)
        queue.submit(
            Decision(
                request_id=request_id,
                actor=make.actor(make.reviewer()),
                verdict=Verdict.APPROVE,
                arguments={"wei": 2e18},
            )
        ).result()
        assert named(request_id) == []
        assert verification.verify().holds

    def test_a_question_with_them_holds_answered_and_timed_out(self) -> None:
        terms: dict[str, Any] = {"schema": {"enum": [WEI, 1]}, "default": WEI}
        answered = UUID(make.earlier(Kind.CLARIFICATION, **terms))
        given = Answer(request_id=answered, actor=make.actor(make.reviewer()), answer=WEI)
        queue.submit(given).result()
        late = UUID(make.earlier(Kind.CLARIFICATION, timeout=0, **terms))
        queue.submit(Expire(request_id=late)).result()
        assert named(answered) == named(late) == []

    @pytest.mark.usefixtures("as_keeper")
    def test_who_asked_with_them_can_be_forgotten(self) -> None:
        """What was asked is vouched for anew."""
        ann = make.user()
        asked = UUID(make.earlier(actor=make.actor(ann), requester_id=ann.pk, arguments=WEI))
        deciding.decide(make.actor(make.reviewer()), asked, "approve")
        forget(ann.pk)
        kept = ShownContent.objects.get(entry__request_id=asked, entry__event="purged").content
        assert "1000000000000000000" in kept
        assert named(asked) == []

    @pytest.mark.parametrize(
        "arguments", [{"wei": [1e18, -(2.0**53), 2e20]}, {"wei": [10**18 + 1, -(2**53), 150 * 10**18]}]
    )
    def test_another_number_in_the_row_is_named(self, arguments: dict[str, Any]) -> None:
        """Also an integer that a float would round to the same."""
        request_id = UUID(make.earlier(arguments=WEI))
        change_row(request_id, arguments=arguments)
        assert named(request_id) == [(FaultKind.ROW, None)]

    @pytest.mark.parametrize("format", ["jsonl", "csv"])
    def test_an_export_of_them_verifies(self, format: str, tmp_path: Path) -> None:  # noqa: A002
        request_id = UUID(make.earlier(Kind.CLARIFICATION, arguments=WEI, schema={}))
        given = Answer(request_id=request_id, actor=make.actor(make.reviewer()), answer=1e18)
        queue.submit(given).result()
        text = "".join(exports.lines(Filters(), format))
        (tmp_path / "trail").write_text(text, newline="")
        assert verification.verify_export(tmp_path / "trail").first == ()


def timed_out(**terms: Any) -> UUID:
    """A clarification that nobody has answered in time."""
    request_id = UUID(make.clarification(timeout=0.001, **terms))
    let_time_out(request_id)
    return request_id


def let_time_out(request_id: UUID) -> None:
    """Its deadline is a moment away."""
    while HumanRequest.objects.get(pk=request_id).closed_at is None:
        queue.submit(Expire(request_id=request_id)).result()


def forget(person: int | None) -> None:
    assert person is not None
    kim = make.user(groups=(Group.objects.get(name="administrator"),))
    list(retention.forget(make.actor(kim), person))


def rewrite(request_id: UUID, sequence: int, **columns: Any) -> None:
    """Change an entry's columns, its text and its hash alike."""
    changed = entry(request_id, sequence)
    for name, value in columns.items():
        setattr(changed, name, value)
    text = chain.canonical_entry(vars(changed), json.loads(changed.canonical))
    change_entry(
        request_id, sequence, canonical=text, hash=hashlib.sha256(text.encode()).hexdigest(), **columns
    )


def append_forged(request_id: UUID) -> AuditEntry:
    """An entry more, as good as any, put there by hand."""
    last: AuditEntry = AuditEntry.objects.filter(request_id=request_id).latest("sequence")
    beside = json.loads(last.canonical)
    last.pk, last.previous_hash, last.sequence, last.outcome = None, last.hash, last.sequence + 1, ""
    last.event = "viewed"
    last.canonical = chain.canonical_entry(vars(last), beside)
    last.hash = hashlib.sha256(last.canonical.encode()).hexdigest()
    shown = ShownContent.objects.get(entry__request_id=request_id, entry__sequence=last.sequence - 1)
    AuditEntry.writing.bulk_create([last])
    ShownContent.writing.bulk_create([ShownContent(entry_id=last.pk, salt=shown.salt, content=shown.content)])
    return last


@pytest.mark.stacks("sqlite-memory")
class TestAnythingInAnyColumn:
    """SQLite keeps any value in any column; what was written there by SQL must not hide anything else."""

    @pytest.mark.parametrize(
        ("table", "column", "value", "kind"),
        [
            ("auditentry", "sequence", "'abc'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "request_id", "'zz'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "request_id", "x'00'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "canonical", "x'00ff'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "canonical", "CAST(canonical AS BLOB)", FaultKind.CHANGED_ENTRY),
            ("auditentry", "hash", "CAST(hash AS BLOB)", FaultKind.CHANGED_ENTRY),
            ("auditentry", "user_agent", "CAST(x'ff' AS TEXT)", FaultKind.CHANGED_ENTRY),
            ("auditentry", "recorded_at", "'2026-99-99 00:00:00'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "token_id", "'zz'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "actor_id", "'zz'", FaultKind.CHANGED_ENTRY),
            ("auditentry", "format", "'zz'", FaultKind.CHANGED_ENTRY),
            ("showncontent", "content", "CAST(x'ff' AS TEXT)", FaultKind.CHANGED_ENTRY),
            ("showncontent", "salt", "x'ff'", FaultKind.CHANGED_ENTRY),
            ("humanrequest", "trail_length", "'abc'", FaultKind.ROW),
            ("humanrequest", "trail_head", "x'ff'", FaultKind.CHANGED_ENTRY),
            ("humanrequest", "id", "'zz'", FaultKind.ROW),
            ("humanrequest", "title", "CAST(x'ff' AS TEXT)", FaultKind.ROW),
            ("humanrequest", "details", "x'ff'", FaultKind.ROW),
            ("humanrequest", "opened_at", "'never'", FaultKind.ROW),
            ("humanrequest", "four_eyes", "'maybe'", FaultKind.ROW),
            ("humanrequest", "schema", "'no JSON'", FaultKind.ROW),
            ("response", "given_at", "'never'", FaultKind.ROW),
            ("response", "request_id", "'zz'", FaultKind.ROW),
            ("response", "actor_id", "'zz'", FaultKind.ROW),
            ("response", "comment", "CAST(x'ff' AS TEXT)", FaultKind.ROW),
            ("response", "answer", "'no JSON'", FaultKind.ROW),
            ("userassignment", "user_id", "'zz'", FaultKind.ROW),
        ],
    )
    def test_it_is_named_with_all_other_faults(
        self, table: str, column: str, value: str, kind: FaultKind
    ) -> None:
        before, forged, after = approved(), assigned_and_approved(), approved()
        of_it = f"request_id = '{forged.hex}'"
        places = {
            "auditentry": f"sequence = 2 AND {of_it}",
            "showncontent": f"entry_id = {entry(forged, 2).pk}",
            "humanrequest": f"id = '{forged.hex}'",
        }
        with as_a_superuser_might(), connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = ON")
            where = places.get(table, of_it)
            cursor.execute(f"UPDATE approvals_{table} SET {column} = {value} WHERE {where}")
            cursor.execute("PRAGMA ignore_check_constraints = OFF")
        counts = verification.verify().counts
        assert kind in counts
        for other in (before, after):
            change_row(other, approvals=2)
        assert verification.verify().counts[FaultKind.ROW] == counts.get(FaultKind.ROW, 0) + 2


def assigned_and_approved() -> UUID:
    ada = make.user()
    request_id = UUID(make.approval(assignees=[ada]))
    deciding.decide(make.actor(ada), request_id, "approve", comment="fine")
    return request_id


class TestMemory:
    def test_ten_times_the_trail_takes_no_more_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What has been compared is let go. Words of 8 KB make what would be kept stand out."""
        monkeypatch.setattr(stored_columns, "CHUNK", 5)
        few, many = 10, 100
        for _ in range(few):
            make.approval(details="word " * 1_600)
        verification.verify()  # what is made once a process
        little = peak_of(verification.verify)
        for _ in range(many - few):
            make.approval(details="word " * 1_600)
        assert peak_of(verification.verify) < 2 * little


def peak_of(deed: Callable[[], verification.Report]) -> int:
    """How many bytes it has at most while it finds that the trail holds."""
    tracemalloc.start()
    try:
        assert deed().holds
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestTokens:
    def test_another_token_or_none_is_named(self) -> None:
        """Blame can neither be moved to another program nor taken off."""
        reviewer = make.reviewer()
        token, _ = tokens.issue(reviewer.pk, "deploy", ["decide"])
        other, _ = tokens.issue(make.user().pk, "other", ["read"])
        request_id = UUID(make.approval())
        deciding.decide(make.actor(reviewer, Channel.API, token_id=token.pk), request_id, "approve")
        assert named(request_id) == []
        for forged in (other.pk, None):
            change_entry(request_id, 2, token=forged)
            assert named(request_id) == [(FaultKind.CHANGED_ENTRY, 2)]
