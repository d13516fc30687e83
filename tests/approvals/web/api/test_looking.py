"""Reading over HTTP: what one may see, nothing about the rest; pages that keep their order as rows arrive."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as some

from approvals import deciding, queries
from approvals.exceptions import InvalidRequest
from approvals.models import HumanRequest
from approvals.queries import visibility
from approvals.web.api.paging import cursor_after, place_of
from tests import factories as make
from tests.approvals.web.api.program import ROOT, Program, fields_at_fault
from tests.effort import effort
from tests.marks import both_databases

NOWHERE = "01890000-0000-7000-8000-000000000000"

database = pytest.mark.django_db


@pytest.fixture
def rita(stack: Any) -> User:
    return make.reviewer("rita")


@pytest.fixture
def program(rita: User) -> Program:
    return Program.of(rita)


def ids(page: Any) -> list[str]:
    return [request["id"] for request in page["requests"]]


def pages(program: Program, **filters: Any) -> list[str]:
    """Every id that the pages list, in order."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = program.get("/requests", **filters, **cursor)
        found += ids(page)
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def opened_at(request_id: str, moment: Any) -> None:
    HumanRequest.writing.filter(pk=request_id).update(opened_at=moment)


@database
class TestList:
    def test_the_newest_is_first(self, program: Program) -> None:
        made = [make.approval() for _ in range(3)]
        assert ids(program.get("/requests")) == made[::-1]

    def test_only_what_one_may_see_is_listed(self, rita: User) -> None:
        stranger = make.user()
        own = make.approval(requester=stranger)
        make.approval()
        assert ids(Program.of(stranger).get("/requests")) == [own]

    def test_filters_narrow_it(self, program: Program, rita: User) -> None:
        approval, question = make.approval(), make.clarification()
        hers = make.approval(assignees=[rita])
        elsewhere = make.approval(requester=rita, assignees=[make.user()])
        deciding.decide(make.actor(rita), approval, "approve")
        assert ids(program.get("/requests", status="approved")) == [approval]
        assert ids(program.get("/requests", kind="clarification")) == [question]
        assert ids(program.get("/requests", assigned="me")) == [hers, question, approval]
        assert ids(program.get("/requests", status="pending", kind="approval")) == [elsewhere, hers]

    def test_since_is_within_and_until_is_not(self, program: Program) -> None:
        made = [make.approval() for _ in range(3)]
        moments = [program.get(f"/requests/{one}")["opened_at"] for one in made]
        middle = HumanRequest.objects.get(pk=made[1]).opened_at + timedelta(seconds=1)
        opened_at(made[2], middle)
        assert ids(program.get("/requests", since=moments[1])) == [made[2], made[1]]
        assert ids(program.get("/requests", until=middle.isoformat())) == [made[1], made[0]]

    def test_pages_cover_everything_once(self, program: Program) -> None:
        made = [make.approval() for _ in range(7)]
        assert pages(program, limit=3) == made[::-1]
        assert pages(program, limit=7) == made[::-1]

    def test_what_was_opened_at_the_same_moment_is_neither_lost_nor_repeated(self, program: Program) -> None:
        made = [make.approval() for _ in range(6)]
        moment = HumanRequest.objects.get(pk=made[0]).opened_at
        HumanRequest.writing.update(opened_at=moment)
        assert pages(program, limit=1) == sorted(made, reverse=True)

    def test_pages_are_stable_while_rows_arrive(self, program: Program) -> None:
        made = [make.approval() for _ in range(4)]
        first = program.get("/requests", limit=2)
        late = make.approval()
        second = program.get("/requests", limit=2, cursor=first["next"])
        assert ids(first) + ids(second) == made[::-1]
        assert second["next"] is None
        assert late not in ids(second)

    def test_a_page_of_large_requests_is_shorter_and_nothing_is_lost(
        self, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two hundred requests of a megabyte each must not be one answer."""
        monkeypatch.setattr(visibility, "LISTED_BYTES", 2_500)
        made = [make.approval(arguments={"note": "x" * size}) for size in (1_000, 9_000, 1_000, 1_000, 10)]
        first = program.get("/requests", limit=5)
        assert ids(first) == made[::-1][:3]
        second = program.get("/requests", limit=5, cursor=first["next"])
        assert ids(second) == [made[1]]
        assert pages(program, limit=5) == made[::-1]

    @pytest.mark.one_stack
    @pytest.mark.parametrize("large", ["default", "answer", "final_arguments"])
    def test_a_page_takes_no_more_memory_wherever_its_requests_are_large(
        self, program: Program, rita: User, large: str
    ) -> None:
        """What is asked is counted, all of it; what it came to is not read."""
        text = "x" * 1_000_000
        for _ in range(8):
            match large:
                case "default":
                    make.clarification(default=text)
                case "answer":
                    deciding.answer(make.actor(rita), make.clarification(), text)
                case "final_arguments":
                    asked = make.approval(editable=True)
                    deciding.decide(make.actor(rita), asked, "approve", arguments={"note": text})
        program.get("/requests", limit=1)
        tracemalloc.start()
        found = program.client.get(f"{ROOT}/requests", {"limit": 200})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 5_000_000
        assert len(found.json()["requests"]) == (1 if large == "default" else 8)

    @pytest.mark.one_stack
    def test_the_number_of_queries_does_not_grow_with_the_rows(self, program: Program, rita: User) -> None:
        def queries() -> int:
            with CaptureQueriesContext(
                connection,
            ) as seen:
                program.get("/requests", assigned="me", limit=200)
            return len(seen)

        make.approval(assignees=[rita, make.group("one", rita)])
        program.get("/requests")  # notes the use of the token
        few = queries()
        group = make.group("many", rita)
        for _ in range(99):
            make.approval(requester=rita, assignees=[rita, group])
        assert queries() == few
        assert few <= 16


@database
@pytest.mark.one_stack
class TestBadFilters:
    @pytest.mark.parametrize(
        ("parameters", "at_fault"),
        [
            ({"limt": 3}, "limt"),
            ({"limit": 0}, "limit"),
            ({"limit": 201}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"limit": [1, 2]}, "limit"),
            ({"status": "open"}, "status"),
            ({"kind": "question"}, "kind"),
            ({"assigned": "you"}, "assigned"),
            ({"since": "yesterday"}, "since"),
            ({"since": "2026-11-22T09:00:00"}, "since"),
            ({"since": "1700000000"}, "since"),
            ({"until": "0001-01-01T00:00:00+23:00"}, "until"),
            ({"cursor": "garbage"}, "cursor"),
            ({"cursor": "äöü"}, "cursor"),
            ({"cursor": ""}, "cursor"),
            ({"cursor": "MjAyNiAx"}, "cursor"),
        ],
    )
    def test_a_filter_that_is_none_is_refused_by_name(
        self, program: Program, parameters: dict[str, Any], at_fault: str
    ) -> None:
        """Otherwise a slip in a name would filter nothing, and nobody would notice."""
        problem = program.get("/requests", 422, **parameters)
        assert (problem["code"], fields_at_fault(problem)) == ("invalid", [at_fault])


@effort()
@given(at=some.datetimes(timezones=some.just(UTC)), row_id=some.uuids())
def test_a_cursor_comes_back_as_the_place_that_it_names(at: Any, row_id: UUID) -> None:
    cursor = cursor_after([SimpleNamespace(opened_at=at, pk=row_id)], more=True, moment="opened_at")
    assert place_of(cursor) == (at, row_id)


@effort()
@given(some.text(max_size=300))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        place_of(text)
    assert refused.value.field == "cursor"


@pytest.mark.one_stack
@database
class TestNothingLeaks:
    """What may not be seen and what does not exist are answered alike, but for the id that was asked for."""

    @pytest.mark.parametrize("path", ["", "/outcome", "/outcome?wait=60", "/history"])
    def test_reading(self, stack: Any, path: str) -> None:
        hidden = make.approval(assignees=[make.user()])
        stranger = Program.of(make.user())
        assert self.said(stranger, hidden, path) == self.said(stranger, NOWHERE, path)

    @both_databases
    @pytest.mark.parametrize(
        ("deed", "body"),
        [
            ("decision", {"decision": "approve", "arguments": {"a": 1}}),
            ("answer", {"answer": "x"}),
            ("withdraw", {}),
            ("reassign", {"users": ["nobody at all"]}),
            ("reassign", {"groups": ["nothing"]}),
        ],
    )
    def test_acting(self, stack: Any, deed: str, body: object) -> None:
        hidden = make.approval(assignees=[make.user()])
        stranger = Program.of(make.user())
        answers = []
        for request_id in (hidden, NOWHERE):
            stranger.post(f"/requests/{request_id}/{deed}", body, 404)
            answers.append(stranger.last.content.replace(request_id.encode(), b"ID"))
        assert answers[0] == answers[1]

    @both_databases
    def test_deciding_many(self, stack: Any) -> None:
        hidden = make.approval(assignees=[make.user()])
        items = [{"request_id": one, "decision": "approve"} for one in (hidden, NOWHERE, "x")]
        results = Program.of(make.user()).post("/decisions", {"decisions": items})["results"]
        assert {result["error"]["code"] for result in results} == {"unknown_request"}

    @pytest.mark.parametrize("malformed", ["x", "0", "01890000-0000-7000-8000-00000000000g", "%00", "ä"])
    def test_a_malformed_id_is_unknown(self, program: Program, malformed: str) -> None:
        assert program.get(f"/requests/{malformed}", 404)["code"] == "unknown_request"

    @staticmethod
    def said(program: Program, request_id: str, path: str) -> bytes:
        response = program.client.get(f"/api/v1/requests/{request_id}{path}")
        assert response.status_code == 404
        assert response.json()["code"] == "unknown_request"
        return bytes(response.content.replace(request_id.encode(), b"ID"))


@pytest.mark.one_stack
@database
class TestOutcome:
    def test_pending_is_202_and_closed_is_200(self, program: Program, rita: User) -> None:
        request_id = make.approval()
        assert program.get(f"/requests/{request_id}/outcome", 202)["status"] == "pending"
        deciding.decide(make.actor(rita), request_id, "approve", comment="Fine.")
        outcome = program.get(f"/requests/{request_id}/outcome", wait=60)
        assert (outcome["approved"], outcome["comment"], outcome["decided_by"]) == (True, "Fine.", "rita")

    @pytest.mark.one_stack
    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
    def test_patience_has_its_limits(self, program: Program, wait: str) -> None:
        problem = program.get(f"/requests/{make.approval()}/outcome", 422, wait=wait)
        assert fields_at_fault(problem) == ["wait"]


@pytest.mark.one_stack
@database
class TestHistory:
    def test_it_takes_no_more_memory_however_many_have_seen_what_is_large(self, rita: User) -> None:
        """What was asked is on record with every look at it."""
        request_id = make.approval(arguments={"note": "x" * 500_000})
        for _ in range(10):
            deciding.record_view(make.actor(make.reviewer()), request_id)
        deciding.decide(make.actor(rita), request_id, "reject", comment="never")
        request = queries.request_for(rita.pk, request_id)
        tracemalloc.start()
        trail = queries.history(request)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 500_000
        assert [entry.event for entry in trail] == ["opened", *["viewed"] * 10, "decided"]
        assert [entry.content for entry in trail[:2]] == [{}, {}]
        assert trail[-1].content == {
            "verdict": "reject",
            "comment": "never",
            "arguments": None,
            "actor": "rita",
        }

    def test_it_tells_what_the_page_tells_and_which_token(self, program: Program, rita: User) -> None:
        request = program.ask("Refund", required=1)
        deciding.decide(make.actor(rita), request["id"], "reject", comment="Twice?")
        entries = program.get(f"/requests/{request['id']}/history")["entries"]
        assert [entry["text"] for entry in entries] == ["Asked by rita", "Rejected by rita"]
        assert [entry["token"] for entry in entries] == ["tests", None]
        assert [entry["channel"] for entry in entries] == ["api", "page"]
        assert (entries[1]["outcome"], entries[1]["said"]) == ("rejected", "Twice?")
