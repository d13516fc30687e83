"""A run's page: how it was started, what happened, what is decided there, and how to start it again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from approvals import deciding, gate, queries
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import Outcome
from approvals.models import AuditEntry, HumanRequest
from approvals.web.edge import tokens
from orchestration import orchestration
from orchestration.manager import OrchestrationManager, start
from orchestration.models import Message, Run, RunStatus
from orchestration.runs.retention import purge_runs
from orchestration.templatetags.runs import what_goes_on
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases
from tests.orchestration.web.test_views import asked_by, page, run
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

INPUT = {"title": "Friday", "items": ["Lock the door"]}


@pytest.fixture
def olga() -> User:
    return make.user("olga", may=("add_run",))


@pytest.fixture
def client(olga: User) -> Client:
    return client_of(olga)


def act_address(one: Run, request: str) -> str:
    return f"{page(one)}requests/{request}/"


def outcome(request: str) -> Outcome:
    return gate.outcome(request)


def events(request: str) -> list[str]:
    return [entry.event for entry in AuditEntry.objects.filter(request=request).order_by("sequence")]


class TestStarted:
    def test_by_whom_and_how(self, client: Client, olga: User) -> None:
        token, _ = tokens.issue(olga.pk, "billing", ["ask"])
        manager = OrchestrationManager()
        by_api = Actor(user_id=olga.pk, channel=Channel.API, token_id=token.pk)
        in_terminal = Actor(user_id=olga.pk, channel=Channel.COMMAND)
        earlier = run(olga)
        for run_id, words in (
            (
                manager.start("checklist", INPUT, olga, actor=by_api),
                "olga, over the API with the token billing",
            ),
            (manager.start("checklist", INPUT, olga, actor=in_terminal), "olga, in a terminal"),
            (start("checklist", INPUT, owner=olga), "a program, for olga"),
            (earlier.pk, "olga"),
        ):
            shown = text(client.get(page(run_id)))
            assert f"Started by {words} ·" in shown
            assert f"Started by {words} " in shown.partition("What happened")[2]

    def test_on_this_site(self, client: Client) -> None:
        sent = {"key": "page-1", "input.title": "Friday", "input.items": "0", "input.items[0].title": "a"}
        answer = client.post(f"{reverse('run-start')}?orchestration=checklist", sent)
        shown = text(client.get(answer["Location"]))
        assert "Started by olga, on this site" in shown
        assert "Checklist: Friday" in shown

    def test_how_is_gone_once_the_content_is(self, client: Client, olga: User) -> None:
        run_id = start("checklist", INPUT, owner=olga)
        Run.objects.filter(pk=run_id).update(status=RunStatus.FAILED, finished_at=timezone.now())
        purge_runs(timezone.now())
        shown = text(client.get(page(run_id)))
        assert "Started by olga ·" in shown
        assert "Content Removed" in shown
        assert "Start again" not in shown


@orchestration("page_versions")
async def first_version(run: Any) -> None: ...


orchestration("page_versions", version=2)(first_version)


def test_a_version_that_is_not_the_newest_is_named(client: Client, olga: User) -> None:
    shown = text(client.get(page(run(olga, orchestration="page_versions"))))
    assert "page_versions, version 1 (new runs use version 2)" in shown
    assert "(new runs use" not in text(client.get(page(run(olga, orchestration="page_versions", version=2))))


def test_what_goes_on_after_a_decision_is_the_run(client: Client, olga: User) -> None:
    """Linked before and after it, for whoever may see the run; of one that has ended, how it did."""
    one = run(olga)
    request = asked_by(one, "Remove", arguments={"path": "/tmp/a"}, assignees=[olga])
    linked = f'Run <a href="{page(one)}">{one.title}</a>'
    assert f"{linked} goes on and does exactly this." in client.get(f"/requests/{request}/").text
    ann = client_of(make.user("ann", may=("view_humanrequest",)))
    assert "The program that asked goes on and does exactly this." in text(ann.get(f"/requests/{request}/"))
    done = client.post(f"/requests/{request}/", {"decision": "approve"})["Location"]
    assert f"{linked} goes on." in client.get(done).text
    Run.objects.filter(pk=one.pk).update(status=RunStatus.COMPLETED, finished_at=timezone.now())
    assert f"{linked} has ended: completed." in client.get(done).text


def test_a_run_that_was_answered_instead_is_told_and_says_so(client: Client, olga: User) -> None:
    """A text is no yes: whoever asked does not go on as if it was one."""
    one = run(olga)
    request = asked_by(one, "Remove", assignees=[olga], decisions=["approve", "reject", "respond"])
    done = client.post(f"/requests/{request}/", {"decision": "respond", "answer": "Ask Ann."})["Location"]
    assert f'Run <a href="{page(one)}">{one.title}</a> is told.' in client.get(done).text
    ended = {"status": RunStatus.REJECTED, "reason": "responded", "finished_at": timezone.now()}
    Run.objects.filter(pk=one.pk).update(**ended)
    assert "A person gave a text instead of approving." in text(client.get(page(one)))


@pytest.mark.parametrize(
    ("kind", "status", "on_timeout", "after"),
    [
        ("approval", "pending", "reject", "goes on"),
        ("approval", "approved", "reject", "goes on"),
        ("approval", "rejected", "reject", "is told"),
        ("approval", "answered", "reject", "is told"),
        ("approval", "withdrawn", "approve", "is told"),
        ("approval", "timed_out", "reject", "is told"),
        ("approval", "timed_out", "approve", "goes on"),
        ("clarification", "answered", "", "goes on"),
        ("clarification", "timed_out", "", "goes on"),
        ("clarification", "withdrawn", "", "is told"),
    ],
)
def test_who_asked_goes_on_after_a_yes_and_an_answer(
    kind: str, status: str, on_timeout: str, after: str
) -> None:
    closed = HumanRequest(kind=kind, status=status, on_timeout=on_timeout)
    assert what_goes_on(closed, {}) == f"The program that asked {after}"


def test_several_at_once_say_what_goes_on_with_each(client: Client, olga: User) -> None:
    """Once for all, or for all of a table, where it is the same."""
    first, second = run(olga), run(olga)
    alike = [asked_by(first, "Remove", arguments={"path": f"/tmp/{n}"}, assignees=[olga]) for n in range(2)]
    other = asked_by(second, "Remove", arguments={"path": "/tmp/2"}, assignees=[olga])
    single = asked_by(second, "Tell", assignees=[olga])

    def said(*requests: str) -> list[str]:
        html = client.get("/decide/", {"id": requests}).text
        return re.findall(r'If approved.{1,12}Run <a href="([^"]+)">[^<]+</a> goes on\.', html)

    assert said(*alike) == [page(first)]
    assert said(*alike, single) == [page(first), page(second)]
    assert said(*alike, other) == [page(first), page(first), page(second)]
    assert said(other, single) == [page(second)]


class TestDeciding:
    @both_databases
    def test_a_request_is_decided_on_the_page_of_its_run(self, client: Client, olga: User) -> None:
        """By the form of the request's own page; then the run's page tells it."""
        one = run(olga)
        request = asked_by(one, "Remove the files", arguments={"path": "/tmp/a"}, assignees=[olga])
        html = client.get(page(one)).content.decode()
        assert f'action="{act_address(one, request)}"' in html
        assert "What exactly will happen" in html
        answer = client.post(act_address(one, request), {"decision": "approve", "comment": "Go."})
        assert (answer.status_code, answer["Location"]) == (303, page(one))
        assert (outcome(request).approved, outcome(request).comment) == (True, "Go.")
        shown = text(client.get(page(one)))
        assert "Approved by olga" in shown.partition("What happened")[2]
        assert "Go." in shown

    def test_a_text_instead_of_an_approval_is_given_and_shown_there(self, client: Client, olga: User) -> None:
        one = run(olga)
        request = asked_by(one, "Refund?", decisions=["approve", "reject", "respond"], assignees=[olga])
        said = {"decision": "respond", "answer": "Ask the supplier first."}
        assert client.post(act_address(one, request), said).status_code == 303
        shown = text(client.get(page(one)))
        assert "Answered, not approved, by olga" in shown
        assert "Ask the supplier first." in shown

    def test_a_question_is_answered_there_and_what_does_not_fit_stays_in_the_form(
        self, client: Client, olga: User
    ) -> None:
        one = run(olga)
        origin = {"kind": "run", "id": str(one.pk)}
        request = make.clarification("Which?", choices=["a", "b"], origin=origin, assignees=[olga])
        refused = client.post(act_address(one, request), {"answer": "c", "comment": "Because."})
        assert refused.status_code == 422
        shown = text(refused, 422)
        assert "Which?" in shown
        assert "What happened" in shown
        assert "Because." in refused.content.decode()
        assert outcome(request).answer is None
        assert client.post(act_address(one, request), {"answer": "b"}).status_code == 303
        assert outcome(request).answer == "b"

    def test_edited_arguments_are_shown_once_more_before(self, client: Client, olga: User) -> None:
        one = run(olga)
        schema = {"type": "object", "properties": {"amount": {"type": "string"}}}
        request = asked_by(one, "Pay", arguments={"amount": "12"}, editable=schema, assignees=[olga])
        form = Page(client.get(page(one)).content.decode(), "arguments").fill("arguments.amount", "10")
        shown = post(client, act_address(one, request), form.press("decision", "approve"))
        assert (shown.status_code, outcome(request).approved) == (200, None)
        assert "Approve with these changes" in shown.content.decode()
        assert "What happened" in shown.content.decode()

    def test_who_comes_too_late_is_told_who_decided(self, client: Client, olga: User) -> None:
        one = run(olga)
        ann = make.user("ann")
        request = asked_by(one, "Remove the files", assignees=[olga, ann])
        deciding.decide(make.actor(ann), request, "reject", comment="No.")
        shown = text(client.post(act_address(one, request), {"decision": "approve"}), 409)
        assert "What you sent was not recorded." in shown
        assert "Rejected by ann" in shown

    def test_who_has_voted_so_far_and_how_is_told(self, client: Client, olga: User) -> None:
        one = run(olga)
        ann, bob = make.user("ann"), make.user("bob")
        request = asked_by(one, "Pay", requester=olga, assignees=[ann, bob], required=2)
        deciding.decide(make.actor(ann), request, "approve")
        assert "Waits: 1 of 2 have approved · ann approved just now" in text(client.get(page(one)))
        deciding.decide(make.actor(bob), request, "reject", comment="No.")
        told = "Rejected by bob just now · ann approved just now · bob rejected just now"
        assert told in text(client.get(page(one)))

    def test_what_the_run_has_not_asked_is_unknown_here(self, client: Client, olga: User) -> None:
        one, other = run(olga), run(olga)
        pretended = make.approval("Pay", origin={"kind": "job", "id": str(one.pk)}, assignees=[olga])
        unseen = asked_by(one, "Others decide", assignees=[make.user()])
        of_another = asked_by(other, "Pay", assignees=[olga])
        for request in (pretended, unseen, of_another):
            assert client.post(act_address(one, request), {"decision": "approve"}).status_code == 404
            assert outcome(request).approved is None
        foreign = run(make.user())
        mine = asked_by(foreign, "Pay", assignees=[olga])
        assert client.post(act_address(foreign, mine), {"decision": "approve"}).status_code == 404

    def test_an_address_without_a_form_leads_to_the_run(self, client: Client, olga: User) -> None:
        one = run(olga)
        request = asked_by(one, "Pay", assignees=[olga])
        assert client.get(act_address(one, request))["Location"] == f"{page(one)}?request={request}"

    def test_of_several_the_first_that_one_may_decide_is_shown_or_the_chosen_one(
        self, client: Client, olga: User
    ) -> None:
        one = run(olga)
        others = asked_by(one, "Others decide", requester=olga, assignees=[make.user("ravi")])
        first, second = (asked_by(one, title, assignees=[olga]) for title in ("First", "Second"))
        html = client.get(page(one)).content.decode()
        assert re.findall(r'id="asked" data-id="([^"]*)"', html) == [first]
        assert f'href="/requests/{others}/"' in html
        assert f'href="?request={second}"' in html
        assert re.findall(r'class="by">([^<]*)</span></a>', html) == ["ravi", "olga", "olga"]
        html = client.get(f"{page(one)}?request={second}").content.decode()
        assert re.findall(r'id="asked" data-id="([^"]*)"', html) == [second]

    def test_who_sees_a_request_there_is_on_its_trail(self, client: Client, olga: User) -> None:
        """But not where a script renews the page."""
        one = run(olga)
        request = asked_by(one, "Pay", assignees=[olga])
        client.get(page(one), headers={"Sayso-Unasked": "true", "HX-Target": "detail"})
        assert events(request) == ["opened"]
        for _ in range(2):
            client.get(page(one))
        assert events(request) == ["opened", "viewed"]

    def test_a_long_list_of_open_requests_is_cut(
        self, client: Client, olga: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestration.web.run_page.WAITS", 2)
        one = run(olga)
        for number in range(3):
            asked_by(one, f"Item {number}", assignees=[olga])
        waits = text(client.get(page(one))).partition("Waits for")[2].partition("What happened")[0]
        assert "Item 1" in waits
        assert "Item 2" not in waits
        assert "And more; these are the oldest." in waits


class TestUnseen:
    """Who may see a run but not its request learns that there is one, and no word of it."""

    @pytest.fixture
    def watcher(self) -> Client:
        return client_of(make.user(may=("view_run", "change_run")))

    @pytest.mark.parametrize("reason", ["rejected", "error", "replay_mismatch"])
    @pytest.mark.parametrize("status", [RunStatus.REJECTED, RunStatus.FAILED])
    def test_nor_in_how_the_run_ended_or_what_resuming_asks(
        self, watcher: Client, olga: User, status: RunStatus, reason: str
    ) -> None:
        """Whatever the reason is: an error of the program's own may quote what it was told."""
        now = timezone.now()
        error = "Pay ACME: rejected by annika: Fraud."
        one = run(olga, status=status, reason=reason, error=error, finished_at=now)
        request = asked_by(one, "Pay ACME", requester=olga, assignees=[ann := make.user("annika")])
        deciding.decide(make.actor(ann), request, "reject", comment="Fraud.")
        one.steps.create(
            key="approve#1",
            kind="approve",
            name="Pay ACME",
            status="done",
            request_id=request,
            result={"approved": False, "timed_out": False, "withdrawn": False, "comment": "Fraud."},
            started_at=now,
            finished_at=now,
        )
        html = watcher.get(page(one)).content.decode()
        assert "A request that you may not see" in html
        assert "Asks again: a request that you may not see (rejected)" in html
        for word in ("ACME", "Fraud", "annika", request):
            assert word not in html
        own = client_of(olga).get(page(one)).content.decode()
        assert error in own
        assert "Asks again: Pay ACME (rejected)" in own

    def test_nor_in_the_results_of_steps(self, watcher: Client, olga: User) -> None:
        one = run(olga)
        now = timezone.now()
        step = one.steps.create(
            key="a", kind="step", name="a", status="done", result={"n": 1}, started_at=now
        )
        asked = one.steps.create(
            key="b", kind="approve", name="Pay", status="done", result={"comment": "No."}, started_at=now
        )
        answer = watcher.get(f"{page(one)}steps/{step.pk}.json")
        assert (answer.json(), answer["Content-Type"]) == ({"n": 1}, "application/json; charset=utf-8")
        assert watcher.get(f"{page(one)}steps/{asked.pk}.json").status_code == 404
        assert watcher.get(f"{page(run(olga))}steps/{step.pk}.json").status_code == 404
        assert client_of(make.user()).get(f"{page(one)}steps/{step.pk}.json").status_code == 404


