"""Verify one request's entries in order: each must match its hash and be chained to the one before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from approvals.database.stored_columns import NO_FORM
from approvals.domain.payloads import digest, parse_object
from approvals.trail.exports.records import EntryRecord
from approvals.trail.verification.faults import Fault, FaultKind
from approvals.trail.verification.replay import Replay
from approvals.writer.chain import FORMAT, content_hash


class Chain:
    """Follows the entries of one request. `missing` counts those that are missing.

    `replay` is what they say, as long as nothing is wrong.
    """

    def __init__(self, request_id: UUID) -> None:
        self.request_id = request_id
        self.replay = Replay()
        self.sequence = 0
        self.head = ""
        self.missing = 0
        self.begun = False
        self.broken = False

    def take(
        self,
        sequence: int,
        entry: EntryRecord,
        agrees: Callable[[Mapping[str, Any]], bool],
        line: int | None = None,
    ) -> Iterator[Fault]:
        """Take the next entry; yield the first thing wrong with it, if anything is.

        `agrees` tells whether its columns agree with what its text says.
        """
        named = parse_object(entry.canonical, json.loads) or {}
        expected = self.sequence + 1
        kind, detail = self._fault(sequence, entry, named)
        self.sequence, self.head = max(self.sequence, sequence), entry.hash
        self.begun = self.begun or sequence == 1
        if kind is None and not _holds(agrees, named):
            kind, detail = FaultKind.CHANGED_ENTRY, "Its columns disagree with the text that was hashed."
        if kind is None and not self.broken and not self.replay.take(named, entry.content):
            kind = FaultKind.CHANGED_ENTRY
            detail = "What was shown or said is not in the form in which it is written."
        if kind:
            at = expected if kind is FaultKind.MISSING_ENTRY else sequence
            yield self.fault(kind, detail, at, line)

    def end(self, length: int, head: str) -> Iterator[Fault]:
        """Compare the chain with the length and the last hash that its request has."""
        if self.sequence < length:
            self.missing += length - self.sequence
            detail = f"The request knows {length} entries, the last of which is missing."
            yield self.fault(FaultKind.MISSING_ENTRY, detail, self.sequence + 1)
        elif self.sequence > length:
            detail = f"The request knows {length} entries only."
            yield self.fault(FaultKind.SURPLUS_ENTRY, detail, length + 1)
        elif self.head != head and not self.broken:
            detail = "The last entry is not the one that the request knows."
            yield self.fault(FaultKind.CHANGED_ENTRY, detail, self.sequence)

    def unexplained_removal(self, lines: Mapping[int, int]) -> Iterator[Fault]:
        """Yield a fault where content is gone and no removal names it; `lines` are those of such entries."""
        if self.replay.unexplained and not self.broken:
            first = min(self.replay.unexplained)
            detail = "What was shown or said is gone, and no removal is on record since that names it."
            yield self.fault(FaultKind.CHANGED_ENTRY, detail, first, lines.get(first))

    def fault(
        self, kind: FaultKind, detail: str, sequence: int | None = None, line: int | None = None
    ) -> Fault:
        self.broken = True
        return Fault(kind=kind, detail=detail, request_id=self.request_id, sequence=sequence, line=line)

    def _fault(
        self, sequence: int, entry: EntryRecord, named: Mapping[str, Any]
    ) -> tuple[FaultKind | None, str]:
        expected = self.sequence + 1
        if sequence > expected:
            self.missing += sequence - expected
            return FaultKind.MISSING_ENTRY, "It is missing."
        if sequence < expected:
            return FaultKind.SURPLUS_ENTRY, "There is another entry in its place."
        if digest(entry.canonical) != entry.hash:
            return FaultKind.CHANGED_ENTRY, "Its text does not hash to its hash."
        if detail := self._contradiction(sequence, entry, named):
            return FaultKind.CHANGED_ENTRY, detail
        if named["previous"] != self.head:
            return FaultKind.CHANGED_ENTRY, "It was chained to another entry than the one before it."
        return None, ""

    def _contradiction(self, sequence: int, entry: EntryRecord, named: Mapping[str, Any]) -> str:
        """Return how the text contradicts the place and the content of its entry."""
        if named.get("request") != str(self.request_id) or named.get("sequence") != sequence:
            return "Its text belongs to another place."
        if not isinstance(named.get("format"), int) or not 1 <= named["format"] <= FORMAT:
            return f"Its format, {named.get('format')!r}, is not known."
        if "previous" not in named or "content" not in named:
            return "Its text is incomplete."
        if entry.content is not None and content_hash(entry.salt or "", entry.content) != named["content"]:
            return "What was shown or said is not what was hashed."
        return ""


def _holds(agrees: Callable[[Mapping[str, Any]], bool], named: Mapping[str, Any]) -> bool:
    try:
        return agrees(named)
    except NO_FORM:  # a forged chain may have anything
        return False
