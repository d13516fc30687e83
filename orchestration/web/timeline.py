"""What happened in a run, in order: steps, sleeps, requests, messages, and its own beginning and end.

However long the run is, one page of it reads a bounded number of rows: at most LIMIT entries, and fewer if
their texts have more than BYTES together. A page is read from three sources, each newest first by an index;
`Place` says where the next page of each begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import Case, F, QuerySet, When
from django.db.models.functions import Coalesce

from approvals import queries as approvals_queries
from approvals.database.fields import JSONText
from approvals.queries.large_columns import Octets
from orchestration.models import Message, Run, StepRecord
from orchestration.web.plan import time_taken

LIMIT = 100
# Bytes of the texts on one page, unless a single message has more.
BYTES = 256_000
# Bytes of a result that is shown in place; a longer one has a page of its own.
SHORT_RESULT = 4_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id: TypeAlias = int | UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an earlier page begins: the last row that was seen of each source, None: none yet.

    `at`: when the earliest entry that was seen began.
    """

    record: int | None
    message: int | None
    request: UUID | None
    at: datetime

    @classmethod
    def from_text(cls, text: str) -> Place | None:
        """Read the place from an address; None for what is none."""
        parts = text.split(".")
        with suppress(ValueError, OverflowError):
            record, message, request, at = parts
            return cls(
                record=_number(record),
                message=_number(message),
                request=UUID(request) if request else None,
                at=_EPOCH + timedelta(microseconds=_number(at) or 0),
            )
        return None

    def __str__(self) -> str:
        micros = (self.at - _EPOCH) // timedelta(microseconds=1)
        seen = ("" if each is None else each for each in (self.record, self.message, self.request))
        return ".".join(map(str, [*seen, micros]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened. `what` says which: a step, sleep, request or message, or of the run itself.

    `row`: the record, the request (None: this reader may not see it) or the message. `votes` are those on a
    request that needs several. `took`: how long a step took. `large`: its result is not shown in place.
    """

    what: str
    at: datetime
    row: Any = None
    status: str = ""
    votes: Sequence[Any] = ()
    took: str = ""
    large: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One page. `older`: where the page before begins, if there is one; `latest`: it ends with what is new.

    `heard`: all later messages are on the page. `sees_requests`: the reader may see all requests on it.
    """

    entries: list[Entry]
    older: Place | None
    latest: bool
    heard: int
    sees_requests: bool


def read_timeline(user_id: int, run: Run, place: Place | None = None) -> Timeline:
    """Read a page of the run's timeline as this user may see it, in a constant number of queries."""
    records, messages, requests = _sources(run, place)
    _take([records, messages, requests])
    older = None
    shown = [*records.taken, *messages.taken, *requests.taken]
    more = any(source.goes_on for source in (records, messages, requests))
    if more and shown:
        older = Place(
            record=records.last,
            message=messages.last,
            request=requests.last,
            at=min(each.at for each in shown),
        )
    asked, sees_requests = _request_entries(user_id, [each.row for each in requests.taken])
    entries = [
        *_record_entries([each.id for each in records.taken if each.shown]),
        *_message_entries([each.id for each in messages.taken]),
        *asked,
        *_of_the_run(run, after=older.at if older else None, before=place.at if place else None),
    ]
    return Timeline(
        entries=sorted(entries, key=attrgetter("at")),
        older=older,
        latest=place is None,
        heard=messages.next_id,
        sees_requests=sees_requests,
    )


# Which rows are on the page


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: Any
    at: datetime
    octets: int = 0
    shown: bool = True
    row: Any = None


@dataclass(slots=True, kw_only=True)
class _Source:
    """Rows, newest first, up to one more than fit a page; `last` is the last one taken, or seen before."""

    rows: list[_Row]
    last: Any
    taken: list[_Row] = field(default_factory=list)

    @property
    def head(self) -> _Row | None:
        return self.rows[len(self.taken)] if len(self.taken) < len(self.rows) else None

    @property
    def goes_on(self) -> bool:
        return self.head is not None or len(self.rows) > LIMIT

    @property
    def next_id(self) -> int:
        return self.head.id if self.head else 0 if not self.goes_on else self.last

    def take(self) -> _Row:
        row = self.rows[len(self.taken)]
        self.taken.append(row)
        self.last = row.id
        return row


def _sources(run: Run, place: Place | None) -> tuple[_Source, _Source, _Source]:
    record, message, request = (place.record, place.message, place.request) if place else (None,) * 3
    steps = _before(StepRecord.objects.filter(run=run), record).annotate(
        octets=Coalesce(Octets("result"), 0) + Octets("error")
    )
    said = _before(Message.objects.filter(run=run), message).annotate(octets=Octets("text"))
    asked = approvals_queries.requests_of_run(run.pk, before=request, limit=LIMIT + 1)
    records = [
        _Row(id=pk, at=at, octets=min(octets, SHORT_RESULT), shown=kind in ("step", "sleep"))
        for pk, at, octets, kind in steps.values_list("pk", "started_at", "octets", "kind")[: LIMIT + 1]
    ]
    messages = [
        _Row(id=pk, at=at, octets=octets)
        for pk, at, octets in said.values_list("pk", "said_at", "octets")[: LIMIT + 1]
    ]
    requests = [_Row(id=row.pk, at=row.opened_at, row=row) for row in asked]
    return (
        _Source(rows=records, last=record),
        _Source(rows=messages, last=message),
        _Source(rows=requests, last=request),
    )


def _before(rows: QuerySet[Any], last: Id) -> QuerySet[Any]:
    return (rows if last is None else rows.filter(pk__lt=last)).order_by("-pk")


def _take(sources: Sequence[_Source]) -> None:
    """Take the latest rows of all sources, until the page is full."""
    number, room = 0, BYTES
    while number < LIMIT:
        heads = [source for source in sources if source.head]
        # Of a source that was not read to its end, rows may come that are later than those of others.
        if not heads or any(source.goes_on and not source.head for source in sources):
            return
        latest = max(heads, key=lambda source: source.head.at if source.head else _EPOCH)
        room -= latest.head.octets if latest.head else 0
        if room < 0 and number:
            return
        number += latest.take().shown


# What is shown of them


def _record_entries(ids: Sequence[int]) -> Iterator[Entry]:
    short = When(octets__lte=SHORT_RESULT, then=F("result"))
    records = StepRecord.objects.filter(pk__in=ids).defer("result").annotate(octets=Octets("result"))
    for row in records.annotate(short_result=Case(short, default=None, output_field=JSONText())):
        took = time_taken(row.started_at, row.finished_at) if row.finished_at else ""
        large = (row.octets or 0) > SHORT_RESULT
        yield Entry(what=row.kind, at=row.started_at, row=row, status=row.status, took=took, large=large)


def _message_entries(ids: Sequence[int]) -> Iterator[Entry]:
    for row in Message.objects.filter(pk__in=ids):
        yield Entry(what="message", at=row.said_at, row=row)


def _request_entries(user_id: int, requests: Sequence[Any]) -> tuple[list[Entry], bool]:
    """Return the requests as entries, and whether this user may see them all."""
    rights = approvals_queries.rights_among(user_id, requests)
    seen = [row for row in requests if rights[row.pk].see]
    approvals_queries.load_large(seen, SHORT_RESULT)
    votes: Mapping[UUID, Sequence[Any]] = approvals_queries.votes_on(
        [row.pk for row in seen if row.required > 1]
    )
    entries = [
        Entry(
            what="request" if rights[row.pk].see else "unseen",
            at=row.opened_at,
            row=row if rights[row.pk].see else None,
            status=row.status if rights[row.pk].see else "",
            votes=votes.get(row.pk, ()),
            large=rights[row.pk].see and not row.outcome_whole,
        )
        for row in requests
    ]
    return entries, len(seen) == len(requests)


def _of_the_run(run: Run, *, after: datetime | None, before: datetime | None) -> Iterator[Entry]:
    """Yield the beginning and end of the run, as far as they are on this page."""
    moments = [
        ("started", run.created_at),
        ("resumed", run.resumed_at),
        ("cancelled", run.cancel_requested_at),
        ("ended", run.finished_at),
    ]
    for what, at in moments:
        if at is not None and (after is None or at >= after) and (before is None or at < before):
            yield Entry(what=what, at=at, status=run.status if what == "ended" else "")


def _number(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(text)
    return int(text)
