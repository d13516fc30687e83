"""Delegation: for a time, somebody decides for somebody else. Here it is made, and ended before its time.

While it holds, the delegate sees and decides what the principal may decide, and the trail says on whose
behalf. The writer judges whether it holds by the database's clock, once it has the request's lock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from approvals.database.clock import database_now
from approvals.domain.payloads import check_text
from approvals.exceptions import InvalidRequest, NotPermitted, UnknownDelegation
from approvals.queries.assignees import user_ids_of
from approvals.queries.delegations import REASON_LIMIT, delegation_for, not_over, same_delegation
from approvals.writer import delegations as record

# Lets somebody say who decides for whom, themselves apart.
MANAGE = "approvals.manage_delegation"
# Of one person, and to one person, that are not over.
AT_ONCE = 20


def delegate(
    principal: Any,
    delegate: Any,
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str = "",
    *,
    by: Any = None,
) -> str:
    """Have `delegate` decide for `principal` from `starts_at` (None: now) until `ends_at`; return the id.

    Users are given as objects, ids or usernames. `by` is the user who says so: the principal, or whoever has
    the permission `manage_delegation` (NotPermitted otherwise); None is a program or a terminal, which may.
    Saying the same again, while it is not over, makes no other one. InvalidRequest names the field at fault,
    and the rule.
    """
    if by is not None and principal not in (by, by.pk, by.get_username()) and not by.has_perm(MANAGE):
        raise NotPermitted(
            "principal must be you: only administrators delegate for others.", field="principal"
        )
    (principal_id,) = user_ids_of([principal], "principal")
    (delegate_id,) = user_ids_of([delegate], "delegate")
    if principal_id == delegate_id:
        raise InvalidRequest("delegate must be somebody else than the principal.", field="delegate")
    now = database_now()
    start, ends_at = _check_time(starts_at, ends_at, now)
    said = {
        "principal_id": principal_id,
        "delegate_id": delegate_id,
        "ends_at": ends_at,
        "reason": check_text(reason, "reason", max_length=REASON_LIMIT),
    }
    if same := same_delegation(now, starts_at=None if starts_at is None else start, **said):
        return str(same.pk)
    _check_number(principal_id, delegate_id)
    made = record.make(**said, starts_at=start, made_by_id=None if by is None else by.pk)
    return str(made.pk)


def end(delegation_id: UUID | str, *, by: Any = None) -> bool:
    """End a delegation now; False if it is over, or was ended before.

    `by` is the principal, the delegate, or whoever has the permission `manage_delegation`; None is a program
    or a terminal. UnknownDelegation if there is none, or it is not theirs to end.
    """
    try:
        pk = delegation_id if isinstance(delegation_id, UUID) else UUID(str(delegation_id))
    except ValueError:
        raise _unknown(delegation_id) from None
    manages = by is None or by.has_perm(MANAGE)
    if delegation_for(None if by is None else by.pk, pk, manages=manages) is None:
        raise _unknown(delegation_id)
    return record.end(pk, None if by is None else by.pk)


def _check_time(starts_at: datetime | None, ends_at: datetime, now: datetime) -> tuple[datetime, datetime]:
    starts_at = now if starts_at is None else _check_moment(starts_at, "starts_at")
    ends_at = _check_moment(ends_at, "ends_at")
    if ends_at <= starts_at:
        raise InvalidRequest("ends_at must be later than the start.", field="ends_at")
    if ends_at <= now:
        raise InvalidRequest("ends_at must be in the future.", field="ends_at")
    return starts_at, ends_at


def _check_moment(moment: Any, field: str) -> datetime:
    if not isinstance(moment, datetime):
        raise InvalidRequest(f"{field} must be a moment.", field=field)
    if moment.utcoffset() is None:
        raise InvalidRequest(f"{field} must say its time zone.", field=field)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(f"{field} must be a moment in UTC, too.", field=field) from None


def _check_number(principal_id: Any, delegate_id: Any) -> None:
    """Refuse more than a person's pages and decisions can be asked to look at."""
    open_still = not_over(database_now())
    if open_still.filter(principal=principal_id).count() >= AT_ONCE:
        rule = f"has {AT_ONCE} delegations that are not over, the most that are possible."
        raise InvalidRequest(f"principal {rule}", field="principal")
    if open_still.filter(delegate=delegate_id).count() >= AT_ONCE:
        rule = f"stands for others {AT_ONCE} times already, the most that is possible."
        raise InvalidRequest(f"delegate {rule}", field="delegate")


def _unknown(delegation_id: object) -> UnknownDelegation:
    detail = f"There is no delegation {str(delegation_id)[:100]!r}, or it is not yours to end."
    return UnknownDelegation(detail, field="delegation_id")
