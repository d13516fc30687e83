"""Asking: what is impossible is refused by name before anything is recorded; keys re-attach; waits wake."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from approvals import deciding, gate
from approvals.commands import Actor
from approvals.database import in_database
from approvals.exceptions import InvalidRequest, KeyConflict, StillPending, UnknownRequest
from approvals.lifecycle import DEFAULT_ANSWER
from approvals.models import HumanRequest
from tests import factories as make
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
            ({"title": "x" * 201}, "title"),
            ({"title": "two\nlines"}, "title"),
            ({"timeout": -1}, "timeout"),
            ({"timeout": math.nan}, "timeout"),
            ({"timeout": math.inf}, "timeout"),
            ({"assignees": [True]}, "assignees"),
            ({"assignees": [None]}, "assignees"),
            ({"assignees": "rita"}, "assignees"),
            ({"assignees": None}, "assignees"),
            ({"required": 0}, "required"),
            ({"required": True}, "required"),
            ({"four_eyes": "no"}, "four_eyes"),
            ({"editable": {"type": "nonsense"}}, "editable.type"),
            ({"editable": True, "required": 2}, "editable"),
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
        assert HumanRequest.objects.count() == 0

    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"choices": []}, "choices"),
            ({"choices": ["a", "a"]}, "choices[1]"),
            ({"choices": ["a", ""]}, "choices[1]"),
            ({"choices": "abc"}, "choices"),
            ({"choices": ["a"], "schema": {}}, "schema"),
            ({"choices": ["a"], "default": "b"}, "default"),
            ({"schema": {"type": "nonsense"}}, "schema.type"),
            ({"schema": {"type": "integer"}, "default": "b"}, "default"),
            ({"schema": {"$ref": "https://example.org/schema"}}, "schema.$ref"),
            ({"multiple": True}, "multiple"),
            ({"default": 5}, "default"),
            ({"schema": 5}, "schema"),
        ],
    )
    def test_of_clarifications(self, terms: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            gate.open_clarification("Which?", **terms)
        assert refused.value.field == field
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
        with pytest.raises(KeyConflict):
            make.approval("Pay", arguments={"wei": 2e18}, key="k")

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
        assert not await in_database(HumanRequest.objects.exists)

    def test_an_unknown_term_is_a_mistake_of_the_program(self) -> None:
        with pytest.raises(TypeError, match="deadline"):
            gate.open_approval("Refund", deadline=3)  # type: ignore[call-arg]


class TestDefaults:
    def test_free_text_has_a_default_answer_and_others_none(self) -> None:
        free, picked = make.clarification(), make.clarification(choices=["a"])
        defaults = [HumanRequest.objects.get(pk=pk).default for pk in (free, picked)]
        assert defaults == [DEFAULT_ANSWER, None]

    def test_no_deadline_is_possible(self) -> None:
        assert HumanRequest.objects.get(pk=make.approval(timeout=None)).deadline is None


class TestKeys:
    def test_the_same_key_and_question_find_the_same_request(self) -> None:
        first = make.approval(key="refund-812", arguments={"order": 812})
        assert make.approval(key="refund-812", arguments={"order": 812}) == first

    async def test_a_closed_request_returns_its_recorded_outcome(self) -> None:
        request_id = await gate.aopen_approval("Refund", key="refund-812")
        await deciding.adecide(Actor.program(), request_id, "approve")
        assert (await gate.request_approval("Refund", key="refund-812")).request_id == request_id

    @pytest.mark.parametrize("other", [{"title": "Another"}, {"arguments": {"order": 813}}])
    def test_the_same_key_for_something_else_conflicts_and_opens_nothing(self, other: dict[str, Any]) -> None:
        make.approval(key="refund-812")
        with pytest.raises(KeyConflict):
            make.approval(**{"key": "refund-812", **other})
        assert HumanRequest.objects.count() == 1

    def test_true_is_not_the_same_argument_as_1(self) -> None:
        make.approval(key="k", arguments={"all": 1})
        with pytest.raises(KeyConflict):
            make.approval(key="k", arguments={"all": True})

    def test_a_key_belongs_to_its_requester(self) -> None:
        one, two = make.user(), make.user()
        ids = {make.approval(key="k", requester=person) for person in (one, two, None)}
        assert len(ids) == 3


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
