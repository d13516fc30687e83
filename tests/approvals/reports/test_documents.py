"""A report as a file: JSON, CSV and HTML that say the same, and nothing that a reader's program would run."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from approvals.domain.lifecycle import Status
from approvals.reports import By, Period, documents, report
from tests.approvals.reports.records import Asked, after, put_on_record

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

DAY = 86_400
PERIOD = Period(since=after(0), until=after(3 * DAY))
SCHEMA = Path(__file__).parents[3] / "docs/report.schema.json"


def some() -> None:
    put_on_record(
        [
            Asked(opened=0, closed=90, by="ana", groups=("finance",)),
            Asked(opened=10, closed=40_000, by="=cmd|'/C calc'!A0", status=Status.REJECTED),
            Asked(opened=DAY, closed=2 * DAY, status=Status.TIMED_OUT, groups=("<script>",)),
            Asked(opened=DAY + 1),
        ]
    )


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff"), "Excel needs it"
    return list(csv.DictReader(io.StringIO(text[1:])))


@pytest.mark.parametrize("by", list(By))
def test_json_is_as_its_schema_says(by: By) -> None:
    some()
    document: dict[str, Any] = json.loads(documents.as_json(report(PERIOD, by)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["total"]["opened"] == 4
    assert document["total"]["median_seconds"] == 20_040.0
    assert document["total"]["timeout_rate"] == 0.3333


def test_csv_has_a_row_for_each_part_and_one_for_all_as_json_has() -> None:
    some()
    found = report(PERIOD, By.GROUP)
    rows = rows_of(documents.as_csv(found))
    assert [(row["by"], row["name"]) for row in rows] == [
        ("group", "<script>"),
        ("group", "finance"),
        ("group", ""),
        ("total", ""),
    ]
    total = json.loads(documents.as_json(found))["total"]
    assert {name: rows[-1][name] for name in total} == {
        name: "" if value is None else str(value) for name, value in total.items()
    }


def test_no_name_is_a_formula_in_a_spreadsheet() -> None:
    some()
    names = [row["name"] for row in rows_of(documents.as_csv(report(PERIOD, By.APPROVER)))]
    assert "'=cmd|'/C calc'!A0" in names


def test_the_html_file_needs_nothing_else_and_runs_nothing() -> None:
    """Names are words; styles are its own; no address leads out of it."""
    some()
    page = documents.as_html(report(PERIOD, By.GROUP))
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<link|\bon\w+=|\bstyle=|(src|href)=|url\(|@import", page)
    assert page.count('role="img"') == 4


def test_an_empty_report_is_a_file_in_every_format() -> None:
    for by in By:
        found = report(PERIOD, by)
        for render, _ in documents.FORMATS.values():
            assert render(found)
