"""Verify one request's entries in order: each must match its hash and be chained to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals.trail.verification.faults import Fault, FaultKind
from approvals.writer.chain import FORMAT, content_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as stored in the database or a file. `salt` and `content` are None once purged."""

    id: int
    request_id: UUID
    sequence: int
    hash: str
    canonical: str
    salt: str | None
    content: str | None
    line: int | None = None


class Chain:
    """Follows the entries of one request. `missing` counts those that are missing."""

    def __init__(self, request_id: UUID) -> None:
        self.request_id = request_id
        self.sequence = 0
        self.head = ""
        self.missing = 0
        self.begun = False
        self.broken = False

    def follow(self, entry: Entry) -> tuple[Mapping[str, Any], Fault | None]:
        """Take the next entry; return what it says, and the first thing wrong with it."""
        named = _parse(entry.canonical)
        expected = self.sequence + 1
        kind, detail = self._fault(entry, named)
        self.sequence, self.head = max(self.sequence, entry.sequence), entry.hash
        self.begun = self.begun or entry.sequence == 1
        at = expected if kind is FaultKind.MISSING_ENTRY else entry.sequence
        return named, self.fault(kind, detail, at, entry.line) if kind else None

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

    def malformed_content(self, entry: Entry) -> Fault:
        detail = "What was shown or said is not in the form in which it is written."
        return self.fault(FaultKind.CHANGED_ENTRY, detail, entry.sequence, entry.line)

    def disagreeing_columns(self, entry: Entry) -> Fault:
        detail = "Its columns disagree with the text that was hashed."
        return self.fault(FaultKind.CHANGED_ENTRY, detail, entry.sequence, entry.line)

    def unexplained_removal(self, sequence: int, line: int | None = None) -> Fault:
        detail = "What was shown or said is gone, and no removal is on record since that names it."
        return self.fault(FaultKind.CHANGED_ENTRY, detail, sequence, line)

    def fault(
        self, kind: FaultKind, detail: str, sequence: int | None = None, line: int | None = None
    ) -> Fault:
        self.broken = True
        return Fault(kind=kind, detail=detail, request_id=self.request_id, sequence=sequence, line=line)

    def _fault(self, entry: Entry, named: Mapping[str, Any]) -> tuple[FaultKind | None, str]:
        expected = self.sequence + 1
        if entry.sequence > expected:
            self.missing += entry.sequence - expected
            return FaultKind.MISSING_ENTRY, "It is missing."
        if entry.sequence < expected:
            return FaultKind.SURPLUS_ENTRY, "There is another entry in its place."
        if hashlib.sha256(entry.canonical.encode()).hexdigest() != entry.hash:
            return FaultKind.CHANGED_ENTRY, "Its text does not hash to its hash."
        if detail := _contradiction(entry, named):
            return FaultKind.CHANGED_ENTRY, detail
        if named["previous"] != self.head:
            return FaultKind.CHANGED_ENTRY, "It was chained to another entry than the one before it."
        return None, ""


def _contradiction(entry: Entry, named: Mapping[str, Any]) -> str:
    """Return how the text contradicts the place and the content of its entry."""
    if named.get("request") != str(entry.request_id) or named.get("sequence") != entry.sequence:
        return "Its text belongs to another place."
    if not isinstance(named.get("format"), int) or not 1 <= named["format"] <= FORMAT:
        return f"Its format, {named.get('format')!r}, is not known."
    if "previous" not in named or "content" not in named:
        return "Its text is incomplete."
    if entry.content is not None and content_hash(entry.salt or "", entry.content) != named["content"]:
        return "What was shown or said is not what was hashed."
    return ""


def _parse(text: str) -> Mapping[str, Any]:
    try:
        named = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return named if isinstance(named, dict) else {}
