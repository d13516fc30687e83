"""Compare seals with each other, with copies kept elsewhere, and with the entries that they cover."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from approvals.trail.seals.records import Digest, SealRecord, find_fault
from approvals.trail.verification.faults import Fault, FaultKind

NONE_LEFT = "There are no seals, though their public key was given: all of them are gone."


class Sealed:
    """Takes the seals in their order, then every entry in the order of chains; `faults` compares the two."""

    def __init__(self, trusted: frozenset[str] = frozenset()) -> None:
        self._trusted = trusted
        self._before: SealRecord | None = None
        self._ends: list[int] = []
        self._expected: list[tuple[int, int, int, str]] = []
        self._found: list[Digest] = []
        self.unsealed = 0

    @property
    def number(self) -> int:
        return len(self._ends)

    def take_seals(
        self, seals: Iterable[SealRecord], copies: Mapping[int, SealRecord] | None = None
    ) -> Iterator[Fault]:
        """Take all seals and yield their faults. `copies` are the seals kept elsewhere, by number."""
        left = dict(copies or {})
        for seal in seals:
            if detail := find_fault(seal, self._before, self._trusted):
                yield _rewritten_seal(seal.number, detail)
            copy = left.pop(seal.number, None)
            if copy is not None and (copy.hash, copy.canonical) != (seal.hash, seal.canonical):
                yield _rewritten_seal(seal.number, "The copy that was kept elsewhere differs.")
            self._take(seal)
        for number in sorted(left):
            yield _rewritten_seal(number, "A copy was kept elsewhere, but it is not on record.")

    def absence(self) -> Iterator[Fault]:
        """Yield a fault if there are no seals, where there must be some. Call it after `take_seals`."""
        if not self.number:
            yield Fault(kind=FaultKind.REWRITTEN_SEAL, detail=NONE_LEFT)

    def add(self, entry_id: int, sequence: int, entry_hash: str) -> None:
        at = bisect_left(self._ends, entry_id)
        if at == len(self._ends):
            self.unsealed += 1
        else:
            self._found[at].add(entry_id, sequence, entry_hash)

    def faults(self, *, missing: int, missing_beginnings: int) -> Iterator[Fault]:
        """Yield faults where the entries are not those that a seal was made over.

        `missing` entries, `missing_beginnings` of them the first of a chain, are known from the chains: only
        what the seals lack beyond these is reported.
        """
        lacking = lacking_beginnings = 0
        for (number, entries, chains, digest), found in zip(self._expected, self._found, strict=True):
            lacking += max(0, entries - found.entries)
            lacking_beginnings += max(0, chains - found.chains)
            about = f"Seal {number} was made over {entries} entries, {chains} of them the first of a chain"
            there = f"there are {found.entries} and {found.chains}."
            if lacking_beginnings > missing_beginnings:
                yield Fault(kind=FaultKind.MISSING_CHAIN, detail=f"{about}; {there} Whole chains are gone.")
                missing_beginnings = lacking_beginnings
                missing = max(missing, lacking)
            elif lacking > missing:
                yield Fault(kind=FaultKind.MISSING_ENTRY, detail=f"{about}; {there}")
                missing = lacking
            elif found.entries > entries:
                yield Fault(kind=FaultKind.SURPLUS_ENTRY, detail=f"{about}; {there}")
            elif found.entries == entries and found.text != digest:
                detail = f"{about}, not over these: at least one of them was made anew since."
                yield Fault(kind=FaultKind.CHANGED_ENTRY, detail=detail)

    def _take(self, seal: SealRecord) -> None:
        self._before = seal
        # A seal that was rewritten must not make the search below fail.
        self._ends.append(max(seal.last_entry, self._ends[-1] if self._ends else 0))
        self._expected.append((seal.number, seal.entries, seal.chains, seal.digest))
        self._found.append(Digest())


def _rewritten_seal(number: int, detail: str) -> Fault:
    return Fault(kind=FaultKind.REWRITTEN_SEAL, detail=f"Seal {number}: {detail}")