def test_what_resuming_repeats_is_read_from_the_last_calls(
    client: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.web.run_page.RESUMED", 2)
    one = run(olga, status=RunStatus.FAILED, reason="step_failed")
    ended = {"started_at": one.created_at, "finished_at": one.created_at}
    for number in range(3):
        status = "failed" if number == 2 else "done"
        one.steps.create(
            key=f"pay#{number}", position=number, kind="step", name=f"pay {number}", status=status, **ended
        )
    shown = text(client.get(page(one)))
    assert "Tries again: step &#x27;pay 2&#x27;, which failed" in shown
    assert "Only its last 2 calls were looked at" in shown
    one.steps.filter(key="pay#0").delete()
    assert "were looked at" not in text(client.get(page(one)))


class TestStartAgain:
    def test_the_form_begins_with_the_input_of_the_run(self, client: Client, olga: User) -> None:
        given = {"title": "Friday", "items": [{"title": "Lock the door", "required": 2}]}
        run_id = start("checklist", given, owner=olga)
        html = client.get(page(run_id)).content.decode()
        link = re.search(r'href="([^"]*)">Start again with this input', html)
        assert link
        address = link[1].replace("&amp;", "&")
        form = Page(client.get(address).content.decode(), "input")
        again = post(client, address, form.sent())
        assert again.status_code == 303
        second = Run.objects.exclude(pk=run_id).get()
        assert second.input["title"] == "Friday"
        assert second.input["items"][0] == {
            **second.input["items"][0],
            "title": "Lock the door",
            "required": 2,
        }

    def test_an_input_that_does_not_fit_any_more_is_there_to_be_mended(
        self, client: Client, olga: User
    ) -> None:
        one = run(olga, input={"title": "Friday", "gone": 1})
        address = f"{reverse('run-start')}?orchestration=checklist&again={one.pk}"
        form = Page(client.get(address).content.decode(), "input")
        assert "Friday" in form.sent().urlencode()
        assert post(client, address, form.sent()).status_code == 422
        assert Run.objects.count() == 1

    def test_not_by_who_may_not_start_runs_nor_what_is_not_registered(self, olga: User) -> None:
        one = run(olga, orchestration="shredder")
        assert "Start again" not in text(client_of(olga).get(page(one)))
        other = make.user()
        assert "Start again" not in text(client_of(other).get(page(run(other))))

    def test_a_run_that_one_may_not_see_gives_no_input(self, client: Client) -> None:
        foreign = run(make.user(), input={"title": "Secret", "items": ["a"]})
        for again in (foreign.pk, "x"):
            address = f"{reverse('run-start')}?orchestration=checklist&again={again}"
            assert "Secret" not in text(client.get(address), 404)


class TestLinks:
    def test_the_trail_of_all_its_requests_for_those_who_have_the_admin(self, olga: User) -> None:
        one = run(olga)
        auditor = make.user("ada", may=("view_run", "view_auditentry", "view_humanrequest"), is_staff=True)
        request = asked_by(one, "Pay", requester=olga, assignees=[olga])
        html = client_of(auditor).get(page(one)).content.decode()
        address = f"{reverse('admin:approvals_auditentry_changelist')}?q={one.pk}"
        assert f'href="{address}"' in html
        assert request in client_of(auditor).get(address).content.decode()
        assert "auditentry" not in client_of(olga).get(page(one)).content.decode()

    def test_earlier_parts_have_pages_of_their_own(
        self, client: Client, olga: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestration.web.timeline.LIMIT", 2)
        one = run(olga)
        for number in range(4):
            Message.objects.create(run=one, agent="disk", text=f"Said {number}.", said_at=timezone.now())
        html = client.get(page(one)).content.decode()
        assert "Said 3." in html
        assert "Said 1." not in html
        older = re.search(r'href="(\?before=[^"#]*)', html)
        assert older
        shown = text(client.get(page(one) + older[1]))
        assert "Said 1." in shown
        assert "Said 2." not in shown
        assert "Back to the latest" in shown
        assert "Cancel this run" not in shown


@both_databases
def test_a_page_takes_the_same_queries_however_much_the_run_has_done(client: Client, olga: User) -> None:
    one = run(olga)

    def grow(count: int) -> None:
        for _ in range(count):
            asked_by(one, "Pay", assignees=[olga], required=1)
            now = timezone.now()
            one.messages.create(agent="disk", text="Said.", said_at=now)
            key = f"step#{one.steps.count()}"
            one.steps.create(key=key, kind="step", name="a", status="done", result=1, started_at=now)

    def cost() -> int:
        client.get(page(one))  # the first look is on the trail
        with CaptureQueriesContext(connection) as captured:
            assert client.get(page(one)).status_code == 200
        return len(captured)

    grow(2)
    few = cost()
    grow(60)
    assert cost() == few
    assert len(queries.open_requests_of(str(one.pk), limit=5)) == 5
