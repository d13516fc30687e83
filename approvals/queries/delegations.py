"""Who stands for whom, for the people concerned."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Case, Min, Q, QuerySet, Value, When

from approvals.models import Delegation
from approvals.models.delegations import REASON_LIMIT
from approvals.queries.serialization import moment_on_the_wire

__all__ = [
    "REASON_LIMIT",
    "State",
    "delegation_for",
    "delegation_on_the_wire",
    "delegations_changed_since",
    "delegations_of",
    "delegations_to",
    "find_delegation",
    "next_change",
    "not_over",
    "same_delegation",
    "with_state",
]


class State(StrEnum):
    """Whether a delegation holds, will hold, or is over: ended, or run out."""

    NOW = "now"
    COMING = "coming"
    OVER = "over"


# Of one person, for or to whom; older ones are on record, and not shown.
LISTED = 100


def delegations_of(user_id: int) -> list[Delegation]:
    """Return by whom this person is stood for, the latest first."""
    return list(_listed(Delegation.objects.filter(principal=user_id)))


def delegations_to(user_id: int) -> list[Delegation]:
    """Return for whom this person stands, has stood or will stand, the latest first."""
    return list(_listed(Delegation.objects.filter(delegate=user_id)))


def delegation_for(user_id: int | None, delegation_id: UUID, *, manages: bool = False) -> Delegation | None:
    """Return the delegation, if there is one and it is this person's to end: of theirs, to them, or any."""
    found = Delegation.objects.filter(pk=delegation_id)
    return found.filter(Q() if manages else Q(principal=user_id) | Q(delegate=user_id)).first()


def find_delegation(delegation_id: UUID) -> Delegation:
    """Return a delegation that there is, with its people."""
    return _with_people(Delegation.objects.filter(pk=delegation_id)).get()


def same_delegation(now: datetime, *, starts_at: datetime | None, **columns: Any) -> Delegation | None:
    """Return the delegation with these columns that is not over; `starts_at` None: one that holds already."""
    same = not_over(now).filter(**columns)
    return same.filter(Q(starts_at__lte=now) if starts_at is None else Q(starts_at=starts_at)).first()


def delegation_on_the_wire(delegation: Delegation) -> dict[str, Any]:
    """Return a delegation, read with its people, as programs are told it."""
    return {
        "id": str(delegation.pk),
        "principal": delegation.principal.get_username(),
        "delegate": delegation.delegate.get_username(),
        "starts_at": moment_on_the_wire(delegation.starts_at),
        "ends_at": moment_on_the_wire(delegation.ends_at),
        "reason": delegation.reason,
        "made_by": delegation.made_by.get_username() if delegation.made_by else None,
        "made_at": moment_on_the_wire(delegation.made_at),
        "ended_at": moment_on_the_wire(delegation.ended_at),
        "ended_by": delegation.ended_by.get_username() if delegation.ended_by else None,
    }


def delegations_changed_since(moment: datetime) -> dict[UUID, datetime | None]:
    """Return the delegations that were made or ended at this moment or later, with versions."""
    changed = Delegation.objects.filter(Q(made_at__gte=moment) | Q(ended_at__gte=moment))
    return dict(changed.values_list("pk", "ended_at"))


def next_change(now: datetime) -> datetime | None:
    """Return when a delegation next begins or runs out by itself; None: there is none."""
    open_still = not_over(now)
    begins = open_still.filter(starts_at__gt=now).aggregate(at=Min("starts_at"))["at"]
    runs_out = open_still.aggregate(at=Min("ends_at"))["at"]
    return min((each for each in (begins, runs_out) if each is not None), default=None)


def with_state(rows: QuerySet[Delegation], now: datetime) -> QuerySet[Any]:
    """Add to each of these delegations its `state` at `now` (database clock)."""
    state = Case(
        When(Q(ended_at__isnull=False) | Q(ends_at__lte=now), then=Value(State.OVER.value)),
        When(starts_at__gt=now, then=Value(State.COMING.value)),
        default=Value(State.NOW.value),
    )
    return rows.annotate(state=state)


def not_over(now: datetime) -> QuerySet[Delegation]:
    """Return those that hold now or will hold."""
    return Delegation.objects.filter(ended_at=None, ends_at__gt=now)


def _listed(rows: QuerySet[Delegation]) -> QuerySet[Delegation]:
    return _with_people(rows).order_by("-starts_at", "-pk")[:LISTED]


def _with_people(rows: QuerySet[Delegation]) -> QuerySet[Delegation]:
    return rows.select_related("principal", "delegate", "made_by", "ended_by")
