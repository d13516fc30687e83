"""Many requests in one call: the first outcome of many, and taking back what one origin has asked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding, queries
from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Purge
from approvals.models import AuditEntry, HumanRequest
from approvals.queries import several
from approvals.trail import verification
from approvals.writer import queue
from tests import factories as make
from tests.approvals.web.api.program import Program, fields_at_fault
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

NOWHERE = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def rita(stack: Any) -> User:
    return make.reviewer("rita")


@pytest.fixture
def billing(stack: Any) -> User:
    return make.user("billing")


def ask(requester: User, number: int = 1, **terms: Any) -> list[str]:
    return [make.approval(requester=requester, **terms) for _ in range(number)]


class TestOutcomes:
    @both_databases
    def test_those_that_are_closed_are_told_and_the_rest_named(self, rita: User, billing: User) -> None:
        closed, pending, foreign = *ask(billing, 2), make.approval()
        deciding.decide(make.actor(rita), closed, "approve", comment="fine")
        program = Program.of(billing, "ask")
        answer = program.post("/outcomes", {"ids": [pending, closed, foreign, "x", closed]})
        assert [(one["request_id"], one["comment"]) for one in answer["outcomes"]] == [(closed, "fine")]
        assert (answer["left"], answer["unknown"]) == ([pending], [foreign, "x"])

    def test_who_asked_gets_back_what_they_said_beside_the_question(self, rita: User, billing: User) -> None:
        said: dict[str, Any] = {
            "origin": {"kind": "agent", "id": "run-7"},
            "metadata": {"tenant": "acme"},
            "context": "*Twice.*",
            "links": [{"title": "The order", "url": "https://shop.example/812"}],
        }
        program = Program.of(billing, "ask")
        request = program.ask(**said)
        assert {name: request[name] for name in said} == said
        at = f"/requests/{request['id']}/outcome"
        assert program.get(at, 202).items() >= said.items()
        deciding.decide(make.actor(rita), request["id"], "approve")
        assert program.get(at).items() >= said.items()
        (outcome,) = program.post("/outcomes", {"ids": [request["id"]]})["outcomes"]
        assert outcome.items() >= said.items()

    def test_nobody_is_held_up_while_something_can_be_told(self, billing: User) -> None:
        (pending,) = ask(billing)
        answer = Program.of(billing, "ask").post("/outcomes", {"ids": [pending, NOWHERE], "wait": 60})
        assert answer["unknown"] == [NOWHERE]

    def test_it_is_accepted_while_all_are_pending(self, billing: User) -> None:
        pending = ask(billing, 2)
        answer = Program.of(billing, "ask").post("/outcomes", {"ids": pending}, 202)
        assert answer == {"outcomes": [], "left": pending, "unknown": []}

    def test_what_is_visible_needs_the_scope_read(self, rita: User, billing: User) -> None:
        (asked,) = ask(billing)
        assert Program.of(rita, "ask").post("/outcomes", {"ids": [asked]})["unknown"] == [asked]
        assert Program.of(rita, "read").post("/outcomes", {"ids": [asked]}, 202)["left"] == [asked]
        Program.of(rita, "decide").post("/outcomes", {"ids": [asked]}, 403)

    def test_an_answer_holds_as_much_as_a_list(
        self, rita: User, billing: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At least one; the rest is left for the next call."""
        monkeypatch.setattr(several, "LISTED_BYTES", 5_000)
        requests = ask(billing, 3, arguments={"text": "x" * 2_000}) + ask(
            billing, arguments={"y": "y" * 9_000}
        )
        deciding.decide_many(make.actor(rita), [(request, "approve") for request in requests])
        program, told, left = Program.of(billing, "ask"), [], requests
        rounds = 0
        while left:
            answer = program.post("/outcomes", {"ids": left})
            told += [one["request_id"] for one in answer["outcomes"]]
            left, rounds = answer["left"], rounds + 1
        assert told == requests
        assert rounds == 3

    def test_a_thousand_take_the_queries_of_one(self, rita: User, billing: User) -> None:
        program = Program.of(billing, "ask")
        program.get("/requests", asked="me")  # notes when the token was used first
        counts = []
        for requests in (ask(billing), ask(billing, 20)):
            deciding.decide_many(make.actor(rita), [(request, "approve") for request in requests])
            with CaptureQueriesContext(connection) as captured:
                program.post("/outcomes", {"ids": requests})
            counts.append(len(captured))
        assert counts[0] == counts[1]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"ids": []}, "ids"),
            ({"ids": [NOWHERE] * 1_001}, "ids"),
            ({"ids": [7]}, "ids[0]"),
            ({"ids": [NOWHERE], "wait": 61}, "wait"),
            ({"wait": 1}, "ids"),
        ],
    )
    def test_what_breaks_a_rule_is_named(self, billing: User, body: Any, field: str) -> None:
        problem = Program.of(billing, "ask").post("/outcomes", body, 422)
        assert fields_at_fault(problem) == [field]


