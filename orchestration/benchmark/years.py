"""A year of requests, for reports: as many as wanted, opened and closed over a year.

Reports read requests, which groups are named for them, and the runs that asked: so there are no trails here.
The rows go into the benchmark's own place and nowhere else. Nothing is drawn: what a request is like follows
from its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from approvals.database import bulk
from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.domain.lifecycle import Kind, Status
from approvals.models import GroupAssignment, HumanRequest
from orchestration.benchmark import history
from orchestration.models import Run, RunStatus

YEAR = timedelta(days=365)
RUNS = 5_000
ORCHESTRATIONS = 20
# So many are made one by one; the rest are copies of these, somewhat earlier.
MADE = 20_000
AT_ONCE = 2_000
EARLIER = 601
COPIED = "copied"

# Of a hundred requests, so many end, or stay, like this.
_ENDS = (
    [Status.APPROVED] * 70
    + [Status.REJECTED] * 10
    + [Status.ANSWERED] * 10
    + [Status.TIMED_OUT] * 6
    + [Status.WITHDRAWN] * 2
    + [Status.PENDING] * 2
)


def make_year(cast: history.Cast, count: int) -> None:
    """Put so many requests on record that were opened within the last year."""
    now = database_now()
    runs = [_run(number, now) for number in range(min(count, RUNS))]
    Run.objects.bulk_create(runs, batch_size=AT_ONCE)
    ids = [str(run.pk) for run in runs]
    made = min(count, MADE)
    for start in range(0, made, AT_ONCE):
        _make(range(start, min(start + AT_ONCE, made)), cast, ids, now)
    with connection.cursor() as cursor:
        for number, start in enumerate(range(made, count, made), 1):
            _copy(cursor, min(made, count - start), number * EARLIER)
        _copy_groups(cursor)
    history.tidy()


def _make(numbers: Sequence[int], cast: history.Cast, runs: Sequence[str], now: datetime) -> None:
    requests = [_request(number, cast, runs, now) for number in numbers]
    HumanRequest.writing.bulk_create(requests)
    GroupAssignment.writing.bulk_create(
        GroupAssignment(
            request=request,
            group_id=cast.groups[number % len(cast.groups)],
            pending=request.status == Status.PENDING,
        )
        for number, request in zip(numbers, requests, strict=True)
        if number % 7 == 0
    )


def _copy(cursor: Any, count: int, seconds: int) -> None:
    """So many of those that were made, under ids of their own, and so much earlier."""
    table = bulk.table(HumanRequest)
    postgresql = connection.vendor == "postgresql"
    own = {
        "id": "gen_random_uuid()" if postgresql else "lower(hex(randomblob(16)))",
        "details": f"'{COPIED}'",
    }
    for moment in ("opened_at", "closed_at", "changed_at", "deadline"):
        own[moment] = (
            f"{moment} - interval '{seconds} seconds'"
            if postgresql
            else f"strftime('%Y-%m-%d %H:%M:%f', {moment}, '-{seconds} seconds')"
        )
    columns = [bulk.column(HumanRequest, field.name) for field in HumanRequest._meta.concrete_fields]
    taken = [own.get(column.strip('"'), column) for column in columns]
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(taken)} FROM {table}"  # noqa: S608
        f" WHERE details = '' ORDER BY title LIMIT {count}"
    )


def _copy_groups(cursor: Any) -> None:
    """Copies are assigned as what they are copies of, which has the same title."""
    requests, groups = bulk.table(HumanRequest), bulk.table(GroupAssignment)
    cursor.execute(
        f"INSERT INTO {groups} (request_id, group_id, pending)"  # noqa: S608  names of our own
        f" SELECT copy.id, named.group_id, named.pending FROM {groups} named"
        f" JOIN {requests} made ON made.id = named.request_id"
        f" JOIN {requests} copy ON copy.title = made.title AND copy.details = '{COPIED}'"
    )


def _run(number: int, now: datetime) -> Run:
    name = f"orchestration_{number % ORCHESTRATIONS}"
    return Run(
        orchestration=name,
        title=name,
        status=RunStatus.COMPLETED,
        created_at=now - YEAR,
        finished_at=now,
        changed_at=now,
    )


def _request(number: int, cast: history.Cast, runs: Sequence[str], now: datetime) -> HumanRequest:
    """Every second is of a run. Most are closed within minutes, some after days."""
    status = _ENDS[number % len(_ENDS)]
    opened = now - YEAR * (_share(number, 7_919, 1_000_003))
    took = timedelta(seconds=1 + 250_000 * _share(number, 104_729, 10_007) ** 6)
    closed = None if status is Status.PENDING else min(opened + took, now)
    kind = Kind.CLARIFICATION if status is Status.ANSWERED else Kind.APPROVAL
    decided = status in {Status.APPROVED, Status.REJECTED, Status.ANSWERED}
    run = runs[number % len(runs)] if number % 2 else ""
    return HumanRequest(
        id=new_id(),
        kind=kind,
        title=f"Refund order {number}",
        arguments={"order": number, "amount": "12.40", "currency": "EUR"},
        status=status,
        requester_id=cast.plain,
        opened_at=opened,
        closed_at=closed,
        changed_at=closed or opened,
        deadline=closed if status is Status.TIMED_OUT else None,
        on_timeout="reject" if kind is Kind.APPROVAL else "",
        decided_by_id=cast.colleagues[number % len(cast.colleagues)] if decided else None,
        origin={"kind": "run", "id": run, "url": ""} if run else {},
        origin_id=run,
    )


def _share(number: int, step: int, prime: int) -> float:
    """Between 0 and 1, evenly over all numbers and not in their order."""
    return (number * step % prime) / prime
