"""Runs over HTTP: who may start, see and end which, and what is refused, by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.web.edge import tokens
from orchestration import orchestration, queries
from orchestration.models import Run, StepRecord
from orchestration.runs.run import Run as RunningRun
from orchestration.runtime import Runtime
from tests import factories as make
from tests.orchestration import watching

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/runs"
ALL = ("ask", "decide", "read")


@orchestration("api_refund")
async def refund(run: RunningRun, *, order: int, amount: str) -> str:
    await run.approve(f"Refund {amount}", arguments={"order": order})
    return "done"


@orchestration("api_anything")
async def anything(run: RunningRun, **given: Any) -> None:
    """Takes any input."""


GIVEN: dict[str, Any] = {"orchestration": "api_refund", "input": {"order": 812, "amount": "12.40"}}


class Program:
    """A program that calls the API with a token of this user."""

    def __init__(self, user: User, *scopes: str) -> None:
        _, secret = tokens.issue(user.pk, "tests", scopes or ALL)
        self._client = Client(headers={"authorization": f"Bearer {secret}"})

    def get(self, path: str, query: Any = None, status: int = 200) -> Any:
        return self._read(self._client.get(path, query), status)

    def post(self, path: str, body: object = None, status: int = 200) -> Any:
        return self._read(self._client.post(path, body or {}, content_type="application/json"), status)

    @staticmethod
    def _read(response: Any, status: int) -> Any:
        assert response.status_code == status, response.content
        kind = "application/problem+json" if status >= 400 else "application/json"
        assert response["Content-Type"].partition(";")[0] == kind
        return response.json()


@pytest.fixture
def olga() -> User:
    return make.user("olga", may=("add_run",))


@pytest.fixture
def program(olga: User) -> Program:
    return Program(olga)


def run(owner: User | None, **fields: Any) -> Run:
    now = timezone.now()
    ended = {"finished_at": now} if fields.get("status") in {"completed", "failed", "cancelled"} else {}
    values = {"orchestration": "api_refund", "title": "Refund", "created_at": now, "changed_at": now}
    return Run.objects.create(owner=owner, **{**values, **ended, **fields})


def of(one: Run | UUID | str, deed: str = "") -> str:
    return f"{RUNS}/{one.pk if isinstance(one, Run) else one}{deed}"


def fields(problem: Any) -> dict[str, str]:
    return {error["field"]: error["message"] for error in problem["errors"]}


class TestStarting:
    def test_a_run_is_queued_for_its_caller(self, program: Program) -> None:
        """It is answered as it is on record."""
        started = program.post(RUNS, GIVEN, status=201)
        assert started == program.get(of(started["id"]))
        assert (started["status"], started["owner"], started["input"]) == ("queued", "olga", GIVEN["input"])
        assert started["version"] == 1

    def test_the_same_key_and_body_find_the_same_run(self, program: Program) -> None:
        """So that a lost answer can be asked for again; other owners have keys of their own."""
        first = program.post(RUNS, GIVEN | {"key": "k"}, status=201)
        assert program.post(RUNS, GIVEN | {"key": "k"}, status=200) == first
        other = Program(make.user(may=("add_run",))).post(RUNS, GIVEN | {"key": "k"}, status=201)
        assert other["id"] != first["id"]
        assert program.post(RUNS, GIVEN, status=201)["id"] != program.post(RUNS, GIVEN, status=201)["id"]

    def test_the_same_key_with_another_body_is_a_conflict(self, program: Program) -> None:
        """Nothing starts."""
        program.post(RUNS, {"orchestration": "api_anything", "input": {"a": True}, "key": "k"}, status=201)
        for body in (
            {"orchestration": "api_anything", "input": {"a": 1}},
            {"orchestration": "api_anything"},
            GIVEN,
        ):
            problem = program.post(RUNS, body | {"key": "k"}, status=409)
            assert problem["code"] == "key_conflict"
            assert list(fields(problem)) == ["key"]
        assert Run.objects.count() == 1

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({}, ["orchestration"]),
            ({"orchestration": 7}, ["orchestration"]),
            ({"orchestration": "nonsense"}, ["orchestration"]),
            ({"orchestration": "api_refund"}, ["input.order", "input.amount"]),
            (GIVEN | {"input": {"order": "812", "amount": "1", "x": 1}}, ["input.order", "input.x"]),
            (GIVEN | {"input": []}, ["input"]),
            (GIVEN | {"input": None}, ["input"]),
            (GIVEN | {"owner": "root"}, ["owner"]),
            (GIVEN | {"key": "k" * 151}, ["key"]),
            (GIVEN | {"key": ""}, ["key"]),
            (GIVEN | {"key": "one\ntwo"}, ["key"]),
            ({"orchestration": "api_anything", "input": {"a": ["x\0"]}}, ["input.a[0]"]),
            ({"orchestration": "api_anything", "input": {"a": 2**60}}, ["input.a"]),
            ({"orchestration": "api_anything", "input": {"a": [1e18]}}, ["input.a[0]"]),
            ({"orchestration": "api_anything", "input": {"a": 1e18}, "key": "k"}, ["input.a"]),
            ({"orchestration": "api_anything", "input": {"a": "x" * 1_048_577}}, ["input"]),
            (
                {"orchestration": "plan", "input": {"task": "x", "steps": [{"agent": "bob", "action": "x"}]}},
                ["input.steps[0].agent"],
            ),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(
        self, program: Program, body: Any, wrong: list[str]
    ) -> None:
        """Every field at fault, as the body has it; nothing starts."""
        problem = program.post(RUNS, body, status=422)
        assert problem["code"] == "invalid"
        assert list(fields(problem)) == wrong
        assert all(
            field in message for field, message in fields(problem).items() if field.startswith("input.")
        )
        assert not Run.objects.exists()

    @pytest.mark.one_stack
    def test_an_unknown_orchestration_is_told_the_known_ones(self, program: Program) -> None:
        problem = program.post(RUNS, {"orchestration": "api_refnd"}, status=422)
        assert "api_refund" in problem["detail"]

    @pytest.mark.one_stack
    def test_starting_needs_scope_and_permission(self, olga: User) -> None:
        """Which is missing is said; permission comes before what is wrong with the body's meaning."""
        problem = Program(olga, "read", "decide").post(RUNS, GIVEN, status=403)
        assert problem["code"] == "not_permitted"
        assert "`ask`" in problem["detail"]
        problem = Program(make.user()).post(RUNS, {"orchestration": "nonsense"}, status=403)
        assert problem["code"] == "not_permitted"
        assert "orchestration.add_run" in problem["detail"]
        assert not Run.objects.exists()

    @pytest.mark.one_stack
    def test_nobody_starts_nothing(self) -> None:
        response = Client().post(RUNS, GIVEN, content_type="application/json")
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")

    async def test_an_engine_takes_it_up_at_once(
        self, runtime: Runtime, program: Program, olga: User
    ) -> None:
        """The server that was asked, or another: the run waits for its person, and ends."""
        started = await in_database(program.post, RUNS, GIVEN, 201)
        asked = await watching.asked(UUID(started["id"]))
        now = await in_database(program.get, of(started["id"]))
        assert (now["status"], now["waiting_for"]) == ("waiting", [asked["id"]])
        await deciding.adecide(make.actor(olga), asked["id"], "approve")
        await watching.finished(UUID(started["id"]))
        ended = await in_database(program.get, of(started["id"]))
        assert (ended["status"], ended["result"], ended["waiting_for"]) == ("completed", "done", [])


