"""The records of an export in their order: header, seals, entries, end.

Entries come in the order of their chains, and seals before them, so that a file of any length is verified in
one pass. The proofs are the same in every format: an entry's canonical text with its hash, the content with
its salt, a seal's canonical text with its signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from approvals.domain.payloads import canonical
from approvals.trail.seals import NoSeal, SealRecord, parse

# Since format 2 entries have columns. Files of format 1 can still be read.
FORMAT = 2
FORMATS = (1, 2)
# Canonical JSON has no larger integers.
LARGEST = 2**53 - 1


class NoRecord(ValueError):
    """This line is not a record of an export, or not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first record. `complete`: the export has all entries, so that seals can be compared with them."""

    made_at: str
    complete: bool
    filters: Mapping[str, Any]
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """An entry; `salt` and `content` are None once purged.

    `columns` are the columns of the entry's row, named and written as in its text; None in a file of format
    1. If some have values of the wrong type, there are only these, as text.
    """

    id: int
    canonical: str
    hash: str
    salt: str | None
    content: str | None
    columns: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The last record: how many there were, and the SHA-256 of everything before this line."""

    entries: int
    chains: int
    seals: int
    sha256: str


Record: TypeAlias = Header | SealRecord | EntryRecord | End


def as_fields(record: Record) -> dict[str, Any]:
    """Convert a record to JSON, as a JSON line has it."""
    match record:
        case Header():
            return {
                "record": "export",
                "format": record.format,
                "made_at": record.made_at,
                "complete": record.complete,
                "filters": dict(record.filters),
            }
        case SealRecord():
            return {
                "record": "seal",
                "canonical": record.canonical,
                "hash": record.hash,
                "signature": record.signature,
            }
        case EntryRecord():
            columns = {} if record.columns is None else {"columns": dict(record.columns)}
            return {
                "record": "entry",
                "id": record.id,
                "canonical": record.canonical,
                "hash": record.hash,
                "salt": record.salt,
                "content": record.content,
                **columns,
            }
        case End():
            return {
                "record": "end",
                "entries": record.entries,
                "chains": record.chains,
                "seals": record.seals,
                "sha256": record.sha256,
            }


def from_fields(fields: Any, format: int = FORMAT) -> Record:  # noqa: A002  as the header calls it
    """Parse a record from JSON, in a file of this format; NoRecord if it is none."""
    try:
        match fields["record"]:
            case "export" if fields["format"] in FORMATS:
                return Header(
                    format=_number(fields["format"]),
                    made_at=_text(fields["made_at"]),
                    complete=fields["complete"] is True,
                    filters=_canonical_object(fields["filters"]),
                )
            case "seal":
                return parse(
                    _text(fields["canonical"]),
                    hash_=_text(fields["hash"]),
                    signature=_text(fields["signature"]),
                )
            case "entry":
                return EntryRecord(
                    id=_number(fields["id"]),
                    canonical=_text(fields["canonical"]),
                    hash=_text(fields["hash"]),
                    salt=_text_or_none(fields["salt"]),
                    content=_text_or_none(fields["content"]),
                    columns=None if format == 1 else _canonical_object(fields["columns"]),
                )
            case "end":
                return End(
                    entries=_number(fields["entries"]),
                    chains=_number(fields["chains"]),
                    seals=_number(fields["seals"]),
                    sha256=_text(fields["sha256"]),
                )
    except (KeyError, TypeError, ValueError, RecursionError, NoSeal) as error:
        raise NoRecord("It is not as exports write it.") from error
    raise NoRecord("It is not a record of an export.")


def from_json(text: str, format: int = FORMAT) -> Record:  # noqa: A002
    """Parse a record from a JSON line; NoRecord if it is none."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoRecord("It is not JSON.") from error
    return from_fields(fields, format)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NoRecord("It has something else in place of a text.")
    value.encode()  # fails for half of a surrogate pair, which JSON can escape
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST:
        raise NoRecord("It has something else in place of a number.")
    return value


def _canonical_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NoRecord("It has something else in place of an object.")
    canonical(value)  # fails for what can't be written again and compared
    return value
