"""Runs as origins: which orchestration asked a request, in a query over requests."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import connection
from pytest_django import Settings

from approvals import deciding
from approvals.domain.commands import Actor
from approvals.models import HumanRequest
from approvals.queries.origin_resolvers import resolvers
from approvals.trail import verification
from approvals.trail.verification import Fault, FaultKind
from orchestration.manager import OrchestrationManager
from tests import factories as make
from tests.in_process import as_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def allowed(settings: Settings, tmp_path: Path) -> None:
    settings.SAYSO_CLEANUP_DIRECTORIES = [str(tmp_path)]


def test_requests_are_found_and_named_by_the_orchestration_that_asked(tmp_path: Path) -> None:
    """What names no run, or nothing that could be one, has no orchestration and fails no query."""
    run_id = OrchestrationManager().start("disk_cleanup", {"directory": str(tmp_path)}, make.user("ana"))
    asked = make.approval("Asked by a run", origin={"kind": "run", "id": str(run_id), "url": "/"})
    for origin in ({}, {"kind": "job", "id": "nightly-7"}, {"kind": "run", "id": "' OR 1=1"}):
        make.approval(origin={"id": "", "kind": "", "url": "", **origin})
    runs = resolvers()["run"]
    found = HumanRequest.objects.filter(runs.named("disk_cleanup"))
    assert [str(pk) for pk in found.values_list("pk", flat=True)] == [asked]
    assert not HumanRequest.objects.filter(runs.named("another")).exists()
    named = HumanRequest.objects.annotate(name=runs.name()).order_by("opened_at", "id")
    assert list(named.values_list("name", flat=True)) == ["disk_cleanup", None, None, None]


def delete_run(run_id: UUID) -> None:
    """As nobody can who goes through the models."""
    kept = run_id.hex if connection.vendor == "sqlite" else run_id
    with as_superuser(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM orchestration_run WHERE id = %s", [kept])
        assert cursor.rowcount == 1


def test_a_pending_request_whose_run_is_gone_is_named_by_verification() -> None:
    """Nobody waits for it. What was closed before is history, and what others asked is not a run's."""
    manager, given = OrchestrationManager(), {"title": "x", "items": ["y"]}
    deleted, kept = manager.start("checklist", given), manager.start("checklist", given)
    pending, closed, _ = (
        make.approval(origin={"kind": "run", "id": str(run_id), "url": "/"})
        for run_id in (deleted, deleted, kept)
    )
    make.approval(origin={"kind": "job", "id": str(uuid4()), "url": ""})
    make.approval(origin={"kind": "job", "id": "nightly", "url": 'https://jobs.example/"run"'})
    deciding.withdraw(Actor.program(), closed)
    assert verification.verify().holds
    delete_run(deleted)
    fault = Fault(
        kind=FaultKind.ORIGIN,
        detail=f"It is pending, but what asked it, run {deleted}, is missing.",
        request_id=UUID(pending),
    )
    assert verification.verify().first == (fault,)
    assert verification.verify_request(UUID(pending)) == [fault]
    assert verification.verify_request(UUID(closed)) == []
    deciding.withdraw(Actor.program(), pending)
    assert verification.verify().holds


def test_the_orchestrations_there_are_can_be_chosen() -> None:
    runs = resolvers()["run"]
    assert runs.word == "orchestration"
    assert "disk_cleanup" in runs.names()