class TestLooking:
    def test_what_may_not_be_seen_is_unknown(self, olga: User) -> None:
        """Foreign, absent and malformed ids alike; without the scope `read`, all but one's own."""
        own, foreign = run(olga), run(make.user())
        for program in (Program(olga, "read"), Program(olga, "ask")):
            assert program.get(of(own))["id"] == str(own.pk)
            for unknown in (foreign.pk, uuid4(), "nonsense"):
                assert program.get(of(unknown), status=404)["code"] == "unknown_run"
        auditor = make.user(may=("view_run",))
        assert Program(auditor, "read").get(of(foreign))["id"] == str(foreign.pk)
        assert Program(auditor, "ask").get(of(foreign), status=404)["code"] == "unknown_run"

    @pytest.mark.one_stack
    def test_scopes_are_needed(self, olga: User) -> None:
        own = run(olga)
        for path in (RUNS, of(own)):
            problem = Program(olga, "decide").get(path, status=403)
            assert problem["code"] == "not_permitted"
            assert "`read`" in problem["detail"]
        Program(olga, "ask").get(RUNS, status=403)

    def test_a_list_has_the_newest_first_of_those_that_may_be_seen(self, olga: User) -> None:
        now = timezone.now()
        old, new = run(olga, created_at=now - timedelta(days=1)), run(olga, created_at=now)
        foreign = run(make.user(), created_at=now - timedelta(hours=1))
        listed = Program(olga, "read").get(RUNS)
        assert ([each["id"] for each in listed["runs"]], listed["next"]) == ([str(new.pk), str(old.pk)], None)
        assert listed["runs"][0] == queries.run_on_the_wire(queries.run_by_id(new.pk))
        root = make.user(is_superuser=True)
        assert [each["id"] for each in Program(root, "read").get(RUNS)["runs"]] == [
            str(each.pk) for each in (new, foreign, old)
        ]

    def test_a_list_is_filtered(self, program: Program, olga: User) -> None:
        """By status, orchestration and time: from `since` on, before `until`."""
        now = timezone.now()
        hours = [run(olga, created_at=now - timedelta(hours=hour)) for hour in range(3)]
        failed = run(olga, status="failed", created_at=now - timedelta(days=1))
        other = run(olga, orchestration="plan", created_at=now - timedelta(days=2))

        def found(**query: str) -> list[str]:
            return [each["id"] for each in program.get(RUNS, query)["runs"]]

        def ids(*runs: Run) -> list[str]:
            return [str(each.pk) for each in runs]

        assert found(status="failed") == ids(failed)
        assert found(orchestration="plan") == ids(other)
        assert found(orchestration="nonsense") == []
        assert found(since=hours[1].created_at.isoformat()) == ids(*hours[:2])
        assert found(until=hours[1].created_at.isoformat()) == ids(hours[2], failed, other)
        shown = program.get(of(hours[1]))["created_at"]
        assert found(since=shown, until=hours[0].created_at.isoformat()) == ids(hours[1])

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"status": "lost"}, "status"),
            ({"since": "yesterday"}, "since"),
            ({"since": "2026-11-22T09:30:00"}, "since"),
            ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
            ({"cursor": "nonsense"}, "cursor"),
            ({"cursor": ""}, "cursor"),
            ({"limit": "0"}, "limit"),
            ({"limit": "201"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"order": "id"}, "order"),
            ({"orchestration": "a\0b"}, "orchestration"),
        ],
    )
    def test_an_impossible_filter_is_refused_by_name(
        self, program: Program, query: dict[str, str], field: str
    ) -> None:
        problem = program.get(RUNS, query, status=422)
        assert problem["code"] == "invalid"
        assert list(fields(problem)) == [field]

    def test_pages_are_stable_while_runs_arrive(self, program: Program, olga: User) -> None:
        """Each run that was there is seen once, also of those that were created at the same moment."""
        now = timezone.now()
        there = [run(olga, created_at=now - timedelta(seconds=each // 3)) for each in range(8)]
        seen: list[str] = []
        page = program.get(RUNS, {"limit": 3})
        while True:
            seen += [each["id"] for each in page["runs"]]
            program.post(RUNS, GIVEN, status=201)
            if page["next"] is None:
                break
            page = program.get(RUNS, {"limit": 3, "cursor": page["next"]})
        assert sorted(seen) == sorted(str(each.pk) for each in there)

    def test_runs_as_they_are_started_are_paged_exactly(self, program: Program) -> None:
        """Every database keeps a moment as exactly as a cursor names it."""
        started = [program.post(RUNS, GIVEN, status=201)["id"] for _ in range(3)]
        seen: list[str] = []
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            page = program.get(RUNS, {"limit": 1} | cursor)
            seen += [each["id"] for each in page["runs"]]
            cursor = {"cursor": page["next"]} if page["next"] else None
        assert seen == started[::-1]

    def test_a_list_costs_the_same_however_long(self, program: Program, olga: User) -> None:
        """Nothing is read once for each run."""

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert program.get(RUNS)["runs"]
            return len(captured)

        waiting(olga)
        queries()  # the first one notes that the token is used
        few = queries()
        for _ in range(5):
            waiting(olga)
        assert queries() == few <= 7


def waiting(owner: User) -> Run:
    made = run(owner, status="waiting")
    StepRecord.objects.create(
        run=made,
        key="ask#1",
        kind="ask",
        name="Q",
        status="open",
        request_id=uuid4(),
        started_at=made.created_at,
    )
    return made


class TestCancelling:
    def test_a_run_that_nobody_executes_ends_at_once(self, program: Program, olga: User) -> None:
        """Repeating is safe, and answers the same."""
        queued = run(olga)
        cancelled = program.post(of(queued, "/cancel"))
        assert (cancelled["status"], cancelled["cancelled_by"]) == ("cancelled", "olga")
        assert program.post(of(queued, "/cancel")) == cancelled

    def test_what_has_ended_otherwise_stays_as_it_is(self, program: Program, olga: User) -> None:
        for status in ("completed", "failed"):
            ended = run(olga, status=status)
            problem = program.post(of(ended, "/cancel"), status=409)
            assert problem["code"] == "already_finished"
            assert status in problem["detail"]
            ended.refresh_from_db()
            assert ended.status == status

    def test_who_may_not_see_it_learns_nothing(self, olga: User) -> None:
        """Permission comes before state; without `read`, others' runs do not exist."""
        ended = run(olga, status="completed")
        assert Program(make.user()).post(of(ended, "/cancel"), status=404)["code"] == "unknown_run"
        auditor = make.user(may=("view_run",))
        assert Program(auditor).post(of(ended, "/cancel"), status=403)["code"] == "not_permitted"
        assert Program(auditor, "ask").post(of(ended, "/cancel"), status=404)["code"] == "unknown_run"
        assert Program(olga, "read").post(of(ended, "/cancel"), status=403)["code"] == "not_permitted"

    def test_who_may_change_runs_ends_others_too(self, olga: User) -> None:
        foreign = run(olga)
        operator = make.user("oscar", may=("view_run", "change_run"))
        assert Program(operator).post(of(foreign, "/cancel"))["cancelled_by"] == "oscar"

    async def test_what_the_run_asks_is_taken_back(
        self, runtime: Runtime, program: Program, olga: User
    ) -> None:
        """Its process ends it, and nobody is asked in vain."""
        started = await in_database(program.post, RUNS, GIVEN, 201)
        asked = await watching.asked(UUID(started["id"]))
        await in_database(program.post, of(started["id"], "/cancel"))
        ended = await watching.finished(UUID(started["id"]))
        assert ended["status"] == "cancelled"
        assert (await gate.wait_for_outcome(asked["id"], patience=10)).withdrawn


class TestResuming:
    def test_what_resuming_does_is_told_before_it_is_done(self, program: Program, olga: User) -> None:
        """Looking changes nothing; repeating is safe, and answers the same."""
        failed = ended_badly(olga)
        told = program.get(of(failed, "/resume"))
        assert told == {
            "asked_anew": [{"title": "Refund?", "ended": "timed out"}],
            "tried_again": [{"name": "notify", "error": "away"}],
            "unclear": [{"name": "pay", "error": ""}],
        }
        assert program.get(of(failed, "/resume")) == told
        resumed = program.post(of(failed, "/resume"))
        assert (resumed["status"], resumed["reason"], resumed["resumed_by"]) == ("queued", "", "olga")
        assert resumed["resumed_at"]
        assert program.post(of(failed, "/resume")) == resumed
        assert program.get(of(failed, "/resume")) == {"asked_anew": [], "tried_again": [], "unclear": []}
        assert [each.name for each in StepRecord.objects.filter(run=failed)] == ["reserve", "pay"]

    def test_an_end_that_stands_can_not_be_resumed(self, program: Program, olga: User) -> None:
        for status in ("completed", "cancelled"):
            ended = run(olga, status=status)
            for call in (program.post, program.get):
                problem = call(of(ended, "/resume"), status=409)
                assert problem["code"] == "already_finished"
                assert status in problem["detail"]

    def test_only_who_may_change_a_run_resumes_it(self, olga: User) -> None:
        """Permission comes before state; without `read`, others' runs do not exist."""
        failed = run(olga, status="failed")
        auditor, operator = make.user(may=("view_run",)), make.user("oscar", may=("view_run", "change_run"))
        for person, scopes, status, code in (
            (make.user(), (), 404, "unknown_run"),
            (auditor, (), 403, "not_permitted"),
            (auditor, ("ask",), 404, "unknown_run"),
            (olga, ("read",), 403, "not_permitted"),
        ):
            caller = Program(person, *scopes)
            assert caller.post(of(failed, "/resume"), status=status)["code"] == code
            assert caller.get(of(failed, "/resume"), status=status)["code"] == code
        assert Program(operator).post(of(failed, "/resume"))["resumed_by"] == "oscar"


def ended_badly(owner: User) -> Run:
    """It was not answered in time, did what it does then, and failed; one step was interrupted."""
    failed = run(owner, status="failed", reason="step_failed")
    outcome = {"approved": None, "timed_out": True, "withdrawn": False, "answer": None}
    for number, (kind, name, status, result) in enumerate(
        (
            ("step", "reserve", "done", 1),
            ("ask", "Refund?", "done", outcome),
            ("step", "pay", "started", None),
            ("step", "notify", "failed", None),
        )
    ):
        at = failed.created_at + timedelta(seconds=number if number < 2 else 1)
        StepRecord.objects.create(
            run=failed,
            key=name,
            kind=kind,
            name=name,
            status=status,
            result=result,
            error="away" if status == "failed" else "",
            started_at=at,
            finished_at=None if status == "started" else failed.created_at + timedelta(seconds=9 + number),
        )
    return failed


@pytest.mark.one_stack
def test_a_person_with_a_session_may_do_the_same(olga: User) -> None:
    """With the CSRF token that pages have."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(olga)
    refused = browser.post(RUNS, GIVEN, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    browser.cookies["csrftoken"] = "t" * 32
    headers = {"X-CSRFToken": "t" * 32}
    started = browser.post(RUNS, GIVEN, content_type="application/json", headers=headers)
    assert started.status_code == 201
    assert browser.get(of(started.json()["id"])).json()["owner"] == "olga"
