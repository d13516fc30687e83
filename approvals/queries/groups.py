"""Groups of requests: what one requester has asked under the same group key, as one person may see it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries import large_columns
from approvals.queries.account_names import name_field
from approvals.queries.requests import Requests, with_people
from approvals.queries.visibility import visible_to


class GroupName(NamedTuple):
    """What names a group: two requesters' equal keys are two groups. No requester: a program's."""

    requester_id: int | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Requests of a group in the order in which they were asked, without large columns.

    `pending` and `closed` count what the person may see of the group; `rows` may be fewer.
    """

    rows: list[Any]
    pending: int
    closed: int


def name_of_group(requester: str | None, key: str) -> GroupName | None:
    """Return what names the group of this account, by its name; None if there is no such account."""
    if requester is None:
        return GroupName(None, key)
    accounts = get_user_model()._default_manager.filter(**{name_field(): requester})
    found = accounts.values_list("pk", flat=True).first()
    return None if found is None else GroupName(found, key)


def members_of_group(user_id: int, name: GroupName, limit: int) -> Members:
    """Return what this person may see of the group: of what is pending and of what is closed `limit` each.

    The first of what is pending, and what was closed last.
    """
    requester_id, key = name
    seen = with_key(visible_to(user_id), [key]).filter(requester_id=requester_id)
    pending, closed = seen.filter(status=Status.PENDING), seen.exclude(status=Status.PENDING)
    ids = list(pending.order_by("opened_at", "id").values_list("pk", flat=True)[:limit])
    ids += closed.order_by("-closed_at", "-id").values_list("pk", flat=True)[:limit]
    rows = large_columns.defer_large(HumanRequest.objects.filter(pk__in=ids)) if ids else []
    return Members(
        rows=list(with_people(rows).order_by("opened_at", "id")) if ids else [],
        pending=pending.count(),
        closed=closed.count(),
    )


def with_key(requests: Requests, keys: Collection[str]) -> Requests:
    """Return those of groups with these keys, of any requester; the index has those that have a key."""
    return requests.filter(group_key__in=keys).exclude(group_key="")
