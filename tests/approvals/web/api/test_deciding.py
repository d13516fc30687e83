"""Deciding over HTTP: what is recorded, what is refused and how, and that every call may be repeated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding, gate
from approvals.database.clock import database_now
from approvals.models import AuditEntry, HumanRequest
from tests import factories as make
from tests.approvals.web.api.program import Program, fields_at_fault
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


@pytest.fixture
def rita(stack: Any) -> User:
    return make.reviewer("rita")


@pytest.fixture
def program(rita: User) -> Program:
    return Program.of(rita)


def events(request_id: str) -> list[str]:
    entries = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
    return list(entries.values_list("event", flat=True))


def make_overdue(request_id: str) -> None:
    past = database_now() - timedelta(seconds=1)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)


class TestDecision:
    @both_databases
    def test_it_is_recorded_and_repeating_it_is_harmless(self, program: Program) -> None:
        request_id = make.approval()
        body = {"decision": "approve", "comment": "Fine."}
        outcome = program.post(f"/requests/{request_id}/decision", body)
        assert (outcome["approved"], outcome["comment"]) == (True, "Fine.")
        assert program.post(f"/requests/{request_id}/decision", body) == outcome
        assert events(request_id) == ["opened", "decided"]

    def test_edited_arguments_are_what_was_approved(self, program: Program) -> None:
        request_id = make.approval(arguments={"amount": 2}, editable={"required": ["amount"]})
        body = {"decision": "approve", "arguments": {"amount": 1}}
        assert program.post(f"/requests/{request_id}/decision", body)["arguments"] == {"amount": 1}
        assert program.post(f"/requests/{request_id}/decision", body)["arguments"] == {"amount": 1}

    def test_arguments_that_do_not_fit_are_refused_where_they_do_not(self, program: Program) -> None:
        request_id = make.approval(editable={"properties": {"items": {"items": {"type": "integer"}}}})
        body = {"decision": "approve", "arguments": {"items": [1, "x"]}}
        problem = program.post(f"/requests/{request_id}/decision", body, 422)
        assert fields_at_fault(problem) == ["arguments.items[1]"]
        assert gate.outcome(request_id).status == "pending"

    def test_numbers_that_read_back_as_others_are_named(self, program: Program) -> None:
        request_id, asked = make.approval(editable=True), make.clarification(schema={})
        body = {"decision": "approve", "arguments": {"of": [{"wei": 1e18}]}}
        problem = program.post(f"/requests/{request_id}/decision", body, 422)
        assert fields_at_fault(problem) == ["arguments.of[0].wei"]
        many = {"decisions": [{"request_id": request_id, **body}]}
        (refused,) = program.post("/decisions", many)["results"]
        assert (refused["error"]["code"], gate.outcome(request_id).status) == ("invalid", "pending")
        problem = program.post(f"/requests/{asked}/answer", {"answer": {"wei": 1e18}}, 422)
        assert fields_at_fault(problem) == ["answer.wei"]
        assert gate.outcome(asked).status == "pending"

    def test_changing_a_vote_is_refused_with_what_is_on_record(self, program: Program) -> None:
        request_id = make.approval()
        outcome = program.post(f"/requests/{request_id}/decision", {"decision": "approve"})
        problem = program.post(f"/requests/{request_id}/decision", {"decision": "reject"}, 409)
        assert (problem["code"], problem["outcome"]) == ("already_decided", outcome)

    @both_databases
    def test_the_deadline_wins(self, program: Program) -> None:
        request_id = make.approval()
        make_overdue(request_id)
        problem = program.post(f"/requests/{request_id}/decision", {"decision": "approve"}, 409)
        assert (problem["code"], problem["outcome"]["timed_out"]) == ("too_late", True)

    def test_who_may_see_but_not_decide_is_told_so(self, stack: Any) -> None:
        asker = make.user()
        request_id = make.approval(requester=asker, assignees=[make.user()])
        body = {"decision": "approve"}
        problem = Program.of(asker).post(f"/requests/{request_id}/decision", body, 403)
        assert problem["code"] == "not_permitted"
        assert "errors" not in problem

    @both_databases
    def test_permission_comes_before_state(self, rita: User) -> None:
        asker = make.user()
        request_id = make.approval(requester=asker, assignees=[rita])
        deciding.decide(make.actor(rita), request_id, "approve")
        body = {"decision": "approve", "arguments": {"x": 1}}
        assert (
            Program.of(asker).post(f"/requests/{request_id}/decision", body, 403)["code"] == "not_permitted"
        )

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("body", "at_fault"),
        [
            ({}, "decision"),
            ({"decision": "maybe"}, "decision"),
            ({"decision": True}, "decision"),
            ({"decision": "approve", "comment": None}, "comment"),
            ({"decision": "approve", "comment": "x" * 10_001}, "comment"),
            ({"decision": "approve", "arguments": []}, "arguments"),
            ({"decision": "reject", "arguments": {}}, "arguments"),
            ({"decision": "approve", "answer": "x"}, "answer"),
        ],
    )
    def test_what_is_no_decision(self, program: Program, body: object, at_fault: str) -> None:
        problem = program.post(f"/requests/{make.approval()}/decision", body, 422)
        assert fields_at_fault(problem) == [at_fault]


class TestAnswer:
    @both_databases
    def test_it_is_recorded_and_repeating_it_is_harmless(self, program: Program) -> None:
        request_id = make.clarification(choices=["4711", "4712"])
        outcome = program.post(f"/requests/{request_id}/answer", {"answer": "4711"})
        assert (outcome["status"], outcome["answer"]) == ("answered", "4711")
        assert program.post(f"/requests/{request_id}/answer", {"answer": "4711"}) == outcome
        assert program.post(f"/requests/{request_id}/answer", {"answer": "4712"}, 409)["outcome"] == outcome

    def test_an_answer_that_does_not_fit_is_refused(self, program: Program) -> None:
        request_id = make.clarification(schema={"properties": {"n": {"type": "integer"}}})
        problem = program.post(f"/requests/{request_id}/answer", {"answer": {"n": "x"}}, 422)
        assert fields_at_fault(problem) == ["answer.n"]
        assert fields_at_fault(program.post(f"/requests/{request_id}/answer", {}, 422)) == ["answer"]

    def test_it_may_be_sent_as_a_decision(self, program: Program) -> None:
        request_id = make.clarification(choices=["4711", "4712"])
        responded = {"decision": "respond", "answer": "4711"}
        outcome = program.post(f"/requests/{request_id}/decision", responded)
        assert (outcome["status"], outcome["answer"]) == ("answered", "4711")
        assert program.post(f"/requests/{request_id}/answer", {"answer": "4711"}) == outcome

    def test_null_is_an_answer_where_it_fits(self, program: Program) -> None:
        request_id = make.clarification(schema={"type": ["null", "string"]})
        assert program.post(f"/requests/{request_id}/answer", {"answer": None})["status"] == "answered"


class TestWithdrawal:
    @both_databases
    def test_it_is_taken_back_and_repeating_that_is_harmless(self, program: Program) -> None:
        request_id = program.ask()["id"]
        outcome = program.post(f"/requests/{request_id}/withdraw", {"reason": "Not needed."})
        assert (outcome["withdrawn"], outcome["comment"]) == (True, "Not needed.")
        assert program.post(f"/requests/{request_id}/withdraw") == outcome

    def test_the_body_may_be_left_out(self, program: Program) -> None:
        assert program.send(f"/requests/{program.ask()['id']}/withdraw", "")["withdrawn"] is True

    def test_what_is_decided_stays_so(self, program: Program) -> None:
        request_id = program.ask()["id"]
        program.post(f"/requests/{request_id}/decision", {"decision": "approve"})
        assert program.post(f"/requests/{request_id}/withdraw", {}, 409)["code"] == "already_decided"


class TestHandingOn:
    @both_databases
    def test_repeating_it_is_harmless_also_for_who_has_lost_every_right_by_it(self, stack: Any) -> None:
        ann, bob = make.user("ann"), make.user("bob")
        request_id = make.approval(assignees=[ann])
        program = Program.of(ann)
        body = {"users": ["bob"], "reason": "I am away."}
        outcome = program.post(f"/requests/{request_id}/reassign", body)
        assert outcome["status"] == "pending"
        program.get(f"/requests/{request_id}", 404)
        assert program.post(f"/requests/{request_id}/reassign", {"users": ["bob"], "groups": []}) == outcome
        deciding.decide(make.actor(bob), request_id, "approve", comment="A secret.")
        assert program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]}) == outcome
        assert events(request_id) == ["opened", "reassigned", "decided"]
        lines = Program.of(bob).get(f"/requests/{request_id}/history")["entries"]
        assert [line["said"] for line in lines] == [None, "I am away.", "A secret."]

    @pytest.mark.parametrize("users", [["cem"], ["bob", "cem"], [], ["nobody at all"]])
    def test_something_else_is_no_repetition(self, stack: Any, users: list[str]) -> None:
        ann, _, _ = make.user("ann"), make.user("bob"), make.user("cem")
        request_id = make.approval(assignees=[ann])
        program = Program.of(ann)
        program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]})
        program.post(f"/requests/{request_id}/reassign", {"users": users}, 404)

    def test_what_others_have_handed_on_since_is_no_repetition(self, stack: Any) -> None:
        """Neither after it went elsewhere, nor after somebody else made it what it was."""
        ann, bob, cem = make.user("ann"), make.user("bob"), make.user("cem")
        request_id = make.approval(assignees=[ann])
        program = Program.of(ann)
        program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]})
        deciding.reassign(make.actor(bob), request_id, ["cem"])
        program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]}, 404)
        deciding.reassign(make.actor(cem), request_id, ["bob"])
        program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]}, 404)

    def test_who_still_sees_it_gets_what_is_on_record(self, stack: Any) -> None:
        manager, bob = make.user("m", may=("change_humanrequest", "view_humanrequest")), make.user("bob")
        request_id = make.approval(assignees=[make.user()])
        program = Program.of(manager)
        program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]})
        deciding.decide(make.actor(bob), request_id, "approve")
        assert program.post(f"/requests/{request_id}/reassign", {"users": ["bob"]})["approved"] is True
        problem = program.post(f"/requests/{request_id}/reassign", {"users": ["m"]}, 409)
        assert problem["code"] == "already_decided"

    @pytest.mark.parametrize("name", ["bob", "nobody at all"])
    def test_who_may_not_hand_on_does_not_learn_which_people_there_are(self, stack: Any, name: str) -> None:
        asker, _ = make.user("asker"), make.user("bob")
        request_id = make.approval(requester=asker, assignees=[make.user("ann")])
        program = Program.of(asker)
        problem = program.post(f"/requests/{request_id}/reassign", {"users": [name]}, 403)
        assert problem["code"] == "not_permitted"
        assert name not in str(problem)
        assert events(request_id) == ["opened", "refused"]

    def test_who_may_is_told_where_the_unknown_name_stands(self, stack: Any) -> None:
        ann = make.user("ann")
        request_id = make.approval(assignees=[ann])
        program = Program.of(ann)
        problem = program.post(f"/requests/{request_id}/reassign", {"users": ["ann", "nobody"]}, 422)
        assert fields_at_fault(problem) == ["users[1]"]
        problem = program.post(f"/requests/{request_id}/reassign", {"groups": ["nothing"]}, 422)
        assert fields_at_fault(problem) == ["groups[0]"]


class TestManyDecisions:
    @both_databases
    def test_each_gets_its_outcome_or_its_error_in_order(self, program: Program, rita: User) -> None:
        one, two, three = make.approval(), make.approval(), make.approval(editable={"required": ["a"]})
        question, overdue = make.clarification(), make.approval()
        make_overdue(overdue)
        hers = make.approval(requester=rita, assignees=[make.user()])
        results = program.post(
            "/decisions",
            {
                "decisions": [
                    {"request_id": one, "decision": "approve", "comment": "Yes."},
                    {"request_id": two, "decision": "reject"},
                    {"request_id": three, "decision": "approve", "arguments": {"b": 1}},
                    {"request_id": one, "decision": "reject"},
                    {"request_id": question, "decision": "approve"},
                    {"request_id": overdue, "decision": "approve", "arguments": {"b": 1}},
                    {"request_id": hers, "decision": "approve"},
                    {"request_id": "x", "decision": "approve"},
                    {"request_id": three, "decision": "approve", "arguments": {"a": 1}},
                ]
            },
        )["results"]
        codes = [result.get("error", {}).get("code") for result in results]
        assert codes == [
            None,
            None,
            "invalid",
            "already_decided",
            "invalid",
            "too_late",
            "not_permitted",
            "unknown_request",
            None,
        ]
        assert [result["request_id"] for result in results][:2] == [one, two]
        assert results[0]["outcome"]["comment"] == "Yes."
        assert results[2]["error"]["errors"][0]["field"].startswith("arguments")
        assert results[3]["error"]["outcome"]["approved"] is True
        assert results[8]["outcome"]["arguments"] == {"a": 1}

    def test_repeating_them_is_harmless(self, program: Program) -> None:
        body = {"decisions": [{"request_id": make.approval(), "decision": "approve"} for _ in range(3)]}
        assert program.post("/decisions", body) == program.post("/decisions", body)

    def test_the_number_of_queries_does_not_grow_with_the_decisions(self, program: Program) -> None:
        def queries(count: int) -> int:
            ids = [make.approval(editable={"required": ["a"]}) for _ in range(count)]
            items = [{"request_id": one, "decision": "approve", "arguments": {"a": 1}} for one in ids]
            with CaptureQueriesContext(connection) as seen:
                results = program.post("/decisions", {"decisions": items})["results"]
            assert all("outcome" in result for result in results)
            return len(seen)

        program.get("/requests")  # notes the use of the token
        assert queries(1) == queries(60)

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("decisions", "at_fault"),
        [
            ([], "decisions"),
            ({}, "decisions"),
            ([{}], "decisions[0].decision"),
            ([{"request_id": 1, "decision": "approve"}], "decisions[0].request_id"),
            ([{"request_id": "x", "decision": "approve", "more": 1}], "decisions[0].more"),
            ([{"request_id": "x", "decision": "approve"}] * 1001, "decisions"),
        ],
    )
    def test_what_is_no_list_of_decisions_decides_nothing(
        self, program: Program, decisions: object, at_fault: str
    ) -> None:
        problem = program.post("/decisions", {"decisions": decisions}, 422)
        assert at_fault in fields_at_fault(problem)
