"""Runs in the admin: to read, for those who may see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orchestration.manager import OrchestrationManager
from orchestration.models import Run
from tests import factories as make

pytestmark = pytest.mark.django_db

RUNS = "/admin/orchestration/run/"


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def queued(owner: User, directory: Path) -> str:
    return str(OrchestrationManager().start("disk_cleanup", {"directory": str(directory)}, owner))


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
