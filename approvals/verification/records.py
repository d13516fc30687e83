"""The trail as the database keeps it, read in the order of its chains, a piece at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from approvals.audit import as_text, canonical_entry
from approvals.models import AuditEntry, HumanRequest
from approvals.models import Response as ResponseRow
from approvals.verification.chains import Chain, Entry
from approvals.verification.faults import Fault, FaultKind
from approvals.verification.rows import ROW, Response, Row, Story, disagreements

CHUNK = 2_000

_COLUMNS = (
    "id",
    "request_id",
    "sequence",
    "event",
    "outcome",
    "actor_id",
    "on_behalf_of_id",
    "channel",
    "token_id",
    "address",
    "user_agent",
    "allowed_by",
    "recorded_at",
    "content_hash",
    "previous_hash",
    "hash",
    "canonical",
    "format",
    "shown__salt",
    "shown__content",
)
# What it raises to read as words or a policy what is none.
_NO_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_RESPONSE = ("request_id", "actor_id", "verdict", "given_at", "channel")

# Read as they are kept: whoever changed them need not have written JSON.
_JSON = ("arguments", "answer", "final_arguments")
_ROW = tuple(f"text_of_{name}" if name in _JSON else name for name in ROW)

T = TypeVar("T")


class Checker:
    """Goes through requests with their entries and responses. Hands every entry on to `each`."""

    def __init__(self, each: Callable[[Entry], None] | None = None) -> None:
        self._each = each
        self.entries = self.chains = self.missing = self.missing_beginnings = 0

    def check(
        self, requests: QuerySet[Any], entries: QuerySet[Any], responses: QuerySet[Any]
    ) -> Iterator[Fault]:
        """All faults of these requests, whose entries and responses these are."""
        as_texts = {f"text_of_{name}": Cast(name, TextField()) for name in _JSON}
        rows = requests.annotate(**as_texts).order_by("pk").values_list(*_ROW).iterator(CHUNK)
        in_order = entries.order_by("request_id", "sequence", "pk").values_list(*_COLUMNS).iterator(CHUNK)
        said = _Beside(
            responses.order_by("request_id").values_list(*_RESPONSE).iterator(CHUNK), key=itemgetter(0)
        )
        chains = _Beside(groupby(in_order, key=itemgetter(1)), key=itemgetter(0))
        for values in rows:
            row, unreadable = _row(values)
            spoken = {_response(each) for each in said.up_to(row["id"]) if each[0] == row["id"]}
            found = False
            for request_id, entries_of_it in chains.up_to(row["id"]):
                found = request_id == row["id"]
                if found:
                    yield from self._with_row(row, entries_of_it, spoken, unreadable)
                else:
                    yield from self._without_row(request_id, entries_of_it)
            if not found:
                yield from self._with_row(row, (), spoken, unreadable)
        for request_id, entries_of_it in chains.up_to(None):
            yield from self._without_row(request_id, entries_of_it)

    def _with_row(
        self, row: Row, entries: Iterable[tuple[Any, ...]], said: set[Response], unreadable: Sequence[str]
    ) -> Iterator[Fault]:
        chain, story = Chain(row["id"]), Story()
        yield from self._followed(chain, entries, story)
        if not chain.sequence:
            self.missing += row["trail_length"]
            self.missing_beginnings += 1
            detail = f"The request is there, its {row['trail_length']} entries are not."
            yield chain.fault(FaultKind.MISSING_CHAIN, detail)
            return
        missing = chain.missing
        yield from chain.end(row["trail_length"], row["trail_head"])
        self.missing += chain.missing - missing
        # What follows from a broken chain is not worth comparing.
        if not chain.broken:
            if story.unexplained:
                detail = "What was shown or said is gone, and no removal is on record since that names it."
                yield chain.fault(FaultKind.CHANGED_ENTRY, detail, min(story.unexplained))
            for name in unreadable:
                yield chain.fault(FaultKind.ROW, f"The {name} of the row is not in the form of such values.")
            for detail in () if unreadable else _disagreements(row, said, story):
                yield chain.fault(FaultKind.ROW, detail)

    def _without_row(self, request_id: UUID, entries: Iterable[tuple[Any, ...]]) -> Iterator[Fault]:
        chain = Chain(request_id)
        yield from self._followed(chain, entries, Story())
        yield chain.fault(FaultKind.ROW, "Its entries are there, the request is not.")

    def _followed(self, chain: Chain, entries: Iterable[tuple[Any, ...]], story: Story) -> Iterator[Fault]:
        for values in entries:
            columns = dict(zip(_COLUMNS, values, strict=True))
            entry = _entry(columns)
            if self._each:
                self._each(entry)
            self.entries += 1
            named, fault = chain.follow(entry)
            if fault is None and not _agree(columns, named):
                detail = "Its columns disagree with the text that was hashed."
                fault = chain.fault(FaultKind.CHANGED_ENTRY, detail, entry.sequence)
            if fault:
                yield fault
            elif not chain.broken and not _taken(story, named, entry.content):
                detail = "What was shown or said is not in the form in which it is written."
                yield chain.fault(FaultKind.CHANGED_ENTRY, detail, entry.sequence)
        self.chains += bool(chain.sequence)
        self.missing += chain.missing
        self.missing_beginnings += bool(chain.sequence) and not chain.begun


class _Beside(Generic[T]):
    """What comes in the same order as the rows, taken as far as they have come.

    The next one is not looked at before it is asked for: it would end the group that is being read.
    """

    def __init__(self, items: Iterator[T], *, key: Callable[[T], UUID]) -> None:
        self._items, self._key = items, key
        self._head: T | None = None

    def up_to(self, at: UUID | None) -> Iterator[T]:
        """All that come before this, and this itself; None: all the rest."""
        while (head := self._look()) is not None and (at is None or self._key(head) <= at):
            self._head = None
            yield head

    def _look(self) -> T | None:
        if self._head is None:
            self._head = next(self._items, None)
        return self._head


def _entry(columns: Mapping[str, Any]) -> Entry:
    return Entry(
        columns["id"],
        columns["request_id"],
        columns["sequence"],
        columns["hash"],
        columns["canonical"],
        columns["shown__salt"],
        columns["shown__content"],
    )


def _agree(columns: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    """Whether the columns and the text say the same, and the text is written as it must be."""
    try:
        return bool(canonical_entry(columns, named) == columns["canonical"])
    except _NO_FORM:
        return False


def _taken(story: Story, named: Mapping[str, Any], content: str | None) -> bool:
    """Whether the story could be told on."""
    try:
        story.take(named, content)
    except _NO_FORM:
        return False
    return True


def _row(values: tuple[Any, ...]) -> tuple[Row, list[str]]:
    """A row, and which of its values are none that Sayso writes: somebody else's JSON need not be any."""
    row, unreadable = dict(zip(ROW, values, strict=True)), []
    for name in _JSON:
        if row[name] is not None:
            try:
                row[name] = json.loads(row[name])
            except _NO_FORM:
                unreadable.append(name)
    return row, unreadable


def _disagreements(row: Row, said: set[Response], story: Story) -> list[str]:
    try:
        return list(disagreements(row, said, story))
    except _NO_FORM:
        return ["The row, or its trail, is not in the form in which it is written."]


def _response(values: tuple[Any, ...]) -> Response:
    _, actor, verdict, given_at, channel = values
    return Response(actor=actor, verdict=verdict, given_at=as_text(given_at), channel=channel)


def of_request(request_id: UUID) -> list[Fault]:
    """What is wrong with one request, its entries and responses."""
    of_it = {"request_id": request_id}
    return list(
        Checker().check(
            HumanRequest.objects.filter(pk=request_id),
            AuditEntry.objects.filter(**of_it),
            ResponseRow.objects.filter(**of_it),
        )
    )


def of_all(checker: Checker) -> Iterator[Fault]:
    """What is wrong with all requests."""
    yield from checker.check(HumanRequest.objects.all(), AuditEntry.objects.all(), ResponseRow.objects.all())
