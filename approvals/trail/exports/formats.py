"""The formats of exports: JSON lines for programs, CSV for spreadsheets.

CSV repeats what the canonical text and the content say in cells of their own, to be read, sorted and
filtered. A spreadsheet takes a cell that begins with = + - @, a tab or a line end for a formula, and these
texts come from others: such cells get an apostrophe in front. In many countries cells are separated by
semicolons, and in pasted text by tabs; there the rest of a quoted cell is read as further cells, so what
would begin a formula in those gets an apostrophe, too.

Nothing is lost by that. The cells that prove something are hexadecimal digits, numbers, and JSON, which
begins with a brace and can escape a semicolon; the escape is undone before anything is hashed. Verification
builds the other cells anew, apostrophes included, and compares them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from approvals.domain.payloads import canonical, parse_object, read_canonical
from approvals.trail.exports import records
from approvals.trail.exports.records import FORMAT, EntryRecord, Header, NoRecord, Record
from approvals.trail.seals import SealRecord

# Characters that begin a formula in some spreadsheet; the last four are the first four in full width.
FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_SIGNS = r"[=+@\-\uff1d\uff0b\uff0d\uff20]"
_BEHIND_A_SEPARATOR = re.compile(rf'([;\t\r\n]"*)(?={_SIGNS})')
_SEMICOLON = re.compile(rf";(?={_SIGNS})")
# An odd number of backslashes begins an escape, an even one ends before it.
_SEMICOLON_BY_NUMBER = re.compile(rf"(?<!\\)((?:\\\\)*)\\u003b(?={_SIGNS})")
_JSON = ("canonical", "content", "columns")
# Without it, Excel reads a file in the local character set.
BYTE_ORDER_MARK = "\ufeff"
# Entries hold JSON of a megabyte, whose escapes may take six times as much.
CELL_LIMIT = 16 * 1_048_576

# The columns by the format of the file, as its first line names them.
_HEADER = (
    "record,id,recorded_at,event,outcome,title,actor_name,verdict,comment,answer,request,sequence,actor,"
    "on_behalf_of,channel,token,address,user_agent,allowed_by,canonical,hash,salt,content,signature"
)
HEADERS: Mapping[int, str] = {1: _HEADER, 2: f"{_HEADER},columns"}
_QUOTED = frozenset('",\r\n')


class JsonLines:
    """One JSON object a line. The header of a file names its format."""

    def __init__(self, format: int = FORMAT) -> None:  # noqa: A002  as the header calls it
        self._format = format

    def before(self) -> str:
        return ""

    def line(self, record: Record) -> str:
        return f"{canonical(records.as_fields(record))}\n"

    def records(self, lines: Iterable[str]) -> Iterator[Record | NoRecord]:
        for line in lines:
            try:
                record = records.from_json(line, self._format)
            except NoRecord as error:
                yield error
                continue
            if isinstance(record, Header):
                self._format = record.format
            yield record


class Csv:
    """One row a record. It remembers the title of the request whose entries it writes or reads.

    `marked` is false for older files, which do not begin with a BYTE_ORDER_MARK.
    """

    def __init__(self, format: int = FORMAT, *, marked: bool = True) -> None:  # noqa: A002
        self._format = format
        self._mark = BYTE_ORDER_MARK if marked else ""
        self._columns = HEADERS[format].split(",")
        self._request: str | None = None
        self._title = ""

    def before(self) -> str:
        return self._mark + _row(self._columns)

    def line(self, record: Record) -> str:
        cells = _escape_semicolons(self._cells(record))
        return _row([cells.get(column, "") for column in self._columns])

    def records(self, lines: Iterable[str]) -> Iterator[Record | NoRecord]:
        csv.field_size_limit(max(csv.field_size_limit(), CELL_LIMIT))
        rows = csv.reader(lines, strict=True)
        if next(rows, None) != [self._mark + self._columns[0], *self._columns[1:]]:
            yield NoRecord("These are not the columns of an export.")
        while True:
            try:
                yield self._record(next(rows))
            except StopIteration:
                return
            except NoRecord as error:
                yield error
            except csv.Error:
                yield NoRecord("It is not CSV, or cut short.")

    def _record(self, cells: list[str]) -> Record:
        if len(cells) != len(self._columns):
            raise NoRecord(f"It has {len(cells)} cells in place of {len(self._columns)}.")
        found = dict(zip(self._columns, cells, strict=True))
        record = _parse(_replace_in_json(found, _SEMICOLON_BY_NUMBER, r"\1;"), self._format)
        if isinstance(record, Header) and record.format != self._format:
            raise NoRecord("Its columns are those of another format.")
        expected = _escape_semicolons(self._cells(record))
        for column in self._columns:
            if found[column] != expected.get(column, ""):
                raise NoRecord(f"The column {column} is not what the canonical text and the content say.")
        return record

    def _cells(self, record: Record) -> dict[str, str]:
        match record:
            case EntryRecord():
                return self._cells_of_entry(record)
            case SealRecord():
                return {key: str(value) for key, value in records.as_fields(record).items()}
        fields = records.as_fields(record)
        return {"record": fields.pop("record"), "canonical": canonical(fields)}

    def _cells_of_entry(self, record: EntryRecord) -> dict[str, str]:
        named, content = parse_object(record.canonical, json.loads) or {}, self._content_of(record)
        if named.get("request") != self._request:
            self._request, self._title = named.get("request"), ""
        if named.get("event") in ("opened", "purged"):
            self._title = _title_in(content) or self._title
        # What the text says under the name of a column; those below say something else.
        cells = {name: escape_formulas(_text_of(named.get(name))) for name in self._columns}
        return cells | {
            "record": "entry",
            "id": str(record.id),
            "title": escape_formulas(self._title),
            "actor_name": escape_formulas(_text_of(content.get("actor"))),
            "verdict": escape_formulas(_text_of(content.get("verdict"))),
            "comment": escape_formulas(_text_of(content.get("comment", content.get("reason")))),
            "answer": escape_formulas(_text_of(content.get("answer"))),
            "canonical": record.canonical,
            "hash": record.hash,
            "salt": record.salt or "",
            "content": record.content or "",
            "signature": "",
            "columns": "" if record.columns is None else canonical(record.columns),
        }

    def _content_of(self, record: EntryRecord) -> dict[str, Any]:
        """Parse the content; in format 1 also large integers, which have no canonical form."""
        return parse_object(record.content or "{}", json.loads if self._format == 1 else read_canonical) or {}


FORMATS: Mapping[str, type[JsonLines] | type[Csv]] = {"jsonl": JsonLines, "csv": Csv}


def escape_formulas(text: str) -> str:
    """Escape text so that no spreadsheet takes it, or a part of it, for a formula."""
    within = _BEHIND_A_SEPARATOR.sub(r"\1'", text)
    return f"'{within}" if within.startswith(FORMULAS) else within


def request_of(record: EntryRecord) -> tuple[UUID, int]:
    """Return the request of an entry and its place in the chain; NoRecord if its text has none."""
    named = parse_object(record.canonical, json.loads) or {}
    try:
        return UUID(named["request"]), int(named["sequence"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise NoRecord("Its text is not that of an entry.") from error


def _escape_semicolons(cells: Mapping[str, str]) -> dict[str, str]:
    """Escape semicolons in JSON cells where a formula would begin behind them."""
    return _replace_in_json(cells, _SEMICOLON, r"\\u003b")


def _replace_in_json(cells: Mapping[str, str], pattern: re.Pattern[str], by: str) -> dict[str, str]:
    return {name: pattern.sub(by, text) if name in _JSON else text for name, text in cells.items()}


def _parse(cells: Mapping[str, str], format: int) -> Record:  # noqa: A002
    if cells["record"] in ("export", "end"):
        said = parse_object(cells["canonical"], json.loads) or {}
        return records.from_fields({"record": cells["record"], **said}, format)
    fields: dict[str, Any] = {**cells, "id": _number(cells["id"])}
    for name in ("salt", "content"):
        fields[name] = cells[name] or None
    if cells.get("columns"):
        fields["columns"] = parse_object(cells["columns"], json.loads) or {}
    return records.from_fields(fields, format)


def _number(cell: str) -> int | None:
    try:
        return int(cell)
    except ValueError:  # no digits, or more of them than Python reads
        return None


def _title_in(content: Mapping[str, Any]) -> str:
    """Return the title in the content of an entry; a removal may have kept it."""
    kept = content.get("kept")
    return _text_of((kept if isinstance(kept, dict) else content).get("title"))


def _row(cells: Iterable[str]) -> str:
    return ",".join(map(_quote, cells)) + "\n"


def _quote(cell: str) -> str:
    """Quote a cell by RFC 4180; not every version of the csv module quotes a carriage return."""
    if _QUOTED.isdisjoint(cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _text_of(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return canonical(value)
    except (
        ValueError,
        TypeError,
        RecursionError,
    ):  # without canonical form, or too deep: no entry of ours has it
        return ""
