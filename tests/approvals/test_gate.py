"""Asking: what is impossible is refused by name before anything is recorded; keys re-attach; waits wake."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

import orchestration
from approvals import deciding, gate
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import DEFAULT_ANSWER, Kind
from approvals.domain.payloads import seconds
from approvals.exceptions import InvalidRequest, KeyConflict, StillPending, UnknownRequest
from approvals.gate import REVIEWERS
from approvals.models import HumanRequest
from tests import factories as make
from tests.approvals.web.api.program import Program
from tests.effort import effort
from tests.marks import both_databases

pytestmark = pytest.mark.django_db

DEEP: Any = 0
for _ in range(70):
    DEEP = [DEEP]


@pytest.mark.one_stack
class TestBadInput:
    """The error names field and rule, and nothing is recorded."""

    @both_databases
    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"assignees": ["nobody"]}, "assignees"),
            ({"assignees": ["a\0"]}, "assignees"),
            ({"assignees": ["\ud800"]}, "assignees"),
            ({"assignees": [10**30]}, "assignees"),
            ({"requester": "nobody"}, "requester"),
            ({"required": 2}, "required"),
            ({"four_eyes": True}, "four_eyes"),
        ],
    )
    def test_of_people(self, terms: dict[str, Any], field: str) -> None:
        """Whom a database is asked about, some of them by names that it can't hold."""
        with pytest.raises(InvalidRequest) as refused:
            gate.open_approval("Refund", **terms)
        assert refused.value.field == field
        assert HumanRequest.objects.count() == 0

    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"title": ""}, "title"),
            ({"title": "   "}, "title"),
            ({"title": "\u3164\u200d"}, "title"),
            ({"title": "x" * 201}, "title"),
            ({"title": "two\nlines"}, "title"),
            ({"timeout": -1}, "timeout"),
            ({"timeout": 0}, "timeout"),
            ({"timeout": 0, "key": "k"}, "timeout"),
            ({"timeout": timedelta(0)}, "timeout"),
            ({"timeout": timedelta(days=-1)}, "timeout"),
            ({"timeout": timedelta(days=40_000)}, "timeout"),
            ({"timeout": True}, "timeout"),
            ({"timeout": "60"}, "timeout"),
            ({"assignees": []}, "assignees"),
            ({"assignees": ()}, "assignees"),
            ({"assignees": iter([])}, "assignees"),
            ({"assignees": User.objects.none}, "assignees"),
            ({"assignees": [REVIEWERS]}, "assignees"),
            ({"four_eyes": True, "on_timeout": "approve"}, "on_timeout"),
            ({"required": 2, "on_timeout": "approve", "timeout": 0.01}, "on_timeout"),
            ({"timeout": math.nan}, "timeout"),
            ({"timeout": math.inf}, "timeout"),
            ({"assignees": [True]}, "assignees"),
            ({"assignees": [None]}, "assignees"),
            ({"assignees": "rita"}, "assignees"),
            ({"assignees": None}, "assignees"),
            ({"required": 0}, "required"),
            ({"required": True}, "required"),
            ({"four_eyes": "no"}, "four_eyes"),
            ({"confidential": "yes"}, "confidential"),
            ({"remind": 1}, "remind"),
            ({"remind": True}, "remind"),
            ({"remind": "soon"}, "remind"),
            ({"remind": float("nan")}, "remind"),
            ({"editable": {"type": "nonsense"}}, "editable.type"),
            ({"editable": True, "required": 2}, "editable"),
            ({"severity": "low"}, "severity"),
            ({"severity": True}, "severity"),
            ({"severity": None}, "severity"),
            ({"severity": ["high"]}, "severity"),
            ({"highlight": "amount", "arguments": {"amount": 1}}, "highlight"),
            ({"highlight": {"amount": 1}, "arguments": {"amount": 1}}, "highlight"),
            ({"highlight": None}, "highlight"),
            ({"highlight": ["amount"]}, "highlight[0]"),
            ({"highlight": ["a", "b"], "arguments": {"a": {"b": 1}}}, "highlight[1]"),
            ({"highlight": ["a", "b", "a"], "arguments": {"a": 1, "b": 2}}, "highlight[2]"),
            ({"highlight": [1], "arguments": {"1": 1}}, "highlight[0]"),
            ({"highlight": ["a" * 101], "arguments": {"a" * 101: 1}}, "highlight[0]"),
            ({"highlight": ["\ud800"]}, "highlight[0]"),
            ({"highlight": list("abcdefg"), "arguments": dict.fromkeys("abcdefg")}, "highlight"),
            ({"on_timeout": "maybe"}, "on_timeout"),
            ({"on_timeout": ["reject"]}, "on_timeout"),
            ({"origin": "a run"}, "origin"),
            ({"origin": {"id": 5}}, "origin"),
            ({"origin": {"kind": "run"}}, "origin.id"),
            ({"origin": {"kind": "job", "url": "javascript:alert(1)"}}, "origin.url"),
            ({"origin": {"kind": "job", "url": " https://jobs.example.org/"}}, "origin.url"),
            ({"origin": {"kind": "job", "url": "//jobs.example.org/"}}, "origin.url"),
            ({"arguments": {"a": "x" * 1_048_577}}, "arguments"),
            ({"arguments": {"a": "\0"}}, "arguments.a"),
            ({"arguments": {"a": "\ud800"}}, "arguments.a"),
            ({"arguments": {"a": [math.nan]}}, "arguments.a[0]"),
            ({"arguments": {"a": math.inf}}, "arguments.a"),
            ({"arguments": {1: "one"}}, "arguments"),
            ({"arguments": {"a": 1, "a\u200d": 2}}, 'arguments["a\\u200d"]'),
            ({"arguments": {"to": [{"\u2800": 1}]}}, 'arguments.to[0]["\\u2800"]'),
            ({"editable": {"properties": {"a b": {}, "a  b": {}}}}, 'editable.properties["a  b"]'),
            ({"arguments": [1]}, "arguments"),
            ({"details": "\0"}, "details"),
            ({"key": "k" * 201}, "key"),
            ({"key": 0}, "key"),
        ],
    )
    def test_of_approvals(self, terms: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            gate.open_approval(**{"title": "Refund", **terms})
        assert refused.value.field == field
        assert str(refused.value).startswith(field)
        assert HumanRequest.objects.count() == 0

    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"choices": []}, "choices"),
            ({"choices": ["a", "a"]}, "choices[1]"),
            ({"choices": ["a", ""]}, "choices[1]"),
            ({"choices": ["a", "\uff41"]}, "choices[1]"),
            ({"choices": ["\u200b"]}, "choices[0]"),
            ({"schema": {"enum": ["a", "a "]}}, "schema.enum[1]"),
            ({"choices": "abc"}, "choices"),
            ({"choices": {"a": "A", "b": "A"}}, "choices.b"),
            ({"choices": {"a": "A"}, "default": "A"}, "default"),
            ({"choices": ["a"], "schema": {}}, "schema"),
            ({"choices": ["a"], "default": "b"}, "default"),
            ({"schema": {"type": "nonsense"}}, "schema.type"),
            ({"schema": {"type": "integer"}, "default": "b"}, "default"),
            ({"schema": {"$ref": "https://example.org/schema"}}, "schema.$ref"),
            ({"multiple": True}, "multiple"),
            ({"severity": "High"}, "severity"),
            ({"default": 5}, "default"),
            ({"schema": 5}, "schema"),
        ],
    )
    def test_of_clarifications(self, terms: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            gate.open_clarification("Which?", **terms)
        assert refused.value.field == field
        assert str(refused.value).startswith(field)
        assert HumanRequest.objects.count() == 0

    @pytest.mark.parametrize(
        ("kind", "terms", "field"),
        [
            (make.approval, {"arguments": {"wei": 1e18}}, "arguments.wei"),
            (make.approval, {"arguments": {"of": [{}, {"wei": -1e18}]}, "key": "k"}, "arguments.of[1].wei"),
            (
                make.approval,
                {"editable": {"properties": {"wei": {"maximum": 1e18}}}},
                "editable.properties.wei.maximum",
            ),
            (make.clarification, {"schema": {"maximum": 1e18}}, "schema.maximum"),
            (make.clarification, {"schema": {"enum": [1, 2.0**53]}, "default": 1}, "schema.enum[1]"),
            (make.clarification, {"schema": {}, "default": {"wei": 1e18}}, "default.wei"),
        ],
    )
    def test_a_number_that_reads_back_as_another_is_refused(
        self, kind: Any, terms: dict[str, Any], field: str
    ) -> None:
        """RFC 8785 writes it as an integer beyond those that JSON carries."""
        with pytest.raises(InvalidRequest, match="send it as a string") as refused:
            kind(**terms)
        assert refused.value.field == field
        assert refused.value.detail.startswith(field)
        assert not HumanRequest.objects.exists()

    def test_what_is_on_record_with_such_a_number_is_found_by_its_key(self) -> None:
        """It was accepted once. Only a new question is held against the rule."""
        wei = {"wei": 1e18}
        request_id = make.earlier(title="Pay", arguments=wei, key="k")
        assert make.approval("Pay", arguments=wei, key="k") == request_id
        deciding.decide(Actor.program(), request_id, "approve")
        assert make.approval("Pay", arguments=wei, key="k") == request_id
        with pytest.raises(InvalidRequest, match="wei"):
            make.approval("Pay", arguments={"wei": 2e18}, key="k")

    def test_what_is_on_record_in_disguise_is_found_by_its_key(self) -> None:
        """It was accepted once, and is decided as it was asked."""
        names = {"a": 1, "a\u200d": 2}
        request_id = make.earlier(title="\u3164", arguments=names, key="k")
        assert make.approval("\u3164", arguments=names, key="k") == request_id
        deciding.decide(Actor.program(), request_id, "approve")
        assert gate.outcome(request_id).arguments == names
        choices = ["a", "a\u200d"]
        request_id = make.earlier(Kind.CLARIFICATION, title="Which?", choices=choices, key="c")
        assert make.clarification("Which?", choices=choices, key="c") == request_id
        deciding.answer(Actor.program(), request_id, "a\u200d")
        assert gate.outcome(request_id).answer == "a\u200d"

    def test_nesting_past_64_is_refused(self) -> None:
        with pytest.raises(InvalidRequest):
            gate.open_approval("Refund", arguments={"deep": DEEP})

    @both_databases
    def test_an_assigned_group_without_members_can_decide_nothing(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            gate.open_approval("Refund", assignees=[make.group("empty")])
        assert refused.value.field == "assignees"

    @both_databases
    def test_a_group_can_ask_nothing_whatever_user_has_its_number(self) -> None:
        group = make.group()
        User.objects.create_user("same number", pk=group.pk)
        with pytest.raises(InvalidRequest) as refused:
            make.approval(requester=group)
        assert refused.value.field == "requester"

    @pytest.mark.parametrize("patience", [-1, math.nan, "long"])
    async def test_patience_is_checked_before_anything_is_recorded(self, patience: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await gate.request_approval("Refund", patience=patience)
        assert refused.value.field == "patience"
        assert str(refused.value).startswith("patience")
        assert not await in_database(HumanRequest.objects.exists)

    def test_an_unknown_term_is_a_mistake_of_the_program(self) -> None:
        with pytest.raises(TypeError, match="deadline"):
            gate.open_approval("Refund", deadline=3)  # type: ignore[call-arg]


class TestWhoIsNamed:
    def test_reviewers_name_whoever_has_the_permission_as_leaving_it_out_does(self) -> None:
        rita = make.reviewer()
        first = make.approval(key="k", assignees=REVIEWERS)
        assert make.approval(key="k") == first
        assert deciding.decide(make.actor(rita), first, "approve").approved

    @pytest.mark.parametrize("nobody", [[], (), set(), {}])
    def test_an_empty_list_is_refused_with_the_word_to_use(self, nobody: Any) -> None:
        with pytest.raises(InvalidRequest, match="REVIEWERS"):
            make.approval(assignees=nobody)

    def test_it_is_one_word_wherever_it_comes_from(self) -> None:
        assert orchestration.REVIEWERS is gate.REVIEWERS


class TestDurations:
    @pytest.mark.one_stack
    @effort()
    @given(st.timedeltas(timedelta(microseconds=1), timedelta(days=36_000)))
    def test_a_timedelta_is_its_seconds(self, duration: timedelta) -> None:
        assert seconds(duration, "timeout", none_allowed=False) == duration.total_seconds()

    def test_a_timedelta_is_a_timeout(self) -> None:
        row = HumanRequest.objects.get(pk=make.approval(timeout=timedelta(minutes=2)))
        assert row.deadline is not None
        assert row.deadline - row.opened_at == timedelta(minutes=2)

    async def test_and_patience(self) -> None:
        request_id = await gate.aopen_approval("Refund")
        with pytest.raises(StillPending):
            await gate.wait_for_outcome(request_id, timedelta(0))
        with pytest.raises(StillPending):
            await gate.request_approval("Refund", patience=timedelta(microseconds=1))


class TestWhatADeadlineMayApprove:
    @pytest.mark.one_stack
    @effort()
    @given(
        required=st.integers(1, 3), four_eyes=st.booleans(), on_timeout=st.sampled_from(["approve", "reject"])
    )
    def test_only_what_one_approval_approves(self, required: int, four_eyes: bool, on_timeout: str) -> None:
        """Whoever else there is: who must approve is not asked first."""
        contradictory = on_timeout == "approve" and (required > 1 or four_eyes)
        try:
            make.approval(required=required, four_eyes=four_eyes, on_timeout=on_timeout)
        except InvalidRequest as refused:
            assert (refused.field == "on_timeout") is contradictory  # noqa: PT017 - not all are refused
        else:
            assert not contradictory

    @pytest.mark.parametrize("terms", [{"four_eyes": True}, {"required": 2}])
    def test_also_others_where_the_installation_says_so(
        self, terms: dict[str, Any], settings: Settings
    ) -> None:
        make.reviewer(), make.reviewer()
        settings.SAYSO_APPROVE_ON_TIMEOUT = "any"
        first = make.approval(key="k", **terms, on_timeout="approve")
        settings.SAYSO_APPROVE_ON_TIMEOUT = "single"
        assert make.approval(key="k", **terms, on_timeout="approve") == first, "it is on record"


class TestDefaults:
    def test_free_text_has_a_default_answer_and_others_none(self) -> None:
        free, picked = make.clarification(), make.clarification(choices=["a"])
        defaults = [HumanRequest.objects.get(pk=pk).default for pk in (free, picked)]
        assert defaults == [DEFAULT_ANSWER, None]

    def test_no_deadline_is_possible(self) -> None:
        assert HumanRequest.objects.get(pk=make.approval(timeout=None)).deadline is None


class TestWhatMatters:
    def test_it_is_asked_and_recorded(self) -> None:
        """The names of arguments may also come as a tuple; where nothing is said, nothing matters more."""
        arguments = {"order": 812, "amount": "12.00", "to": "ACME"}
        terms: dict[str, Any] = {
            "arguments": arguments,
            "severity": "high",
            "highlight": ("to", "amount"),
        }
        asked = HumanRequest.objects.get(pk=make.approval(**terms))
        assert (asked.severity, asked.highlight) == ("high", ["to", "amount"])
        plain = HumanRequest.objects.get(pk=make.approval(arguments=arguments))
        assert (plain.severity, plain.highlight) == ("normal", [])
        question = HumanRequest.objects.get(pk=make.clarification(severity="high"))
        assert (question.severity, question.highlight) == ("high", [])

    def test_clarifications_have_no_arguments_to_highlight(self) -> None:
        with pytest.raises(TypeError, match="clarifications have no such term: highlight"):
            make.clarification(highlight=["amount"])

    def test_saying_what_holds_anyway_asks_the_same_question(self) -> None:
        first = make.approval(key="k", arguments={"order": 812})
        same: dict[str, Any] = {"key": "k", "arguments": {"order": 812}, "severity": "normal"}
        assert make.approval(**same, highlight=[]) == first
        assert make.approval(**same, highlight=()) == first
        with pytest.raises(KeyConflict) as conflict:
            make.approval(**{**same, "severity": "high"})
        assert conflict.value.differs == ("severity",)

    def test_other_highlights_ask_the_same_question(self) -> None:
        """They say how it is shown, as details do; the request keeps its own."""
        first = make.approval(key="k", arguments={"order": 812}, highlight=[])
        assert make.approval(key="k", arguments={"order": 812}, highlight=["order"]) == first
        assert HumanRequest.objects.get(pk=first).highlight == []


class TestKeys:
    def test_the_same_key_and_question_find_the_same_request(self) -> None:
        first = make.approval(key="refund-812", arguments={"order": 812})
        assert make.approval(key="refund-812", arguments={"order": 812}) == first

    async def test_a_closed_request_returns_its_recorded_outcome(self) -> None:
        request_id = await gate.aopen_approval("Refund", key="refund-812")
        await deciding.adecide(Actor.program(), request_id, "approve")
        assert (await gate.request_approval("Refund", key="refund-812")).request_id == request_id

    @pytest.mark.parametrize(
        ("other", "differs"),
        [
            ({"title": "Another"}, "title"),
            ({"arguments": {"order": 813}}, "arguments"),
            ({"editable": True}, "editable"),
            ({"editable": {"type": "object"}}, "editable"),
            ({"required": 2}, "required"),
            ({"four_eyes": True}, "four_eyes"),
            ({"on_timeout": "approve"}, "on_timeout"),
            ({"severity": "high"}, "severity"),
            ({"assignees": ["rita"]}, "assignees"),
        ],
    )
    def test_an_approval_that_means_something_else_conflicts_and_opens_nothing(
        self, other: dict[str, Any], differs: str
    ) -> None:
        rita, _ = make.reviewer("rita"), make.reviewer()
        first = make.approval(key="refund-812")
        deciding.decide(make.actor(rita), first, "approve")
        with pytest.raises(KeyConflict, match=f"^key 'refund-812' .* other {differs}") as conflict:
            make.approval(**{"key": "refund-812", **other})
        assert (conflict.value.request_id, conflict.value.differs) == (first, (differs,))
        assert conflict.value.outcome == gate.outcome(first)
        assert HumanRequest.objects.count() == 1

    @pytest.mark.parametrize(
        ("asked", "other", "differs"),
        [
            ({"choices": ["a", "b"]}, {"choices": ["a", "c"]}, ("choices",)),
            ({"choices": ["a", "b"]}, {"choices": ["b", "a"]}, ("choices",)),
            ({"choices": ["a", "b"]}, {"choices": ["a", "b"], "multiple": True}, ("multiple",)),
            ({"choices": ["a", "b"]}, {"choices": ["a", "b"], "default": "a"}, ("default",)),
            ({"schema": {"type": "integer"}}, {"schema": {"type": "number"}}, ("schema",)),
            ({}, {"schema": {"type": "number"}}, ("schema", "default")),
            ({}, {"default": "none"}, ("default",)),
            ({}, {"severity": "high"}, ("severity",)),
            ({}, {"assignees": ["rita"]}, ("assignees",)),
        ],
    )
    def test_a_question_that_means_something_else_conflicts(
        self, asked: dict[str, Any], other: dict[str, Any], differs: tuple[str, ...]
    ) -> None:
        make.reviewer("rita")
        first = make.clarification(key="k", **asked)
        with pytest.raises(KeyConflict) as conflict:
            make.clarification(key="k", **other)
        assert (conflict.value.request_id, conflict.value.differs) == (first, differs)

    def test_an_answer_is_never_taken_for_one_to_other_choices(self) -> None:
        first = make.clarification(key="k", choices=["a", "b"])
        deciding.answer(Actor.program(), first, "a")
        with pytest.raises(KeyConflict) as conflict:
            make.clarification(key="k", choices=["b", "c"])
        assert conflict.value.outcome is not None
        assert conflict.value.outcome.answer == "a"

    def test_an_own_approval_answers_no_question_that_needs_four_eyes(self) -> None:
        ann, _ = make.reviewer("ann"), make.reviewer()
        deciding.decide(make.actor(ann), make.approval(key="k", requester=ann), "approve")
        with pytest.raises(KeyConflict, match="four_eyes"):
            make.approval(key="k", requester=ann, four_eyes=True)

    @pytest.mark.parametrize(
        "other",
        [
            {"details": "Better words."},
            {"timeout": 60},
            {"timeout": None},
            {"callback_url": "https://jobs.example.org/812"},
            {"origin": {"kind": "job", "url": "https://jobs.example.org/new"}},
        ],
    )
    def test_what_a_deploy_may_reword_is_the_same_question(
        self, other: dict[str, Any], settings: Settings
    ) -> None:
        settings.SAYSO_CALLBACK_HOSTS = ["jobs.example.org"]
        first = make.approval(key="k", details="Words.", timeout=30)
        assert make.approval(**{"key": "k", **other}) == first

    def test_who_is_named_is_compared_by_name_in_any_order_and_as_object_or_text(self) -> None:
        ann, ben, desk = make.user("ann"), make.user("ben"), make.group("desk", make.user())
        first = make.approval(key="k", assignees=[ann, "ben", desk])
        assert make.approval(key="k", assignees=(desk, ben, "ann", ann)) == first
        with pytest.raises(KeyConflict, match="assignees"):
            make.approval(key="k", assignees=["ben", desk])

    def test_nobody_asks_whether_those_who_were_named_still_exist(self) -> None:
        ann, desk = make.user("ann"), make.group("desk", make.user())
        first = make.approval(key="k", assignees=[ann, desk], required=2)
        User.objects.update(is_active=False)
        assert make.approval(key="k", assignees=iter(["ann", desk]), required=2) == first
        with pytest.raises(InvalidRequest):
            make.approval(key="another", assignees=["ann", desk])

    def test_who_has_been_reassigned_since_makes_no_other_question(self) -> None:
        make.user("ann"), make.user("ben")
        first = make.approval(key="k", assignees=["ann"])
        deciding.reassign(Actor.program(), first, ["ben"])
        assert make.approval(key="k", assignees=["ann"]) == first

    def test_a_callback_that_is_allowed_no_more_is_still_the_same_question(self, settings: Settings) -> None:
        settings.SAYSO_CALLBACK_HOSTS = ["jobs.example.org"]
        first = make.approval(key="k", callback_url="https://jobs.example.org/812")
        settings.SAYSO_CALLBACK_HOSTS = []
        assert make.approval(key="k", callback_url="https://jobs.example.org/812") == first

    def test_the_same_key_over_http_and_by_the_gate_is_the_same_question(self) -> None:
        bill, _ = make.reviewer("bill"), make.group("finance", make.user("fay"))
        terms: dict[str, Any] = {"key": "k", "arguments": {"order": 812}}
        assignees = {"users": ["bill"], "groups": ["finance"]}
        first = Program.of(bill).ask("Refund", assignees=assignees, **terms)
        by_gate = [bill, Group.objects.get(name="finance")]
        assert make.approval("Refund", requester=bill, assignees=by_gate, **terms) == first["id"]

    def test_true_is_not_the_same_argument_as_1(self) -> None:
        make.approval(key="k", arguments={"all": 1})
        with pytest.raises(KeyConflict):
            make.approval(key="k", arguments={"all": True})

    def test_a_key_belongs_to_its_requester(self) -> None:
        one, two = make.user(), make.user()
        ids = {make.approval(key="k", requester=person) for person in (one, two, None)}
        assert len(ids) == 3


@both_databases
class TestAskingAnew:
    def test_what_was_closed_before_a_moment_is_asked_in_another_round(self) -> None:
        """Once: whoever asks again since then finds that round, also after it was decided."""
        rita = make.reviewer()
        first = gate.open_approval("Go on?", key="k", requester=rita)
        assert gate.open_approval("Go on?", key="k", requester=rita, asked_since=database_now()) == first
        deciding.decide(make.actor(rita), first, "reject")
        since = database_now()
        second = gate.open_approval("Go on?", key="k", requester=rita, asked_since=since)
        assert second != first
        deciding.decide(make.actor(rita), second, "approve")
        assert gate.open_approval("Go on?", key="k", requester=rita, asked_since=since) == second
        assert gate.open_approval("Go on?", key="k", requester=rita) == second
        rounds = HumanRequest.objects.filter(key="k").order_by("round")
        assert list(rounds.values_list("round", "status")) == [(1, "rejected"), (2, "approved")]


class TestWaiting:
    async def test_a_decision_wakes_who_asked(self) -> None:
        asking = asyncio.create_task(gate.request_approval("Refund", key="k"))
        request_id = await gate.aopen_approval("Refund", key="k")
        outcome = await deciding.adecide(Actor.program(), request_id, "approve")
        assert await asking == outcome

    async def test_an_answer_wakes_who_asked(self) -> None:
        asking = asyncio.create_task(gate.request_clarification("Which?", key="k", choices=["a", "b"]))
        request_id = await gate.aopen_clarification("Which?", key="k", choices=["a", "b"])
        await deciding.aanswer(Actor.program(), request_id, "b")
        assert (await asking).answer == "b"

    async def test_a_decision_before_the_wait_is_not_missed(self) -> None:
        request_id = await gate.aopen_approval("Refund")
        decided = await deciding.adecide(Actor.program(), request_id, "reject")
        assert await gate.wait_for_outcome(request_id) == decided

    async def test_a_withdrawal_wakes_and_is_told_apart(self) -> None:
        request_id = await gate.aopen_approval("Refund")
        waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
        await gate.withdraw(request_id, "no longer needed")
        assert (await waiting).withdrawn

    async def test_the_deadline_wakes_with_what_is_on_record(self) -> None:
        outcome = await gate.request_approval("Refund", timeout=0.05, on_timeout="approve")
        assert (outcome.status, outcome.approved) == ("timed_out", True)
        assert await gate.aoutcome(outcome.request_id) == outcome

    async def test_patience_ends_the_call_and_leaves_the_request_open(self) -> None:
        with pytest.raises(StillPending):
            await gate.request_approval("Refund", key="k", patience=0)
        assert (await gate.aoutcome(await gate.aopen_approval("Refund", key="k"))).status == "pending"

    @pytest.mark.parametrize("error", [UnknownRequest, KeyError])
    async def test_an_unknown_request_is_unknown(self, error: type[Exception]) -> None:
        unknown = uuid4()
        with pytest.raises(error, match=f"^There is no request '{unknown}'"):
            await gate.wait_for_outcome(unknown)

    async def test_many_waiters_of_one_request_all_wake(self) -> None:
        request_id = await gate.aopen_approval("Refund")
        waiting = [asyncio.create_task(gate.wait_for_outcome(request_id)) for _ in range(20)]
        outcome = await deciding.adecide(Actor.program(), request_id, "approve")
        assert await asyncio.gather(*waiting) == [outcome] * 20

    def test_any_event_loop_can_wait(self) -> None:
        """Two loops of one process, one after the other, share the process's waiting room."""
        request_id = make.approval(timeout=None)

        async def wait() -> bool:
            waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
            await in_database(deciding.decide, Actor.program(), request_id, "approve")
            return bool((await waiting).approved)

        assert asyncio.run(wait())
        assert asyncio.run(wait())
