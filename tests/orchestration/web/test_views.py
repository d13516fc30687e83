"""The pages of runs: what one may see of them, what they wait for, and how to end one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import deciding
from orchestration import queries
from orchestration.manager import OrchestrationManager
from orchestration.models import Message, Run, RunStatus
from orchestration.web.plan import shown_steps, time_taken
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PLAN = [
    {
        "agent": "disk",
        "action": "look",
        "arguments": {"directory": "/tmp"},
        "state": "completed",
        "started_at": "2026-11-22T12:00:00.000Z",
        "finished_at": "2026-11-22T12:00:02.500Z",
    },
    {
        "agent": "mail",
        "action": "tell",
        "arguments": {},
        "state": "waiting",
        "started_at": "2026-11-22T12:00:03Z",
    },
    {"agent": "mail", "action": "file", "arguments": {}, "state": "pending"},
]


@pytest.fixture
def olga() -> User:
    return make.user("olga")


@pytest.fixture
def client(olga: User) -> Client:
    return client_of(olga)


def run(owner: User | None, title: str = "Tidy up", **fields: Any) -> Run:
    now = timezone.now()
    ended = {"finished_at": now} if fields.get("status") in {"completed", "failed", "cancelled"} else {}
    known = {"orchestration": "checklist", "input": {"name": "Friday"}, "status": RunStatus.WAITING}
    return Run.objects.create(
        owner=owner, title=title, created_at=now, changed_at=now, **{**known, **ended, **fields}
    )


def ended_by_a_rejection(owner: User) -> Run:
    """It had done a step, and was not allowed to go on."""
    one = run(owner, status=RunStatus.REJECTED, reason="rejected", finished_at=timezone.now())
    at = {"started_at": one.created_at, "finished_at": one.created_at, "status": "done"}
    one.steps.create(key="reserve#1", position=1, kind="step", name="reserve", result=1, **at)
    outcome = {"approved": False, "timed_out": False, "withdrawn": False, "answer": None}
    one.steps.create(key="approve#2", position=2, kind="approve", name="Refund?", result=outcome, **at)
    return one


def asked_by(one: Run, title: str, **terms: Any) -> str:
    origin = {"kind": "run", "id": str(one.pk), "url": page(one)}
    return make.approval(title, origin=origin, **terms)


def page(one: Run | UUID) -> str:
    return f"/runs/{one.pk if isinstance(one, Run) else one}/"


class TestResume:
    def test_the_page_says_what_is_asked_again_before_it_is(self, client: Client, olga: User) -> None:
        one = ended_by_a_rejection(olga)
        shown = text(client.get(page(one)))
        assert "Resume this run" in shown
        assert "Asks again: Refund? (rejected)" in shown
        assert "Finished steps are not repeated." in shown
        response = client.post(page(one) + "resume/")
        assert (response.status_code, response["Location"]) == (303, page(one))
        shown = text(client.get(page(one)))
        assert "Queued" in shown
        assert re.search(r"Resumed .* by olga", shown)
        assert "Resume this run" not in shown
        assert [step.name for step in queries.steps_of(one)] == ["reserve"]

    def test_an_end_that_stands_is_left_as_it_is(self, client: Client, olga: User) -> None:
        for status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
            one = run(olga, status=status)
            assert "Resume this run" not in text(client.get(page(one)))
            shown = text(client.post(page(one) + "resume/"), 409)
            assert f"The run is {status}; only a failed or rejected run can be resumed." in shown

    def test_who_only_sees_a_run_does_not_resume_it(self, olga: User) -> None:
        one = ended_by_a_rejection(olga)
        watcher = client_of(make.user(may=("view_run",)))
        assert "Resume this run" not in text(watcher.get(page(one)))
        assert watcher.post(page(one) + "resume/").status_code == 403
        assert client_of(make.user()).post(page(one) + "resume/").status_code == 404
        assert "was not recorded" in client_of(olga).get(page(one) + "resume/", follow=True).text
        assert queries.run_by_id(one.pk).status == RunStatus.REJECTED


class TestUnknown:
    def test_a_run_that_this_server_does_not_know_says_so(self, client: Client, olga: User) -> None:
        """By name and version; not once it has ended, and not where the version is known."""
        unknown = run(olga, version=7)
        assert "This server does not know checklist, version 7." in text(client.get(page(unknown)))
        assert "does not know shredder." in text(client.get(page(run(olga, orchestration="shredder"))))
        ended = run(olga, version=7, status=RunStatus.COMPLETED)
        for other in (ended, run(olga)):
            assert "does not know" not in text(client.get(page(other)))
        assert "checklist, version 7" in text(client.get(page(ended)))


class TestList:
    @both_databases
    def test_one_sees_ones_own_runs_the_newest_first(self, client: Client, olga: User) -> None:
        run(olga, "First")
        run(olga, "Second")
        run(make.user(), "Foreign")
        shown = text(client.get("/runs/"))
        assert shown.index("Second") < shown.index("First")
        assert "Foreign" not in shown
        assert "name Friday" in shown

    @both_databases
    def test_who_may_view_runs_sees_all_of_them(self, olga: User) -> None:
        run(olga, "Of olga")
        run(None, "Of nobody")
        shown = text(client_of(make.user(may=("view_run",))).get("/runs/"))
        assert "Of olga" in shown
        assert "Of nobody" in shown

    @both_databases
    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ("status=failed", {"Broken"}),
            ("q=bro", {"Broken"}),
            ("status=nonsense&limit=-1", {"Broken", "Fine"}),
        ],
    )
    def test_filters_live_in_the_address(
        self, client: Client, olga: User, query: str, shown: set[str]
    ) -> None:
        run(olga, "Broken", status=RunStatus.FAILED)
        run(olga, "Fine")
        page = text(client.get(f"/runs/?{query}"))
        assert {title for title in ("Broken", "Fine") if title in page} == shown

    def test_no_runs_is_said_kindly(self, client: Client) -> None:
        assert "No runs that you may see." in text(client.get("/runs/"))
        client.force_login(make.user(may=("view_run",)))
        assert "No runs yet." in text(client.get("/runs/"))
        assert "No runs match." in text(client.get("/runs/?q=x"))

    def test_a_list_takes_the_same_queries_however_long_it_is(self, client: Client, olga: User) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert client.get("/runs/").status_code == 200
            return len(captured)

        run(olga)
        few = queries()
        for _ in range(10):
            run(olga)
        assert queries() == few


class TestRun:
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_a_foreign_run_is_as_unknown_as_none(self, client: Client, method: str) -> None:
        for one in (run(make.user(), "Foreign"), uuid4()):
            path = page(one) + ("cancel/" if method == "post" else "")
            assert "Foreign" not in text(getattr(client, method)(path), 404)

    def test_it_shows_plan_messages_and_what_it_waits_for(self, client: Client, olga: User) -> None:
        one = run(olga, plan=PLAN, plan_round=2)
        request = asked_by(one, "Remove the files", assignees=[olga], timeout=600)
        for words in ("First I look.", "<b>Then</b> I ask."):
            Message.objects.create(run=one, agent="disk", text=words, said_at=timezone.now())
        response = client.get(page(one))
        shown = text(response)
        html = response.content.decode()
        assert "Plan, round 2" in shown
        assert "look disk Completed took 2.5 s" in shown
        assert re.search(r'<li aria-current="step">\s*<span><span class="title">tell', html)
        assert shown.index("First I look.") < shown.index("&lt;b&gt;Then")
        assert f'href="/requests/{request}/"' in html
        assert "Remove the files" in shown

    def test_what_it_waits_for_is_only_counted_for_those_who_may_not_see_it(self, olga: User) -> None:
        one = run(olga)
        request = asked_by(one, "Others decide", assignees=[make.user()])
        html = client_of(olga).get(page(one)).content.decode()
        assert "Others decide" not in html
        assert request not in html
        assert "1 request that you may not see" in html

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"status": RunStatus.COMPLETED, "result": "Freed 3 GB."}, "Result Freed 3 GB."),
            (
                {"status": RunStatus.FAILED, "reason": "step_failed", "error": "Disk full."},
                "Failed . A step failed. Disk full.",
            ),
        ],
    )
    def test_how_it_ended_is_said_in_plain_words(
        self, client: Client, olga: User, fields: Any, words: str
    ) -> None:
        shown = text(client.get(page(run(olga, **fields))))
        assert words in shown
        assert "Cancel this run" not in shown

    def test_a_part_of_our_own_page_gets_the_run_alone(self, client: Client, olga: User) -> None:
        html = client.get(page(run(olga)), headers={"HX-Target": "detail"}).content.decode()
        assert "<html" not in html
        assert "Tidy up" in html


class TestCancel:
    def test_the_owner_ends_a_run_and_what_it_asks_is_withdrawn(self, client: Client, olga: User) -> None:
        run_id = OrchestrationManager().start("checklist", {"title": "Friday", "items": ["a"]}, olga)
        request = asked_by(queries.run_by_id(run_id), "Go on", assignees=[olga])
        assert "Cancel this run" in text(client.get(page(run_id)))
        response = client.post(page(run_id) + "cancel/")
        assert (response.status_code, response["Location"]) == (303, page(run_id))
        assert "Cancelled by olga" in text(client.get(page(run_id)))
        assert "Withdrawn" in text(client.get(f"/requests/{request}/"))

    def test_a_run_that_has_ended_is_left_as_it_is(self, client: Client, olga: User) -> None:
        one = run(olga, status=RunStatus.COMPLETED, result="Done.")
        assert "The run has already ended" in text(client.post(page(one) + "cancel/"), 409)

    def test_who_only_sees_a_run_does_not_end_it(self, olga: User) -> None:
        one = run(olga)
        watcher = client_of(make.user(may=("view_run",)))
        assert "Cancel this run" not in text(watcher.get(page(one)))
        assert watcher.post(page(one) + "cancel/").status_code == 403
        assert queries.run_by_id(one.pk).cancel_requested_at is None

    def test_reading_ends_nothing(self, client: Client, olga: User) -> None:
        one = run(olga)
        assert "was not recorded" in client.get(page(one) + "cancel/", follow=True).text
        assert queries.run_by_id(one.pk).cancel_requested_at is None


class TestBesideARequest:
    def test_a_request_names_its_run_and_shows_where_its_plan_is(self, client: Client, olga: User) -> None:
        one = run(olga, plan=PLAN)
        request = asked_by(one, "Remove the files", requester=olga, assignees=[olga])
        html = client.get(f"/requests/{request}/").content.decode()
        assert f'olga, <a href="{page(one)}">Tidy up</a>' in html
        assert '<li aria-current="step">' in html
        assert "olga, Tidy up" in text(client.get("/"))

    def test_who_may_not_see_the_run_learns_nothing_of_it(self, olga: User) -> None:
        request = asked_by(run(olga, plan=PLAN), "Pay", requester=olga, assignees=[ravi := make.user("ravi")])
        shown = text(client_of(ravi).get(f"/requests/{request}/"))
        assert "olga, run" in shown
        assert "Tidy up" not in shown
        assert "look" not in shown

    def test_only_what_a_run_has_asked_bears_its_name(self, client: Client, olga: User) -> None:
        """Whatever program asks may name any id as its origin's, and stand beside the run's own requests."""
        one = run(olga, plan=PLAN)
        asked_by(one, "Remove the files", requester=olga, assignees=[olga])
        origin = {"kind": "job", "id": str(one.pk)}
        pretended = make.approval("Pay me", requester=olga, origin=origin, assignees=[olga])
        assert text(client.get("/")).count("olga, Tidy up") == 1
        assert "olga, job" in text(client.get(f"/requests/{pretended}/"))

    @pytest.mark.parametrize(
        ("origin", "shown"),
        [
            ({"kind": "job", "url": "https://jobs.example/7?a=1&b=2"}, "job"),
            ({"url": "https://jobs.example/7?a=1&b=2"}, "https://jobs.example/7?a=1&amp;b=2"),
        ],
    )
    def test_an_origin_of_the_web_is_linked(
        self, client: Client, olga: User, origin: dict[str, str], shown: str
    ) -> None:
        request = make.approval("Pay", requester=olga, origin=origin, assignees=[olga])
        link = f'olga, <a href="https://jobs.example/7?a=1&amp;b=2" rel="noreferrer">{shown}</a>'
        assert link in client.get(f"/requests/{request}/").content.decode()

    def test_odd_characters_of_an_origin_are_visible(self, client: Client, olga: User) -> None:
        request = make.approval("Pay", requester=olga, origin={"kind": "a\u202eb"}, assignees=[olga])
        for address in ("/", f"/requests/{request}/"):
            assert "a\u202eb" not in client.get(address).content.decode()

    @pytest.mark.parametrize(
        "origin", [{"kind": "run", "id": "x", "url": ""}, {"kind": "job", "id": "7", "url": "/j/"}]
    )
    def test_whatever_an_origin_says_the_page_is_shown(
        self, client: Client, olga: User, origin: dict[str, str]
    ) -> None:
        request = make.approval("Pay", requester=olga, origin=origin, assignees=[olga])
        assert f"olga, {origin['kind']}" in text(client.get(f"/requests/{request}/"))
        deciding.decide(make.actor(olga), request, "approve")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (61, "1 min 01 s"), (7_320, "2 h 02 min")],
)
def test_the_time_something_took(seconds: float, words: str) -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    assert time_taken(start, start + timedelta(seconds=seconds)) == words


def test_a_plan_may_say_less_than_the_page_can_show() -> None:
    (step,) = shown_steps([{}])
    assert (step["agent"], step["state"], step["took"], step["current"]) == ("", "pending", "", False)
