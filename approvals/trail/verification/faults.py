"""What can be wrong with a trail, and what a verification has come to. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class FaultKind(StrEnum):
    CHANGED_ENTRY = "changed entry"
    MISSING_ENTRY = "missing entry"
    SURPLUS_ENTRY = "surplus entry"
    MISSING_CHAIN = "missing chain"
    REWRITTEN_SEAL = "rewritten seal"
    ROW = "row that disagrees"
    ORIGIN = "origin gone"
    TRIGGERS = "triggers missing"
    EXPORT = "altered export"
    """Only of files: a line that is not as it was written, or the end is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong: of which request, at which of its entries; in files, at which line."""

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
    """What was looked at, and the first fault of each kind, with how many of its kind there are.

    `unsealed` entries are covered by no seal yet; None where seals could not be held against the entries.
    `remarks` say what could not be verified, and why.
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
        return not self.first


@dataclass(slots=True)
class Findings:
    """Faults as they come up: only the first of each kind is kept, so that a ruin takes no more memory."""

    first: dict[FaultKind, Fault] = field(default_factory=dict)
    counts: Counter[FaultKind] = field(default_factory=Counter)

    def add(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.first.setdefault(fault.kind, fault)
            self.counts[fault.kind] += 1
