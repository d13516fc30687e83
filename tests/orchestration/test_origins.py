"""Runs as origins: which orchestration asked a request, in a query over requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from approvals.models import HumanRequest
from approvals.origins import resolver_of
from orchestration.manager import OrchestrationManager
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_requests_are_found_and_named_by_the_orchestration_that_asked(tmp_path: Path) -> None:
    """What names no run, or nothing that could be one, has no orchestration and fails no query."""
    run_id = OrchestrationManager().start("disk_cleanup", {"directory": str(tmp_path)}, make.user("ana"))
    asked = make.approval("Asked by a run", origin={"kind": "run", "id": str(run_id), "url": "/"})
    for origin in ({}, {"kind": "job", "id": "nightly-7"}, {"kind": "run", "id": "' OR 1=1"}):
        make.approval(origin={"id": "", "kind": "", "url": "", **origin})
    runs = resolver_of("run")
    assert runs is not None
    found = HumanRequest.objects.filter(runs.named("disk_cleanup"))
    assert [str(pk) for pk in found.values_list("pk", flat=True)] == [asked]
    assert not HumanRequest.objects.filter(runs.named("another")).exists()
    named = HumanRequest.objects.annotate(name=runs.name()).order_by("opened_at", "id")
    assert list(named.values_list("name", flat=True)) == ["disk_cleanup", None, None, None]


def test_the_orchestrations_there_are_can_be_chosen() -> None:
    runs = resolver_of("run")
    assert runs is not None
    assert runs.word == "orchestration"
    assert "disk_cleanup" in runs.names()
