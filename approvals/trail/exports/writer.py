"""Write an export, line by line, of one moment of the record."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator

from approvals.database.clock import database_now
from approvals.database.stored_columns import replace_invalid_text
from approvals.database.transactions import snapshot
from approvals.trail.exports.formats import FORMATS
from approvals.trail.exports.records import End, Header, Record
from approvals.trail.exports.selection import Filters, entries, read_seals
from approvals.writer.chain import as_text


def lines(filters: Filters, format: str = "jsonl") -> Generator[str, None, None]:  # noqa: A002  as the option is called
    """Yield the export's lines, line ends included; `format` is "jsonl" or "csv".

    They are read on demand in one transaction of this thread, which ends with the last line or when the
    iterator is closed.
    """
    writer, digest = FORMATS[format](), hashlib.sha256()

    def note(text: str) -> str:
        digest.update(text.encode())
        return text

    with snapshot(), replace_invalid_text():
        before = writer.before()
        if before:
            yield note(before)
        count = _Count()
        for record in _records(filters, count):
            yield note(writer.line(record))
        yield writer.line(
            End(entries=count.entries, chains=count.chains, seals=count.seals, sha256=digest.hexdigest())
        )


class _Count:
    entries = chains = seals = 0


def _records(filters: Filters, count: _Count) -> Iterator[Record]:
    yield Header(made_at=as_text(database_now()), complete=filters.none, filters=filters.as_fields())
    for seal in read_seals():
        count.seals += 1
        yield seal
    chain = None
    for request_id, entry in entries(filters):
        count.entries += 1
        count.chains += request_id != chain
        chain = request_id
        yield entry
