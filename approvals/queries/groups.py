"""Groups of requests: what one requester has asked under the same group key, as one person may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model

from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries import large_columns
from approvals.queries.account_names import name_field
from approvals.queries.requests import GroupName, with_group_key, with_people
from approvals.queries.visibility import visible_to


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
    seen = with_group_key(visible_to(user_id), [key]).filter(requester_id=requester_id)
    pending, closed = seen.filter(status=Status.PENDING), seen.exclude(status=Status.PENDING)
    ids = list(pending.order_by("opened_at", "id").values_list("pk", flat=True)[:limit])
    ids += closed.order_by("-closed_at", "-id").values_list("pk", flat=True)[:limit]
    found = with_people(large_columns.defer_large(HumanRequest.objects.filter(pk__in=ids)))
    return Members(
        rows=list(found.order_by("opened_at", "id")) if ids else [],
        pending=pending.count(),
        closed=closed.count(),
    )
