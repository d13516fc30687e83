"""Remove the content of ended runs: input and result, messages, and what people answered.

A run keeps its owner, times and status, and its steps by kind, key and time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from approvals.domain.lifecycle import REMOVED
from orchestration.models import FINISHED, OPEN, Message, Run, StepRecord

Runs: TypeAlias = QuerySet[Run]

# Runs in one transaction.
SET = 200


def still_open(run_ids: Collection[str]) -> set[str]:
    """Return those of these runs that have not ended, and read their requests again after a restart."""
    ids = {run_id: UUID(run_id) for run_id in run_ids if _is_id(run_id)}
    found = set(Run.objects.filter(pk__in=ids.values(), status__in=OPEN).values_list("pk", flat=True))
    return {run_id for run_id, pk in ids.items() if pk in found}


def purge_runs(before: datetime) -> Counter[str]:
    """Purge the runs that ended before this moment; count the rows, as `purgeable_runs`."""
    purged = Counter(runs=0, steps=0, messages=0)
    while found := list(_due(before).order_by("pk").values_list("pk", flat=True)[:SET]):
        purged.update(_purge(found))
    return purged


def purgeable_runs(before: datetime) -> Mapping[str, int]:
    """Count the runs, steps and messages that `purge_runs` would remove."""
    runs = _due(before)
    return {
        "runs": runs.count(),
        "steps": StepRecord.objects.filter(run__in=runs).count(),
        "messages": Message.objects.filter(run__in=runs).count(),
    }


def forget_in_steps(request_ids: Collection[UUID], name_instead: str) -> int:
    """Remove the name and words of whoever closed these requests from ended runs; count the steps changed."""
    steps = StepRecord.objects.filter(request_id__in=request_ids, run__status__in=FINISHED)
    changed = []
    for step in steps:
        if isinstance(step.result, dict) and step.result.get("decided_by") not in (None, name_instead):
            step.result |= {"decided_by": name_instead, "comment": "", "answer": None}
            changed.append(step)
    StepRecord.objects.bulk_update(changed, ["result"], batch_size=SET)
    return len(changed)


def open_runs_of(user_id: int) -> list[UUID]:
    """Return the ids of this person's runs that have not ended."""
    runs = Run.objects.filter(owner_id=user_id, status__in=OPEN).order_by("pk")
    return list(runs.values_list("pk", flat=True))


def _due(before: datetime) -> Runs:
    return Run.objects.filter(
        status__in=FINISHED, finished_at__lt=before, leaves_requests=False, purged_at__isnull=True
    )


def _purge(run_ids: Collection[UUID]) -> Mapping[str, int]:
    with transaction.atomic(durable=True):
        # Only runs that are still ended: one may have been resumed meanwhile.
        rows = Run.objects.filter(pk__in=run_ids, status__in=FINISHED, purged_at__isnull=True)
        locked = list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
        steps = StepRecord.objects.filter(run_id__in=locked)
        steps.filter(request_id__isnull=False).update(name=REMOVED)
        purged_steps = steps.update(result=None, error="")
        messages, _ = Message.objects.filter(run_id__in=locked).delete()
        runs = Run.objects.filter(pk__in=locked)
        purged = runs.update(
            title=REMOVED,
            input={},
            result=None,
            error="",
            plan=[],
            started_from={},
            cancelled_from={},
            purged_at=Now(),
        )
    return {"runs": purged, "steps": purged_steps, "messages": messages}


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
