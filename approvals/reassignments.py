"""Who is to decide a request instead: what somebody names is checked before the writer sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from approvals import queries
from approvals.domain.commands import Actor, Reassign
from approvals.domain.lifecycle import Status
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.queries import people_reads, permissions
from approvals.queries.assignees import check_deciders, group_ids_of, user_ids_of

# The id of nobody, for names that are unknown where that must not be said.
NOBODY = 0


def make_reassignment(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int],
    groups: Collection[str | int],
    reason: str,
) -> Reassign:
    """Return the command; InvalidRequest where the actor may reassign, but not to these."""
    pk = queries.as_id(request_id)
    for request in queries.requests_by_id([pk]):
        if actor.user_id is None or queries.rights_of(actor.user_id, request).reassign:
            user_ids, group_ids = _permitted_assignees(actor, request, users, groups)
            return Reassign(request_id=pk, actor=actor, user_ids=user_ids, group_ids=group_ids, reason=reason)
    # Refused by the writer, unless the actor repeats what took this right away. Which people there are is
    # not told to who may not name any.
    user_ids = () if users is REVIEWERS else _ids_or_nobody(user_ids_of, users)
    group_ids = _ids_or_nobody(group_ids_of, groups)
    return Reassign(request_id=pk, actor=actor, user_ids=user_ids, group_ids=group_ids, reason=reason)


def _permitted_assignees(
    actor: Actor, request: Any, users: Collection[str | int], groups: Collection[str | int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of the users and groups whom the actor names; InvalidRequest where they will not do."""
    user_ids = () if users is REVIEWERS else user_ids_of(users, "users", spots=True)
    group_ids = group_ids_of(groups, "groups", spots=True)
    if request.status == Status.PENDING:
        before = people_reads.audiences([request])[request.pk]
        _check_named(users, groups, before)
        check_deciders(before.with_assignees(actor.user_id, user_ids, group_ids), request.required)
    return user_ids, group_ids


def _check_named(
    users: Collection[str | int], groups: Collection[str | int], before: permissions.Audience
) -> None:
    """Refuse a list that came out empty, perhaps by mistake: all reviewers are named by REVIEWERS."""
    if users is REVIEWERS and groups:
        raise InvalidRequest("groups can't be named together with REVIEWERS.", field="groups")
    if users is not REVIEWERS and not users and not groups and before.assigned:
        raise InvalidRequest(
            "users or groups must name somebody; REVIEWERS names any reviewer.", field="users"
        )


def _ids_or_nobody(ids_of: Callable[..., tuple[int, ...]], names: Collection[Any]) -> tuple[int, ...]:
    try:
        return ids_of(names, "")
    except InvalidRequest:
        return (NOBODY,)
