"""People with their rights, and requests' audiences, as stored now: what permissions are judged by.

Each read is one statement of constant text, sent with others in one message where `ask_for` begins its name;
for whom somebody stands is part of the same read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from approvals.database import bulk, conversions
from approvals.database.clock import CLOCK, as_utc
from approvals.database.pipeline import execute
from approvals.models import AuditEntry, Delegation, Event, GroupAssignment, HumanRequest, UserAssignment
from approvals.queries.permissions import (
    ASK_WITHOUT_LIMIT,
    DECIDE,
    MANAGE,
    SEE_ALL,
    Audience,
    Person,
)

K = TypeVar("K")

# Delegations that ended before this long are not read; which of the others hold is judged by one moment.
_LONG_ENDED = {
    "postgresql": "clock_timestamp() - interval '1 minute'",
    "sqlite": "datetime('now', '-1 minute')",
}


def persons(user_ids: Iterable[int]) -> dict[int, Person]:
    """Read these users as they are now, in one query."""
    return ask_for_persons(user_ids)()


def ask_for_persons(
    user_ids: Iterable[int], now: Callable[[], datetime] | None = None
) -> Callable[[], dict[int, Person]]:
    """Request these users now; call the result to get them, as `persons` returns them.

    For whom they stand is judged at the moment that `now` returns; without it, when they are read. Principals
    who are not among them take one query more.
    """
    wanted = set(user_ids)
    if not wanted:
        return dict
    found = execute(_persons_statement(connection.vendor), [bulk.values(wanted)] * 5)
    return lambda: _with_principals(found.rows(), now)


def _with_principals(
    rows: Sequence[tuple[Any, ...]], now: Callable[[], datetime] | None
) -> dict[int, Person]:
    people, standing = _build_persons(rows), _principals_in(rows, now)
    unread = {principal_id for ids in standing.values() for principal_id in ids} - people.keys()
    others: Mapping[int, Person] = {}
    if unread:
        others = _build_persons(
            execute(_persons_statement(connection.vendor), [bulk.values(unread)] * 5).rows()
        )
    known = {**others, **people}
    for user_id, ids in standing.items():
        principals = tuple(known[one] for one in sorted(ids) if one in known and known[one].active)
        if people[user_id].active:
            people[user_id] = replace(people[user_id], principals=principals)
    return people


def _principals_in(
    rows: Iterable[tuple[Any, ...]], now: Callable[[], datetime] | None
) -> dict[int, set[int]]:
    """Return for whom each of them stands at that moment."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    as_key, as_moment = bulk.key_conversion(get_user_model()), conversions.as_moment
    for delegate, *_, principal, starts_at, ends_at, clock in rows:
        if principal is not None:
            moment = as_utc(clock) if now is None else now()
            # The columns are never NULL beside a principal.
            if as_moment(starts_at) <= moment < as_moment(ends_at):  # type: ignore[operator]
                found[as_key(delegate)].add(as_key(principal))
    return found


