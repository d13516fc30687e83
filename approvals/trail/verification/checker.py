"""Verify the trail in the database, read in the order of its chains, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from approvals.database.stored_columns import (
    ENTRY,
    NO_FORM,
    Kind,
    as_id,
    convert,
    iterate_stored,
    json_value,
    moment,
    number,
    sort_key,
    text,
    truth,
)
from approvals.domain.lifecycle import Status, Verdict
from approvals.domain.request_terms import Place, terms_in
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, UserAssignment
from approvals.models import Response as ResponseRow
from approvals.trail.verification import missing_origins
from approvals.trail.verification.chains import Chain, Entry
from approvals.trail.verification.faults import Fault, FaultKind
from approvals.trail.verification.replay import Assigned, Replay, Response, Words
from approvals.trail.verification.rows import Responses, Row, disagreements
from approvals.writer.chain import as_text, canonical_entry

# A row of the columns below, as the driver returns it.
Values: TypeAlias = tuple[Any, ...]

# How each type of a term is stored; all others are JSON.
_KINDS: Mapping[Any, Kind] = {str: text, bool: truth, int: number, Verdict | None: text}
# The columns of a request that must follow from its trail, with their types.
_ROW: Mapping[str, Kind] = {
    "id": as_id,
    "kind": text,
    "status": text,
    "requester_id": number,
    "key_scope": text,
    "round": number,
    "fingerprint": text,
    "deadline": moment,
    "opened_at": moment,
    "closed_at": moment,
    "decided_by_id": number,
    "approvals": number,
    "trail_length": number,
    "trail_head": text,
    "origin_id": text,
    "answer": json_value,
    "final_arguments": json_value,
    "comment": text,
    "purged_at": moment,
    **{term.name: _KINDS.get(term.type, json_value) for term in terms_in(Place.ROW)},
}
_RESPONSE: Mapping[str, Kind] = {
    "request_id": as_id,
    "actor_id": number,
    "verdict": text,
    "given_at": moment,
    "channel": text,
    "answer": json_value,
    "arguments": json_value,
    "comment": text,
}
_USER: Mapping[str, Kind] = {"request_id": as_id, "user_id": number, "pending": truth}
_GROUP: Mapping[str, Kind] = {"request_id": as_id, "group_id": number, "pending": truth}


class _Found(NamedTuple):
    """A request with its responses and assignments; `misfits` names its columns of the wrong type.

    `waiting` has the values of `pending` of its assignments.
    """

    row: Row
    misfits: Sequence[str]
    responses: Responses
    assigned: Assigned
    waiting: frozenset[Any]


class Checker:
    """Verifies requests with their entries and responses. Calls `each` with every entry."""

    def __init__(self, each: Callable[[Entry], None] | None = None) -> None:
        self._each = each
        self.entries = self.chains = self.missing = self.missing_beginnings = 0

    def check(self, request_id: UUID | None = None) -> Iterator[Fault]:
        """Yield the faults of this request, or of all. Each table is read once, in the same order."""
        of_it = {} if request_id is None else {"request_id": request_id}
        requests = HumanRequest.objects.filter(**({} if request_id is None else {"pk": request_id}))
        chains = _Beside(
            iterate_stored(AuditEntry.objects.filter(**of_it), ENTRY, "request_id", "sequence", "pk")
        )
        said = _Beside(iterate_stored(ResponseRow.objects.filter(**of_it), _RESPONSE, "request_id"))
        users = _Beside(iterate_stored(UserAssignment.objects.filter(**of_it), _USER, "request_id"))
        groups = _Beside(iterate_stored(GroupAssignment.objects.filter(**of_it), _GROUP, "request_id"))
        for values in iterate_stored(requests, _ROW, "pk"):
            at = values[0]
            row, misfits = convert(_ROW, values)
            responses = _read_responses(said.of(at))
            request = _Found(row, misfits, responses, *_read_assigned(users.of(at), groups.of(at)))
            yield from self._with_chain(request, at, chains)
        for other, entries in chains.up_to(None):
            yield from self._without_row(other, entries)
        yield from missing_origins.find_missing(request_id)

    def _with_chain(self, request: _Found, at: Any, chains: _Beside) -> Iterator[Fault]:
        """Verify this request, and entries before its own that belong to no request."""
        found = "id" in request.misfits
        if found:
            detail = f"There is a request whose id is {request.row['id']}, which is not a valid id."
            yield Fault(kind=FaultKind.ROW, detail=detail)
        for other, entries in chains.up_to(at):
            if other == at and not found:
                found = True
                yield from self._with_row(request, entries)
            else:
                yield from self._without_row(other, entries)
        if not found:
            yield from self._with_row(request, ())

    def _with_row(self, request: _Found, entries: Iterable[Values]) -> Iterator[Fault]:
        row = request.row
        chain, replay = Chain(row["id"]), Replay()
        yield from self._follow(chain, entries, replay)
        length = chain.sequence if "trail_length" in request.misfits else row["trail_length"]
        if not chain.sequence:
            self.missing += length
            self.missing_beginnings += 1
            detail = f"The request exists, but its {row['trail_length']} entries are missing."
            yield chain.fault(FaultKind.MISSING_CHAIN, detail)
            return
        missing = chain.missing
        yield from chain.end(length, row["trail_head"])
        self.missing += chain.missing - missing
        # A broken chain is no basis for comparing the row.
        if not chain.broken:
            yield from _compare(chain, request, replay)

    def _without_row(self, of: Any, entries: Iterable[Values]) -> Iterator[Fault]:
        try:
            chain = Chain(as_id(of))
        except NO_FORM:
            yield from self._without_request(entries)
            return
        yield from self._follow(chain, entries, Replay())
        yield chain.fault(FaultKind.ROW, "Its entries exist, but the request is missing.")

    def _without_request(self, entries: Iterable[Values]) -> Iterator[Fault]:
        """Report entries of no possible request; their own chain counts them as missing."""
        for values in entries:
            columns, _ = convert(ENTRY, values)
            self.entries += 1
            detail = (
                f"The entry with the id {columns['id']} is of the request {columns['request_id']}: of none."
            )
            yield Fault(kind=FaultKind.CHANGED_ENTRY, detail=detail)

    def _follow(self, chain: Chain, entries: Iterable[Values], replay: Replay) -> Iterator[Fault]:
        for values in entries:
            columns, misfits = convert(ENTRY, values)
            self.entries += 1
            if "sequence" in misfits:
                detail = (
                    f"The entry with the id {columns['id']} is number {columns['sequence']}: it has no place."
                )
                yield chain.fault(FaultKind.CHANGED_ENTRY, detail)
                continue
            entry = _build_entry(columns)
            if self._each:
                self._each(entry)
            named, fault = chain.follow(entry)
            if fault is None and not _agree(columns, named):
                fault = chain.disagreeing_columns(entry)
            if fault:
                yield fault
            elif not chain.broken and not replay.take(named, entry.content):
                yield chain.malformed_content(entry)
        self.chains += bool(chain.sequence)
        self.missing += chain.missing
        self.missing_beginnings += bool(chain.sequence) and not chain.begun


class _Beside:
    """Rows grouped by their request (the first column), read in step with the requests.

    The next group is not read before it is asked for, because that would end the current one.
    """

    def __init__(self, rows: Iterator[Values]) -> None:
        self._groups = groupby(rows, key=itemgetter(0))
        self._head: tuple[Any, Iterator[Values]] | None = None

    def up_to(self, at: Any | None) -> Iterator[tuple[Any, Iterator[Values]]]:
        """Yield the groups up to and including this request's; None: all the rest."""
        while (head := self._look()) is not None and (at is None or sort_key(head[0]) <= sort_key(at)):
            self._head = None
            yield head

    def of(self, at: Any) -> list[Values]:
        """Return the rows of this request, skipping those before it."""
        for other, rows in self.up_to(at):
            if other == at:
                return list(rows)
        return []

    def _look(self) -> tuple[Any, Iterator[Values]] | None:
        if self._head is None:
            self._head = next(self._groups, None)
        return self._head