class TestTakingBack:
    @both_databases
    def test_what_one_origin_has_asked_is_taken_back(self, rita: User, billing: User) -> None:
        """What is pending, of the caller's own, of exactly this kind and id."""
        mine = {"kind": "agent", "id": "run-7"}
        decided, *pending = ask(billing, 3, origin=mine)
        deciding.decide(make.actor(rita), decided, "approve")
        others = [
            *ask(billing, origin={"kind": "job", "id": "run-7"}),
            *ask(billing, origin={"kind": "agent", "id": "run-70"}),
            *ask(billing, origin={"kind": "Agent", "id": "run-7"}),
            *ask(rita, origin=mine),
        ]
        program = Program.of(billing, "ask")
        answer = program.post("/requests/withdraw", {"origin": mine, "reason": "It has died."})
        assert [one["request_id"] for one in answer["results"]] == pending
        assert {one["outcome"]["status"] for one in answer["results"]} == {"withdrawn"}
        assert {one["outcome"]["comment"] for one in answer["results"]} == {"It has died."}
        assert answer["more"] is False
        assert {queries.outcomes([row.pk])[row.pk].status for row in queries.requests_by_id(others)} == {
            "pending"
        }
        assert program.post("/requests/withdraw", {"origin": mine})["results"] == []

    def test_one_call_has_an_end(self, billing: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("approvals.web.api.several.MOST_WITHDRAWN", 2)
        origin = {"kind": "agent", "id": "run-7"}
        requests = ask(billing, 3, origin=origin)
        program, taken_back, more = Program.of(billing, "ask"), [], True
        while more:
            answer = program.post("/requests/withdraw", {"origin": origin})
            taken_back += [one["request_id"] for one in answer["results"]]
            more = answer["more"]
        assert taken_back == requests

    @both_databases
    @pytest.mark.parametrize("id_", ["x" * 200, 'a"kind":"job"', "100%_", "\\", "ä\u2028"])
    def test_an_id_is_what_it_says(self, billing: User, id_: str) -> None:
        ask(billing, origin={"kind": "agent", "id": f"{id_[:199]}!"})
        (asked,) = ask(billing, origin={"kind": "agent", "id": id_})
        (nameless,) = ask(billing, origin={"id": id_})
        program = Program.of(billing, "ask", "read")
        for kind, expected in (
            ({"origin_kind": "agent"}, [asked]),
            ({"origin_kind": ""}, [nameless]),
            ({}, None),
        ):
            listed = program.get("/requests", origin_id=id_, **kind)["requests"]
            assert [one["id"] for one in listed] == (expected or [nameless, asked])
        answer = program.post("/requests/withdraw", {"origin": {"kind": "agent", "id": id_}})
        assert [one["request_id"] for one in answer["results"]] == [asked]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "origin"),
            ({"origin": {"kind": "agent"}}, "origin.id"),
            ({"origin": {"id": ""}}, "origin.id"),
            ({"origin": {"id": "x" * 201}}, "origin.id"),
            ({"origin": {"id": "7", "url": ""}}, "origin.url"),
        ],
    )
    def test_what_breaks_a_rule_is_named(self, billing: User, body: Any, field: str) -> None:
        problem = Program.of(billing, "ask").post("/requests/withdraw", body, 422)
        assert fields_at_fault(problem) == [field]


class TestOwn:
    def test_they_are_found_with_the_scope_ask_alone(self, rita: User, billing: User) -> None:
        first, second = ask(billing, key="a"), ask(billing, key="b")
        ask(rita, key="a")
        program = Program.of(billing, "ask")
        assert _ids(program.get("/requests", asked="me")) == second + first
        assert _ids(program.get("/requests", key="a")) == first
        assert _ids(program.get("/requests", key="c")) == []
        program.get("/requests", 403)
        reader = Program.of(rita, "read")
        assert len(_ids(reader.get("/requests"))) == 3
        assert len(_ids(reader.get("/requests", asked="me"))) == 1

    def test_a_kind_of_origin_needs_its_id(self, billing: User) -> None:
        problem = Program.of(billing, "read").get("/requests", 422, origin_kind="agent")
        assert fields_at_fault(problem) == ["origin_kind"]


