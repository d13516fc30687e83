"""A report as texts and links for the templates: figures, plots, the hours of the week, a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from django.urls import reverse

from approvals.domain.lifecycle import Status
from approvals.reports import labels
from approvals.reports.figures import Report, Row
from approvals.reports.grouping import By
from approvals.reports.periods import Period
from approvals.reports.plots import Plot, plots

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHADES = 8

Part: TypeAlias = tuple[By, str | None]
"""A part of a grouping, by its name; None: what has no part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One of the main figures at the top; `note` adds a detail."""

    heading: str
    figure: Cell
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour of the week: how many requests were opened, and the shade, from 0 to SHADES."""

    number: int
    level: int
    title: str
    url: str = ""


def present(report: Report, links: RowLinks | None = None) -> dict[str, Any]:
    """Return what the templates in `templates/reports` get as `shown`; without `links` figures have none."""
    columns = labels.columns(report.by)
    total = Row(name=None, period=report.period, figures=report.total)
    return {
        "report": report,
        "period": labels.period(report.period),
        "made_at": labels.moment(report.made_at),
        "by": labels.BY[report.by],
        "tiles": list(_tiles(total, links)),
        "plots": [(plot, _figures_of(plot, links)) for plot in plots(report)],
        "week": list(_week(report, links)),
        "hours": range(24),
        "columns": columns,
        "rows": [
            (
                labels.part(report, row),
                _cells(columns, row, links, part=None if report.by is By.DAY else (report.by, row.name)),
            )
            for row in report.rows
        ],
        "total": _cells(columns, total, links),
    }


class RowLinks:
    """Links from figures to lists of the requests behind them, by the filters of the admin's list."""

    def __init__(self) -> None:
        self._list = reverse("admin:approvals_humanrequest_changelist")

    def url(self, column: str, period: Period, part: Part | None) -> str:
        asked = {**self._when(column, period), **self._which(column), **self._part(part)}
        return f"{self._list}?{urlencode(asked)}"

    def url_of_hour(self, weekday: int, hour: int, period: Period) -> str:
        """Return the URL of the requests opened in this hour (UTC) of this weekday (0: Monday)."""
        asked = {**self._when("opened", period), "opened_in": f"{weekday}-{hour:02}"}
        return f"{self._list}?{urlencode(asked)}"

    def _when(self, column: str, period: Period) -> dict[str, str]:
        if column in {"backlog", "oldest", "mean_age"}:
            return {"open_at": labels.iso(period.until)}
        name = "opened" if column == "opened" else "closed"
        return {f"{name}_from": labels.iso(period.since), f"{name}_until": labels.iso(period.until)}

    def _which(self, column: str) -> dict[str, str]:
        if column in {*Status} - {Status.PENDING}:
            return {"status": column}
        if column in {"median", "p90", "p95"}:
            return {"status": "decided"}
        return {"status": "timed_out"} if column == "timeout_rate" else {}

    def _part(self, part: Part | None) -> dict[str, str]:
        if part is None:
            return {}
        by, name = part
        if name is None:
            return {"without": by.value}
        return {"decided_by" if by is By.APPROVER else by.value: name}


def hour_in_words(weekday: int, hour: int) -> str:
    """Return an hour of the week (0: Monday) as text."""
    return f"{WEEKDAYS[weekday]}, {hour:02}:00 to {hour + 1:02}:00 UTC"


def _tiles(row: Row, links: RowLinks | None) -> Iterator[Tile]:
    total, by_name = row.figures, labels.BY_ATTRIBUTE

    def figure(name: str) -> Cell:
        return _cells([by_name[name]], row, links)[0]

    yield Tile(heading="Opened", figure=figure("opened"))
    tail = " · ".join(f"{each} {by_name[each].text(total)}" for each in ("p90", "p95"))
    yield Tile(heading="Median time to decision", figure=figure("median"), note=tail)
    rate = by_name["timeout_rate"].text(total)
    yield Tile(heading="Timed out", figure=figure("timed_out"), note=f"timeout rate {rate}")
    oldest = f"oldest {by_name['oldest'].text(total)}" if total.backlog else "nothing is open"
    yield Tile(heading="Open at the end", figure=figure("backlog"), note=oldest)
    for name in ("approved", "rejected", "answered", "withdrawn"):
        yield Tile(heading=by_name[name].heading, figure=figure(name))


def _figures_of(plot: Plot, links: RowLinks | None) -> list[tuple[str, list[Cell]]]:
    """Return the figures that a plot shows, for each day or week."""
    columns = [each.column for each in plot.series]
    return [(name, _cells(columns, slot, links)) for name, slot in plot.rows]


def _cells(
    columns: Sequence[labels.Column], row: Row, links: RowLinks | None, *, part: Part | None = None
) -> list[Cell]:
    """Format a row's figures; those that are not 0 have links."""
    cells = []
    for column in columns:
        there = bool(getattr(row.figures, column.attribute))
        url = links.url(column.attribute, row.period, part) if links and there else ""
        cells.append(Cell(text=column.text(row.figures), url=url))
    return cells


def _week(report: Report, links: RowLinks | None) -> Iterator[tuple[str, list[Hour]]]:
    most = max(map(max, report.hours), default=0) or 1
    for weekday, day in enumerate(report.hours):
        yield (
            WEEKDAYS[weekday],
            [
                Hour(
                    number=number,
                    level=-(-number * SHADES // most),
                    title=f"{hour_in_words(weekday, hour)}: {number:,} opened",
                    url=links.url_of_hour(weekday, hour, report.period) if links and number else "",
                )
                for hour, number in enumerate(day)
            ],
        )
