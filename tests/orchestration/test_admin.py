"""Runs in the admin: to read, for those who may see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding
from orchestration.manager import OrchestrationManager
from orchestration.models import Run, StepRecord
from tests import factories as make
from tests.clients import client_of
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

RUNS = "/admin/orchestration/run/"


@pytest.fixture(autouse=True)
def allowed(settings: Settings, tmp_path: Path) -> None:
    settings.SAYSO_CLEANUP_DIRECTORIES = [str(tmp_path)]


def queued(owner: User, directory: Path) -> str:
    return str(OrchestrationManager().start("disk_cleanup", {"directory": str(directory)}, owner))


@both_databases
def test_staff_see_their_own_runs_and_with_permission_all(tmp_path: Path) -> None:
    sam, vera = make.user("sam", is_staff=True), make.user("vera", may=("view_run",), is_staff=True)
    own, foreign = queued(sam, tmp_path), queued(make.user("ana"), tmp_path)
    page = client_of(sam).get(RUNS).content.decode()
    assert own in page
    assert foreign not in page
    assert client_of(sam).get(f"{RUNS}{foreign}/change/").status_code == 404
    page = client_of(vera).get(RUNS).content.decode()
    assert own in page
    assert foreign in page


def test_a_run_shows_input_steps_and_messages(tmp_path: Path) -> None:
    sam = make.user("sam", is_staff=True)
    run = Run.objects.get(pk=queued(sam, tmp_path))
    moment = run.created_at
    run.steps.create(key="look#1", kind="step", name="look for files", status="done", started_at=moment)
    run.messages.create(agent="disk", text="Found <3> files.", said_at=moment)
    page = client_of(sam).get(f"{RUNS}{run.pk}/change/").content.decode()
    for piece in (str(tmp_path), "look for files", "Found &lt;3&gt; files.", "Queued"):
        assert piece in page


def test_a_run_that_this_server_does_not_know_says_so(tmp_path: Path) -> None:
    sam = make.user("sam", is_staff=True)
    run_id = queued(sam, tmp_path)
    assert "not known to this server" not in client_of(sam).get(f"{RUNS}{run_id}/change/").content.decode()
    Run.objects.filter(pk=run_id).update(version=3)
    page = client_of(sam).get(f"{RUNS}{run_id}/change/").content.decode()
    assert "disk_cleanup, version 3 (not known to this server" in page


def rejected(owner: User, tmp_path: Path) -> str:
    run_id = queued(owner, tmp_path)
    run = Run.objects.get(pk=run_id)
    now = run.created_at
    Run.objects.filter(pk=run_id).update(status="rejected", reason="rejected", finished_at=now)
    outcome = {"approved": False, "timed_out": False, "withdrawn": False, "answer": None}
    run.steps.create(
        key="approve#1",
        position=1,
        kind="approve",
        name="Remove them?",
        status="done",
        result=outcome,
        started_at=now,
        finished_at=now,
    )
    return run_id


def test_no_word_of_a_request_that_staff_may_not_see(tmp_path: Path) -> None:
    """Neither of its title nor of its outcome, on the run's page and before it is resumed."""
    ana = make.user("ana")
    run_id = rejected(ana, tmp_path)
    origin = {"kind": "run", "id": run_id}
    request = make.approval("Remove them?", origin=origin, requester=ana, assignees=[ana])
    deciding.decide(make.actor(ana), request, "reject", comment="Too risky.")
    Run.objects.filter(pk=run_id).update(error="Remove them?: rejected by ana: Too risky.")
    said = {"approved": False, "comment": "Too risky."}
    StepRecord.objects.filter(run__pk=run_id).update(request_id=request, result=said)
    staff = make.user("vera", may=("view_run", "change_run"), is_staff=True)
    auditor = make.user("otto", may=("view_run", "change_run", "view_humanrequest"), is_staff=True)
    for address in (f"{RUNS}{run_id}/change/", f"{RUNS}{run_id}/resume/"):
        page = client_of(staff).get(address).content.decode()
        assert "a request that you may not see" in page
        assert "Remove them?" not in page
        assert "Too risky" not in page
        assert "Remove them?" in client_of(auditor).get(address).content.decode()


def test_a_run_is_resumed_once_it_was_said_what_is_asked_again(tmp_path: Path) -> None:
    sam = make.user("sam", is_staff=True)
    run_id = rejected(sam, tmp_path)
    client, resume = client_of(sam), f"{RUNS}{run_id}/resume/"
    assert resume in client.get(f"{RUNS}{run_id}/change/").content.decode()
    page = client.get(resume).content.decode()
    assert "Asks again: Remove them? (rejected)" in page
    assert Run.objects.get(pk=run_id).status == "rejected"
    response = client.post(resume, follow=True)
    assert "resumed" in response.content.decode()
    run = Run.objects.get(pk=run_id)
    assert (run.status, run.resumed_by) == ("queued", sam)
    assert resume not in client.get(f"{RUNS}{run_id}/change/").content.decode()
    Run.objects.filter(pk=run_id).update(status="completed", finished_at=run.created_at)
    assert "The run is completed" in client.post(resume, follow=True).content.decode()


