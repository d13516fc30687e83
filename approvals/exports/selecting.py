"""Which entries an export has: whole chains, or they could not be verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from approvals import seals
from approvals.audit import as_text
from approvals.exports.records import EntryRecord
from approvals.models import AuditEntry, HumanRequest
from approvals.seals import NoSeal, SealRecord

CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The requests that have an entry from `since` on and before `until` (database clock), by this `actor`;
    of this `kind`, asked by this `run`. None: any."""

    since: datetime | None = None
    until: datetime | None = None
    actor: int | None = None
    kind: str | None = None
    run: str | None = None

    @property
    def none(self) -> bool:
        return self == Filters()

    def as_fields(self) -> Mapping[str, Any]:
        named = {name: value for name, value in asdict(self).items() if value is not None}
        return {
            name: as_text(value) if isinstance(value, datetime) else value for name, value in named.items()
        }


def entries(filters: Filters) -> Iterator[tuple[UUID, EntryRecord]]:
    """All entries of the requests that these filters choose, with the request's id, chain by chain."""
    chosen = _chosen(filters).order_by("request_id", "sequence")
    columns = ("request_id", "pk", "canonical", "hash", "shown__salt", "shown__content")
    for request_id, pk, text, hash_, salt, content in chosen.values_list(*columns).iterator(CHUNK):
        yield request_id, EntryRecord(id=pk, canonical=text, hash=hash_, salt=salt, content=content)


def recorded_seals() -> Iterator[SealRecord]:
    """All seals; one whose text is none is left out, and verification misses it."""
    for row in seals.recorded():
        try:
            yield seals.parsed(row.canonical, hash_=row.hash, signature=row.signature)
        except NoSeal:
            continue


def _chosen(filters: Filters) -> QuerySet[Any]:
    chosen = AuditEntry.objects.all()
    among: dict[str, Any] = {}
    if filters.since:
        among["recorded_at__gte"] = filters.since
    if filters.until:
        among["recorded_at__lt"] = filters.until
    if filters.actor is not None:
        among["actor_id"] = filters.actor
    if among:
        chosen = chosen.filter(request_id__in=AuditEntry.objects.filter(**among).values("request_id"))
    requests: dict[str, Any] = {}
    if filters.kind:
        requests["kind"] = filters.kind
    if filters.run:
        requests["origin_id"] = filters.run
    if requests:
        chosen = chosen.filter(request_id__in=HumanRequest.objects.filter(**requests).values("pk"))
    return chosen
