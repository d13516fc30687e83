"""The records of an export in their order: header, seals, entries, end.

Entries come in the order of their chains, and seals before them, so that a file of any length is verified in
one pass. The proofs are the same in every format: an entry's canonical text with its hash, the content with
its salt, a seal's canonical text with its signature.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, Strict, TypeAdapter

from approvals.domain.payloads import LARGEST_INTEGER, canonical
from approvals.trail.seals import SealRecord
from approvals.trail.seals import records as seals
from approvals.trail.seals.records import Text

# Since format 2 entries have columns. Files of format 1 can still be read.
FORMAT: Literal[2] = 2


class NoRecord(ValueError):
    """This line is not a record of an export, or not as it was written."""


def _writable(value: dict[str, Any]) -> dict[str, Any]:
    """Fail for what can't be written again and compared."""
    canonical(value)
    return value


Number = Annotated[int, Strict(), Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Object = Annotated[dict[str, Any], Strict(), AfterValidator(_writable)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first record. `complete`: the export has all entries, so that seals can be compared with them."""

    format: Literal[1, 2] = FORMAT
    made_at: Text
    complete: Annotated[bool, Strict()]
    filters: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """An entry; `salt` and `content` are None once purged.

    `columns` are the columns of the entry's row, named and written as in its text; None in a file of format
    1. If some have values of the wrong type, there are only these, as text.
    """

    id: Number
    canonical: Text
    hash: Text
    salt: Text | None
    content: Text | None
    columns: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The last record: how many there were, and the SHA-256 of everything before this line."""

    entries: Number
    chains: Number
    seals: Number
    sha256: Text


Record: TypeAlias = Header | SealRecord | EntryRecord | End

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind) for name, kind in (("export", Header), ("entry", EntryRecord), ("end", End))
}
_NAMES: dict[type, str] = {Header: "export", EntryRecord: "entry", End: "end"}


def as_fields(record: Record) -> dict[str, Any]:
    """Convert a record to JSON, as a JSON line has it."""
    if isinstance(record, SealRecord):
        return dict(seals.as_fields(record))
    said = {one.name: getattr(record, one.name) for one in fields(record)}
    if isinstance(record, EntryRecord) and record.columns is None:
        del said["columns"]
    return {"record": _NAMES[type(record)], **said}


def from_fields(said: Any, format: int = FORMAT) -> Record:  # noqa: A002  as the header calls it
    """Parse a record from JSON, in a file of this format; NoRecord if it is none."""
    record: Record | None = None
    try:
        match said["record"]:
            case "seal":
                return seals.parse(said["canonical"], hash_=said["hash"], signature=said["signature"])
            case str(kind) if kind in _ADAPTERS:
                record = _ADAPTERS[kind].validate_python(said)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise NoRecord("It is not as exports write it.") from error
    if record is None:
        raise NoRecord("It is not a record of an export.")
    if isinstance(record, EntryRecord) and (record.columns is None) != (format == 1):
        raise NoRecord("It is not as exports write it.")
    return record


def from_json(text: str, format: int = FORMAT) -> Record:  # noqa: A002
    """Parse a record from a JSON line; NoRecord if it is none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoRecord("It is not JSON.") from error
    return from_fields(said, format)
