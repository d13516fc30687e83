"""`audit_report` as a process: what it prints, writes and refuses, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from approvals.domain.lifecycle import Status
from tests.approvals.reports.records import Asked, put_on_record
from tests.conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PERIOD = ("--since", "2026-03-02", "--until", "2026-03-03")


def some() -> None:
    put_on_record(
        [
            Asked(opened=0, closed=90, by="ana"),
            Asked(opened=10, closed=400, by="ben", status=Status.REJECTED),
            Asked(opened=20),
        ]
    )


def test_lines_for_programs_have_a_heading_each_part_and_all(manage: Manage) -> None:
    some()
    report = manage("audit_report", *PERIOD, "--by", "approver")
    assert report.wait() == 0
    lines = [line.split("\t") for line in report.output.text.splitlines()]
    assert lines[0] == ["2026-03-02 to 2026-03-03"]
    assert lines[1] == ["Approver", "Approved", "Rejected", "Answered", "Median", "p90", "p95"]
    assert lines[2:] == [
        ["ana", "1", "0", "0", "1 min 30 s", "1 min 30 s", "1 min 30 s"],
        ["ben", "0", "1", "0", "6 min 30 s", "6 min 30 s", "6 min 30 s"],
        ["All requests", "1", "1", "0", "4 min", "6 min", "6 min 15 s"],
    ]


def test_people_get_tables(manage: Manage) -> None:
    some()
    report = manage("audit_report", *PERIOD, "--by", "kind", "--force-color")
    assert report.wait() == 0
    assert "All requests" in report.output.text
    assert "4 min" in report.output.text


def test_a_file_takes_the_place_of_another_as_a_whole(manage: Manage, tmp_path: Path) -> None:
    some()
    path = tmp_path / "report.json"
    path.write_text("an older one")
    assert manage("audit_report", *PERIOD, "--format", "json", "--out", path).wait() == 0
    assert json.loads(path.read_text())["total"]["opened"] == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "2026-03-03", "--until", "2026-03-02"), "--until must be later than since"),
        (("--since", "2999-01-01"), "--since must be in the past"),
        (("--since", "tuesday"), "--since must be a date or a moment"),
        (("--format", "xml"), "argument --format"),
        (("--by", "colour"), "argument --by"),
        (("--out", "report.csv"), "--out: a file needs a --format"),
        (("--format", "csv", "--out", "/nowhere/report.csv"), "--out: there is no directory '/nowhere'"),
    ],
)
def test_misuse_names_the_option_and_the_rule(manage: Manage, arguments: tuple[str, ...], said: str) -> None:
    report = manage("audit_report", *arguments)
    assert report.wait() == 2
    assert said in report.output.text


def test_what_can_not_be_written_leaves_nothing_behind(manage: Manage, tmp_path: Path) -> None:
    taken = tmp_path / "report.csv"
    taken.mkdir()
    report = manage("audit_report", *PERIOD, "--format", "csv", "--out", taken)
    assert report.wait() == 2
    assert "--out:" in report.output.text
    assert list(tmp_path.iterdir()) == [taken]