def ask_for_delegates() -> Callable[[], dict[int, set[int]]]:
    """Request who stands for others now; call the result to get for whom each does."""
    found = execute(_delegates_statement(connection.vendor))
    return lambda: _principals_in(found.rows(), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewers:
    """Who may see requests without being named: members of groups, and holders of permissions by codename.

    Superusers are left out, of whom the database keeps no index.
    """

    members: Mapping[int, Set[int]]
    holders: Mapping[str, Set[int]]

    @property
    def user_ids(self) -> set[int]:
        return set().union(*self.members.values(), *self.holders.values())

    def among(self, user_ids: Set[int]) -> Viewers:
        """Return those who are among these users."""

        def some(of: Mapping[K, Set[int]]) -> dict[K, Set[int]]:
            return {key: there for key, all_ in of.items() if (there := all_ & user_ids)}

        return Viewers(members=some(self.members), holders=some(self.holders))

    def include_one_of(self, audience: Audience) -> bool:
        """Whether one of them may see a request with this audience."""
        if SEE_ALL in self.holders or (DECIDE in self.holders and not audience.assigned):
            return True
        return not audience.group_ids.isdisjoint(self.members)


def ask_for_viewers(request_ids: Collection[UUID]) -> Callable[[], Viewers]:
    """Request who may see these requests without being named; call the result to get them.

    Holders of `decide_humanrequest` are among them only if one of the requests is assigned to nobody.
    """
    found = execute(_viewers_statement(connection.vendor), [bulk.values(request_ids)] * 2)

    def build() -> Viewers:
        members: defaultdict[int, set[int]] = defaultdict(set)
        holders: defaultdict[str, set[int]] = defaultdict(set)
        for user_id, group_id, codename in found.rows():
            if group_id is not None:
                members[group_id].add(user_id)
            else:
                holders[codename].add(user_id)
        return Viewers(members=members, holders=holders)

    return build


def audiences(requests: Collection[HumanRequest]) -> dict[UUID, Audience]:
    """Read the audiences of these requests in one query, and another one if any needs four eyes."""
    if not requests:
        return {}
    return build_audiences(requests, ask_for_assignments([request.pk for request in requests])())


def ask_for_assignments(request_ids: Collection[UUID]) -> Callable[[], list[tuple[Any, ...]]]:
    """Request the assignments of these requests, for `build_audiences`; call the result to get them."""
    return execute(_assignments_statement(connection.vendor), [bulk.values(request_ids)] * 2).rows


def build_audiences(
    requests: Collection[HumanRequest], assignments: Iterable[tuple[Any, ...]]
) -> dict[UUID, Audience]:
    """Build the audiences of these requests from their assignments.

    Reads who has reassigned those that need four eyes.
    """
    users: defaultdict[UUID, set[int]] = defaultdict(set)
    groups: defaultdict[UUID, set[int]] = defaultdict(set)
    as_key = bulk.key_conversion(get_user_model())
    for request_id, user_id, group_id in assignments:
        if group_id is None:
            users[conversions.as_uuid(request_id)].add(as_key(user_id))
        else:
            groups[conversions.as_uuid(request_id)].add(group_id)
    reassigned_by = _reassigners([request.pk for request in requests if request.four_eyes])
    return {
        request.pk: Audience(
            requester_id=request.requester_id,
            user_ids=frozenset(users.get(request.pk, ())),
            group_ids=frozenset(groups.get(request.pk, ())),
            four_eyes=request.four_eyes,
            reassigned_by=frozenset(reassigned_by.get(request.pk, ())),
        )
        if request.four_eyes or request.pk in users or request.pk in groups
        else _audience_of_reviewers(request.requester_id)
        for request in requests
    }


@lru_cache(maxsize=1024)
def _audience_of_reviewers(requester_id: int | None) -> Audience:
    return Audience(requester_id=requester_id)


def _reassigners(request_ids: Collection[UUID]) -> defaultdict[UUID, set[int]]:
    """Read which people, programs left out, have reassigned these requests, from their trails."""
    found: defaultdict[UUID, set[int]] = defaultdict(set)
    if request_ids:
        entries = AuditEntry.objects.filter(request_id__in=request_ids, event=Event.REASSIGNED)
        for request_id, actor_id in entries.exclude(actor=None).values_list("request_id", "actor_id"):
            found[request_id].add(actor_id)
    return found


def _build_persons(rows: Iterable[tuple[Any, ...]]) -> dict[int, Person]:
    people: dict[int, tuple[str, bool, bool]] = {}
    groups: defaultdict[int, set[int]] = defaultdict(set)
    held: defaultdict[int, set[str]] = defaultdict(set)
    as_key = bulk.key_conversion(get_user_model())
    for key, username, active, superuser, group_id, codename, principal, *_ in rows:
        user_id = as_key(key)
        if username is not None:
            people[user_id] = username, bool(active), bool(superuser)
        elif group_id is not None:
            groups[user_id].add(group_id)
        elif principal is None:
            held[user_id].add(codename)
    return {
        user_id: Person(
            id=user_id,
            username=username,
            active=active,
            superuser=superuser,
            group_ids=frozenset(groups[user_id]),
            permissions=frozenset(held[user_id]),
        )
        for user_id, (username, active, superuser) in people.items()
    }


@cache
def _persons_statement(vendor: str) -> str:
    among, user = bulk.among, get_user_model()
    people, key, name = bulk.table(user), bulk.column(user, "pk"), bulk.column(user, user.USERNAME_FIELD)
    memberships, member = _through(user, "groups")
    grants, holder = _through(user, "user_permissions")
    shared, _ = _through(Group, "permissions")
    permission, content_type = bulk.table(Permission), bulk.table(ContentType)
    codenames = ", ".join(f"'{codename}'" for codename in (DECIDE, SEE_ALL, MANAGE, ASK_WITHOUT_LIMIT))
    ours = (
        f" JOIN {permission} p ON p.id = g.permission_id AND p.codename IN ({codenames})"
        f" JOIN {content_type} c ON c.id = p.content_type_id AND c.app_label = 'approvals'"
    )
    none = "NULL, NULL, NULL, NULL"
    # The first part says of which types the columns are that it leaves empty.
    return (
        f"SELECT {key}, {name}, is_active, is_superuser, CAST(NULL AS integer), CAST(NULL AS varchar), {none}"  # noqa: S608
        f" FROM {people} WHERE {among(key)}"
        f" UNION ALL {_delegates_statement(vendor)} AND {among('delegate_id')}"
        f" UNION ALL SELECT {member}, NULL, NULL, NULL, group_id, NULL, {none} FROM {memberships}"
        f" WHERE {among(member)}"
        f" UNION ALL SELECT g.{holder}, {none}, p.codename, {none} FROM {grants} g{ours}"
        f" WHERE {among(f'g.{holder}')}"
        f" UNION ALL SELECT m.{member}, {none}, p.codename, {none} FROM {memberships} m"
        f" JOIN {shared} g ON g.group_id = m.group_id{ours} WHERE {among(f'm.{member}')}"
    )


@cache
def _delegates_statement(vendor: str) -> str:
    clock = CLOCK[vendor].removeprefix("SELECT ").replace("%", "%%")
    return (
        f"SELECT delegate_id, NULL, NULL, NULL, NULL, NULL, principal_id, starts_at, ends_at, {clock}"  # noqa: S608
        f" FROM {bulk.table(Delegation)} WHERE ended_at IS NULL AND ends_at > {_LONG_ENDED[vendor]}"
    )


@cache
def _viewers_statement(vendor: str) -> str:
    memberships, member = _through(get_user_model(), "groups")
    grants, holder = _through(get_user_model(), "user_permissions")
    shared, _ = _through(Group, "permissions")
    users, groups = bulk.table(UserAssignment), bulk.table(GroupAssignment)
    unassigned = (
        f"SELECT 1 FROM {bulk.table(HumanRequest)} r WHERE {bulk.among('r.id')}"  # noqa: S608  our own names
        f" AND NOT EXISTS (SELECT 1 FROM {users} a WHERE a.request_id = r.id)"
        f" AND NOT EXISTS (SELECT 1 FROM {groups} a WHERE a.request_id = r.id)"
    )
    # No equality: where the groups are large on average, PostgreSQL would read all memberships of all people.
    in_group = "m.group_id BETWEEN g.group_id AND g.group_id"
    return (
        f"WITH held AS (SELECT p.id, p.codename FROM {bulk.table(Permission)} p"  # noqa: S608
        f" JOIN {bulk.table(ContentType)} c ON c.id = p.content_type_id AND c.app_label = 'approvals'"
        f" WHERE p.codename = '{SEE_ALL}' OR p.codename = '{DECIDE}' AND EXISTS ({unassigned})),"
        f" named AS (SELECT DISTINCT group_id FROM {groups} WHERE {bulk.among('request_id')})"
        f" SELECT m.{member}, m.group_id, NULL FROM named g JOIN {memberships} m ON {in_group}"
        f" UNION ALL SELECT g.{holder}, NULL, held.codename"
        f" FROM held JOIN {grants} g ON g.permission_id = held.id"
        f" UNION ALL SELECT m.{member}, NULL, held.codename"
        f" FROM held JOIN {shared} g ON g.permission_id = held.id JOIN {memberships} m ON {in_group}"
    )


@cache
def _assignments_statement(vendor: str) -> str:
    users, groups, condition = (
        bulk.table(UserAssignment),
        bulk.table(GroupAssignment),
        bulk.among("request_id"),
    )
    return (
        f"SELECT request_id, user_id, NULL FROM {users} WHERE {condition}"  # noqa: S608  our own names
        f" UNION ALL SELECT request_id, NULL, group_id FROM {groups} WHERE {condition}"
    )


def _through(model: type[Any], field: str) -> tuple[str, str]:
    """Return the table of a many-to-many field, and its column for this model."""
    relation = model._meta.get_field(field)
    quoted = connection.ops.quote_name
    return quoted(relation.m2m_db_table()), quoted(relation.m2m_column_name())
