"""Verify an export by itself: lines as they were written, chains unbroken, seals over these entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from approvals.domain.payloads import canonical
from approvals.trail.exports.formats import request_of
from approvals.trail.exports.reader import Export, open_export
from approvals.trail.exports.records import End, EntryRecord, Header, NoRecord, Record
from approvals.trail.seals import SealRecord
from approvals.trail.verification.chains import Chain
from approvals.trail.verification.faults import Fault, FaultKind, Findings, Report
from approvals.trail.verification.installation import Progress, remarks
from approvals.trail.verification.seal_comparison import Sealed
from approvals.writer.chain import BESIDE

FILTERED = (
    "This export has a part of the trail only: its seals were verified, not what they were made over, and"
    " whole requests and the ends of chains may be missing."
)
STRIDE = 1_000


def verify_export(
    path: Path,
    progress: Progress | None = None,
    *,
    trusted: frozenset[str] = frozenset(),
    copies: Mapping[int, SealRecord] | None = None,
    must_be_sealed: bool = False,
) -> Report:
    """Verify the file at this path. Needs no database. Raises NotAnExport.

    `trusted`, `copies` and `must_be_sealed` are those of `verify`. `progress` is called with how many bytes
    were read, and how many there are.
    """
    findings = Findings()
    with open_export(path) as export:
        file = _File(export, Sealed(trusted), copies)
        findings.add(file.faults(_report_progress(export, path, progress)))
        findings.add(file.sealed.absence() if must_be_sealed else ())
    return findings.report(
        entries=file.entries,
        chains=file.chains,
        seals=file.sealed.number,
        unsealed=file.sealed.unsealed if file.complete else None,
        remarks=(*remarks(file.sealed, trusted), *(() if file.complete else (FILTERED,))),
    )


class _File:
    def __init__(self, export: Export, sealed: Sealed, copies: Mapping[int, SealRecord] | None) -> None:
        self._export = export
        self.sealed = sealed
        self._copies = dict(copies or {})
        self._chain: Chain | None = None
        # Lines of this chain's entries without content, by sequence.
        self._emptied: dict[int, int] = {}
        self._end: End | None = None
        self.complete = True
        self.entries = self.chains = 0
        self._seals = self._missing = self._missing_beginnings = 0

    def faults(self, records: Iterator[Record | NoRecord]) -> Iterator[Fault]:
        for record in records:
            if self._end is not None:
                yield self._fault_here("There is more after the end.")
                break
            yield from self._take(record)
        yield from self._at_the_end()

    def _take(self, record: Record | NoRecord) -> Iterator[Fault]:
        match record:
            case NoRecord():
                yield self._fault_here(str(record))
            case Header():
                yield from self._take_header(record)
            case SealRecord():
                self._seals += 1
                if self.entries:
                    yield self._fault_here("A seal comes after entries.")
                else:
                    copy = self._copies.pop(record.number, None)
                    found = self.sealed.take_seals([record], {copy.number: copy} if copy else None)
                    yield from (replace(fault, line=self._export.line) for fault in found)
            case EntryRecord():
                yield from self._take_entry(record)
            case End():
                self._end = record
                yield from self._check_end(record)

    def _take_header(self, header: Header) -> Iterator[Fault]:
        if self._export.line > 2:
            yield self._fault_here("There is another beginning.")
        if header.complete == bool(header.filters):
            said = "complete, and names filters" if header.complete else "not complete, and names no filter"
            yield self._fault_here(f"It says that it is {said}.")
        self.complete = self.complete and header.complete

    def _take_entry(self, record: EntryRecord) -> Iterator[Fault]:
        self.entries += 1
        try:
            request_id, sequence = request_of(record)
        except NoRecord as error:
            yield self._fault_here(str(error))
            return
        if self._chain is None or self._chain.request_id != request_id:
            yield from self._begin(request_id)
        chain = self._chain
        assert chain is not None  # noqa: S101  begun above
        self.sealed.add(record.id, sequence, record.hash)
        if record.content is None:
            self._emptied[sequence] = self._export.line
        yield from chain.take(sequence, record, partial(_agree, record.columns), self._export.line)

    def _begin(self, request_id: UUID) -> Iterator[Fault]:
        yield from self._close_chain()
        if self._chain is not None and request_id < self._chain.request_id:
            yield self._fault_here("It is not in its place: chains come in the order of their requests' ids.")
        self._chain, self._emptied = Chain(request_id), {}
        self.chains += 1

    def _close_chain(self) -> Iterator[Fault]:
        if self._chain is None:
            return
        yield from self._chain.unexplained_removal(self._emptied)
        self._missing += self._chain.missing
        self._missing_beginnings += not self._chain.begun

    def _check_end(self, end: End) -> Iterator[Fault]:
        if end.sha256 != self._export.sha256:
            yield self._fault_here(
                "The lines before are not those that were written: their SHA-256 is another."
            )
        counted = (self.entries, self.chains, self._seals)
        if (end.entries, end.chains, end.seals) != counted:
            yield self._fault_here(
                f"There were {end.entries} entries, {end.chains} chains and {end.seals} seals; there are"
                f" {counted[0]}, {counted[1]} and {counted[2]}."
            )

    def _at_the_end(self) -> Iterator[Fault]:
        yield from self._close_chain()
        if self._end is None:
            yield self._fault_here("The end is missing: the file is cut off after the line before.")
        for number in sorted(self._copies):
            detail = f"Seal {number}: A copy was kept elsewhere, but it is not in this file."
            yield Fault(kind=FaultKind.REWRITTEN_SEAL, detail=detail)
        if self.complete:
            yield from self.sealed.faults(missing=self._missing, missing_beginnings=self._missing_beginnings)

    def _fault_here(self, detail: str) -> Fault:
        return Fault(kind=FaultKind.EXPORT, detail=detail, line=self._export.line)


def _agree(columns: Mapping[str, Any] | None, named: Mapping[str, Any]) -> bool:
    """Whether the columns, if the file has them, and the text say the same."""
    said = {name: value for name, value in named.items() if name not in BESIDE}
    return columns is None or canonical(columns) == canonical(said)


def _report_progress(export: Export, path: Path, progress: Progress | None) -> Iterator[Record | NoRecord]:
    total = path.stat().st_size if progress else 0
    for number, record in enumerate(export.records(), 1):
        yield record
        if progress and number % STRIDE == 0:
            progress(export.position, total)
    if progress:
        progress(total, total)
