"""Several requests at once, for a program that has asked them: their outcomes, and those of one origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from approvals.domain.lifecycle import Outcome, Status
from approvals.models import HumanRequest
from approvals.queries.large_columns import OUTCOME_BYTES
from approvals.queries.lookups import outcomes
from approvals.queries.requests import OriginFilter, id_or_none
from approvals.queries.visibility import LISTED_BYTES, visible_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of several requests that were named: the outcomes that there are, and the rest."""

    outcomes: list[Outcome]
    left: list[UUID]
    """Those that are pending, or whose outcome had no room any more."""
    unknown: list[str]
    """What is no id of a request that may be seen."""


def outcomes_for(user_id: int, ids: Iterable[str], *, own: bool) -> Found:
    """Return the outcomes of these requests, as many as LISTED_BYTES hold, at least one.

    `own`: only of what the user has asked. In a constant number of queries.
    """
    named = {text: id_or_none(text) for text in ids}
    seen = visible_to(user_id).filter(pk__in={pk for pk in named.values() if pk is not None})
    if own:
        seen = seen.filter(requester_id=user_id)
    found = {pk: (status, size) for pk, status, size in seen.values_list("pk", "status", OUTCOME_BYTES)}
    closed: list[UUID] = []
    left: list[UUID] = []
    room = LISTED_BYTES
    for pk in dict.fromkeys(pk for pk in named.values() if pk is not None and pk in found):
        status, size = found[pk]
        fits = status != Status.PENDING and (size <= room or not closed)
        room -= size if fits else 0
        (closed if fits else left).append(pk)
    told = outcomes(closed) if closed else {}
    return Found(
        outcomes=[told[pk] for pk in closed],
        left=left,
        unknown=[text for text, pk in named.items() if pk not in found],
    )


def pending_of_origin(user_id: int, origin: OriginFilter, *, limit: int) -> tuple[list[UUID], bool]:
    """Return the ids of what this user has asked with this origin and is pending, oldest first.

    Also whether there is more.
    """
    asked = HumanRequest.objects.filter(origin.condition(), requester_id=user_id, status=Status.PENDING)
    ids = list(asked.order_by("opened_at", "id").values_list("pk", flat=True)[: limit + 1])
    return ids[:limit], len(ids) > limit
