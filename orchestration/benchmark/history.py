"""Places with a history: parts of the database, full of requests that were decided or are pending.

A history is put on record by the product's writer, so rows, answers and trails are those of a long life.
Several places exist side by side, so that sizes can be measured in turns: each is a schema (PostgreSQL) or a
file (SQLite) of the scenario's database. A process uses one place, chosen before its first query.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.domain.commands import Actor, Channel, Decision
from approvals.domain.lifecycle import Kind, Status, Verdict
from approvals.models import GroupAssignment, HumanRequest
from orchestration.benchmark import baseline
from orchestration.benchmark.load import opening, write
from orchestration.models import Run, RunStatus

COLLEAGUES = 100
GROUPS = 10
# Pending requests that concern the plain user, at any size: so many in each of three ways.
OWN = 10
CHUNK = 5_000
# Seconds to the deadlines: none passes while it is measured, and their order is not that of the requests.
DUE = (86_400.0, 864_000.0)

YEAR = timedelta(days=365)
RUNS = 5_000
ORCHESTRATIONS = 20
MADE_AT_ONCE = 2_000
# How a hundred requests of a year end, or stay.
_ENDS = [Status.APPROVED] * 70 + [Status.REJECTED] * 10 + [Status.ANSWERED] * 10
_ENDS += [Status.TIMED_OUT] * 6 + [Status.WITHDRAWN] * 2 + [Status.PENDING] * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The ids of people and groups.

    The reviewer decides what is assigned to nobody; the auditor sees everything in the admin; the plain user
    has no permission, and is in the first group.
    """

    reviewer: int
    auditor: int
    plain: int
    colleagues: tuple[int, ...]
    groups: tuple[int, ...]

    @property
    def deciding(self) -> Actor:
        return Actor(user_id=self.reviewer, channel=Channel.WEBSOCKET, address="127.0.0.1")


def move_to(place: str) -> None:
    """Make a new, migrated place of this name; all later queries of this process go there."""
    told = connection.settings_dict
    if connection.vendor == "postgresql":
        with psycopg.connect(**baseline.postgres_parameters()) as session:
            session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place)))
        before = told["OPTIONS"].get("options", "")
        told["OPTIONS"]["options"] = f"{before} -c search_path={place}".strip()
    else:
        told["NAME"] = str(Path(told["NAME"]).with_suffix(f".{place}.sqlite3"))
    call_command("migrate", verbosity=0, skip_checks=True)


def make_people() -> People:
    """Put people and groups on record, as many in each place."""
    reviewer, plain = User.objects.create(username="reviewer"), User.objects.create(username="plain")
    reviewer.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))
    auditor = User.objects.create(username="auditor", is_staff=True)
    auditor.groups.add(Group.objects.get(name="auditor"))
    colleagues = User.objects.bulk_create([User(username=f"colleague-{n}") for n in range(COLLEAGUES)])
    groups = Group.objects.bulk_create([Group(name=f"group-{n}") for n in range(GROUPS)])
    for number, colleague in enumerate(colleagues):
        colleague.groups.add(groups[number % GROUPS])
    plain.groups.add(groups[0])
    return People(
        reviewer=reviewer.pk,
        auditor=auditor.pk,
        plain=plain.pk,
        colleagues=tuple(colleague.pk for colleague in colleagues),
        groups=tuple(group.pk for group in groups),
    )


def make_past(people: People, count: int) -> None:
    """Put `count` requests on record that were opened and decided since.

    Of a hundred, seventy are assigned to nobody, twenty to a colleague, ten to a group; one is asked by the
    plain user, one in five hundred assigned to her, one in a hundred to her group.
    """
    draw = random.Random(count)  # noqa: S311  the same history each time
    for start in range(0, count, CHUNK):
        terms = [_past(people, number, draw) for number in range(start, min(start + CHUNK, count))]
        # Where others are named, the program itself decides: it makes no difference to what is measured.
        actors = [Actor.program() if len(each) > 1 else people.deciding for each in terms]
        pairs = zip(_open(start, terms), actors, strict=True)
        write(Decision(request_id=id_, actor=actor, verdict=Verdict.APPROVE) for id_, actor in pairs)


def make_pending(people: People, count: int) -> list[UUID]:
    """Put `count` pending requests on record; returns those that the reviewer may decide."""
    draw = random.Random(count)  # noqa: S311  the same each time
    terms = [_present(people, number, draw) for number in range(count)]
    opened, plain = _open(0, terms), {"requester_id": people.plain}
    return [id_ for id_, each in zip(opened, terms, strict=True) if len(each) == 1 and each != plain]


