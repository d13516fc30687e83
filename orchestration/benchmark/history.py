"""A place with a history: a part of the database, full of requests that were decided or are pending.

It is put on record by the product's writer, so rows, answers and trails are what a long life leaves; most
of a long history are twins of that, where the database can. Several places exist side by side, so that
sizes can be measured in turns: each is a schema (PostgreSQL) or a file (SQLite) of the scenario's database
and goes with it. A process lives in one place, chosen before its first query.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from approvals.database.fields import new_id
from approvals.domain.commands import Actor, Channel, Command, Decision, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.writer import queue
from orchestration.benchmark import raw, twins

COLLEAGUES = 100
GROUPS = 10
# What concerns the plain user stays the same, whatever else is pending: so many in each of three ways.
OWN = 10
CHUNK = 5_000
# Of a history, so much is written by Sayso's writer where the database can multiply it.
WRITTEN = 10_000
TWINS_AT_ONCE = 100_000
# Nothing falls due while it is measured; what is due first was not opened first.
DUE = (86_400.0, 864_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who is there. The reviewer decides what is assigned to nobody; the auditor sees everything in the
    admin; the plain user holds no permission."""

    reviewer: int
    auditor: int
    plain: int
    colleagues: tuple[int, ...]
    groups: tuple[int, ...]
    """The plain user is in the first."""

    @property
    def deciding(self) -> Actor:
        return Actor(user_id=self.reviewer, channel=Channel.WEBSOCKET, address="127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Whom a request concerns."""

    requester: int
    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()


def move_to(place: str) -> None:
    """Have all later queries of this process go to a new, migrated place of this name."""
    told = connection.settings_dict
    if connection.vendor == "postgresql":
        with psycopg.connect(**raw.postgres_parameters()) as session:
            session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place)))
        before = told["OPTIONS"].get("options", "")
        told["OPTIONS"]["options"] = f"{before} -c search_path={place}".strip()
    else:
        told["NAME"] = str(Path(told["NAME"]).with_suffix(f".{place}.sqlite3"))
    call_command("migrate", verbosity=0, skip_checks=True)


def people() -> Cast:
    """The same number of people everywhere."""
    reviewer, plain = User.objects.create(username="reviewer"), User.objects.create(username="plain")
    reviewer.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))
    auditor = User.objects.create(username="auditor", is_staff=True)
    auditor.groups.add(Group.objects.get(name="auditor"))
    colleagues = User.objects.bulk_create([User(username=f"colleague-{n}") for n in range(COLLEAGUES)])
    groups = Group.objects.bulk_create([Group(name=f"group-{n}") for n in range(GROUPS)])
    for number, colleague in enumerate(colleagues):
        colleague.groups.add(groups[number % GROUPS])
    plain.groups.add(groups[0])
    return Cast(
        reviewer=reviewer.pk,
        auditor=auditor.pk,
        plain=plain.pk,
        colleagues=tuple(colleague.pk for colleague in colleagues),
        groups=tuple(group.pk for group in groups),
    )


def make_history(cast: Cast, count: int) -> None:
    """Put so many requests on record that were asked and decided since.

    Of a hundred, seventy are assigned to nobody, twenty to a colleague, ten to a group; one is asked by the
    plain user, one in five hundred assigned to her, one in a hundred to her group.
    """
    draw = random.Random(count)  # noqa: S311  the same history each time
    written = min(count, WRITTEN) if twins.supported() else count
    originals: list[UUID] = []
    for start in range(0, written, CHUNK):
        numbers = range(start, min(start + CHUNK, written))
        mixes = [_past(cast, number, draw) for number in numbers]
        opened = _open(zip(numbers, mixes, strict=True))
        decided = [
            Decision(request_id=id_, actor=_who_decides(cast, mix), verdict=Verdict.APPROVE)
            for id_, mix in zip(opened, mixes, strict=True)
        ]
        _write(decided)
        originals += opened
    if written < count:
        tidy()
    for start in range(written, count, TWINS_AT_ONCE):
        twins.add_twins(originals, min(TWINS_AT_ONCE, count - start))


def make_pending(cast: Cast, count: int) -> list[UUID]:
    """Put so many requests on record that are pending; returns those that the reviewer may decide."""
    draw = random.Random(count)  # noqa: S311  the same each time
    mixes = [_present(cast, number, draw) for number in range(count)]
    opened: list[UUID] = []
    for start in range(0, count, CHUNK):
        opened += _open(enumerate(mixes[start : start + CHUNK], start))
    free = zip(opened, mixes, strict=True)
    return [id_ for id_, mix in free if not (mix.users or mix.groups) and mix.requester != cast.plain]


def open_unassigned(cast: Cast, count: int) -> list[UUID]:
    """More of what the reviewer may decide."""
    return _open((number, Mix(requester=cast.colleagues[number % COLLEAGUES])) for number in range(count))


def tidy() -> None:
    """What a database in use does by itself once many rows have come: PostgreSQL's autovacuum."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"VACUUM ANALYZE {connection.ops.quote_name(table)}")


def _past(cast: Cast, number: int, draw: random.Random) -> Mix:
    requester = cast.plain if number % 100 == 0 else draw.choice(cast.colleagues)
    chance = number % 10
    if number % 500 == 7:
        return Mix(requester=requester, users=(cast.plain,))
    if chance in {7, 8}:
        return Mix(requester=requester, users=(draw.choice(cast.colleagues),))
    return Mix(requester=requester, groups=(draw.choice(cast.groups),) if chance == 9 else ())


def _present(cast: Cast, number: int, draw: random.Random) -> Mix:
    """As in the past, but for the plain user: hers come evenly among the others, always as many."""
    requester = draw.choice(cast.colleagues)
    match number:
        case _ if number < OWN:
            return Mix(requester=cast.plain)
        case _ if number < 2 * OWN:
            return Mix(requester=requester, users=(cast.plain,))
        case _ if number < 3 * OWN:
            return Mix(requester=requester, groups=cast.groups[:1])
    chance = number % 10
    if chance in {7, 8}:
        return Mix(requester=requester, users=(draw.choice(cast.colleagues),))
    return Mix(requester=requester, groups=(draw.choice(cast.groups[1:]),) if chance == 9 else ())


def _who_decides(cast: Cast, mix: Mix) -> Actor:
    """Where others are named, the program itself: it makes no difference to what is measured."""
    return Actor.program() if mix.users or mix.groups else cast.deciding


def _open(numbered: Iterable[tuple[int, Mix]]) -> list[UUID]:
    commands = [_opening(number, mix) for number, mix in numbered]
    _write(commands)
    return [command.request_id for command in commands]


def _opening(number: int, mix: Mix) -> OpenRequest:
    least, most = DUE
    share = (number * 7919 % 10_007) / 10_007
    return OpenRequest(
        request_id=new_id(),
        actor=Actor.program(),
        kind=Kind.APPROVAL,
        title=f"Refund order {number}",
        arguments={"order": number, "amount": "12.40", "currency": "EUR"},
        requester_id=mix.requester,
        user_ids=mix.users,
        group_ids=mix.groups,
        timeout=None if number % 10 == 3 else least + share * (most - least),
        on_timeout=Verdict.REJECT,
    )


def _write(commands: Sequence[Command]) -> None:
    for future in queue.submit_many(commands):
        queue.outcome_of_result(future.result())
