"""Comments over HTTP: said by whoever may see the request, read in order from an entry on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Comment
from approvals.models import AuditEntry, HumanRequest, ShownContent
from approvals.web.api import requests
from approvals.writer import queue
from tests import factories as make
from tests.approvals.web.api.program import Program, fields_at_fault
from tests.in_process import as_superuser
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


@pytest.fixture
def rita(stack: Any) -> User:
    return make.reviewer("rita")


@pytest.fixture
def olga(stack: Any) -> User:
    return make.user("olga")


@both_databases
def test_a_question_and_its_answer(rita: User, olga: User) -> None:
    """What is asked back, answered and read, from the last known entry on."""
    reviewer, program = Program.of(rita), Program.of(olga, "ask")
    path = f"/requests/{make.approval(requester=olga)}/comments"
    assert program.get(path, 202) == {"comments": [], "more": False, "status": "pending"}
    asked = reviewer.post(path, {"text": "Which customer?", "question": True})
    moment = AuditEntry.objects.get(event="questioned").recorded_at
    assert asked == {
        "sequence": 2,
        "author": "rita",
        "at": moment.isoformat().replace("+00:00", "Z"),
        "text": "Which customer?",
        "question": True,
    }
    answered = program.post(path, {"text": "ACME."})
    assert (answered["author"], answered["sequence"], answered["question"]) == ("olga", 3, False)
    assert reviewer.get(path) == {"comments": [asked, answered], "more": False, "status": "pending"}
    assert reviewer.get(path, after=2)["comments"] == [answered]
    assert reviewer.get(path, 202, after=3)["comments"] == []


def test_the_trail_says_the_same_in_words(rita: User) -> None:
    request_id = make.approval()
    program = Program.of(rita)
    program.post(f"/requests/{request_id}/comments", {"text": "Which one?", "question": True})
    line = program.get(f"/requests/{request_id}/history")["entries"][-1]
    assert (line["event"], line["text"], line["said"]) == ("questioned", "Question by rita", "Which one?")
    assert line["channel"] == "api"


def test_said_again_it_is_the_same_comment(rita: User) -> None:
    program, path = Program.of(rita), f"/requests/{make.approval()}/comments"
    first = program.post(path, {"text": "Which customer?"})
    assert program.post(path, {"text": "Which customer?"}) == first
    assert program.get(path)["comments"] == [first]


def test_a_closed_request_is_answered_at_once_and_may_be_commented_on(rita: User) -> None:
    program = Program.of(rita)
    request_id = make.approval()
    path = f"/requests/{request_id}/comments"
    deciding.decide(make.actor(rita), request_id, "reject")
    assert program.get(path, wait=60) == {"comments": [], "more": False, "status": "rejected"}
    assert program.post(path, {"text": "Sorry."})["text"] == "Sorry."
    HumanRequest.writing.filter(pk=request_id).update(closed_at=database_now() - timedelta(days=31))
    problem = program.post(path, {"text": "Once more."}, 409)
    assert (problem["code"], problem["outcome"]["status"]) == ("too_late", "rejected")
    assert program.get(path)["comments"][0]["text"] == "Sorry."


def test_many_come_in_parts(rita: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_COMMENTS", 2)
    program, path = Program.of(rita), f"/requests/{make.approval()}/comments"
    for text in ("one", "two", "three"):
        program.post(path, {"text": text})
    part = program.get(path)
    assert ([one["text"] for one in part["comments"]], part["more"]) == (["one", "two"], True)
    rest = program.get(path, after=part["comments"][-1]["sequence"])
    assert ([one["text"] for one in rest["comments"]], rest["more"]) == (["three"], False)


def test_removed_words_are_null(rita: User) -> None:
    program, path = Program.of(rita), f"/requests/{make.approval()}/comments"
    program.post(path, {"text": "Forget me.", "question": True})
    with as_superuser():
        ShownContent.writing.filter(entry__event="questioned").delete()
    (comment,) = program.get(path)["comments"]
    assert (comment["text"], comment["author"], comment["question"]) == (None, "rita", True)


def test_a_program_of_this_installation_has_no_name(rita: User) -> None:
    request_id = make.approval()
    deciding.comment(Actor.program(), request_id, "Three orders.")
    (comment,) = Program.of(rita).get(f"/requests/{request_id}/comments")["comments"]
    assert comment["author"] is None


class TestRefusals:
    def test_who_may_not_see_it_is_told_nothing_of_it(self, olga: User) -> None:
        program = Program.of(olga)
        for request_id in (make.approval(), "01890000-0000-7000-8000-000000000000", "x"):
            path = f"/requests/{request_id}/comments"
            assert program.post(path, {"text": "Hm?"}, 404)["code"] == "unknown_request"
            assert program.get(path, 404)["code"] == "unknown_request"

    def test_a_token_that_may_ask_alone_comments_on_its_own_requests(self, rita: User) -> None:
        own, other = make.approval(requester=rita), make.approval()
        asking = Program.of(rita, "ask")
        asking.post(f"/requests/{own}/comments", {"text": "Mine."})
        asking.post(f"/requests/{other}/comments", {"text": "Not mine."}, 404)
        for scopes in (("ask", "read"), ("decide",)):
            Program.of(rita, *scopes).post(f"/requests/{other}/comments", {"text": f"{scopes}"})

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "text"),
            ({"text": ""}, "text"),
            ({"text": " \n"}, "text"),
            ({"text": "x" * 10_001}, "text"),
            ({"text": "x", "question": "yes"}, "question"),
            ({"text": "x", "more": 1}, "more"),
        ],
    )
    def test_a_body_that_breaks_a_rule_is_named(self, rita: User, body: Any, field: str) -> None:
        problem = Program.of(rita).post(f"/requests/{make.approval()}/comments", body, 422)
        assert fields_at_fault(problem) == [field]

    @pytest.mark.parametrize(
        ("name", "value"), [("after", -1), ("after", 1 << 31), ("after", "x"), ("wait", 61), ("since", 1)]
    )
    def test_a_parameter_that_breaks_a_rule_is_named(self, rita: User, name: str, value: object) -> None:
        problem = Program.of(rita).get(f"/requests/{make.approval()}/comments", 422, **{name: value})
        assert fields_at_fault(problem) == [name]

    def test_too_many_in_an_hour_say_when_to_try_again(self, rita: User) -> None:
        program, request_id = Program.of(rita), UUID(make.approval())
        said = [Comment(request_id=request_id, actor=make.actor(rita), text=f"{n}") for n in range(60)]
        assert all(future.result() for future in queue.submit_many(said))
        problem = program.post(f"/requests/{request_id}/comments", {"text": "One more."}, 429)
        assert problem["code"] == "rate_limited"
        assert 3500 < int(program.last.headers["Retry-After"]) <= 3600
