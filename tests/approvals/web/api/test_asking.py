"""Asking over HTTP: every field strictly, the same key the same question, nothing half-done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding, queries
from approvals.domain.payloads import canonical, digest
from approvals.models import AuditEntry, HumanRequest
from approvals.web.api.asking import normalise
from approvals.web.api.schemas import APPROVAL_QUESTION, CLARIFICATION_QUESTION, ApprovalQuestion
from tests import factories as make
from tests.approvals.web.api.program import Program, fields_at_fault

pytestmark = pytest.mark.django_db


@pytest.fixture
def bill(stack: Any) -> User:
    return make.reviewer("bill")


@pytest.fixture
def billing(bill: User) -> Program:
    return Program.of(bill)


def test_an_approval_is_opened_for_its_caller(billing: Program) -> None:
    ann, finance = make.user("ann"), make.group("finance", make.user("fay"))
    request = billing.ask(
        "Refund",
        details="*Twice.*",
        arguments={"order": 812},
        severity="high",
        highlight=["order"],
        editable={"type": "object"},
        assignees={"users": ["ann"], "groups": ["finance"]},
        four_eyes=True,
        timeout=60,
        on_timeout="reject",
        origin={"kind": "job", "id": "7", "url": "https://jobs.example.org/7"},
    )
    assert request["requester"] == "bill"
    assert request["assignees"] == {"users": [ann.username], "groups": [finance.name]}
    assert (request["arguments"], request["editable"]) == ({"order": 812}, {"type": "object"})
    assert (request["severity"], request["highlight"]) == ("high", ["order"])
    assert (request["four_eyes"], request["on_timeout"], request["status"]) == (True, "reject", "pending")
    assert request["origin"] == {"kind": "job", "id": "7", "url": "https://jobs.example.org/7"}
    assert billing.get(f"/requests/{request['id']}") == request


def test_who_decides_if_nobody_does_is_told_by_name(billing: Program) -> None:
    make.user("ann")
    make.group("leads", make.user("lea"))
    steps = [{"after": 0.5, "users": ["ann"]}, {"after": 400, "groups": ["leads"], "replace": True}]
    request = billing.ask("Refund", assignees={"users": ["bill"]}, timeout=600, escalation=steps)
    assert request["escalated"] == 0
    assert request["escalation"] == [
        {"after": 0.5, "users": ["ann"], "groups": [], "replace": False},
        {"after": 400, "users": [], "groups": ["leads"], "replace": True},
    ]
    assert billing.get(f"/requests/{request['id']}") == request
    assert billing.get("/requests")["requests"][0] == request


@pytest.mark.parametrize(("said", "told"), [({}, 0.8), ({"remind": 0.5}, 0.5), ({"remind": None}, None)])
def test_when_people_are_reminded_is_asked_and_told(
    billing: Program, said: dict[str, Any], told: float | None
) -> None:
    request = billing.ask("Refund", **said)
    assert request["remind"] == told
    assert billing.get(f"/requests/{request['id']}") == request
    assert billing.ask("Refund", remind=0)["remind"] is None


def test_names_are_looked_up_once(billing: Program) -> None:
    """From the body to the row; what is looked up by id later are people's rights."""
    make.user("ann")
    make.group("finance", make.user("fay"))
    with CaptureQueriesContext(connection) as captured:
        billing.ask("Refund", assignees={"users": ["ann"], "groups": ["finance"]})
    asked = [one["sql"] for one in captured]
    assert sum('FROM "auth_group" WHERE' in statement for statement in asked) == 1
    assert sum('"username" IN' in statement for statement in asked) == 1


@pytest.mark.parametrize(
    "assignees", [{"reviewers": True}, {"users": ["ann"], "groups": ["finance"]}, {"groups": ["finance"]}]
)
def test_what_is_asked_takes_five_statements_before_it_is_written(
    billing: Program, assignees: dict[str, Any]
) -> None:
    """The token, the key, the users, the groups, their members; five more read what is answered."""
    make.group("finance", make.user("ann"))
    billing.ask("Refund", key="refund 811", assignees=assignees)  # after this, everything is prepared
    with CaptureQueriesContext(connection) as statements:
        billing.ask("Refund", key="refund 812", assignees=assignees)
    texts = [each["sql"] for each in statements]
    answer = max(at for at, text in enumerate(texts) if 'FROM "approvals_humanrequest" ' in text)
    assert answer <= 5
    assert len(texts) - answer <= 5