def test_only_who_may_change_a_run_resumes_it_here(tmp_path: Path) -> None:
    run_id = rejected(make.user("ana"), tmp_path)
    resume = f"{RUNS}{run_id}/resume/"
    watcher = client_of(make.user(is_staff=True, may=("view_run",)))
    assert resume not in watcher.get(f"{RUNS}{run_id}/change/").content.decode()
    assert watcher.get(resume).status_code == watcher.post(resume).status_code == 403
    assert client_of(make.user(is_staff=True)).post(resume).status_code == 404
    assert Run.objects.get(pk=run_id).status == "rejected"


def test_nobody_changes_a_run_here(tmp_path: Path) -> None:
    """Superusers included."""
    boss = client_of(make.user("boss", is_staff=True, is_superuser=True))
    run_id = queued(make.user("ana"), tmp_path)
    assert boss.get(f"{RUNS}add/").status_code == 403
    assert boss.post(f"{RUNS}{run_id}/delete/", {"post": "yes"}).status_code == 403
    boss.post(f"{RUNS}{run_id}/change/", {"status": "completed"})
    boss.post(RUNS, {"action": "delete_selected", "_selected_action": [run_id], "post": "yes"})
    assert Run.objects.get().status == "queued"


def test_the_number_of_queries_does_not_grow_with_the_list(tmp_path: Path) -> None:
    boss = client_of(make.user("boss", is_staff=True, is_superuser=True))

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert boss.get(RUNS).status_code == 200
        return len(captured)

    numbers = []
    for _ in range(2):
        for _ in range(3):
            queued(make.user(), tmp_path)
        numbers.append(queries())
    assert numbers[0] == numbers[1]


def asked_by(run_id: str, title: str, **terms: Any) -> str:
    """An approval that this run has asked, as its steps have it."""
    origin = {"kind": "run", "id": run_id, "url": f"/runs/{run_id}/"}
    request_id = make.approval(title, origin=origin, **terms)
    run = Run.objects.get(pk=run_id)
    run.steps.create(
        key=title, kind="approve", name=title, status="open", request_id=request_id, started_at=run.created_at
    )
    return request_id


def test_a_run_lists_what_it_asked_as_far_as_one_may_see_it(tmp_path: Path) -> None:
    sam = make.user("sam", is_staff=True)
    run_id = queued(sam, tmp_path)
    own = asked_by(run_id, "Remove these files?", assignees=[sam])
    asked_by(run_id, "For others", assignees=[make.user()])
    page = client_of(sam).get(f"{RUNS}{run_id}/change/").content.decode()
    assert f"/admin/approvals/approval/{own}/change/" in page
    assert "1 more that you may not see" in page


def test_a_request_leads_to_its_run_and_shows_its_plan(tmp_path: Path) -> None:
    """For those who may see the run; the others read who asks."""
    sam, ruth = make.user("sam", is_staff=True), make.user("ruth", is_staff=True)
    run_id = queued(sam, tmp_path)
    step = {"agent": "disk", "action": "Remove 3 files", "arguments": {"count": 3}, "state": "pending"}
    Run.objects.filter(pk=run_id).update(plan=[step])
    request_id = asked_by(run_id, "Remove these files?", assignees=[sam, ruth])
    address = f"/admin/approvals/approval/{request_id}/change/"
    link = f"{RUNS}{run_id}/change/"
    page = client_of(sam).get(address).content.decode()
    assert link in page
    assert "Remove 3 files" in page
    page = client_of(ruth).get(address).content.decode()
    assert link not in page
    assert "Remove 3 files" not in page


@both_databases
def test_requests_are_filtered_by_the_orchestration_that_asked(tmp_path: Path) -> None:
    sam = make.user("sam", is_staff=True)
    asked_by(queued(sam, tmp_path), "Remove these files?", assignees=[sam])
    make.approval("Refund", assignees=[sam])
    client = client_of(sam)
    for name, titles in (("disk_cleanup", ["Remove these files?"]), ("retired", [])):
        page = client.get("/admin/approvals/approval/", {"orchestration": name})
        assert [row.title for row in page.context["cl"].result_list] == titles
        assert name in page.content.decode()


@both_databases
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=queued", True),
        ("status=failed", False),
        ("orchestration=disk_cleanup", True),
        ("orchestration=plan", False),
        ("owner=sam", True),
        ("owner=ana", False),
        ("created_from=2020-01-01", True),
        ("created_until=2020-01-01", False),
        ("finished_from=2020-01-01", False),
        ("q=disk", True),
        ("q={run}", True),
        ("q=nothing", False),
    ],
)
def test_runs_are_filtered_and_searched(tmp_path: Path, query: str, found: bool) -> None:
    sam = make.user("sam", is_staff=True)
    run_id = queued(sam, tmp_path)
    page = client_of(sam).get(f"{RUNS}?{query.format(run=run_id)}")
    assert [str(row.pk) for row in page.context["cl"].result_list] == ([run_id] if found else [])
