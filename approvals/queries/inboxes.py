"""The inboxes of many people at once: the ids of the first requests that each may see.

One message to the database for all of them, in statements whose texts are constant; `inbox` reads one
person's, with any filter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import MAXYEAR, UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection

from approvals.database import bulk, conversions
from approvals.database.pipeline import Answer, execute, together
from approvals.domain.lifecycle import Status
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import inbox, inbox_parts, permissions
from approvals.queries.permissions import Person

_NEVER = datetime(MAXYEAR, 12, 31, tzinfo=UTC)


def list_inboxes(people: Collection[Person], limit: int) -> dict[int, list[UUID]]:
    """List the pending requests that each of these people may see, by deadline and then by age.

    At most `limit` each. Those to whom a great many are assigned, or who stand for others, take a few more
    queries each.
    """
    inboxes = _Inboxes([person for person in people if person.active], limit)
    return {person.id: inboxes.of(person) for person in inboxes.people}


class _Inboxes:
    """The parts of these people's inboxes; what several may see is read once."""

    def __init__(self, people: Collection[Person], limit: int) -> None:
        self.people, self._limit, self._few = people, limit, inbox_parts.FEW_ASSIGNED
        some = [person for person in people if not person.holds(permissions.SEE_ALL)]
        groups = {group_id for person in some for group_id in person.group_ids}
        texts = _statements(connection.vendor, limit, self._few)
        with together():
            self._everything = execute(texts["everything"]) if len(some) < len(people) else None
            free = any(person.holds(permissions.DECIDE) for person in some)
            self._unassigned = execute(texts["unassigned"]) if free else None
            self._asked = {person.id: execute(texts["asked"], [person.id]) for person in some}
            self._named = {person.id: execute(texts["named"], [person.id]) for person in some}
            self._of_groups = {group_id: execute(texts["of group"], [group_id]) for group_id in groups}

    def of(self, person: Person) -> list[UUID]:
        if person.holds(permissions.SEE_ALL):
            return self._first([self._everything])
        assigned = [self._named[person.id], *(self._of_groups[group_id] for group_id in person.group_ids)]
        if person.principals or any(len(part.rows()) >= self._few for part in assigned):
            return inbox.first_pending(person, self._limit)
        free = self._unassigned if person.holds(permissions.DECIDE) else None
        return self._first([self._asked[person.id], *assigned, free])

    def _first(self, parts: Iterable[Answer | None]) -> list[UUID]:
        places = {row[0]: _place(*row) for part in parts if part is not None for row in part.rows()}
        return [place[-1] for place in sorted(places.values())[: self._limit]]


def _place(request_id: Any, deadline: Any, opened_at: Any) -> tuple[datetime, Any, UUID]:
    return (
        conversions.as_moment(deadline) or _NEVER,
        conversions.as_moment(opened_at),
        conversions.as_uuid(request_id),
    )


@cache
def _statements(vendor: str, limit: int, few: int) -> dict[str, str]:
    """Return the statements of the parts. Limits are no parameters, so that the plans are made for them."""
    requests, users, groups = map(bulk.table, (HumanRequest, UserAssignment, GroupAssignment))
    columns, is_pending = "r.id, r.deadline, r.opened_at", f"r.status = '{Status.PENDING.value}'"
    pending = f"SELECT {columns} FROM {requests} r WHERE {is_pending}"  # noqa: S608  our own names
    first = f"ORDER BY r.deadline ASC NULLS LAST, r.opened_at, r.id LIMIT {limit}"

    def assigned(table: str, to: str) -> str:
        some = f"SELECT request_id FROM {table} WHERE pending AND {to} = %s LIMIT {few}"  # noqa: S608
        return f"SELECT {columns} FROM ({some}) a JOIN {requests} r ON r.id = a.request_id AND {is_pending}"  # noqa: S608

    def none_in(table: str) -> str:
        return f"NOT EXISTS (SELECT 1 FROM {table} a WHERE a.request_id = r.id)"  # noqa: S608

    return {
        "everything": f"{pending} {first}",
        "unassigned": f"{pending} AND {none_in(users)} AND {none_in(groups)} {first}",
        "asked": f"{pending} AND r.requester_id = %s {first}",
        "named": assigned(users, "user_id"),
        "of group": assigned(groups, "group_id"),
    }
