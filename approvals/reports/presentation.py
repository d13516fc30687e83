"""A report as texts and links for the templates: figures, plots, the hours of the week, a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from approvals.reports import labels
from approvals.reports.figures import Figures, Report, Row
from approvals.reports.grouping import By
from approvals.reports.periods import Period
from approvals.reports.plots import Plot, plots

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHADES = 8


class Links(Protocol):
    """Makes links from figures to lists of requests."""

    def url(self, column: str, period: Period, part: tuple[By, str | None] | None = None) -> str:
        """Return the URL of the requests behind a figure; empty if there is none."""
        ...

    def url_of_hour(self, weekday: int, hour: int, period: Period) -> str:
        """Return the URL of the requests opened in this hour (UTC) of this weekday (0: Monday)."""
        ...


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


Table = Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What the templates in `templates/reports` get as `shown`."""

    report: Report
    period: str
    made_at: str
    by: str
    tiles: Sequence[Tile]
    plots: Sequence[tuple[Plot, Table]]
    week: Sequence[tuple[str, Sequence[Hour]]]
    hours: Sequence[int]
    columns: Sequence[labels.Column]
    rows: Table
    total: Sequence[Cell]


def present(report: Report, links: Links | None = None) -> Presentation:
    """Prepare a report for the templates; without `links` figures have none."""
    columns = labels.columns(report.by)
    return Presentation(
        report=report,
        period=labels.period(report.period),
        made_at=labels.moment(report.made_at),
        by=labels.BY[report.by],
        tiles=list(_tiles(report, links)),
        plots=[(plot, _behind(plot, links)) for plot in plots(report)],
        week=list(_week(report, links)),
        hours=range(24),
        columns=columns,
        rows=[(labels.part(report, row), _cells(report, row, columns, links)) for row in report.rows],
        total=[_cell(column, report.total, report.period, None, links) for column in columns],
    )


def hour_in_words(weekday: int, hour: int) -> str:
    """Return an hour of the week (0: Monday) as text."""
    return f"{WEEKDAYS[weekday]}, {hour:02}:00 to {hour + 1:02}:00 UTC"


def _tiles(report: Report, links: Links | None) -> Iterator[Tile]:
    total, by_name = report.total, labels.BY_ATTRIBUTE

    def figure(name: str) -> Cell:
        return _cell(by_name[name], total, report.period, None, links)

    yield Tile(heading="Opened", figure=figure("opened"))
    tail = " · ".join(f"{each} {by_name[each].text(total)}" for each in ("p90", "p95"))
    yield Tile(heading="Median time to decision", figure=figure("median"), note=tail)
    rate = by_name["timeout_rate"].text(total)
    yield Tile(heading="Timed out", figure=figure("timed_out"), note=f"timeout rate {rate}")
    oldest = f"oldest {by_name['oldest'].text(total)}" if total.backlog else "nothing is open"
    yield Tile(heading="Open at the end", figure=figure("backlog"), note=oldest)
    for name in ("approved", "rejected", "answered", "withdrawn"):
        yield Tile(heading=by_name[name].heading, figure=figure(name))


def _behind(plot: Plot, links: Links | None) -> list[tuple[str, list[Cell]]]:
    """Return the figures that a plot shows, for each day or week."""
    columns = [each.column for each in plot.series]
    return [
        (name, [_cell(column, slot.figures, slot.period, None, links) for column in columns])
        for name, slot in plot.rows
    ]


def _cells(report: Report, row: Row, columns: Sequence[labels.Column], links: Links | None) -> list[Cell]:
    part = None if report.by is By.DAY else (report.by, row.name)
    return [_cell(column, row.figures, row.period, part, links) for column in columns]


def _cell(
    column: labels.Column,
    figures: Figures,
    period: Period,
    part: tuple[By, str | None] | None,
    links: Links | None,
) -> Cell:
    there = bool(getattr(figures, column.attribute))
    url = links.url(column.attribute, period, part) if links and there else ""
    return Cell(text=column.text(figures), url=url)


def _week(report: Report, links: Links | None) -> Iterator[tuple[str, list[Hour]]]:
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
