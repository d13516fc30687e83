"""What a benchmark has found, in the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import ceil, floor, log10
from typing import Any
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from approvals.management.screen import Screen
from approvals.reports.plots import SVG, load_pygal
from orchestration.benchmark import processes
from orchestration.benchmark.report import Cell, Chart, Check, Goal, Report

_NAMED = 5

WIDTH, HEIGHT, BAR_HEIGHT = 900, 460, 60

# Distinguishable with every kind of colour vision (Okabe and Ito's).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = {
    "colors": _COLOURS,
    "value_colors": ("#111111",) * len(_COLOURS),
    "background": "#ffffff",
    "plot_background": "#ffffff",
    "font_family": "sans-serif",
    "opacity": 1,
    "guide_stroke_color": "#dddddd",
    "major_guide_stroke_color": "#dddddd",
    "label_font_size": 13,
    "major_label_font_size": 13,
    "value_font_size": 13,
}


def show(report: Report, screen: Screen, *, judged: bool) -> None:
    """Print a report. `judged`: the goals are for this database and layer, so say whether they are met."""
    for table in report.tables:
        screen.say(table.title, style="bold")
        rows = [[_screen_cell(value) for value in row] for row in table.rows]
        # Without a terminal, a table of the screen has no headings.
        screen.table(table.headings, rows if screen.is_terminal else [table.headings, *rows])
        screen.say("")
    for goal in report.goals:
        _show_goal(goal, screen, judged=judged)
    for note in report.notes:
        screen.say(note, style="dim")
    if report.check.passed:
        screen.say(f"Checked: {report.check.waits:,} waits, each resolved once, as recorded.", style="green")
    else:
        screen.say(f"WRONG: of {report.check.waits:,} waits {faults(report.check)}", style="red bold")


@contextmanager
def progress_bar(console: Console, name: str) -> Iterator[processes.Progress]:
    """Show a progress bar on a terminal; elsewhere nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, expected: progress.update(task, completed=done, total=expected)


def faults(check: Check) -> str:
    """Say which waits went wrong, and how; "" if none did."""

    def some(ids: tuple[str, ...]) -> str:
        rest = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
        return ", ".join(ids[:_NAMED]) + rest

    kinds = {"lost": check.lost, "resolved twice": check.doubled, "told what is not on record": check.wrong}
    return "; ".join(f"{kind}: {some(ids)}" for kind, ids in kinds.items() if ids)


def number(value: float) -> str:
    """Format a number with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def cell(value: Cell) -> str:
    """Format a table's cell: counts in full, "-" where there is no figure."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else value


def _screen_cell(value: Cell) -> str | Text:
    return value if isinstance(value, str) else Text(cell(value), justify="right")


def _show_goal(goal: Goal, screen: Screen, *, judged: bool) -> None:
    measured = "not measured" if goal.measured is None else f"measured {number(goal.measured)} {goal.unit}"
    verdict, style = "", "dim"
    if not judged:
        verdict = ", not judged on this stack"
    elif goal.met is not None:
        verdict, style = (", met", "green") if goal.met else (", NOT met", "red")
    screen.say(f"Goal: {goal.text}: {measured}{verdict}", style=style)


def svg(charts: Sequence[Chart]) -> str:
    """Draw the charts, one below the other, as one SVG on a white ground.

    Without pygal's scripts, which are only for hovering: a page that embeds the file may forbid them.
    """
    ET.register_namespace("", SVG)
    heights = [HEIGHT if chart.kind != "stacked" else 160 + BAR_HEIGHT * len(chart.ticks) for chart in charts]
    page = ET.Element(f"{{{SVG}}}svg", width=str(WIDTH), height=str(sum(heights)))
    page.set("viewBox", f"0 0 {WIDTH} {sum(heights)}")
    for chart, height, below in zip(charts, heights, accumulate([0, *heights]), strict=False):
        drawn = ET.fromstring(_draw(chart, height))  # noqa: S314  our own
        for parent in list(drawn.iter()):
            for script in parent.findall(f"{{{SVG}}}script"):
                parent.remove(script)
        drawn.set("y", str(below))
        page.append(drawn)
    return ET.tostring(page, encoding="unicode")


def _draw(chart: Chart, height: int) -> bytes:
    pygal = load_pygal()
    kinds = {"lines": pygal.Line, "bars": pygal.Bar, "stacked": pygal.HorizontalStackedBar}
    lies = chart.kind == "stacked"
    picture = kinds[chart.kind](
        title=chart.title,
        width=WIDTH,
        height=height,
        explicit_size=True,
        js=[],
        style=pygal.style.Style(**_STYLE),
        x_title=chart.unit if lies else chart.across,
        y_title="" if lies else chart.unit,
        value_formatter=number,
        # A part of a stack has its number only where there is room for it.
        formatter=(lambda value: number(value) if value else "") if lies else number,
        print_values=True,
        print_values_position="center" if lies else "top",
        legend_at_bottom=True,
        legend_at_bottom_columns=len(chart.series),
        margin_right=60,
        dots_size=4,
        **_decades(chart),
    )
    turn = -1 if lies else 1  # horizontal bars are counted from below
    picture.x_labels = chart.ticks[::turn]
    for name, values in chart.series.items():
        picture.add(name, values[::turn], stroke_style={"width": 3})
    drawn: bytes = picture.render()
    return drawn


def _decades(chart: Chart) -> dict[str, Any]:
    """Have a logarithmic axis go from one power of ten to another, with no other lines."""
    values = [value for series in chart.series.values() for value in series if value]
    if not chart.logarithmic or not values:
        return {}
    powers = [10.0**n for n in range(floor(log10(min(values)) - 0.1), ceil(log10(max(values))) + 1)]
    return {"logarithmic": True, "range": (powers[0], powers[-1]), "y_labels": powers}
