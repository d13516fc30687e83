"""Counts of pending requests for the metrics, by a few queries that indexes answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Kind, Status
from approvals.models import HumanRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCounts:
    """How many requests are pending, by kind, and overdue; ages in seconds, by the database's clock."""

    pending: Mapping[str, int]
    oldest: float
    overdue: int
    most_overdue: float


def count_pending() -> PendingCounts:
    """Count what is pending now."""
    pending = HumanRequest.objects.filter(status=Status.PENDING).order_by()
    by_kind = dict(pending.values_list("kind").annotate(Count("pk")))
    opened = pending.order_by("opened_at", "id").values_list("opened_at", flat=True).first()
    now = database_now()
    overdue = pending.filter(deadline__lte=now)
    due = overdue.order_by("deadline", "id").values_list("deadline", flat=True).first()
    return PendingCounts(
        pending={kind.value: by_kind.get(kind.value, 0) for kind in Kind},
        oldest=(now - opened).total_seconds() if opened else 0.0,
        overdue=overdue.count(),
        most_overdue=(now - due).total_seconds() if due else 0.0,
    )
