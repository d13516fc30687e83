"""The rows of runs: what can be done to them, and what not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db.models import ProtectedError

from orchestration.manager import OrchestrationManager
from orchestration.models import Run
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_a_run_is_never_deleted() -> None:
    """What it has asked would wait for nobody. Neither alone, nor in sets, nor by what belongs to it."""
    owner = make.user("olga")
    run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, owner)
    attempts: tuple[Callable[[], object], ...] = (
        Run.objects.get(pk=run_id).delete,
        Run.objects.all().delete,
        Run.objects.filter(pk=run_id).delete,
        Run.objects.all().adelete,
        lambda: Run.objects.all()._raw_delete("default"),
        owner.runs.all().delete,
        owner.delete,
    )
    for attempt in attempts:
        with pytest.raises((TypeError, ProtectedError), match=r"never deleted|Cannot delete"):
            attempt()
    assert Run.objects.filter(pk=run_id).exists()
