"""A report as a file: JSON for programs, CSV for spreadsheets, HTML for people; see docs/reports.md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from approvals.reports import labels, presentation
from approvals.reports.figures import Figures, Report
from approvals.reports.periods import Period
from approvals.trail.exports.formats import BYTE_ORDER_MARK, escape_formulas

STYLE = "approvals/report.css"


def as_json(report: Report) -> str:
    """Format as JSON by docs/report.schema.json."""
    document = {
        "made_at": labels.iso(report.made_at),
        **_period(report.period),
        "by": report.by.value,
        "total": _figures(report.total),
        "rows": [{"name": row.name, **_period(row.period), **_figures(row.figures)} for row in report.rows],
        "timeline": [{**_period(slot.period), **_figures(slot.figures)} for slot in report.timeline],
        "opened_by_weekday_and_hour": [list(day) for day in report.hours],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_csv(report: Report) -> str:
    """Format as CSV: a row for each part and one for all. A missing name or figure is an empty cell."""
    text = io.StringIO(BYTE_ORDER_MARK)
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["by", "name", "since", "until", *(column.name for column in labels.COLUMNS)])
    rows = [(report.by.value, row.name or "", row.period, row.figures) for row in report.rows]
    for by, name, period, figures in [*rows, ("total", "", report.period, report.total)]:
        values = ("" if value is None else value for value in _figures(figures).values())
        writer.writerow([by, escape_formulas(name), *_period(period).values(), *values])
    return text.getvalue()


def as_html(report: Report) -> str:
    """Format as one HTML file, with its stylesheet inside."""
    style = finders.find(STYLE)
    if style is None:
        raise FileNotFoundError(STYLE)
    # The stylesheet is our own: no text in it ends the element.
    element = SafeString(f"<style>{Path(style).read_text()}</style>")
    context = {"style": element, "shown": presentation.present(report)}
    return render_to_string("approvals/reports/file.html", context)


FORMATS: Mapping[str, tuple[Callable[[Report], str], str]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "json": (as_json, "application/json"),
    "html": (as_html, "text/html; charset=utf-8"),
}


def _figures(figures: Figures) -> dict[str, float | None]:
    return {column.name: column.value(figures) for column in labels.COLUMNS}


def _period(period: Period) -> dict[str, str]:
    return {"since": labels.iso(period.since), "until": labels.iso(period.until)}


def file_name(report: Report, format: str) -> str:  # noqa: A002  as the option is called
    """Return a name for the file of this report."""
    last = labels.days(report.period).rpartition(" ")[2]
    return f"report-by-{report.by}-{report.period.since:%Y-%m-%d}-{last}.{format}"
