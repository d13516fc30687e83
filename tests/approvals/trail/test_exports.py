"""Exports: what is in them, that they verify by themselves, and what is noticed when they don't."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from approvals import deciding
from approvals.domain.payloads import canonical, digest
from approvals.models import AuditEntry, HumanRequest, Response, ShownContent
from approvals.trail import exports, seals, verification
from approvals.trail.exports import Filters, NotAnExport, formats
from approvals.trail.exports.formats import Csv, escape_formulas
from approvals.trail.exports.records import EntryRecord, NoRecord, Record
from approvals.trail.seals import keys
from approvals.trail.seals.records import from_line
from approvals.trail.verification import FaultKind, Report
from approvals.writer import chain
from tests import factories as make
from tests.approvals.trail.test_seals import delete_whole_request
from tests.approvals.trail.test_verification import (
    approved,
    change_entry,
    change_row,
    delete_entries,
    forget,
    rewrite,
)
from tests.in_process import as_superuser
from tests.marks import both_databases
from tests.patience import patience
from tests.tampering import as_a_superuser_might

pytestmark = pytest.mark.django_db

KEY = Ed25519PrivateKey.generate()
TRUSTED = frozenset({keys.as_hex(KEY.public_key())})
FORMATS = ("jsonl", "csv")
# The line (from nought) after what says that it is an export.
FIRST = {"jsonl": 1, "csv": 2}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trail"


def export(file: Path, format: str = "jsonl", **filters: Any) -> list[str]:  # noqa: A002
    lines = list(exports.lines(Filters(**filters), format))
    file.write_text("".join(lines), newline="")
    return lines


def verified(file: Path) -> Report:
    return verification.verify_export(file, trusted=TRUSTED)


def requests_in(lines: list[str]) -> set[UUID]:
    entries = [json.loads(line) for line in lines if '"record":"entry"' in line]
    return {UUID(json.loads(entry["canonical"])["request"]) for entry in entries}


@pytest.mark.parametrize("format", FORMATS)
class TestWholeTrail:
    def test_it_verifies_by_itself(self, format: str, file: Path) -> None:  # noqa: A002
        approved(), approved()
        seals.make(KEY)
        approved(title="=1+1", details='two\nlines, "quoted"')
        export(file, format)
        report = verified(file)
        assert report.first == ()
        assert (report.entries, report.chains, report.seals, report.unsealed) == (6, 3, 1, 2)
        assert report.remarks == ()

    def test_an_empty_trail_has_an_export_too(self, format: str, file: Path) -> None:  # noqa: A002
        export(file, format)
        assert verified(file).holds

    @pytest.mark.usefixtures("as_keeper")
    def test_what_was_purged_is_missing_and_the_rest_verifies(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        forget(Response.objects.get(request_id=approved()).actor_id)
        export(file, format)
        assert "fine" not in file.read_text()
        assert verified(file).holds

    def test_what_was_stolen_is_named(self, format: str, file: Path) -> None:  # noqa: A002
        """A file that somebody wrote anew without it, end and all, is well made; no removal names it."""
        request_id = approved()
        approved()
        seals.make(KEY)
        with as_superuser():
            ShownContent.writing.filter(entry__request_id=request_id, entry__sequence=2).delete()
        lines = export(file, format)
        (fault,) = verified(file).first
        assert (fault.kind, fault.request_id, fault.sequence) == (FaultKind.CHANGED_ENTRY, request_id, 2)
        assert fault.line
        assert str(request_id) in lines[fault.line - 1]

    @pytest.mark.one_stack
    def test_wherever_it_is_cut_short_is_noticed(self, format: str, file: Path) -> None:  # noqa: A002
        approved()
        seals.make(KEY)
        export(file, format)
        whole = file.read_bytes()
        for length in {*range(len(whole) // 3, len(whole), 97), len(whole) - 1}:
            file.write_bytes(whole[:length])
            assert FaultKind.EXPORT in {fault.kind for fault in verified(file).first}, length

    @pytest.mark.one_stack
    def test_a_line_that_is_taken_out_doubled_or_moved_is_noticed(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        approved(), approved()
        seals.make(KEY)
        lines = export(file, format)
        for at in range(FIRST[format], len(lines)):
            others = lines[:at] + lines[at + 1 :]
            for damaged in (others, [*lines[:at], lines[at], *lines[at:]], [*others, lines[at]]):
                if damaged != lines:
                    file.write_text("".join(damaged), newline="")
                    assert not verified(file).holds, (at, damaged)

    @pytest.mark.one_stack
    def test_every_changed_character_is_noticed_and_its_line_named(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        approved()
        seals.make(KEY)
        lines = export(file, format)
        first = FIRST[format]
        for number, line in enumerate(lines[first:-1], first + 1):
            for at in range(0, len(line), 23):
                changed = line[:at] + ("1" if line[at] != "1" else "2") + line[at + 1 :]
                file.write_text("".join((*lines[: number - 1], changed, *lines[number:])), newline="")
                report = verified(file)
                assert not report.holds
                if not id_is_at(line, at):
                    assert number in {fault.line for fault in report.first}, (changed, report)

    def test_the_first_broken_link_is_named_as_in_the_database(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        request_id = approved()
        rewrite(request_id, 1, channel="admin")
        export(file, format)
        (fault,) = verified(file).first
        assert (fault.kind, fault.request_id, fault.sequence) == (FaultKind.CHANGED_ENTRY, request_id, 2)

    @pytest.mark.parametrize("damage", ["chain", "end", "anew"])
    def test_what_only_seals_notice_is_noticed(
        self,
        damage: str,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        """The database is the forger's, the export is made of it: the seals tell."""
        request_id = approved()
        approved()
        seals.make(KEY)
        match damage:
            case "chain":
                delete_whole_request(request_id)
            case "end":
                delete_entries(request_id, 2)
            case "anew":
                rewrite(request_id, 2, address="10.0.0.1")
                head = AuditEntry.objects.get(request_id=request_id, sequence=2).hash
                change_row(request_id, trail_head=head)
        export(file, format)
        expected = {
            "chain": FaultKind.MISSING_CHAIN,
            "end": FaultKind.MISSING_ENTRY,
            "anew": FaultKind.CHANGED_ENTRY,
        }
        assert [fault.kind for fault in verified(file).first] == [expected[damage]]


