"""Verify the trail in the database, read in the order of its chains, in chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals.database.stored_columns import (
    NO_FORM,
    as_id,
    convert,
    iterate_stored,
    json_value,
    kinds_of,
    sort_key,
)
from approvals.domain.accounts import on_record
from approvals.domain.lifecycle import Status
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, UserAssignment
from approvals.models import Response as ResponseRow
from approvals.queries.origin_resolvers import resolvers
from approvals.trail.exports.writer import ENTRY, record_of
from approvals.trail.verification.chains import Chain
from approvals.trail.verification.faults import Fault, FaultKind
from approvals.trail.verification.replay import Assigned, Replay, Response, Words
from approvals.trail.verification.rows import Responses, Row, disagreements
from approvals.writer.chain import as_text, canonical_entry

# A row of the columns below, as the driver returns it.
Values: TypeAlias = tuple[Any, ...]

# The columns of a request that must follow from its trail.
_ROW = kinds_of(HumanRequest, "id", but=("changed_at", "counted_bytes"))
_RESPONSE = kinds_of(ResponseRow, "request_id")
_USER = kinds_of(UserAssignment, "request_id")
_GROUP = kinds_of(GroupAssignment, "request_id")
_ORIGIN = {"id": as_id, "origin": json_value}


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
    """Verifies requests with their entries and responses.

    Calls `each` with the id, the place and the hash of every entry.
    """

    def __init__(self, each: Callable[[int, int, str], object] = lambda *_: None) -> None:
        self._each = each
        self.entries = self.chains = self.missing = self.missing_beginnings = 0

    def check(self, request_id: UUID | None = None) -> Iterator[Fault]:
        """Yield the faults of this request, or of all. Each table is read once, in the same order."""
        of_it = Q() if request_id is None else Q(request_id=request_id)
        requests = HumanRequest.objects.filter(Q() if request_id is None else Q(pk=request_id))
        chains = _Beside(
            iterate_stored(AuditEntry.objects.filter(of_it), ENTRY, "request_id", "sequence", "pk")
        )
        said = _Beside(iterate_stored(ResponseRow.objects.filter(of_it), _RESPONSE, "request_id"))
        users = _Beside(iterate_stored(UserAssignment.objects.filter(of_it), _USER, "request_id"))
        groups = _Beside(iterate_stored(GroupAssignment.objects.filter(of_it), _GROUP, "request_id"))
        for values in iterate_stored(requests, _ROW, "pk"):
            at = values[0]
            row, misfits = convert(_ROW, values)
            row |= {name: on_record(row[name]) for name in ("requester_id", "decided_by_id")}
            responses = _read_responses(said.of(at))
            request = _Found(row, misfits, responses, *_read_assigned(users.of(at), groups.of(at)))
            yield from self._with_chain(request, at, chains)
        for other, entries in chains.up_to(None):
            yield from self._without_row(other, entries)
        yield from _find_missing_origins(requests)

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
        chain = Chain(row["id"])
        yield from self._follow(chain, entries)
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
            yield from _compare(chain, request)

    def _without_row(self, of: Any, entries: Iterable[Values]) -> Iterator[Fault]:
        try:
            chain = Chain(as_id(of))
        except NO_FORM:
            yield from self._without_request(entries)
            return
        yield from self._follow(chain, entries)
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

    def _follow(self, chain: Chain, entries: Iterable[Values]) -> Iterator[Fault]:
        for values in entries:
            columns, misfits = convert(ENTRY, values)
            self.entries += 1
            if "sequence" in misfits:
                detail = (
                    f"The entry with the id {columns['id']} is number {columns['sequence']}: it has no place."
                )
                yield chain.fault(FaultKind.CHANGED_ENTRY, detail)
                continue
            entry = record_of(columns)
            self._each(entry.id, columns["sequence"], entry.hash)
            # The text must also be written as it is to be.
            agrees = partial(_says, entry.canonical, columns)
            yield from chain.take(columns["sequence"], entry, agrees)
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


def _says(text: str, columns: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    return canonical_entry(columns, named) == text


def _compare(chain: Chain, request: _Found) -> Iterator[Fault]:
    """Compare a request with its chain, which is valid."""
    yield from chain.unexplained_removal({})
    for name in request.misfits:
        yield chain.fault(FaultKind.ROW, f"The {name} of the row is not in the form of such values.")
    for detail in () if request.misfits else _disagreements(request, chain.replay):
        yield chain.fault(FaultKind.ROW, detail)


def _disagreements(request: _Found, replay: Replay) -> list[str]:
    try:
        found = list(disagreements(request.row, request.responses, request.assigned, replay))
    except NO_FORM:
        return ["The row, or its trail, is not in the form in which it is written."]
    if request.waiting - {request.row["status"] == Status.PENDING}:
        found.append(f"It is {request.row['status']}, and who is named to decide is listed otherwise.")
    return found


def _read_responses(rows: Iterable[Values]) -> dict[Response, Words]:
    found = {}
    for values in rows:
        said, _ = convert(_RESPONSE, values)
        at = as_text(said["given_at"]) if isinstance(said["given_at"], datetime) else str(said["given_at"])
        response = Response(
            actor=on_record(said["actor_id"]),
            verdict=said["verdict"],
            given_at=at,
            channel=said["channel"],
            on_behalf_of=on_record(said["on_behalf_of_id"]),
        )
        found[response] = Words(answer=said["answer"], arguments=said["arguments"], comment=said["comment"])
    return found


def _read_assigned(users: Iterable[Values], groups: Iterable[Values]) -> tuple[Assigned, frozenset[Any]]:
    """Return who is named to decide, and the values of `pending` in these rows."""
    by_user = [convert(_USER, values)[0] for values in users]
    by_group = [convert(_GROUP, values)[0] for values in groups]
    named = Assigned(
        users=frozenset(on_record(each["user_id"]) for each in by_user),
        groups=frozenset(each["group_id"] for each in by_group),
    )
    return named, frozenset(each["pending"] for each in (*by_user, *by_group))


def _find_missing_origins(requests: QuerySet[HumanRequest]) -> Iterator[Fault]:
    """Yield a fault for each of these that is pending and whose origin, of a known kind, is missing.

    Such as a run that was deleted directly in the database.
    """
    pending = requests.filter(status=Status.PENDING)
    for kind, resolver in resolvers().items():
        # Other kinds are left out as far as text tells.
        gone = pending.filter(Q(origin__contains=json.dumps(kind)), ~resolver.there())
        for values in iterate_stored(gone, _ORIGIN, "pk"):
            row, misfits = convert(_ORIGIN, values)
            origin = row["origin"]
            # Malformed values are reported by the comparison with the trail.
            if not misfits and isinstance(origin, dict) and origin.get("kind") == kind:
                detail = f"It is pending, but what asked it, {kind} {origin.get('id')}, is missing."
                yield Fault(kind=FaultKind.ORIGIN, detail=detail, request_id=row["id"])