def open_unassigned(people: People, count: int) -> list[UUID]:
    """Put `count` more requests on record that the reviewer may decide."""
    return _open(0, [{"requester_id": people.colleagues[number % COLLEAGUES]} for number in range(count)])


def tidy() -> None:
    """Do what PostgreSQL's autovacuum does some time after many rows have come."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"VACUUM ANALYZE {connection.ops.quote_name(table)}")


def _past(people: People, number: int, draw: random.Random) -> dict[str, Any]:
    """Return who asked a request of the past, and who is named to decide it."""
    requester = people.plain if number % 100 == 0 else draw.choice(people.colleagues)
    named = _named(people, number, people.groups, draw)
    if number % 500 == 7:
        named = {"user_ids": (people.plain,)}
    return {"requester_id": requester, **named}


def _present(people: People, number: int, draw: random.Random) -> dict[str, Any]:
    """Return the same for a pending request; the plain user's are the first, and as many at any size."""
    if number < OWN:
        return {"requester_id": people.plain}
    named = _named(people, number, people.groups[1:], draw)
    if number < 3 * OWN:
        named = {"user_ids": (people.plain,)} if number < 2 * OWN else {"group_ids": people.groups[:1]}
    return {"requester_id": draw.choice(people.colleagues), **named}


def _named(people: People, number: int, groups: Sequence[int], draw: random.Random) -> dict[str, Any]:
    match number % 10:
        case 7 | 8:
            return {"user_ids": (draw.choice(people.colleagues),)}
        case 9:
            return {"group_ids": (draw.choice(groups),)}
    return {}


def _open(first: int, terms: Sequence[dict[str, Any]]) -> list[UUID]:
    least, most = DUE
    commands = [
        opening(
            f"Refund order {number}",
            arguments={"order": number, "amount": "12.40", "currency": "EUR"},
            timeout=None if number % 10 == 3 else least + _share(number, 7_919, 10_007) * (most - least),
            **each,
        )
        for number, each in enumerate(terms, first)
    ]
    write(commands)
    return [command.request_id for command in commands]


def make_year(people: People, count: int) -> None:
    """Put `count` requests of the last year on record, for reports.

    Reports read requests, which groups are named for them, and the runs that asked: so there are no trails
    here. Nothing is drawn: what a request is like follows from its number.
    """
    now = database_now()
    runs = [
        Run(orchestration=name, title=name, status=RunStatus.COMPLETED)
        for name in (f"orchestration_{number % ORCHESTRATIONS}" for number in range(min(count, RUNS)))
    ]
    for run in runs:
        run.created_at, run.finished_at, run.changed_at = now - YEAR, now, now
    Run.objects.bulk_create(runs, batch_size=MADE_AT_ONCE)
    ids = [str(run.pk) for run in runs]
    for start in range(0, count, MADE_AT_ONCE):
        numbers = range(start, min(start + MADE_AT_ONCE, count))
        requests = [_request(number, people, ids, now) for number in numbers]
        HumanRequest.writing.bulk_create(requests)
        GroupAssignment.writing.bulk_create(
            GroupAssignment(
                request=request,
                group_id=people.groups[number % GROUPS],
                pending=request.status == Status.PENDING,
            )
            for number, request in zip(numbers, requests, strict=True)
            if number % 7 == 0
        )
    tidy()


def _request(number: int, people: People, runs: Sequence[str], now: datetime) -> HumanRequest:
    """Make a request of the year. Half are of runs; most are closed within minutes, some after days."""
    status = _ENDS[number % len(_ENDS)]
    opened = now - YEAR * _share(number, 7_919, 1_000_003)
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
        requester_id=people.plain,
        opened_at=opened,
        closed_at=closed,
        changed_at=closed or opened,
        deadline=closed if status is Status.TIMED_OUT else None,
        on_timeout="reject" if kind is Kind.APPROVAL else "",
        decided_by_id=people.colleagues[number % COLLEAGUES] if decided else None,
        origin={"kind": "run", "id": run, "url": ""} if run else {},
        origin_id=run,
    )


def _share(number: int, step: int, prime: int) -> float:
    """Return a share between 0 and 1, evenly over all numbers and not in their order."""
    return (number * step % prime) / prime
