"""Files of seals to keep elsewhere: one seal a line, as in an export."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from approvals.process.files import write_whole
from approvals.trail.seals.records import NoSeal, SealRecord, as_line, from_line


class UnusableCopies(Exception):
    """The file is not a file of seals, or can't be read."""


class OtherSeals(Exception):
    """The file has other seals than those on record."""


def read(path: Path) -> list[SealRecord]:
    """Return the seals in this file, in its order."""
    seals = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    seals.append(from_line(line))
                except NoSeal:
                    raise UnusableCopies(f"{path}, line {number} is not a seal.") from None
    except OSError as error:
        raise UnusableCopies(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UnusableCopies(f"{path} is not a file of seals.") from None
    return seals


def bring_up_to_date(path: Path, seals: Iterable[SealRecord]) -> int:
    """Append the seals (given by number) that the file lacks, atomically; return how many.

    OtherSeals if the file's last seal is not on record as it is in the file, which is then left as it was.
    """
    kept = read(path) if path.exists() else []
    last = kept[-1] if kept else None
    new, found = [], last is None
    for seal in seals:
        if last is None or seal.number > last.number:
            new.append(seal)
        elif seal.number == last.number:
            found = seal.hash == last.hash
    if not found and last:
        raise OtherSeals(f"Seal {last.number} in {path} is not the one on record.")
    if new:
        with write_whole(path, mode=0o666) as file:
            file.writelines(f"{as_line(seal)}\n" for seal in (*kept, *new))
    return len(new)