def test_the_trail_says_who_asked_by_which_token(billing: Program, bill: User) -> None:
    request = billing.ask()
    (entry,) = AuditEntry.objects.filter(request_id=request["id"]).select_related("token")
    assert (entry.actor, entry.channel, entry.token.name) == (bill, "api", "tests")
    assert entry.address == "127.0.0.1"


@pytest.mark.one_stack
def test_the_examples_of_the_documentation_are_questions(billing: Program) -> None:
    assert billing.post("/requests", APPROVAL_QUESTION, 201)["kind"] == "approval"
    assert billing.post("/requests", CLARIFICATION_QUESTION, 201)["choices"] == ["4711", "4712"]


@pytest.mark.one_stack
class TestWhoIsNamed:
    def test_reviewers_name_whoever_has_the_permission_as_leaving_it_out_does(self, billing: Program) -> None:
        first = billing.ask(key="k", assignees={"reviewers": True})
        assert first["assignees"] == {"users": [], "groups": []}
        assert billing.ask(key="k", status=200) == first

    def test_an_empty_list_is_refused_with_the_words_to_use(self, billing: Program) -> None:
        problem = billing.ask(assignees={"users": []}, status=422)
        assert '{"reviewers": true}' in problem["detail"]


@pytest.mark.one_stack
class TestWhatADeadlineMayApprove:
    @pytest.mark.parametrize("terms", [{"four_eyes": True}, {"required": 2}])
    def test_not_what_several_or_others_must(
        self, billing: Program, settings: Settings, terms: dict[str, Any]
    ) -> None:
        make.reviewer()
        problem = billing.ask(**terms, on_timeout="approve", status=422)
        assert fields_at_fault(problem) == ["on_timeout"]
        settings.SAYSO_APPROVE_ON_TIMEOUT = "any"
        assert billing.ask(**terms, on_timeout="approve")["on_timeout"] == "approve"

    def test_what_is_on_record_is_not_refused_for_it(self, billing: Program, settings: Settings) -> None:
        make.reviewer()
        settings.SAYSO_APPROVE_ON_TIMEOUT = "any"
        first = billing.ask(key="k", four_eyes=True, on_timeout="approve")
        settings.SAYSO_APPROVE_ON_TIMEOUT = "single"
        assert billing.ask(key="k", four_eyes=True, on_timeout="approve", status=200) == first


@pytest.mark.one_stack
class TestOmitted:
    def test_an_omitted_timeout_is_the_installations_and_null_is_none(
        self, billing: Program, settings: Settings
    ) -> None:
        settings.SAYSO_DEFAULT_TIMEOUT = 77.0
        assert billing.ask()["deadline"] is not None
        assert billing.ask(timeout=None)["deadline"] is None

    def test_an_omitted_default_is_a_text_and_null_is_none(self, billing: Program) -> None:
        assert "No response" in billing.ask(kind="clarification")["default"]
        assert billing.ask(kind="clarification", default=None)["default"] is None

    def test_choices_may_have_labels_which_belong_to_the_question(self, billing: Program) -> None:
        """They come back in their order; under the same key, other labels are another question."""
        regions = {"eu": "Europe", "af": "Africa"}
        asked = billing.ask(kind="clarification", choices=regions, default="af", key="region")
        assert list(asked["choices"].items()) == [("eu", "Europe"), ("af", "Africa")]
        billing.ask(kind="clarification", choices=regions, default="af", key="region", status=200)
        others = {"eu": "Euro", "af": "Africa"}
        billing.ask(kind="clarification", choices=others, default="af", key="region", status=409)
        assert billing.post(f"/requests/{asked['id']}/answer", {"answer": "eu"})["answer"] == "eu"


