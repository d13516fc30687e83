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
from approvals.reports.plots import load_pygal
from orchestration.benchmark import processes
from orchestration.benchmark.report import Cell, Chart, Check, Goal, Report, Table

_NAMED = 5

WIDTH, HEIGHT, BAR_HEIGHT = 900, 460, 60
SVG = "http://www.w3.org/2000/svg"

# Told apart by people who see colours otherwise, too (Okabe and Ito's).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def show(report: Report, screen: Screen, *, judged: bool) -> None:
    """Print a report. `judged`: the goals apply to this database and layer, so show whether they are met."""
    for table in report.tables:
        screen.say(table.title, style="bold")
        _show_table(table, screen)
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
    """Show a bar on a terminal; elsewhere nothing."""
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
    """Write a number with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def cell(value: Cell) -> str:
    """Write a table's cell; counts in full, "-" where there is no figure."""
    match value:
        case None:
            return "-"
        case float():
            return number(value)
        case int():
            return f"{value:,}"
    return value


def _show_table(table: Table, screen: Screen) -> None:
    rows: list[list[str | Text]] = [
        [value if isinstance(value, str) else Text(cell(value), justify="right") for value in row]
        for row in table.rows
    ]
    if not screen.is_terminal:  # there, a table has no headings of its own
        rows.insert(0, list(table.headings))
    screen.table(table.headings, rows)


def _show_goal(goal: Goal, screen: Screen, *, judged: bool) -> None:
    measured = "not measured" if goal.measured is None else f"measured {number(goal.measured)} {goal.unit}"
    verdict, style = "", "dim"
    if not judged:
        verdict = ", not judged on this stack"
    elif goal.met is not None:
        verdict, style = (", met", "green") if goal.met else (", NOT met", "red")
    screen.say(f"Goal: {goal.text}: {measured}{verdict}", style=style)


def svg(charts: Sequence[Chart]) -> str:
    """Draw the charts, one below the other, as one SVG that reads on light and dark pages alike.

    Without pygal's scripts, which are for hovering only: who embeds the file may forbid them.
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
        style=_style(pygal),
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
    turn = -1 if lies else 1  # bars that lie are counted from below
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
    first, last = floor(log10(min(values)) - 0.1), ceil(log10(max(values)))
    powers = [10.0**power for power in range(first, last + 1)]
    return {"logarithmic": True, "range": (powers[0], powers[-1]), "y_labels": powers}


def _style(pygal: Any) -> Any:
    white, grey = ("background", "plot_background"), ("guide_stroke_color", "major_guide_stroke_color")
    colours = {**dict.fromkeys(white, "#ffffff"), **dict.fromkeys(grey, "#dddddd")}
    colours |= {"foreground": "#222222", "foreground_strong": "#111111", "foreground_subtle": "#666666"}
    sizes = {"title": 20, "label": 13, "major_label": 13, "legend": 14, "value": 13}
    return pygal.style.Style(
        colors=_COLOURS,
        value_colors=("#111111",) * len(_COLOURS),
        font_family="sans-serif",
        opacity=1,
        transition="0",
        **colours,
        **{f"{name}_font_size": size for name, size in sizes.items()},
    )
