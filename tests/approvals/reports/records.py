"""Requests as a report finds them: put on record with people, an end and moments of a test's choosing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import Group, User

from approvals.domain.lifecycle import CLOSED, Kind, Status
from approvals.models import GroupAssignment, HumanRequest

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Moments in seconds after MONDAY; `closed` None: it is pending."""

    opened: float = 0.0
    closed: float | None = None
    status: Status = Status.APPROVED
    by: str | None = None
    groups: tuple[str, ...] = ()
    run: str = ""

    @property
    def kind(self) -> Kind:
        return Kind.CLARIFICATION if self.status is Status.ANSWERED else Kind.APPROVAL


def after(seconds: float) -> datetime:
    return MONDAY + timedelta(microseconds=round(seconds * 1_000_000))


def put_on_record(all_asked: Iterable[Asked]) -> None:
    """The rows alone, without trails: reports read nothing else."""
    everything = list(all_asked)
    people = {
        name: User.objects.get_or_create(username=name)[0] for name in {one.by for one in everything} if name
    }
    names = {name for one in everything for name in one.groups}
    groups = {name: Group.objects.get_or_create(name=name)[0] for name in names}
    rows = [_row(one, people) for one in everything]
    HumanRequest.writing.bulk_create(rows)
    GroupAssignment.writing.bulk_create(
        GroupAssignment(request=row, group=groups[name], pending=row.closed_at is None)
        for row, one in zip(rows, everything, strict=True)
        for name in one.groups
    )


def _row(asked: Asked, people: dict[str, User]) -> HumanRequest:
    opened, closed = after(asked.opened), None if asked.closed is None else after(asked.closed)
    status = Status.PENDING if closed is None else asked.status
    assert status in {*CLOSED, Status.PENDING}
    return HumanRequest(
        kind=asked.kind,
        title="Refund",
        status=status,
        opened_at=opened,
        closed_at=closed,
        changed_at=closed or opened,
        deadline=closed if status is Status.TIMED_OUT else None,
        on_timeout="reject" if asked.kind is Kind.APPROVAL else "",
        decided_by=people.get(asked.by or "") if closed else None,
        origin={"kind": "run", "id": asked.run, "url": "/"} if asked.run else {},
        origin_id=asked.run,
    )