@pytest.mark.one_stack
class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "at_fault"),
        [
            ({"title": ""}, "title"),
            ({"title": "x" * 201}, "title"),
            ({"title": "two\nlines"}, "title"),
            ({"title": 1}, "title"),
            ({"details": None}, "details"),
            ({"bogus": 1}, "bogus"),
            ({"choices": ["a"]}, "choices"),
            ({"default": 1}, "default"),
            ({"severity": "low"}, "severity"),
            ({"severity": None}, "severity"),
            ({"highlight": "order"}, "highlight"),
            ({"highlight": None}, "highlight"),
            ({"highlight": [1]}, "highlight[0]"),
            ({"highlight": ["order"]}, "highlight[0]"),
            ({"highlight": ["a", "a"], "arguments": {"a": 1}}, "highlight[1]"),
            ({"highlight": list("abcdefg"), "arguments": dict.fromkeys("abcdefg")}, "highlight"),
            ({"arguments": []}, "arguments"),
            ({"arguments": {"items": [1, 2, 3, 2**60]}}, "arguments.items[3]"),
            ({"arguments": {"deep": [[[{"name": "\0"}]]]}}, "arguments.deep[0][0][0].name"),
            ({"arguments": {"items": [1, {"wei": 1e18}]}}, "arguments.items[1].wei"),
            ({"arguments": {"wei": 1e18}, "key": "k"}, "arguments.wei"),
            ({"editable": {"maximum": 1e18}}, "editable.maximum"),
            ({"required": 1e18}, "required"),
            ({"timeout": 1e18}, "timeout"),
            ({"editable": "yes"}, "editable"),
            ({"editable": {"type": "nonsense"}}, "editable.type"),
            ({"required": "1"}, "required"),
            ({"required": True}, "required"),
            ({"required": 1.0}, "required"),
            ({"required": 0}, "required"),
            ({"required": 99}, "required"),
            ({"four_eyes": 1}, "four_eyes"),
            ({"four_eyes": True}, "four_eyes"),
            ({"timeout": "60"}, "timeout"),
            ({"timeout": True}, "timeout"),
            ({"timeout": -1}, "timeout"),
            ({"timeout": 0}, "timeout"),
            ({"timeout": 0.0, "key": "k"}, "timeout"),
            ({"timeout": 10**12}, "timeout"),
            ({"on_timeout": "maybe"}, "on_timeout"),
            ({"key": ""}, "key"),
            ({"key": "k" * 201}, "key"),
            ({"assignees": ["ann"]}, "assignees"),
            ({"assignees": {"users": "ann"}}, "assignees.users"),
            ({"assignees": {"users": [1]}}, "assignees.users[0]"),
            ({"assignees": {"users": ["bill", "nobody"]}}, "assignees.users[1]"),
            ({"assignees": {"groups": ["nowhere"]}}, "assignees.groups[0]"),
            ({"assignees": {"people": []}}, "assignees.people"),
            ({"assignees": {}}, "assignees"),
            ({"assignees": {"users": [], "groups": []}}, "assignees"),
            ({"assignees": {"reviewers": False}}, "assignees"),
            ({"assignees": {"reviewers": 1}}, "assignees.reviewers"),
            ({"assignees": {"reviewers": True, "users": ["bill"]}}, "assignees.reviewers"),
            ({"assignees": {"users": ["bill"]}, "four_eyes": True}, "four_eyes"),
            ({"remind": 1}, "remind"),
            ({"remind": -0.1}, "remind"),
            ({"remind": "0.5"}, "remind"),
            ({"escalation": {"after": 0.5}}, "escalation"),
            ({"escalation": [{"after": 0.01 * (1 + n), "users": ["bill"]} for n in range(11)]}, "escalation"),
            ({"escalation": [{"users": ["bill"]}]}, "escalation[0].after"),
            ({"escalation": [{"after": 0, "users": ["bill"]}]}, "escalation[0].after"),
            ({"escalation": [{"after": 400, "users": ["bill"]}]}, "escalation[0].after"),
            ({"escalation": [{"after": "0.5", "users": ["bill"]}]}, "escalation[0].after"),
            ({"escalation": [{"after": 0.5}]}, "escalation[0]"),
            ({"escalation": [{"after": 0.5, "users": ["nobody"]}]}, "escalation[0].users[0]"),
            ({"escalation": [{"after": 0.5, "users": ["bill"]}]}, "escalation[0].replace"),
            ({"escalation": [{"after": 0.5, "users": ["bill"], "people": []}]}, "escalation[0].people"),
            ({"callback_url": "http://10.0.0.1/"}, "callback_url"),
            ({"callback_url": "not a url"}, "callback_url"),
            ({"origin": {"kind": "run", "id": "x"}}, "origin.kind"),
            ({"origin": {"url": "javascript:alert(1)"}}, "origin.url"),
            ({"origin": {"more": "x"}}, "origin.more"),
        ],
    )
    def test_what_breaks_a_rule_is_named(
        self, billing: Program, fields: dict[str, Any], at_fault: str
    ) -> None:
        problem = billing.post("/requests", {"kind": "approval", "title": "Refund", **fields}, 422)
        assert problem["code"] == "invalid"
        assert fields_at_fault(problem) == [at_fault]
        assert all(error["message"].startswith(error["field"]) for error in problem["errors"])
        assert not HumanRequest.objects.exists()

    @pytest.mark.parametrize(
        ("fields", "at_fault"),
        [
            ({"arguments": {}}, "arguments"),
            ({"highlight": []}, "highlight"),
            ({"severity": "low"}, "severity"),
            ({"editable": True}, "editable"),
            ({"required": 1}, "required"),
            ({"four_eyes": False}, "four_eyes"),
            ({"on_timeout": "reject"}, "on_timeout"),
            ({"choices": []}, "choices"),
            ({"choices": ["a", 1]}, "choices[1]"),
            ({"choices": "a"}, "choices"),
            ({"choices": {"a": 1}}, "choices.a"),
            ({"choices": {"a": "A", "b": "A"}}, "choices.b"),
            ({"multiple": True}, "multiple"),
            ({"schema": {"type": "nonsense"}}, "schema.type"),
            ({"choices": ["a"], "schema": {}}, "schema"),
            ({"choices": ["a"], "default": "b"}, "default"),
            ({"schema": {"properties": {"wei": {"maximum": 1e18}}}}, "schema.properties.wei.maximum"),
            ({"schema": {}, "default": [1e18]}, "default[0]"),
        ],
    )
    def test_a_clarification_has_rules_of_its_own(
        self, billing: Program, fields: dict[str, Any], at_fault: str
    ) -> None:
        problem = billing.ask(kind="clarification", status=422, **fields)
        assert fields_at_fault(problem) == [at_fault]

    @pytest.mark.parametrize("body", [{}, {"title": "x"}, {"kind": "other", "title": "x"}, {"kind": 1}])
    def test_the_kind_decides_what_may_be_said(self, billing: Program, body: object) -> None:
        assert fields_at_fault(billing.post("/requests", body, 422)) == ["kind"]

    def test_all_fields_at_fault_are_named_at_once(self, billing: Program) -> None:
        problem = billing.ask(title=1, timeout="x", bogus=1, assignees={"users": [1, 2]}, status=422)  # type: ignore[arg-type]
        assert set(fields_at_fault(problem)) == {
            "title",
            "timeout",
            "bogus",
            "assignees.users[0]",
            "assignees.users[1]",
        }
        assert all(error["field"] in error["message"] for error in problem["errors"])


