"""Report on decisions, in the terminal or as a file."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from approvals.database.clock import database_now
from approvals.management.installation import require_tables
from approvals.management.screen import Misuse, Screen, ScreenCommand
from approvals.process.files import write_whole
from approvals.reports import BadPeriod, By, Period, Report, documents, labels, report

TABLE = "table"


class Command(ScreenCommand):
    help = (
        "Report how many requests were opened, how they ended, how long decisions took and how many are"
        " open, in the last thirty days or any period. Without a terminal, cells are separated by tabs."
        " See docs/reports.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since", metavar="TIME", default="", help="first day, such as 2026-01-31, or a moment; UTC"
        )
        parser.add_argument(
            "--until", metavar="TIME", default="", help="last day, which is included, or a moment"
        )
        parser.add_argument("--by", choices=[*map(str, By)], default=By.DAY.value)
        parser.add_argument("--format", choices=[TABLE, *documents.FORMATS], default=TABLE)
        parser.add_argument("--out", metavar="FILE", help="default: standard output")

    def handle(self, *, by: str, format: str, out: str | None, **options: Any) -> None:  # noqa: A002
        path = None if out is None else Path(out)
        if path is not None and not path.parent.is_dir():
            raise Misuse(f"--out: there is no directory {str(path.parent)!r}.")
        if path is not None and format == TABLE:
            raise Misuse(f"--out: a file needs a --format: {', '.join(documents.FORMATS)}.")
        require_tables()
        try:
            period = Period.parse(options["since"], options["until"], database_now())
        except BadPeriod as error:
            raise Misuse(f"--{error.field} {error}.") from error
        found = report(period, By(by))
        if format == TABLE:
            _show(self.screen, found)
        elif path is None:
            self.stdout.write(documents.FORMATS[format][0](found), ending="")
        else:
            _write(path, documents.FORMATS[format][0](found))


def _show(screen: Screen, found: Report) -> None:
    """Show the report; on terminals in two tables, because one would be too wide."""
    columns = labels.columns(found.by)
    screen.say(labels.period(found.period), style="dim")
    if not screen.is_terminal:
        screen.table((), [_headings(found, columns), *_rows(found, columns)])
        return
    for shown in ([each for each in columns if (each.unit == "count") is counts] for counts in (True, False)):
        *rows, total = _rows(found, shown)
        screen.table(_headings(found, shown), [*rows, [Text(cell, style="bold") for cell in total]])


def _headings(found: Report, columns: Sequence[labels.Column]) -> list[str]:
    return [labels.BY[found.by], *(column.heading for column in columns)]


def _rows(found: Report, columns: Sequence[labels.Column]) -> list[list[str]]:
    rows = [
        [labels.part(found, row), *(column.text(row.figures) for column in columns)] for row in found.rows
    ]
    return [*rows, ["All requests", *(column.text(found.total) for column in columns)]]


def _write(path: Path, text: str) -> None:
    try:
        with write_whole(path) as file:
            file.write(text)
    except OSError as error:
        raise Misuse(f"--out: {path} can't be written: {error.strerror}.") from error