def id_is_at(line: str, at: int) -> bool:
    """An entry's id is proven by the seals and the end alone, which don't know lines."""
    found = re.search(r'"id":(\d+)|^entry,(\d+)', line)
    return found is not None and found.start() <= at < found.end()


def remade(lines: list[str]) -> str:
    """The file with an end that fits: who alters it can write that, too."""
    *before, end = lines
    if end.startswith("{"):
        return "".join([*before, canonical(json.loads(end) | {"sha256": digest("".join(before))}) + "\n"])
    sha256 = digest("".join(before))
    return "".join([*before, re.sub(r'(sha256"":"")[0-9a-f]{64}', rf"\g<1>{sha256}", end)])


@pytest.mark.parametrize("format", FORMATS)
class TestColumns:
    """What the database has in an entry's columns is in the file, and held against the entry's text."""

    def test_every_entry_has_its_columns(self, format: str, file: Path) -> None:  # noqa: A002
        approved(), approved(title="x;=1+1")
        export(file, format)
        records = [one for one in read(file) if isinstance(one, EntryRecord)]
        assert len(records) == 4
        for record in records:
            entry = AuditEntry.objects.get(pk=record.id)
            assert record.columns == chain.columns_of(vars(entry))
            said = json.loads(record.canonical)
            assert {name: said[name] for name in record.columns} == record.columns
            assert said.keys() - record.columns.keys() == chain.BESIDE

    @pytest.mark.parametrize(
        "columns",
        [
            {"address": "192.0.2.99"},
            {"event": "viewed"},
            {"actor": None},
            {"recorded_at": "2020-01-01T00:00:00Z"},
            {"format": 3},
        ],
        ids=lambda columns: next(iter(columns)),
    )
    def test_a_column_that_was_changed_in_the_database_is_named(
        self,
        columns: dict[str, Any],
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        """The text that was hashed is as it was; by the columns entries are found."""
        request_id = approved()
        change_entry(request_id, 2, **columns)
        export(file, format)
        (fault,) = verified(file).first
        assert (fault.kind, fault.request_id, fault.sequence) == (FaultKind.CHANGED_ENTRY, request_id, 2)

    @pytest.mark.stacks("sqlite-memory")
    @pytest.mark.parametrize("value", ["'never'", "x'ff'", "9007199254740993", "CAST(x'ff' AS TEXT)"])
    @pytest.mark.parametrize("column", ["recorded_at", "actor_id", "user_agent", "token_id"])
    def test_what_is_no_value_of_its_column_is_exported_and_named(
        self,
        column: str,
        value: str,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        request_id = approved()
        with as_a_superuser_might(), connection.cursor() as cursor:
            where = f"sequence = 2 AND request_id = '{request_id.hex}'"
            cursor.execute(f"UPDATE approvals_auditentry SET {column} = {value} WHERE {where}")
        export(file, format)
        (fault,) = verified(file).first
        assert (fault.kind, fault.sequence) == (FaultKind.CHANGED_ENTRY, 2)

    def test_columns_that_were_changed_or_left_out_of_the_file_are_named(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        approved()
        lines = export(file, format)
        at = FIRST[format]
        quote = '""' if format == "csv" else '"'
        for old, new, kind in (
            (
                f"{quote}event{quote}:{quote}opened{quote},{quote}format{quote}",
                f"{quote}event{quote}:{quote}viewed{quote},{quote}format{quote}",
                FaultKind.CHANGED_ENTRY,
            ),
            (
                f"{quote}user_agent{quote}:{quote}{quote}}}",
                f"{quote}user_agent{quote}:{quote}x{quote}}}",
                FaultKind.CHANGED_ENTRY,
            ),
        ):
            assert old in lines[at], lines[at]
            before, _, after = lines[at].rpartition(old)
            file.write_text(remade([*lines[:at], before + new + after, *lines[at + 1 :]]), newline="")
            assert [(one.kind, one.line) for one in verified(file).first] == [(kind, at + 1)]


def read(file: Path) -> list[Record | NoRecord]:
    with exports.open_export(file) as opened:
        return list(opened.records())


class TestWhatAFileSaysOfItself:
    def test_a_text_made_anew_in_another_form_is_named(self, file: Path) -> None:
        """It hashes to its hash, and has a number without a canonical form."""
        approved()
        lines = export(file)
        fields = json.loads(lines[2])
        text = fields["canonical"].replace('"actor":', '"account":1e400,"actor":', 1)
        anew = fields | {"canonical": text, "hash": digest(text)}
        file.write_text(remade([*lines[:2], canonical(anew) + "\n", lines[3]]))
        assert (FaultKind.CHANGED_ENTRY, 3) in [(one.kind, one.line) for one in verified(file).first]

    def test_an_entry_without_columns_is_none_of_this_format(self, file: Path) -> None:
        approved()
        lines = export(file)
        fields = json.loads(lines[1])
        del fields["columns"]
        file.write_text(remade([lines[0], canonical(fields) + "\n", *lines[2:]]))
        assert (FaultKind.EXPORT, 2) in [(one.kind, one.line) for one in verified(file).first]

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_whole_trail_that_calls_itself_a_part_is_named(
        self,
        format: str,  # noqa: A002
        file: Path,
    ) -> None:
        """A part need not be held against the seals: so a chain could be left out."""
        approved(), approved()
        seals.make(KEY)
        lines = export(file, format)
        part = [
            line.replace('complete":true', 'complete":false').replace('complete"":true', 'complete"":false')
            for line in lines
        ]
        assert part != lines
        file.write_text(remade(part), newline="")
        (fault,) = verified(file).first
        assert (fault.kind, fault.detail) == (
            FaultKind.EXPORT,
            "It says that it is not complete, and names no filter.",
        )

    def test_a_part_that_calls_itself_a_whole_trail_is_named(self, file: Path) -> None:
        approved()
        lines = export(file, kind="approval")
        file.write_text(remade([line.replace('complete":false', 'complete":true') for line in lines]))
        (fault,) = verified(file).first
        assert fault.detail == "It says that it is complete, and names filters."

    @pytest.mark.parametrize("filters", [{}, {"kind": "approval"}])
    def test_that_all_seals_are_gone_is_named_to_whoever_knows_of_them(
        self, filters: dict[str, Any], file: Path
    ) -> None:
        approved()
        seals.make(KEY)
        lines = [line for line in export(file, **filters) if '"record":"seal"' not in line]
        file.write_text(remade([*lines[:-1], lines[-1].replace('"seals":1', '"seals":0')]))
        assert verified(file).holds
        (fault,) = verification.verify_export(file, trusted=TRUSTED, must_be_sealed=True).first
        assert fault.kind is FaultKind.REWRITTEN_SEAL
        assert "all of them are gone" in fault.detail


class TestFilters:
    def test_by_time(self, file: Path) -> None:
        early = approved()
        (moment,) = AuditEntry.objects.filter(request_id=early, sequence=2).values_list(
            "recorded_at", flat=True
        )
        after = moment + timedelta(microseconds=1)
        late = approved()
        assert requests_in(export(file, since=after)) == {late}
        assert verified(file).holds
        assert requests_in(export(file, until=after)) == {early}
        assert requests_in(export(file, since=moment, until=after)) == {early}

    def test_a_chain_is_whole_even_if_only_its_end_was_chosen(self, file: Path) -> None:
        request_id = approved()
        end = AuditEntry.objects.get(request_id=request_id, sequence=2)
        lines = export(file, actor=end.actor_id)
        assert len([line for line in lines if '"record":"entry"' in line]) == 2
        assert verified(file).holds

    def test_by_kind_and_run(self, file: Path) -> None:
        of_run = UUID(make.approval(origin={"kind": "run", "id": "run-7", "url": ""}))
        question = UUID(make.clarification())
        approved()
        assert requests_in(export(file, run="run-7")) == {of_run}
        assert requests_in(export(file, kind="clarification")) == {question}
        assert requests_in(export(file, kind="clarification", run="run-7")) == set()

    def test_the_end_of_a_chain_that_is_gone_from_a_part_is_not_noticed_and_that_is_said(
        self, file: Path
    ) -> None:
        request_id = approved()
        seals.make(KEY)
        delete_entries(request_id, 2)
        export(file, kind="approval")
        report = verified(file)
        assert report.holds
        assert "the ends of chains" in report.remarks[0]

    def test_a_part_says_what_it_can_not_prove(self, file: Path) -> None:
        approved()
        seals.make(KEY)
        export(file, kind="approval")
        report = verified(file)
        assert report.holds
        assert report.unsealed is None
        assert "part of the trail" in report.remarks[0]


@pytest.mark.one_stack
class TestSpreadsheets:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\uff1d1"])
    def test_no_cell_begins_a_formula(self, text: str, file: Path) -> None:
        user = make.reviewer()
        request_id = make.clarification(f"{text.strip()} title", details=text)
        deciding.answer(make.actor(user, user_agent=text), request_id, text, comment=text)
        export(file, "csv")
        with file.open(newline="", encoding="utf-8-sig") as opened:
            cells = [cell for row in csv.reader(opened) for cell in row]
        assert f"'{text}" in cells
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d"))]
        assert verified(file).holds

    @pytest.mark.parametrize("separator", list(";\t\r\n"))
    @pytest.mark.parametrize("formula", ["=1+1", '"=1+1', "+1", "-1", "@x", "\uff1d1"])
    def test_nor_does_a_cell_where_something_else_separates_cells(
        self, separator: str, formula: str, file: Path
    ) -> None:
        """The same file, read by a spreadsheet of another language: quotes within cells are none there."""
        text = f"x{separator}{formula}"
        request_id = make.clarification("A title", details=text)
        deciding.answer(make.actor(make.reviewer(), user_agent=text), request_id, text, comment=text)
        lines = export(file, "csv")
        cells = re.split(r'[;\t\r\n]"*', "".join(lines))
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@\uff1d"))]
        assert verified(file).first == ()

    @pytest.mark.parametrize("backslashes", range(5))
    def test_what_looks_like_the_number_of_a_semicolon_stays_what_it_is(
        self, backslashes: int, file: Path
    ) -> None:
        for text in (f"{chr(92) * backslashes}u003b=1", f"{chr(92) * backslashes};=1"):
            deciding.answer(make.actor(make.reviewer()), make.clarification(details=text), text)
        export(file, "csv")
        assert verified(file).first == ()

    def test_a_semicolon_that_was_put_back_is_not_as_it_was_written(self, file: Path) -> None:
        make.approval(details="x;=1+1")
        lines = export(file, "csv")
        assert "\\u003b=1+1" in lines[2]
        file.write_text("".join([*lines[:2], lines[2].replace("\\u003b", ";"), *lines[3:]]), newline="")
        assert (FaultKind.EXPORT, 3) in [(one.kind, one.line) for one in verified(file).first]

    @pytest.mark.parametrize("text", ["", "fine", "1-1", "'quoted", "x; y", "(X11; Linux)", "two\nlines"])
    def test_what_is_no_formula_is_left_alone(self, text: str) -> None:
        assert escape_formulas(text) == text

    @both_databases
    def test_people_read_who_did_what_without_parsing_anything(self, file: Path) -> None:
        ada = make.reviewer("ada")
        request_id = make.approval("Refund 12.00 EUR")
        deciding.decide(make.actor(ada), request_id, "approve", comment="fine")
        export(file, "csv")
        with file.open(newline="", encoding="utf-8-sig") as opened:
            decided = [row for row in csv.DictReader(opened) if row["event"] == "decided"]
        (row,) = decided
        names = ("title", "actor_name", "verdict", "comment", "outcome", "allowed_by", "channel")
        assert [row[name] for name in names] == [
            "Refund 12.00 EUR",
            "ada",
            "approve",
            "fine",
            "approved",
            "permission decide_humanrequest",
            "page",
        ]

    @both_databases
    @pytest.mark.usefixtures("as_keeper")
    def test_it_begins_with_the_mark_by_which_excel_knows_utf_8(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Files from before had none, and hold; to take it away is a change."""
        approved()
        export(file, "csv")
        assert file.read_bytes().startswith(b"\xef\xbb\xbfrecord,")
        assert verified(file).holds
        file.write_bytes(file.read_bytes()[3:])
        assert not verified(file).holds
        monkeypatch.setitem(cast("dict[str, Any]", formats.FORMATS), "csv", partial(Csv, marked=False))
        export(file, "csv")
        assert file.read_bytes().startswith(b"record,")
        assert verified(file).holds

    def test_a_title_that_a_removal_has_kept_is_read_from_there_on(self, file: Path) -> None:
        """What comes before is written before it is known."""
        rita = make.user()
        request_id = make.approval("Refund 12.00 EUR", requester=rita, actor=make.actor(rita))
        deciding.decide(make.actor(make.reviewer()), request_id, "approve")
        forget(rita.pk)
        deciding.record_view(make.actor(make.reviewer()), request_id)
        export(file, "csv")
        with file.open(newline="", encoding="utf-8-sig") as opened:
            titles = [row["title"] for row in csv.DictReader(opened) if row["record"] == "entry"]
        assert titles == ["", "", "Refund 12.00 EUR", "Refund 12.00 EUR"]
        assert verified(file).holds


@pytest.mark.one_stack
class TestOtherFiles:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00\xff\xfe",
            b"Dear Ada,\n",
            b"{}\n",
            b'{"record":"seal"}\n',
            b'{"record":"export","format":99,"made_at":"","complete":true,"filters":{}}\n',
            b"a,b,c\n1,2,3\n",
            b"[" * 100_000,
            b"{" * 100_000,
        ],
        ids=["empty", "binary", "letter", "object", "seal", "newer", "csv", "deep", "deeper"],
    )
    def test_what_is_no_export_is_refused(self, content: bytes, file: Path) -> None:
        file.write_bytes(content)
        with pytest.raises(NotAnExport):
            verified(file)

    @pytest.mark.parametrize(
        "line",
        [
            '{"record":"entry","id":100000000000000000000,"canonical":"{}","hash":"","salt":null,"content":null}',
            '{"record":"entry","id":1,"canonical":"{\\"request\\":\\"00000000000000000000000000000001\\",\\"sequence\\":1e400}","hash":"","salt":null,"content":null}',
            '{"record":"export","format":1,"made_at":"","complete":true,"filters":{"actor":1e400}}',
            '{"record":"export","format":1,"made_at":"","complete":true,"filters":[[1,2]]}',
        ],
        ids=["id", "sequence", "filter", "filters"],
    )
    def test_what_has_no_canonical_form_is_named(self, line: str, file: Path) -> None:
        export(file)
        header, *rest = file.read_text().splitlines(keepends=True)
        file.write_text("".join([header, f"{line}\n", *rest]))
        (fault, *_) = verified(file).first
        assert (fault.kind, fault.line) == (FaultKind.EXPORT, 2)

    @pytest.mark.parametrize(
        ("record", "name"),
        [
            *(("seal", name) for name in ("canonical", "hash", "signature")),
            *(("entry", name) for name in ("canonical", "hash", "salt", "content")),
        ],
    )
    def test_half_of_a_surrogate_pair_is_no_text(self, record: str, name: str, file: Path) -> None:
        approved()
        seals.make(KEY)
        lines = export(file)
        at = next(at for at, line in enumerate(lines) if f'"record":"{record}"' in line)
        fields = json.loads(lines[at])
        for text in ("\ud800", fields[name] + "\udfff"):
            lines[at] = json.dumps(fields | {name: text}) + "\n"
            file.write_text("".join(lines))
            assert (FaultKind.EXPORT, at + 1) in [(one.kind, one.line) for one in verified(file).first]

    @pytest.mark.parametrize("name", ["sha256", "previous", "sealed_at", "host_clock", "key"])
    def test_a_seal_that_says_half_of_a_surrogate_pair_is_none(self, name: str, file: Path) -> None:
        approved()
        seals.make(KEY)
        lines = export(file)
        fields = json.loads(lines[1])
        fields["canonical"] = json.dumps(json.loads(fields["canonical"]) | {name: "\ud800"})
        file.write_text("".join([lines[0], f"{json.dumps(fields)}\n", *lines[2:]]))
        assert (FaultKind.EXPORT, 2) in [(one.kind, one.line) for one in verified(file).first]
        with pytest.raises(seals.NoSeal):
            from_line(json.dumps(fields))

    def test_a_number_of_too_many_digits_is_named(self, file: Path) -> None:
        approved()
        lines = export(file, "csv")
        cells = lines[2].split(",")
        file.write_text("".join([*lines[:2], ",".join([cells[0], "1" * 5000, *cells[2:]]), *lines[3:]]))
        (fault, *_) = verified(file).first
        assert (fault.kind, fault.line) == (FaultKind.EXPORT, 3)

    @pytest.mark.parametrize("value", ["1e400", "1" * 30, f"{'[' * 900}{']' * 900}"])
    def test_cells_without_canonical_form_are_named(self, value: str, file: Path) -> None:
        approved()
        export(file, "csv")
        with file.open(newline="") as kept:
            rows = list(csv.reader(kept))
        at = next(number for number, row in enumerate(rows) if row[0] == "entry")
        named = rows[at][rows[0].index("canonical")]
        rows[at][rows[0].index("canonical")] = named.replace('"actor":', f'"actor":{value},"other":', 1)
        with file.open("w", newline="") as changed:
            csv.writer(changed, lineterminator="\n").writerows(rows)
        assert FaultKind.EXPORT in verified(file).counts

    def test_a_file_that_is_not_there_is_refused(self, file: Path) -> None:
        with pytest.raises(NotAnExport, match="can't be read"):
            verified(file)


def test_an_export_is_of_one_moment(file: Path) -> None:
    """What is decided while it is read is not in it, neither whole nor half."""
    approved()
    reading = exports.lines(Filters())
    first = next(reading)
    in_another_thread(approved)
    file.write_text("".join((first, *reading)), newline="")
    report = verified(file)
    assert (report.holds, report.entries) == (True, 2)
    assert HumanRequest.objects.count() == 2


def test_reading_is_given_up_without_a_trace() -> None:
    approved()
    reading = exports.lines(Filters())
    next(reading)
    reading.close()
    assert not connection.in_atomic_block
    approved()


def in_another_thread(act: Callable[[], object]) -> None:
    from threading import Thread

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join(patience())
    assert not thread.is_alive()


@pytest.mark.one_stack
def test_the_end_says_what_everything_before_hashes_to(file: Path) -> None:
    approved()
    *before, end = export(file)
    assert json.loads(end)["sha256"] == hashlib.sha256("".join(before).encode()).hexdigest()
    assert datetime.fromisoformat(json.loads(before[0])["made_at"]).tzinfo == UTC
