"""Select the entries of an export: whole chains, so that they can be verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from approvals.database.stored_columns import ENTRY, convert, iterate_stored
from approvals.domain.payloads import LARGEST_INTEGER
from approvals.models import AuditEntry, HumanRequest
from approvals.trail import seals
from approvals.trail.exports.records import EntryRecord
from approvals.trail.seals import NoSeal, SealRecord
from approvals.writer.chain import as_text, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which requests to export; None: any.

    Those with an entry from `since` on and before `until` (database clock), by this `actor`; of this `kind`,
    asked by this `run`.
    """

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


def entries(filters: Filters) -> Iterator[tuple[Any, EntryRecord]]:
    """Yield the entries of the requests that these filters select, each with the request's id, by chain."""
    for values in iterate_stored(_select(filters), ENTRY, "request_id", "sequence", "pk"):
        columns, misfits = convert(ENTRY, values)
        salt, content = columns["shown__salt"], columns["shown__content"]
        yield (
            values[0],
            EntryRecord(
                id=columns["id"],
                canonical=str(columns["canonical"]),
                hash=str(columns["hash"]),
                salt=None if salt is None else str(salt),
                content=None if content is None else str(content),
                columns=_format_columns(columns, misfits),
            ),
        )


def _format_columns(columns: Mapping[str, Any], misfits: Sequence[str]) -> Mapping[str, Any]:
    """Format columns as in an entry's text; if some have values of the wrong type, only these, as text."""
    numbers = {name: value for name, value in columns.items() if isinstance(value, int)}
    useless = [*misfits, *(name for name, value in numbers.items() if abs(value) > LARGEST_INTEGER)]
    return {name: str(columns[name]) for name in useless} if useless else columns_of(columns)


def read_seals() -> Iterator[SealRecord]:
    """Yield all seals. One whose text is not a seal is left out, so verification reports it as missing."""
    for row in seals.read_seals():
        try:
            yield seals.parse(row.canonical, hash_=row.hash, signature=row.signature)
        except NoSeal:
            continue


def _select(filters: Filters) -> QuerySet[Any]:
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
