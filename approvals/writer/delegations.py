"""Delegations on record: made, and ended before their time; approvals.delegations checks what is made.

Each change sends a hint, after its commit, to those who show what people may decide.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from approvals.conf import tells_people
from approvals.database.clock import database_now
from approvals.models import Delegation
from approvals.process import hints

TOPIC = "delegations"


def make(**columns: Any) -> Delegation:
    """Write a delegation with these columns, made now; where people are told, its delegate is greeted."""
    delegation = Delegation(**columns, made_at=database_now(), to_greet=tells_people())
    Delegation.writing.bulk_create([delegation])
    _hint([delegation.pk])
    return delegation


def end(delegation_id: UUID, by: int | None) -> bool:
    """End a delegation now; False: it is over or was ended before, or there is none."""
    now = database_now()
    open_still = Delegation.writing.filter(pk=delegation_id, ended_at=None, ends_at__gt=now)
    ended = open_still.update(ended_at=now, ended_by_id=by)
    if ended:
        _hint([delegation_id])
    return bool(ended)


def end_of_inactive(user_id: int) -> None:
    """End the delegations of an account that is inactive, and those to it.

    They have no effect while it is, whichever way it became so.
    """
    _end(_open_of(user_id))


def end_all(user_id: int, by: int | None) -> int:
    """End all delegations of this person and to them, and remove the reasons, which may be personal."""
    ended = _end(_open_of(user_id), ended_by_id=by)
    _of(user_id).exclude(reason="").update(reason="")
    return ended


def _end(open_still: QuerySet[Delegation], **columns: Any) -> int:
    ids = list(open_still.values_list("pk", flat=True))
    ended = open_still.update(ended_at=database_now(), **columns)
    _hint(ids)
    return ended


def _hint(ids: Collection[UUID]) -> None:
    transaction.on_commit(partial(hints.send, TOPIC, ids), robust=True)


def _open_of(user_id: int) -> QuerySet[Delegation]:
    return _of(user_id).filter(ended_at=None, ends_at__gt=database_now())


def _of(user_id: int) -> QuerySet[Delegation]:
    return Delegation.writing.filter(Q(principal=user_id) | Q(delegate=user_id))
