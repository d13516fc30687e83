"""Requests as values, with the names of their people: what is read of them at every event of live pages.

By statements whose texts are constant: the ORM takes several times as long to compile its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection

from approvals.database import bulk, conversions
from approvals.database.pipeline import execute
from approvals.domain.request_terms import Place, terms_in
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import large_columns
from approvals.queries.named_in_steps import name_steps
from approvals.queries.permissions import Audience

# The columns of the state, and those of the question that are small.
_COLUMNS = tuple(
    dict.fromkeys(
        [
            *("id", "kind", "status", "requester", "origin_id"),
            *("opened_at", "deadline", "closed_at", "changed_at", "approvals", "escalated"),
            *(term.name for term in terms_in(Place.WIRE) if not term.large),
        ]
    )
)


class Named(NamedTuple):
    """A user or a group."""

    pk: int
    name: str

    def get_username(self) -> str:
        return self.name


class People(tuple[Named, ...]):
    """The users, or the groups, that are assigned."""

    __slots__ = ()

    def all(self) -> People:
        return self


class RequestRow:
    """A request with its people, without its large columns, which `large_columns.ask_for_large` adds.

    Attributes are named as those of the model, so that it is told to programs as that is; but it is a value,
    which reads nothing. `weight` is the number of bytes of the question's large columns.
    """

    id: UUID
    requester: Named | None
    decided_by: Named | None
    assigned_users: People
    assigned_groups: People
    weight: int

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def audience(self) -> Audience:
        """Who may see it; who has reassigned it is not read."""
        return Audience(
            requester_id=self.requester_id,
            user_ids=frozenset(user.pk for user in self.assigned_users),
            group_ids=frozenset(group.pk for group in self.assigned_groups),
            four_eyes=self.four_eyes,
        )


def ask_for_rows(ids: Collection[UUID]) -> Callable[[], list[RequestRow]]:
    """Request those of these requests that exist; call the result to get them, in no order."""
    if not ids:
        return list
    wanted = bulk.values(ids)
    found = execute(_rows_statement(connection.vendor), [wanted])
    assigned = execute(_assigned_statement(connection.vendor), [wanted] * 2)
    return lambda: _build_rows(found.rows(), assigned.rows())


def _build_rows(found: Sequence[tuple[Any, ...]], assigned: Iterable[tuple[Any, ...]]) -> list[RequestRow]:
    users: defaultdict[UUID, list[Named]] = defaultdict(list)
    groups: defaultdict[UUID, list[Named]] = defaultdict(list)
    for request_id, key, name, is_group in assigned:
        (groups if is_group else users)[conversions.as_uuid(request_id)].append(Named(key, name))
    columns = bulk.select(HumanRequest, *_COLUMNS)
    rows = []
    for *values, requester, decider_id, decider, weight in columns.restore(found):
        row = RequestRow()
        vars(row).update(zip(columns.attributes, values, strict=True))
        row.requester = None if requester is None else Named(row.requester_id, requester)
        row.decided_by = None if decider is None else Named(decider_id, decider)
        row.assigned_users = People(users.get(row.id, ()))
        row.assigned_groups = People(groups.get(row.id, ()))
        row.weight = weight
        rows.append(row)
    name_steps(rows)
    return rows


@cache
def _rows_statement(vendor: str) -> str:
    columns = ", ".join(f"r.{each}" for each in bulk.select(HumanRequest, *_COLUMNS).names)
    return (
        f"SELECT {columns}, {_username('r.requester_id')}, r.decided_by_id, {_username('r.decided_by_id')},"  # noqa: S608
        f" {large_columns.weight(vendor, 'r')} FROM {bulk.table(HumanRequest)} r WHERE {bulk.among('r.id')}"
    )


@cache
def _assigned_statement(vendor: str) -> str:
    condition = bulk.among("a.request_id")
    return (
        f"SELECT a.request_id, a.user_id, {_username('a.user_id')}, 0 FROM {bulk.table(UserAssignment)} a"  # noqa: S608
        f" WHERE {condition} UNION ALL"
        f" SELECT a.request_id, g.id, g.name, 1 FROM {bulk.table(GroupAssignment)} a"
        f" JOIN {bulk.table(Group)} g ON g.id = a.group_id WHERE {condition}"
    )


def _username(key: str) -> str:
    """Return the SQL of a user's name.

    No join: PostgreSQL would read all users for it, where it expects many rows.
    """
    user = get_user_model()
    name = bulk.column(user, user.USERNAME_FIELD)
    return f"(SELECT u.{name} FROM {bulk.table(user)} u WHERE u.{bulk.column(user, 'pk')} = {key})"  # noqa: S608
