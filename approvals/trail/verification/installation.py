"""Verify this installation's whole record, in one pass over one moment of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any, TypeAlias

from django.db import connection

from approvals.database import triggers
from approvals.database.stored_columns import convert, iterate_stored, kinds_of, replace_invalid_text
from approvals.database.transactions import snapshot
from approvals.models import AuditEntry, Seal
from approvals.trail import seals
from approvals.trail.seals import NoSeal, SealRecord
from approvals.trail.verification.checker import Checker
from approvals.trail.verification.faults import Fault, FaultKind, Findings, Report
from approvals.trail.verification.seal_comparison import Sealed
from approvals.writer.chain import as_text

_SEAL = kinds_of(Seal, "number")

# Called with how many entries were verified, and how many there are.
Progress: TypeAlias = Callable[[int, int], None]
STRIDE = 1_000

UNKNOWN_KEY = (
    "The seals' signatures were verified with the keys that they name themselves, which a forger could"
    " replace. Give the public key that you got when sealing began."
)
UNTRIED = "The triggers' definitions were compared; whether they refuse changes could not be tried: {}."
NO_SEALS = "There are no seals: nothing would show if a whole chain had been replaced."


def verify(
    progress: Progress | None = None,
    *,
    trusted: frozenset[str] = frozenset(),
    copies: Mapping[int, SealRecord] | None = None,
    must_be_sealed: bool = False,
) -> Report:
    """Verify triggers, seals, chains and rows, as of one moment, without blocking writers.

    A change of an entry and of a seal is tried, to see that it is refused, and rolled back. `trusted` are the
    public keys that seals may be signed with, `copies` the seals that were kept elsewhere. `must_be_sealed`:
    the caller knows that there are seals.
    """
    findings, sealed = Findings(), Sealed(trusted)
    findings.add(_compare_triggers())
    refusing, untried = _try_triggers()
    findings.add(refusing)
    with snapshot(), replace_invalid_text():
        findings.add(_check_seals(sealed, copies))
        findings.add(sealed.absence() if must_be_sealed else ())
        total = AuditEntry.objects.count() if progress else 0
        checker = Checker(_each(sealed, progress, total))
        findings.add(checker.check())
    findings.add(sealed.faults(missing=checker.missing, missing_beginnings=checker.missing_beginnings))
    return findings.report(
        entries=checker.entries,
        chains=checker.chains,
        seals=sealed.number,
        unsealed=sealed.unsealed,
        remarks=(*remarks(sealed, trusted), *untried),
    )


def remarks(sealed: Sealed, trusted: frozenset[str]) -> tuple[str, ...]:
    """Return remarks on what the seals can't prove."""
    if not sealed.number:
        return (NO_SEALS,)
    return () if trusted else (UNKNOWN_KEY,)


def _compare_triggers() -> Iterator[Fault]:
    if faults := triggers.faults(connection):
        detail = f"{', '.join(faults)}: nothing in the database keeps entries from being changed."
        yield Fault(kind=FaultKind.TRIGGERS, detail=detail)


def _try_triggers() -> tuple[list[Fault], tuple[str, ...]]:
    """Try changes; return the faults that this shows, or a remark if none could be tried."""
    try:
        tables = triggers.try_changes(connection)
    except triggers.NotTried as error:
        return [], (UNTRIED.format(error),)
    detail = "A change was tried in {}, and was not refused. It has been undone."
    return [Fault(kind=FaultKind.TRIGGERS, detail=detail.format(table)) for table in tables], ()


def _check_seals(sealed: Sealed, copies: Mapping[int, SealRecord] | None) -> Iterator[Fault]:
    unreadable: list[Fault] = []
    yield from sealed.take_seals(_read_seals(unreadable), copies)
    yield from unreadable


def _read_seals(unreadable: list[Fault]) -> Iterator[SealRecord]:
    for values in iterate_stored(Seal.objects.all(), _SEAL, "number"):
        columns, _ = convert(_SEAL, values)
        signed, hash_, signature = (str(columns[name]) for name in ("canonical", "hash", "signature"))
        try:
            seal = seals.parse(signed, hash_=hash_, signature=signature)
        except NoSeal:
            detail = f"Seal {columns['number']}: Its text is not a seal."
            unreadable.append(Fault(kind=FaultKind.REWRITTEN_SEAL, detail=detail))
            continue
        if not _agree(columns, seal):
            detail = f"Seal {columns['number']}: Its columns disagree with the text that was signed."
            unreadable.append(Fault(kind=FaultKind.REWRITTEN_SEAL, detail=detail))
        yield seal


def _agree(columns: Mapping[str, Any], seal: SealRecord) -> bool:
    at = columns["sealed_at"]
    written = {**columns, "sealed_at": isinstance(at, datetime) and as_text(at)}
    return all(written[name] == getattr(seal, name) for name in columns)


def _each(sealed: Sealed, progress: Progress | None, total: int) -> Callable[[int, int, str], None]:
    if progress is None:
        return sealed.add
    numbers, tell = count(1), progress

    def each(entry_id: int, sequence: int, entry_hash: str) -> None:
        sealed.add(entry_id, sequence, entry_hash)
        number = next(numbers)
        if number % STRIDE == 0 or number == total:
            tell(number, total)

    return each