def _compare(chain: Chain, request: _Found, replay: Replay) -> Iterator[Fault]:
    """Compare a request with its chain, which is valid."""
    if replay.unexplained:
        yield chain.unexplained_removal(min(replay.unexplained))
    for name in request.misfits:
        yield chain.fault(FaultKind.ROW, f"The {name} of the row is not in the form of such values.")
    for detail in () if request.misfits else _disagreements(request, replay):
        yield chain.fault(FaultKind.ROW, detail)


def _disagreements(request: _Found, replay: Replay) -> list[str]:
    try:
        found = list(disagreements(request.row, request.responses, request.assigned, replay))
    except NO_FORM:
        return ["The row, or its trail, is not in the form in which it is written."]
    if request.waiting - {request.row["status"] == Status.PENDING}:
        found.append(f"It is {request.row['status']}, and who is named to decide is listed otherwise.")
    return found


def _build_entry(columns: Mapping[str, Any]) -> Entry:
    """Build an entry. A missing or non-text hash is treated as one that no entry ever had."""
    salt, content = columns["shown__salt"], columns["shown__content"]
    return Entry(
        columns["id"],
        columns["request_id"],
        columns["sequence"],
        str(columns["hash"]),
        str(columns["canonical"]),
        None if salt is None else str(salt),
        None if content is None else str(content),
    )


def _agree(columns: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    """Whether the columns and the text say the same, and the text is written as it must be."""
    try:
        return bool(canonical_entry(columns, named) == columns["canonical"])
    except NO_FORM:
        return False


def _read_responses(rows: Iterable[Values]) -> dict[Response, Words]:
    found = {}
    for values in rows:
        said, _ = convert(_RESPONSE, values)
        at = as_text(said["given_at"]) if isinstance(said["given_at"], datetime) else str(said["given_at"])
        response = Response(
            actor=said["actor_id"], verdict=said["verdict"], given_at=at, channel=said["channel"]
        )
        found[response] = Words(answer=said["answer"], arguments=said["arguments"], comment=said["comment"])
    return found


def _read_assigned(users: Iterable[Values], groups: Iterable[Values]) -> tuple[Assigned, frozenset[Any]]:
    """Return who is named to decide, and the values of `pending` in these rows."""
    by_user = [convert(_USER, values)[0] for values in users]
    by_group = [convert(_GROUP, values)[0] for values in groups]
    named = Assigned(
        users=frozenset(each["user_id"] for each in by_user),
        groups=frozenset(each["group_id"] for each in by_group),
    )
    return named, frozenset(each["pending"] for each in (*by_user, *by_group))