class TestKeys:
    def test_the_same_body_finds_the_same_request(self, billing: Program) -> None:
        first = billing.ask(key="refund-812", arguments={"order": 812})
        assert billing.ask(key="refund-812", arguments={"order": 812}, status=200) == first
        assert AuditEntry.objects.count() == 1

    def test_it_is_found_once_closed_with_its_end_on_record(self, billing: Program, bill: User) -> None:
        first = billing.ask(key="k")
        deciding.decide(make.actor(bill), first["id"], "approve")
        again = billing.ask(key="k", status=200)
        assert (again["id"], again["status"]) == (first["id"], "approved")

    def test_what_says_the_same_is_the_same(self, billing: Program) -> None:
        make.user("ann")
        first = billing.ask(key="k", assignees={"users": ["ann", "bill"]}, timeout=60)
        again = billing.ask(
            key="k",
            assignees={"users": ["bill", "ann"], "groups": []},
            timeout=60.0,
            details="",
            severity="normal",
            highlight=[],
            on_timeout="reject",
            status=200,
        )
        assert again["id"] == first["id"]

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("other", "differs"),
        [
            ({"title": "Another"}, "title"),
            ({"arguments": {"a": 2}}, "arguments"),
            ({"severity": "high"}, "severity"),
            ({"editable": True}, "editable"),
            ({"on_timeout": "approve"}, "on_timeout"),
            ({"assignees": {"users": ["bill"]}}, "assignees"),
        ],
    )
    def test_another_question_is_a_conflict_that_names_what_is_on_record(
        self, billing: Program, other: dict[str, Any], differs: str
    ) -> None:
        body = {"kind": "approval", "title": "Refund", "key": "k", "arguments": {"a": 1}}
        first = billing.post("/requests", body, 201)
        problem = billing.post("/requests", body | other, 409)
        assert (problem["code"], fields_at_fault(problem)) == ("key_conflict", ["key"])
        assert (problem["id"], problem["differs"]) == (first["id"], [differs])
        told = billing.get(f"/requests/{first['id']}/outcome", 202)
        assert problem["outcome"].items() <= told.items()
        assert HumanRequest.objects.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"details": "more"},
            {"timeout": None},
            {"timeout": 61},
            {"origin": {"kind": "job"}},
            {"callback_url": "https://jobs.example.org/"},
        ],
    )
    def test_other_words_around_the_same_question_find_it(
        self, billing: Program, other: dict[str, Any]
    ) -> None:
        first = billing.ask(key="k", arguments={"a": 1})
        assert billing.ask(**{"key": "k", "arguments": {"a": 1}, **other}, status=200) == first

    def test_a_repetition_does_not_depend_on_what_has_changed_meanwhile(self, billing: Program) -> None:
        """Who was named then may be gone; the question is on record."""
        ann = make.user("ann")
        first = billing.ask(key="k", assignees={"users": ["ann"]})
        ann.is_active = False
        ann.save()
        assert billing.ask(key="k", assignees={"users": ["ann"]}, status=200)["id"] == first["id"]

    def test_numbers_that_are_no_longer_accepted_are_found_where_they_are_on_record(
        self, billing: Program, bill: User
    ) -> None:
        body = {"kind": "approval", "title": "Pay", "arguments": {"wei": 1e18}, "key": "k"}
        question = ApprovalQuestion.model_validate(body)
        earlier = make.earlier(
            title="Pay",
            arguments={"wei": 1e18},
            key="k",
            key_scope=f"user:{bill.pk}",
            requester_id=bill.pk,
            fingerprint=digest(canonical(normalise(question))),
        )
        assert billing.post("/requests", body, 200)["id"] == earlier
        assert billing.post("/requests", body | {"key": "another"}, 422)["code"] == "invalid"

    def test_a_key_is_its_callers_own(self, billing: Program) -> None:
        other = Program.of(make.reviewer())
        assert billing.ask(key="k")["id"] != other.ask(key="k")["id"]

    def test_two_at_once_open_one(self, bill: User) -> None:
        programs = [Program.of(bill) for _ in range(4)]
        together = Barrier(len(programs))

        def ask(program: Program) -> tuple[int, str]:
            together.wait()
            body = {"kind": "approval", "title": "Refund", "key": "k"}
            response = program.client.post("/api/v1/requests", body, content_type="application/json")
            return response.status_code, response.json()["id"]

        with ThreadPoolExecutor(len(programs)) as threads:
            answers = list(threads.map(closing(ask), programs))
        assert sorted(status for status, _ in answers) == [200, 200, 200, 201]
        assert len({request_id for _, request_id in answers}) == 1


def closing(call: Callable[[Program], tuple[int, str]]) -> Callable[[Program], tuple[int, str]]:
    """For threads of the test's own: their connections end with them."""

    def called(program: Program) -> tuple[int, str]:
        try:
            return call(program)
        finally:
            connection.close()

    return called


def test_an_origin_that_names_a_runs_id_is_no_run(billing: Program) -> None:
    """Neither a run's page nor its end touches what only says that it has the run's id."""
    run_id = "01890000-0000-7000-8000-000000000000"
    billing.ask(origin={"kind": "job", "id": run_id})
    assert queries.open_requests_of(run_id) == []
