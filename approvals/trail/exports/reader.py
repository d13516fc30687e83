"""Read an export line by line from a file that anybody may have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from approvals.trail.exports.formats import BYTE_ORDER_MARK, HEADERS, Csv, JsonLines
from approvals.trail.exports.records import Header, NoRecord, Record

# No written line is longer: an entry has a megabyte of JSON, escaped twice at worst.
LINE_LIMIT = 32 * 1_048_576


class NotAnExport(Exception):
    """The file can't be read, or is not an export."""


class Export:
    """The records of an open file; `line` is where the last one began.

    `sha256` is the hash of everything before the last record.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()
        self._pending: list[bytes] = []
        self._read = 0
        self.line = 1

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._file.tell()

    def records(self) -> Iterator[Record | NoRecord]:
        """Yield every record, the header first, and faults as NoRecord. NotAnExport without a header.

        A line that is not written exactly as we write it was rewritten: its record is followed by a fault.
        """
        codec = self._codec()
        before: str | None = codec.before()
        for record in codec.records(self._lines()):
            if before is not None and not isinstance(record, Header):
                raise NotAnExport(f"{self._name} is not an export, or of an unknown version.")
            yield record
            if not isinstance(record, NoRecord) and self._text != (before or "") + codec.line(record):
                yield NoRecord("It is not as it was written.")
            before = None
            for raw in self._pending:
                self._digest.update(raw)
            self._pending.clear()
            self.line = self._read + 1

    def _codec(self) -> JsonLines | Csv:
        start = self._file.read(1)
        self._file.seek(0)
        if start == b"{":
            return JsonLines()
        first = self._file.readline(LINE_LIMIT).decode("utf-8", "replace").strip()
        self._file.seek(0)
        names = first.removeprefix(BYTE_ORDER_MARK)
        for format_, header in HEADERS.items():
            if names == header:
                return Csv(format_, marked=names != first)
        raise NotAnExport(f"{self._name} is not an export.")

    @property
    def _text(self) -> str:
        return b"".join(self._pending).decode("utf-8", "replace")

    def _lines(self) -> Iterator[str]:
        while raw := self._file.readline(LINE_LIMIT):
            self._pending.append(raw)
            self._read += 1
            # What is not UTF-8 does not match its hash either.
            yield raw.decode("utf-8", "replace")


@contextmanager
def open_export(path: Path) -> Iterator[Export]:
    """Open the export at this path; NotAnExport if the file can't be read."""
    try:
        with path.open("rb") as file:
            yield Export(file, str(path))
    except OSError as error:
        raise NotAnExport(f"{path} can't be read: {error.strerror}.") from error