class TestGroups:
    GROUP: ClassVar[dict[str, str]] = {"key": "turn-7", "title": "Three calls"}

    @both_databases
    def test_they_are_found_by_their_key(self, rita: User, billing: User) -> None:
        """Of every requester, unless it asks for its own: two requesters with one key have two groups."""
        program, question = Program.of(billing, "ask"), {"kind": "clarification", "title": "Why?"}
        first = program.ask("First", group=self.GROUP)
        second = program.post("/requests", {**question, "group": self.GROUP}, 201)
        assert first["group"] == second["group"] == self.GROUP
        assert program.ask("Alone")["group"] is None
        program.ask("Of another", group={**self.GROUP, "key": "turn-70"})
        (foreign,) = ask(rita, group=self.GROUP)
        own = [second["id"], first["id"]]
        assert _ids(program.get("/requests", group="turn-7", asked="me")) == own
        reader = Program.of(rita, "read")
        assert _ids(reader.get("/requests", group="turn-7")) == [foreign, *own]
        assert _ids(reader.get("/requests", group="turn-7", kind="clarification")) == own[:1]
        assert _ids(Program.of(billing, "read").get("/requests", group="turn-7")) == own
        program.get("/requests", 403, group="turn-7")

    def test_an_index_finds_them_among_many(self, rita: User) -> None:
        make.approval(group=self.GROUP)
        with CaptureQueriesContext(connection) as captured:
            queries.list_requests(rita.pk, group="turn-7", limit=50)
        (listing,) = [each["sql"] for each in captured if "octet" in each["sql"] or "BLOB" in each["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {listing}")
            assert "request_of_group" in str(cursor.fetchall())

    def test_another_group_makes_another_question(self, billing: User) -> None:
        program = Program.of(billing, "ask")
        asked = {"kind": "approval", "title": "Refund", "key": "k", "group": self.GROUP}
        first = program.post("/requests", asked, 201)
        assert program.post("/requests", asked, 200)["id"] == first["id"]
        for other in ({**self.GROUP, "key": "turn-8"}, {**self.GROUP, "title": "Calls"}, None):
            problem = program.post("/requests", {**asked, "group": other}, 409)
            assert problem["differs"] == ["group"]

    @pytest.mark.parametrize(
        ("group", "field"),
        [
            ({}, "group.key"),
            ({"key": "turn-7"}, "group.title"),
            ({**GROUP, "key": ""}, "group.key"),
            ({**GROUP, "key": "x" * 201}, "group.key"),
            ({**GROUP, "key": "\u200b"}, "group.key"),
            ({**GROUP, "title": "a\nb"}, "group.title"),
            ({**GROUP, "url": ""}, "group.url"),
            ("turn-7", "group"),
        ],
    )
    def test_what_breaks_a_rule_is_named(self, billing: User, group: Any, field: str) -> None:
        body = {"kind": "approval", "title": "Refund", "group": group}
        problem = Program.of(billing, "ask").post("/requests", body, 422)
        assert field in fields_at_fault(problem)

    def test_the_trail_says_it_where_it_was_said_and_a_removal_takes_it_away(self, rita: User) -> None:
        grouped, alone = make.approval(group=self.GROUP), make.approval()
        said = [json.loads(opening_of(one).shown.content).get("group") for one in (grouped, alone)]
        assert said == [self.GROUP, None]
        assert "group" not in json.loads(opening_of(alone).shown.content)
        deciding.decide(make.actor(rita), grouped, "approve")
        later = database_now() + timedelta(seconds=1)
        queue.submit(Purge(request_id=UUID(grouped), actor=Actor.program(), before=later)).result()
        row = HumanRequest.objects.get(pk=grouped)
        assert (row.group, row.group_key) == ({}, "")
        assert verification.verify().first == ()


def opening_of(request_id: str) -> Any:
    return AuditEntry.objects.get(request_id=request_id, sequence=1)


def _ids(page: Any) -> list[str]:
    return [request["id"] for request in page["requests"]]
