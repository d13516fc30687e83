"""A run's charts, one below the other, as one SVG that reads on light and dark pages alike.

Drawn by pygal, without its script, so that any viewer shows all there is to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, floor, log10
from typing import Any
from xml.etree import ElementTree as ET

from approvals.reports.plots import load_pygal
from orchestration.benchmark.report import Chart
from orchestration.benchmark.words import number

WIDTH, HEIGHT, BAR_HEIGHT = 900, 460, 60
SVG = "http://www.w3.org/2000/svg"

# Told apart by people who see colours otherwise, too (Okabe and Ito's).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def svg(charts: Sequence[Chart]) -> str:
    """One document."""
    ET.register_namespace("", SVG)
    heights = [_height(chart) for chart in charts]
    page = ET.Element(f"{{{SVG}}}svg", width=str(WIDTH), height=str(sum(heights)))
    page.set("viewBox", f"0 0 {WIDTH} {sum(heights)}")
    for chart, height, below in zip(charts, heights, accumulate([0, *heights]), strict=False):
        drawn = ET.fromstring(_drawn(chart, height))  # noqa: S314  our own
        _silence(drawn)
        drawn.set("y", str(below))
        page.append(drawn)
    return ET.tostring(page, encoding="unicode")


def _silence(drawn: ET.Element) -> None:
    """Take scripts out: they are for hovering only, and who embeds the file may forbid them."""
    for parent in list(drawn.iter()):
        for script in parent.findall(f"{{{SVG}}}script"):
            parent.remove(script)


def _height(chart: Chart) -> int:
    return HEIGHT if chart.kind != "stacked" else 160 + BAR_HEIGHT * len(chart.ticks)


def _drawn(chart: Chart, height: int) -> bytes:
    pygal = load_pygal()
    kinds = {"lines": pygal.Line, "bars": pygal.Bar, "stacked": pygal.HorizontalStackedBar}
    across = chart.kind == "stacked"
    picture = kinds[chart.kind](
        title=chart.title,
        width=WIDTH,
        height=height,
        explicit_size=True,
        js=[],
        style=_style(),
        x_title=chart.unit if across else chart.across,
        y_title="" if across else chart.unit,
        value_formatter=number,
        formatter=_unless_tiny if across else number,
        print_values=True,
        print_values_position="center" if across else "top",
        legend_at_bottom=True,
        legend_at_bottom_columns=len(chart.series),
        margin_right=60,
        dots_size=4,
        **_decades(chart),
    )
    # Bars that lie are counted from below.
    turn = -1 if across else 1
    picture.x_labels = chart.ticks[::turn]
    for series in chart.series:
        picture.add(series.name, series.values[::turn], stroke_style={"width": 3})
    drawn: bytes = picture.render()
    return drawn


def _decades(chart: Chart) -> dict[str, Any]:
    """A logarithmic axis from one power of ten to another, and no other lines."""
    values = [value for series in chart.series for value in series.values if value]
    if not chart.logarithmic or not values:
        return {}
    first, last = floor(log10(min(values)) - 0.1), ceil(log10(max(values)))
    powers = [10.0**power for power in range(first, last + 1)]
    return {"logarithmic": True, "range": (powers[0], powers[-1]), "y_labels": powers}


def _unless_tiny(value: float | None) -> str:
    """The number of a part that has room for it."""
    return number(value) if value else ""


def _style() -> Any:
    return load_pygal().style.Style(
        background="#ffffff",
        plot_background="#ffffff",
        foreground="#222222",
        foreground_strong="#111111",
        foreground_subtle="#666666",
        colors=_COLOURS,
        font_family="sans-serif",
        title_font_size=20,
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        value_font_size=13,
        value_colors=("#111111",) * len(_COLOURS),
        opacity=1,
        guide_stroke_color="#dddddd",
        major_guide_stroke_color="#dddddd",
        transition="0",
    )
