"""Find pending requests whose origin is gone, such as a run that was deleted directly in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals.database.stored_columns import Kind, as_id, convert, iterate_stored, json_value
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries.origin_resolvers import Resolver, resolvers
from approvals.trail.verification.faults import Fault, FaultKind

_ORIGIN: Mapping[str, Kind] = {"id": as_id, "origin": json_value}


def find_missing(request_id: UUID | None = None) -> Iterator[Fault]:
    """Yield a fault for each pending request (or this one) whose origin is of a known kind, but missing."""
    pending = HumanRequest.objects.filter(status=Status.PENDING)
    if request_id is not None:
        pending = pending.filter(pk=request_id)
    for kind, resolver in resolvers().items():
        for values in iterate_stored(_without(pending, kind, resolver), _ORIGIN, "pk"):
            row, misfits = convert(_ORIGIN, values)
            # Malformed values are reported by the comparison with the trail.
            if not misfits and _is_of(kind, row["origin"]):
                detail = f"It is pending, but what asked it, {kind} {row['origin'].get('id')}, is missing."
                yield Fault(kind=FaultKind.ORIGIN, detail=detail, request_id=row["id"])


def _without(pending: QuerySet[Any], kind: str, resolver: Resolver) -> QuerySet[Any]:
    """Return the requests without an origin of this kind; other kinds are left out as far as text tells."""
    return pending.filter(Q(origin__contains=json.dumps(kind)), ~resolver.there())


def _is_of(kind: str, origin: Any) -> bool:
    return isinstance(origin, dict) and origin.get("kind") == kind
