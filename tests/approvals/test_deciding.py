"""Decisions: one terminal outcome, once, in time, by who may; everything else is refused and on the trail."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.domain.commands import (
    Accepted,
    Actor,
    Answer,
    Channel,
    Command,
    Decision,
    Expire,
    OpenRequest,
    Reassign,
    Refused,
)
from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import (
    AlreadyDecided,
    ApprovalError,
    InvalidAnswer,
    InvalidRequest,
    NotPermitted,
    TooLate,
    UnknownRequest,
)
from approvals.models import AuditEntry, HumanRequest, Response
from approvals.trail import verification
from approvals.web.pages.wording import entry_in_words
from approvals.writer import chain, execution, queue
from tests import factories as make

pytestmark = pytest.mark.django_db


def events(request_id: str) -> list[str]:
    return list(
        AuditEntry.objects.filter(request_id=request_id).order_by("sequence").values_list("event", flat=True)
    )


def row(request_id: str) -> HumanRequest:
    found: HumanRequest = HumanRequest.objects.get(pk=request_id)
    return found


def make_overdue(request_id: str) -> None:
    """Put the deadline into the past, as if it had passed unnoticed."""
    past = database_now() - timedelta(seconds=1)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)


class TestApprovals:
    def test_an_approval_is_recorded_with_who_decided_and_why(self) -> None:
        rita = make.reviewer("rita")
        request_id = make.approval(arguments={"order": 812, "amount": "1240.00"})
        outcome = deciding.decide(make.actor(rita), request_id, "approve", comment="Looks right.")
        assert (outcome.approved, outcome.decided_by, outcome.comment) == (True, "rita", "Looks right.")
        assert outcome.arguments == {"order": 812, "amount": "1240.00"}
        assert gate.outcome(request_id) == outcome
        assert events(request_id) == ["opened", "decided"]

    def test_a_rejection_says_no(self) -> None:
        request_id = make.approval()
        outcome = deciding.decide(make.actor(make.reviewer()), request_id, "reject", comment="Twice?")
        assert (outcome.status, outcome.approved, outcome.comment) == ("rejected", False, "Twice?")

    def test_arguments_come_back_exactly_as_they_went_in(self) -> None:
        """`jsonb` would turn 1e21 into an integer and -0.0 into 0.0."""
        request_id = make.approval(arguments={"large": 1e21, "negative": -0.0, "text": "ü\u2028"})
        arguments = row(request_id).arguments
        assert repr(arguments) == repr({"large": 1e21, "negative": -0.0, "text": "ü\u2028"})

    def test_the_second_decision_loses_and_is_told_who_won(self) -> None:
        first, second = make.reviewer("first"), make.reviewer("second")
        request_id = make.approval()
        won = deciding.decide(make.actor(first), request_id, "approve")
        with pytest.raises(AlreadyDecided, match="first") as refused:
            deciding.decide(make.actor(second), request_id, "reject")
        assert refused.value.outcome == won
        assert events(request_id) == ["opened", "decided", "refused"]

    def test_repeating_the_same_decision_returns_the_recorded_outcome(self) -> None:
        rita = make.reviewer()
        request_id = make.approval()
        first = deciding.decide(make.actor(rita), request_id, "approve")
        assert deciding.decide(make.actor(rita), request_id, "approve") == first
        assert events(request_id) == ["opened", "decided"]

    def test_a_clarification_cannot_be_approved(self) -> None:
        with pytest.raises(InvalidRequest):
            deciding.decide(make.actor(make.reviewer()), make.clarification(), "approve")

    def test_a_verdict_is_approve_or_reject(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            deciding.decide(make.actor(make.reviewer()), make.approval(), "maybe")
        assert refused.value.field == "decision"


class TestQuorum:
    def test_it_stays_pending_until_enough_have_approved(self) -> None:
        one, two = make.reviewer(), make.reviewer()
        request_id = make.approval(required=2)
        assert deciding.decide(make.actor(one), request_id, "approve").status == "pending"
        assert deciding.decide(make.actor(two), request_id, "approve").status == "approved"
        assert row(request_id).approvals == 2

    def test_one_rejection_rejects(self) -> None:
        one, two = make.reviewer(), make.reviewer()
        request_id = make.approval(required=2)
        deciding.decide(make.actor(one), request_id, "approve")
        assert deciding.decide(make.actor(two), request_id, "reject").status == "rejected"

    def test_a_person_has_one_vote(self) -> None:
        one, _ = make.reviewer(), make.reviewer()
        request_id = make.approval(required=2)
        deciding.decide(make.actor(one), request_id, "approve")
        assert deciding.decide(make.actor(one), request_id, "approve").status == "pending"
        assert Response.objects.filter(request_id=request_id).count() == 1

    def test_a_vote_cannot_be_changed(self) -> None:
        one, _ = make.reviewer(), make.reviewer()
        request_id = make.approval(required=2)
        deciding.decide(make.actor(one), request_id, "approve")
        with pytest.raises(AlreadyDecided):
            deciding.decide(make.actor(one), request_id, "reject")
        assert row(request_id).status == "pending"


class TestWhoseVoteCounts:
    """A vote counts if who gave it may decide at the moment of closing; the trail says which did."""

    def test_the_vote_of_somebody_reassigned_away_does_not(self) -> None:
        ann, ben, cleo = (make.user(name) for name in ("ann", "ben", "cleo"))
        request_id = make.approval(assignees=[ann, make.user()], required=2)
        deciding.decide(make.actor(ann), request_id, "approve")
        deciding.reassign(Actor.program(), request_id, ["ben", "cleo"])
        assert deciding.decide(make.actor(ben), request_id, "approve").status == "pending"
        assert deciding.decide(make.actor(cleo), request_id, "approve").status == "approved"
        assert counted(request_id) == [ben.pk, cleo.pk]

    @pytest.mark.parametrize("how", ["deactivated", "left the group", "without permission"])
    def test_the_vote_of_somebody_who_may_not_decide_any_more_does_not(self, how: str) -> None:
        ann, ben, cleo = make.user(), make.user(), make.user()
        desk = make.group("desk", ann, ben, cleo)
        named: dict[str, Any] = {} if how == "without permission" else {"assignees": [desk]}
        desk.permissions.set(Permission.objects.filter(codename="decide_humanrequest"))
        request_id = make.approval(**named, required=2)
        deciding.decide(make.actor(ann), request_id, "approve")
        if how == "deactivated":
            User.objects.filter(pk=ann.pk).update(is_active=False)
        else:
            ann.groups.clear()
        assert deciding.decide(make.actor(ben), request_id, "approve").status == "pending"
        assert deciding.decide(make.actor(cleo), request_id, "approve").status == "approved"
        assert counted(request_id) == [ben.pk, cleo.pk]

    def test_of_votes_in_one_batch_those_count_that_may_by_then(self) -> None:
        ann, ben, cleo = make.user(), make.user(), make.user()
        request_id = UUID(make.approval(assignees=[ann, ben, cleo], required=2))
        vote = partial(Decision, request_id=request_id, verdict=Verdict.APPROVE)
        handed_on = Reassign(request_id=request_id, actor=Actor.program(), user_ids=(ben.pk, cleo.pk))
        *_, last = execution.execute([vote(actor=make.actor(ann)), handed_on, vote(actor=make.actor(ben))])
        assert last.outcome is not None
        assert last.outcome.status == "pending"

    def test_a_vote_that_counts_again_closes_when_one_is_repeated(self) -> None:
        """Nobody else is there to give another one."""
        ann, ben = make.user("ann"), make.user("ben")
        request_id = make.approval(assignees=[ann, ben], required=2)
        deciding.decide(make.actor(ann), request_id, "approve")
        User.objects.filter(pk=ann.pk).update(is_active=False)
        deciding.decide(make.actor(ben), request_id, "approve")
        User.objects.filter(pk=ann.pk).update(is_active=True)
        assert deciding.decide(make.actor(ben), request_id, "approve", comment="Again.").approved
        assert Response.objects.filter(request_id=request_id).count() == 2
        assert counted(request_id) == [ann.pk, ben.pk]
        assert verification.verify_request(UUID(request_id)) == []

    def test_a_program_counts_as_one_that_may(self) -> None:
        request_id = make.approval(assignees=[ann := make.user(), make.user()], required=2)
        deciding.decide(Actor.program(), request_id, "approve")
        assert deciding.decide(make.actor(ann), request_id, "approve").approved
        assert counted(request_id) == [None, ann.pk]


class TestStuck:
    """That too few may decide a request is named on its trail: once, and again after others were named."""

    def test_by_the_vote_that_is_not_enough_any_more(self) -> None:
        ann, ben = make.user(), make.user()
        request_id = make.approval(assignees=[ann, ben], required=2)
        User.objects.filter(pk=ben.pk).update(is_active=False)
        deciding.decide(make.actor(ann), request_id, "approve")
        assert events(request_id) == ["opened", "decided", "stuck"]
        assert told(request_id, "stuck") == {"required": 2, "able": 1, "actor": None}
        assert verification.verify_request(UUID(request_id)) == []

    def test_by_whoever_looks_at_it(self) -> None:
        ann, ben, asker = make.user(), make.user(), make.user()
        request_id = make.approval(assignees=[ann, ben], required=2, requester=asker)
        User.objects.filter(pk=ben.pk).update(is_active=False)
        for person in (ann, asker, ann):
            deciding.record_view(make.actor(person), request_id)
        assert events(request_id) == ["opened", "viewed", "stuck", "viewed"]

    def test_by_a_reassignment_to_too_few(self) -> None:
        ann, ben = make.user(), make.user()
        request_id = UUID(make.approval(assignees=[ann, ben], required=2))
        to = partial(Reassign, request_id=request_id, actor=Actor.program())
        for _ in range(2):
            execution.execute([to(user_ids=(ann.pk,))])
            execution.execute([to(user_ids=(ann.pk, ben.pk))])
        assert events(str(request_id)) == ["opened", *["reassigned", "stuck", "reassigned"] * 2]

    def test_also_where_one_decision_would_do(self) -> None:
        ann, asker = make.user(), make.user()
        request_id = make.clarification(assignees=[ann], requester=asker)
        User.objects.filter(pk=ann.pk).update(is_active=False)
        deciding.record_view(make.actor(asker), request_id)
        assert events(request_id) == ["opened", "viewed", "stuck"]

    def test_not_where_a_program_has_approved_and_one_is_left(self) -> None:
        ann, ben = make.user(), make.user()
        request_id = make.approval(assignees=[ann, ben], required=2)
        deciding.decide(Actor.program(), request_id, "approve")
        User.objects.filter(pk=ben.pk).update(is_active=False)
        deciding.record_view(make.actor(ann), request_id)
        assert events(request_id) == ["opened", "decided", "viewed"]


def counted(request_id: str) -> list[int | None]:
    found: list[int | None] = told(request_id, "decided")["counted"]
    return found


def told(request_id: str, event: str) -> dict[str, Any]:
    """What the last entry of this event says."""
    entry = AuditEntry.objects.filter(request_id=request_id, event=event).latest("sequence")
    content: dict[str, Any] = json.loads(entry.shown.content)
    return content


class TestAnswers:
    def test_free_text(self) -> None:
        request_id = make.clarification()
        outcome = deciding.answer(make.actor(make.reviewer()), request_id, "4711")
        assert (outcome.status, outcome.answer, outcome.approved) == ("answered", "4711", None)
        assert events(request_id) == ["opened", "answered"]

    def test_an_empty_answer_is_an_answer(self) -> None:
        assert deciding.answer(make.actor(make.reviewer()), make.clarification(), "").answer == ""

    @pytest.mark.parametrize(
        ("terms", "wrong", "right"),
        [
            ({"choices": ["a", "b"]}, "c", "a"),
            ({"choices": ["a", "b"], "multiple": True}, ["a", "c"], ["a", "b"]),
            ({"schema": {"type": "object", "required": ["n"]}}, {"m": 1}, {"n": 1}),
            ({}, 5, "five"),
        ],
    )
    def test_an_answer_that_does_not_fit_leaves_the_request_pending(
        self, terms: dict[str, Any], wrong: Any, right: Any
    ) -> None:
        rita = make.reviewer()
        request_id = make.clarification(**terms)
        with pytest.raises(InvalidAnswer) as refused:
            deciding.answer(make.actor(rita), request_id, wrong)
        assert refused.value.field is not None
        assert refused.value.field.startswith("answer")
        assert row(request_id).status == "pending"
        assert deciding.answer(make.actor(rita), request_id, right).answer == right

    def test_a_number_that_reads_back_as_another_is_no_answer(self) -> None:
        request_id = make.clarification(schema={})
        with pytest.raises(InvalidAnswer, match="send it as a string") as refused:
            deciding.answer(make.actor(make.reviewer()), request_id, {"wei": [1e18]})
        assert refused.value.field == "answer.wei[0]"
        assert row(request_id).status == "pending"

    def test_a_schema_from_before_its_numbers_had_to_be_stable_goes_on_to_be_answered(self) -> None:
        request_id = make.clarification(schema={"type": "number", "maximum": 1000})
        HumanRequest.writing.filter(pk=request_id).update(schema={"type": "number", "maximum": 1e18})
        rita = make.actor(make.reviewer())
        with pytest.raises(InvalidAnswer):
            deciding.answer(rita, request_id, 1e22)
        assert deciding.answer(rita, request_id, 5000).answer == 5000

    def test_the_same_picks_in_another_order_are_the_same_answer(self) -> None:
        request_id = make.clarification(choices=["tea", "milk"], multiple=True)
        first = deciding.answer(Actor.program(), request_id, ["milk", "tea"])
        assert deciding.answer(Actor.program(), request_id, ["milk", "tea"]) == first

    def test_true_after_1_is_another_answer(self) -> None:
        request_id = make.clarification(schema={"type": ["integer", "boolean"]})
        deciding.answer(Actor.program(), request_id, 1)
        with pytest.raises(AlreadyDecided):
            deciding.answer(Actor.program(), request_id, True)


class TestEditedArguments:
    def test_both_versions_are_on_record(self) -> None:
        request_id = make.approval(arguments={"amount": 10}, editable=True)
        outcome = deciding.decide(make.actor(make.reviewer()), request_id, "approve", arguments={"amount": 9})
        assert outcome.arguments == {"amount": 9}
        assert row(request_id).arguments == {"amount": 10}
        content = queries.history(row(request_id))[-1].content
        assert content is not None
        assert (content["asked"], content["arguments"]) == ({"amount": 10}, {"amount": 9})

    def test_they_are_refused_where_they_may_not_be_edited(self) -> None:
        request_id = make.approval(arguments={"amount": 10})
        with pytest.raises(ApprovalError) as refused:
            deciding.decide(make.actor(make.reviewer()), request_id, "approve", arguments={"amount": 9})
        assert (refused.value.code, refused.value.field) == ("invalid", "arguments")
        assert row(request_id).status == "pending"

    def test_they_are_named_where_they_may_not_be_edited(self) -> None:
        request_id = make.approval(arguments={"amount": 10})
        with pytest.raises(InvalidAnswer) as refused:
            deciding.decide(Actor.program(), request_id, "approve", arguments={"amount": 11})
        assert refused.value.field == "arguments"
        assert gate.outcome(request_id).status == "pending"

    def test_an_empty_schema_lets_anything_be_edited(self) -> None:
        request_id = make.approval(arguments={"amount": 10}, editable={})
        outcome = deciding.decide(Actor.program(), request_id, "approve", arguments={"amount": 11})
        assert outcome.arguments == {"amount": 11}

    def test_a_number_that_reads_back_as_another_is_refused(self) -> None:
        request_id = make.approval(arguments={"amount": 10}, editable=True)
        with pytest.raises(InvalidAnswer, match="send it as a string") as refused:
            deciding.decide(Actor.program(), request_id, "approve", arguments={"amount": 1e18})
        assert refused.value.field == "arguments.amount"
        assert row(request_id).status == "pending"

    def test_they_must_fit_their_schema(self) -> None:
        schema = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 10}}}
        request_id = make.approval(arguments={"amount": 10}, editable=schema)
        with pytest.raises(InvalidAnswer) as refused:
            deciding.decide(make.actor(make.reviewer()), request_id, "approve", arguments={"amount": 11})
        assert refused.value.field == "arguments.amount"


class TestDeadlines:
    def test_a_late_decision_is_refused_and_the_timeout_recorded_there_and_then(self) -> None:
        request_id = make.approval(timeout=60)
        make_overdue(request_id)
        with pytest.raises(TooLate) as refused:
            deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        assert refused.value.outcome is not None
        assert (refused.value.outcome.status, refused.value.outcome.approved) == ("timed_out", False)
        assert gate.outcome(request_id) == refused.value.outcome
        assert events(request_id) == ["opened", "timed_out", "refused"]

    def test_an_answer_that_is_late_and_does_not_fit_is_late(self) -> None:
        request_id = make.clarification(choices=["red", "blue"])
        make_overdue(request_id)
        with pytest.raises(TooLate):
            deciding.answer(Actor.program(), request_id, "green")
        assert events(request_id) == ["opened", "timed_out", "refused"]

    def test_expiry_before_the_deadline_changes_nothing(self) -> None:
        request_id = make.approval(timeout=60)
        result = queue.submit(Expire(request_id=row(request_id).pk)).result()
        assert isinstance(result, Accepted)
        assert (result.changed, result.outcome.status) == (False, "pending")

    def test_expiry_is_recorded_once(self) -> None:
        request_id = make.approval(timeout=60)
        make_overdue(request_id)
        command = Expire(request_id=row(request_id).pk)
        for future in queue.submit_many([command, command]):
            assert isinstance(future.result(), Accepted)
        queue.submit(command).result()
        assert events(request_id) == ["opened", "timed_out"]

    def test_the_request_says_what_its_timeout_decides(self) -> None:
        approves = make.approval(timeout=60, on_timeout="approve")
        answers = make.clarification(timeout=60, default="4711")
        for request_id in (approves, answers):
            make_overdue(request_id)
            queue.submit(Expire(request_id=row(request_id).pk)).result()
        assert (gate.outcome(approves).approved, gate.outcome(approves).timed_out) == (True, True)
        assert (gate.outcome(answers).answer, gate.outcome(answers).timed_out) == ("4711", True)

    def test_the_database_itself_refuses_a_late_approval(self) -> None:
        request_id = make.approval(timeout=60)
        late = HumanRequest.writing.filter(pk=request_id)
        with pytest.raises(IntegrityError), transaction.atomic():
            late.update(status="approved", closed_at=row(request_id).deadline)


class TestPermission:
    def test_what_may_not_be_seen_does_not_exist_and_the_attempt_is_on_the_trail(self) -> None:
        request_id = make.approval(assignees=[make.user()])
        stranger = make.reviewer()
        with pytest.raises(UnknownRequest):
            deciding.decide(make.actor(stranger), request_id, "approve")
        assert events(request_id) == ["opened", "refused"]

    def test_who_may_see_but_not_decide_is_not_permitted(self) -> None:
        owner = make.user()
        request_id = make.approval(requester=owner)
        with pytest.raises(NotPermitted):
            deciding.decide(make.actor(owner), request_id, "approve")
        assert events(request_id) == ["opened", "refused"]

    def test_permission_is_tested_before_state(self) -> None:
        owner = make.user()
        request_id = make.approval(requester=owner)
        deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        with pytest.raises(NotPermitted):
            deciding.decide(make.actor(owner), request_id, "reject")

    def test_permission_is_tested_before_the_answer(self) -> None:
        """Who may not decide learns nothing about the choices."""
        request_id = make.clarification(choices=["a", "b"], assignees=[make.user()])
        with pytest.raises(UnknownRequest):
            deciding.answer(make.actor(make.reviewer()), request_id, "c")

    def test_only_the_assigned_decide_superusers_included(self) -> None:
        boss = make.user(is_superuser=True)
        request_id = make.approval(assignees=[make.user()])
        with pytest.raises(NotPermitted):
            deciding.decide(make.actor(boss), request_id, "approve")

    def test_members_of_an_assigned_group_decide(self) -> None:
        member = make.user()
        request_id = make.approval(assignees=[make.group("finance", member)])
        assert deciding.decide(make.actor(member), request_id, "approve").approved

    def test_four_eyes_keep_the_requester_out(self) -> None:
        owner, other = make.reviewer(), make.reviewer()
        request_id = make.approval(requester=owner, four_eyes=True)
        with pytest.raises(NotPermitted):
            deciding.decide(make.actor(owner), request_id, "approve")
        assert deciding.decide(make.actor(other), request_id, "approve").approved

    def test_an_inactive_user_decides_nothing(self) -> None:
        rita = make.reviewer()
        request_id = make.approval()
        User.objects.filter(pk=rita.pk).update(is_active=False)
        with pytest.raises(UnknownRequest):
            deciding.decide(make.actor(rita), request_id, "approve")

    @pytest.mark.parametrize("request_id", ["01890a5d-ac96-774b-bcce-b302099a8057", "no id", ""])
    def test_an_unknown_id_is_unknown(self, request_id: str) -> None:
        with pytest.raises(UnknownRequest):
            deciding.decide(make.actor(make.reviewer()), request_id, "approve")

    def test_refusals_do_not_grow_the_trail_without_bound(self) -> None:
        owner = make.user()
        request_id = make.approval(requester=owner)
        for _ in range(3 * chain.REFUSALS_PER_MINUTE):
            with pytest.raises(NotPermitted):
                deciding.decide(make.actor(owner), request_id, "approve")
        assert events(request_id).count("refused") == chain.REFUSALS_PER_MINUTE


class TestWithdrawing:
    def test_a_withdrawn_request_is_told_apart_from_a_rejected_one(self) -> None:
        owner = make.user()
        request_id = make.approval(requester=owner)
        outcome = deciding.withdraw(make.actor(owner), request_id, "Paid otherwise")
        assert (outcome.status, outcome.withdrawn, outcome.approved) == ("withdrawn", True, False)
        with pytest.raises(AlreadyDecided):
            deciding.decide(make.actor(make.reviewer()), request_id, "approve")

    def test_a_reviewer_may_not_take_back_what_others_ask(self) -> None:
        with pytest.raises(NotPermitted):
            deciding.withdraw(make.actor(make.reviewer()), make.approval())


class TestReassigning:
    def test_the_new_assignees_decide_and_the_old_no_longer(self) -> None:
        old, new = make.user("old"), make.user("new")
        request_id = make.approval(assignees=[old])
        deciding.reassign(make.actor(old), request_id, users=["new"])
        with pytest.raises(UnknownRequest):
            deciding.decide(make.actor(old), request_id, "approve")
        assert deciding.decide(make.actor(new), request_id, "approve").approved
        assert events(request_id) == ["opened", "reassigned", "refused", "decided"]

    def test_permission_and_state_are_tested_before_the_new_assignees(self) -> None:
        ann, ben, eve = make.user("ann"), make.user("ben"), make.user("eve")
        request_id = make.approval(assignees=[ann, ben], required=2)
        with pytest.raises(UnknownRequest):
            deciding.reassign(make.actor(eve), request_id, users=["ann"])
        deciding.decide(make.actor(ann), request_id, "reject")
        with pytest.raises(AlreadyDecided):
            deciding.reassign(make.actor(ann), request_id, users=["ann"])

    def test_an_empty_list_is_refused_and_reviewers_name_whoever_has_the_permission(self) -> None:
        ann, rita = make.user(), make.reviewer()
        request_id = make.approval(assignees=[ann])
        with pytest.raises(InvalidRequest, match="REVIEWERS") as refused:
            deciding.reassign(make.actor(ann), request_id)
        assert refused.value.field == "users"
        with pytest.raises(InvalidRequest, match="groups"):
            deciding.reassign(make.actor(ann), request_id, REVIEWERS, [make.group(None, ann).pk])
        deciding.reassign(make.actor(ann), request_id, REVIEWERS)
        deciding.reassign(make.actor(ann), request_id, REVIEWERS)
        assert events(request_id) == ["opened", "reassigned"]
        assert deciding.decide(make.actor(rita), request_id, "approve").approved

    def test_the_reason_is_on_the_trail_and_checked_like_a_comment(self) -> None:
        old, new = make.user("old"), make.user("new")
        request_id = make.approval(assignees=[old])
        with pytest.raises(InvalidRequest, match=r"^reason "):
            deciding.reassign(make.actor(old), request_id, ["new"], reason="x" * 10_001)
        deciding.reassign(make.actor(old), request_id, ["new"], reason="I am away.")
        deciding.reassign(make.actor(old), request_id, ["new"], reason="Said again.")
        (_, line) = [entry_in_words(entry, 1) for entry in queries.history(row(request_id))]
        assert (line.text, line.said) == ("Reassigned by old", "I am away.")
        deciding.reassign(make.actor(new), request_id, ["old"])
        assert verification.verify_request(row(request_id).pk) == []

    def test_nobody_who_could_decide_is_refused(self) -> None:
        old = make.user()
        request_id = make.approval(assignees=[old])
        with pytest.raises(InvalidRequest):
            deciding.reassign(make.actor(old), request_id, groups=[make.group("empty").name])


class TestPeers:
    @pytest.mark.parametrize(
        ("address", "recorded"),
        [
            ("fe80::1%eth0", "fe80::1"),
            ("2001:DB8::0001", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("a unix socket", None),
        ],
    )
    def test_whatever_a_peer_is_called_its_decision_is_recorded_and_the_chain_holds(
        self, address: str, recorded: str | None
    ) -> None:
        request_id = make.approval()
        peer = make.actor(make.reviewer(), address=address, user_agent="a\0b\ud800")
        assert deciding.decide(peer, request_id, "approve").approved
        entry = AuditEntry.objects.get(request_id=request_id, event="decided")
        assert (entry.address, entry.user_agent) == (recorded, "a?b?")
        assert verification.verify_request(row(request_id).pk) == []


class TestViews:
    def test_the_first_view_of_each_actor_is_on_the_trail(self) -> None:
        one, two = make.reviewer(), make.reviewer()
        request_id = make.approval()
        for person in (one, one, two):
            deciding.record_view(make.actor(person), request_id)
        assert events(request_id) == ["opened", "viewed", "viewed"]


class TestMany:
    def test_each_gets_its_own_outcome_or_refusal(self) -> None:
        rita = make.reviewer()
        open_id, closed_id = make.approval(), make.approval()
        deciding.decide(make.actor(make.reviewer()), closed_id, "reject")
        results = deciding.decide_many(
            make.actor(rita), [(open_id, "approve"), (closed_id, "approve"), (str(uuid4()), "approve")]
        )
        codes = [result.status if isinstance(result, Outcome) else result.code for result in results]
        assert codes == ["approved", "already_decided", "unknown_request"]

    def test_the_number_of_statements_does_not_grow_with_the_number_of_commands(self) -> None:
        """Sets, not loops: opening, votes short of the quorum and those that reach it, answers, refusals."""
        people = [make.reviewer(), make.reviewer()]
        self._statements(people, 1)  # prepares what the connection keeps
        assert self._statements(people, 1) == self._statements(people, 1_000)

    def _statements(self, people: list[User], number: int) -> list[int]:
        """How many each batch of so many commands takes, whatever goes together in a message."""
        asked = [new_id() for _ in range(number)]
        questions = [new_id() for _ in range(number)]
        first, second = (Actor(user_id=person.pk, channel=Channel.API) for person in people)
        named = tuple(person.pk for person in people)
        batches: list[list[Command]] = [
            [self._opening(pk, Kind.APPROVAL, named) for pk in asked],
            [self._opening(pk, Kind.CLARIFICATION, named) for pk in questions],
            [Decision(request_id=pk, actor=first, verdict=Verdict.APPROVE) for pk in asked],
            [Decision(request_id=pk, actor=second, verdict=Verdict.APPROVE) for pk in asked],
            [Answer(request_id=pk, actor=first, answer="42") for pk in questions],
            [Answer(request_id=pk, actor=second, answer="43") for pk in questions],
        ]
        counts = []
        for batch in batches:
            with CaptureQueriesContext(connection) as messages:
                results = execution.execute(batch)
            assert {type(result) for result in results} == {Refused if batch is batches[-1] else Accepted}
            counts.append(sum(max(1, message["sql"].count("EXECUTE sayso_")) for message in messages))
        closed = HumanRequest.objects.filter(pk__in=[*asked, *questions], approvals__in=[0, 2])
        assert closed.exclude(status="pending").count() == 2 * number
        return counts

    def _opening(self, request_id: UUID, kind: Kind, named: tuple[int, ...]) -> OpenRequest:
        approval = kind is Kind.APPROVAL
        return OpenRequest(
            request_id=request_id,
            actor=Actor.program(),
            kind=kind,
            title="Which?",
            user_ids=named,
            required=2 if approval else 1,
            on_timeout=Verdict.REJECT if approval else None,
        )


class TestRaces:
    def test_of_many_deciders_at_once_exactly_one_wins(self) -> None:
        """First decision wins, once; every loser is told who won."""
        people = [make.reviewer() for _ in range(8)]
        request_id = make.approval()
        together = Barrier(len(people))

        def vote(person: User) -> Outcome | ApprovalError:
            verdict = Verdict.APPROVE if person.pk % 2 else Verdict.REJECT
            together.wait()
            (result,) = execution.execute(
                [Decision(request_id=row(request_id).pk, actor=make.actor(person), verdict=verdict)]
            )
            connection.close()
            return result.outcome  # type: ignore[return-value]  # every result here carries the outcome

        with ThreadPoolExecutor(len(people)) as threads:
            told = list(threads.map(vote, people))
        recorded = gate.outcome(request_id)
        assert told == [recorded] * len(people)
        assert AuditEntry.objects.filter(request_id=request_id).exclude(outcome="").count() == 1
        assert verification.verify_request(row(request_id).pk) == []

    def test_inside_a_transaction_nothing_is_decided(self) -> None:
        request_id = make.approval()
        rita = make.reviewer()
        with transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
            deciding.decide(make.actor(rita), request_id, "approve")
