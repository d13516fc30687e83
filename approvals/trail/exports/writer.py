"""Write an export, line by line, of one moment of the record: whole chains, so that they can be verified."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from approvals.database.clock import database_now
from approvals.database.stored_columns import convert, iterate_stored, kinds_of, replace_invalid_text, text
from approvals.database.transactions import snapshot
from approvals.domain.payloads import LARGEST_INTEGER
from approvals.models import AuditEntry, HumanRequest
from approvals.trail import seals
from approvals.trail.exports.formats import FORMATS
from approvals.trail.exports.records import End, EntryRecord, Header, Record
from approvals.writer.chain import as_text, columns_of

# The columns of an entry and of its content.
ENTRY = kinds_of(AuditEntry, "request_id") | {"shown__salt": text, "shown__content": text}


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

    def as_fields(self) -> dict[str, Any]:
        return {
            name: as_text(value) if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value is not None
        }


def lines(filters: Filters, format: str = "jsonl") -> Generator[str, None, None]:  # noqa: A002  as the option is called
    """Yield the export's lines, line ends included; `format` is "jsonl" or "csv".

    They are read on demand in one transaction of this thread, which ends with the last line or when the
    iterator is closed.
    """
    writer, digest = FORMATS[format](), hashlib.sha256()

    def note(text: str) -> str:
        digest.update(text.encode())
        return text

    with snapshot(), replace_invalid_text():
        before = writer.before()
        if before:
            yield note(before)
        counts = Counter(entries=0, chains=0, seals=0)
        for record in _records(filters, counts):
            yield note(writer.line(record))
        yield writer.line(End(**counts, sha256=digest.hexdigest()))


def record_of(columns: Mapping[str, Any], written: dict[str, Any] | None = None) -> EntryRecord:
    """Return the entry that has these columns. A hash that is no text is one that no entry ever had."""
    salt, content = columns["shown__salt"], columns["shown__content"]
    return EntryRecord(
        id=columns["id"],
        canonical=str(columns["canonical"]),
        hash=str(columns["hash"]),
        salt=None if salt is None else str(salt),
        content=None if content is None else str(content),
        columns=written,
    )


def _records(filters: Filters, counts: Counter[str]) -> Iterator[Record]:
    yield Header(made_at=as_text(database_now()), complete=filters.none, filters=filters.as_fields())
    for row in seals.read_seals():
        try:
            seal = seals.parse(row.canonical, hash_=row.hash, signature=row.signature)
        except seals.NoSeal:
            continue  # verification reports it as missing
        counts["seals"] += 1
        yield seal
    chain = None
    for values in iterate_stored(_select(filters), ENTRY, "request_id", "sequence", "pk"):
        columns, misfits = convert(ENTRY, values)
        counts["entries"] += 1
        counts["chains"] += values[0] != chain
        chain = values[0]
        yield record_of(columns, _format_columns(columns, misfits))


def _format_columns(columns: Mapping[str, Any], misfits: list[str]) -> dict[str, Any]:
    """Format columns as in an entry's text; if some have values of the wrong type, only these, as text."""
    numbers = {name: value for name, value in columns.items() if isinstance(value, int)}
    useless = [*misfits, *(name for name, value in numbers.items() if abs(value) > LARGEST_INTEGER)]
    return {name: str(columns[name]) for name in useless} if useless else columns_of(columns)


def _select(filters: Filters) -> QuerySet[Any]:
    among = _given(recorded_at__gte=filters.since, recorded_at__lt=filters.until, actor_id=filters.actor)
    about = _given(kind=filters.kind or None, origin_id=filters.run or None)
    chosen = AuditEntry.objects.all()
    if among:
        chosen = chosen.filter(request_id__in=AuditEntry.objects.filter(**among).values("request_id"))
    if about:
        chosen = chosen.filter(request_id__in=HumanRequest.objects.filter(**about).values("pk"))
    return chosen


def _given(**conditions: Any) -> dict[str, Any]:
    return {name: value for name, value in conditions.items() if value is not None}
