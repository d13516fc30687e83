"""What can be wrong with a trail, and the report of a verification. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class FaultKind(StrEnum):
    """The kinds of faults, by the names that reports show."""

    CHANGED_ENTRY = "changed entry"
    MISSING_ENTRY = "missing entry"
    SURPLUS_ENTRY = "surplus entry"
    MISSING_CHAIN = "missing chain"
    REWRITTEN_SEAL = "rewritten seal"
    ROW = "row that disagrees"
    ORIGIN = "origin gone"
    TRIGGERS = "triggers missing"
    EXPORT = "altered export"
    """In files only: a line is not as it was written, or the end is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, with the request, the entry and, in files, the line."""

    kind: FaultKind
    detail: str
    request_id: UUID | None = None
    sequence: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = [
            f"line {self.line}" if self.line else "",
            f"request {self.request_id}" if self.request_id else "",
            f"entry {self.sequence}" if self.sequence else "",
        ]
        place = ", ".join(filter(None, where))
        return f"{self.kind}{f' ({place})' if place else ''}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was verified, the first fault of each kind, and how many there are of each.

    `unsealed` entries are covered by no seal yet; None if seals could not be compared with entries. `remarks`
    say what could not be verified, and why.
    """

    entries: int
    chains: int
    seals: int
    unsealed: int | None
    first: tuple[Fault, ...]
    counts: Mapping[FaultKind, int]
    remarks: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there are no faults."""
        return not self.first


@dataclass(slots=True)
class Findings:
    """Collects faults, keeping only the first of each kind to limit memory."""

    first: dict[FaultKind, Fault] = field(default_factory=dict)
    counts: Counter[FaultKind] = field(default_factory=Counter)

    def add(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.first.setdefault(fault.kind, fault)
            self.counts[fault.kind] += 1

    def report(self, **verified: Any) -> Report:
        """Make the report of these faults, with its other fields."""
        return Report(first=tuple(self.first.values()), counts=dict(self.counts), **verified)
