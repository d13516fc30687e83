"""Plots of a report as SVG, drawn by pygal on the server and embedded in the page.

Of pygal's drawing we keep shapes, text and classes: no style, script or id. So it fits any
Content-Security-Policy, and a stylesheet (`report.css`) has its colours for light, dark and print. The title
of each shape says what it shows; each plot comes with its figures, as a table.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from approvals.reports import labels
from approvals.reports.figures import ENDS, Report, Row

WIDTH, HALF, HEIGHT = 900, 540, 300
# Width of a label below the axis.
LABEL = 150
SVG = "http://www.w3.org/2000/svg"

# Ticks of logarithmic axes, by unit with its seconds: times to decision range from seconds to weeks.
_UNITS = {
    "s": (1, (0.01, 0.1, 1, 3, 10, 30)),
    "min": (60, (1, 5, 15)),
    "h": (3_600, (1, 3, 12)),
    "d": (86_400, (1, 3, 7, 14, 30, 90)),
    "y": (31_536_000, (1, 3, 10)),
}
_TIMES = {
    number * seconds: f"{number} {unit}" for unit, (seconds, numbers) in _UNITS.items() for number in numbers
}
_SHORTEST = 0.01
_PLACES = {"d", "x", "y", "cx", "cy", "width", "height", "transform"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line or bar of a plot. Its column's attribute names a class in the stylesheet."""

    column: labels.Column
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawn plot. `svg` is safe HTML: its text is escaped. `rows` are the figures that it shows."""

    name: str
    title: str
    summary: str
    svg: str
    series: Sequence[Series]
    rows: Sequence[tuple[str, Row]]


Options = dict[str, Any]
# The values of each series, by its name.
Values = dict[str, list[float | None]]
Draw = Callable[[Values, Options], Any]


def plots(report: Report) -> list[Plot]:
    """Draw all plots of the report."""
    at, slot = ("on", "day") if report.days else ("in", "week")
    return [
        _plot(
            report,
            name="times",
            title="Time to decision",
            summary=f"How long people took, from opening to decision, for what was decided {at} each {slot}.",
            series=_series(median="Median", p90="p90: nine in ten were quicker", p95="p95"),
            draw=_lines_of_times,
        ),
        _plot(
            report,
            name="outcomes",
            title="Outcomes",
            summary=f"What was closed {at} each {slot}, by how it ended.",
            series=_series(**{end.value: labels.BY_ATTRIBUTE[end.value].heading for end in ENDS}),
            draw=_bars,
        ),
        _plot(
            report,
            name="backlog",
            title="Backlog",
            summary=f"How many requests were open at the end of each {slot}.",
            series=_series(backlog="Open"),
            draw=_line_of_counts,
            width=HALF,
        ),
        _plot(
            report,
            name="ages",
            title="Age of the backlog",
            summary=f"How long what was open at the end of each {slot} had been open by then.",
            series=_series(mean_age="Mean", oldest="Oldest"),
            draw=_lines_of_times,
            width=HALF,
        ),
    ]


def _plot(
    report: Report,
    *,
    name: str,
    title: str,
    summary: str,
    series: Sequence[Series],
    draw: Draw,
    width: int = WIDTH,
) -> Plot:
    names = [labels.days(slot.period) for slot in report.timeline]
    values = {
        each.name: [getattr(slot.figures, each.column.attribute) for slot in report.timeline]
        for each in series
    }
    chart = draw(values, _options(width))
    # All labels are in the shapes' titles; below the axis there are as many as fit.
    chart.x_labels = names
    chart.x_labels_major = names[:: -(-len(names) * LABEL // width)]
    drawn = ET.fromstring(chart.render())  # noqa: S314  our own
    svg = _clean(drawn, f"{title}. {summary}", series)
    rows = list(zip(names, report.timeline, strict=True))
    return Plot(name=name, title=title, summary=summary, svg=svg, series=series, rows=rows)


def _series(**names: str) -> list[Series]:
    return [Series(column=labels.BY_ATTRIBUTE[attribute], name=name) for attribute, name in names.items()]


def _lines_of_times(values: Values, options: Options) -> Any:
    # Small values are raised to the shortest tick: a logarithmic axis has no zero.
    rows = {
        name: [value if value is None else max(value, _SHORTEST) for value in row]
        for name, row in values.items()
    }
    there = [value for row in rows.values() for value in row if value is not None] or [1.0, 60.0]
    low, high = min(there) / 1.2, max(there) * 1.2
    while len(ticks := [time for time in _TIMES if low <= time <= high]) < 2:
        low, high = low / 1.5, high * 1.5
    chart = load_pygal().Line(
        **options, logarithmic=True, range=(low, high), formatter=labels.duration, allow_interruptions=True
    )
    every = -(-len(ticks) // 7)
    chart.y_labels = [{"label": _TIMES[time], "value": time} for time in ticks[::every]]
    return _with(chart, rows)


def _bars(rows: Values, options: Options) -> Any:
    most = max((sum(value or 0 for value in slot) for slot in zip(*rows.values(), strict=True)), default=0)
    return _with(load_pygal().StackedBar(**options, **_whole(most)), rows)


def _line_of_counts(rows: Values, options: Options) -> Any:
    most = max((value or 0 for row in rows.values() for value in row), default=0)
    return _with(load_pygal().Line(**options, **_whole(most)), rows)


def _whole(most: float) -> Options:
    """Return the options of an axis with a few whole numbers from 0."""
    step = _step(max(most, 1) / 5)
    ticks = [number * step for number in range(int(-(-max(most, 1) // step)) + 1)]
    return {"formatter": _count, "y_labels": ticks, "range": (0, ticks[-1])}


def _step(least: float) -> int:
    """Round up to 1, 2 or 5 times a power of ten."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= least:
                return step * size
        size *= 10


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _with(chart: Any, rows: Values) -> Any:
    for name, values in rows.items():
        chart.add(name, values)
    return chart


def _options(width: int) -> Options:
    return {
        "width": width,
        "height": HEIGHT,
        "margin": 8,
        "margin_right": 40,
        "js": [],
        "css": [],
        "show_legend": False,
        "show_minor_x_labels": False,
        "truncate_label": -1,
        "dots_size": 3,
        "style": load_pygal().style.Style(label_font_size=15, major_label_font_size=15),
    }


def load_pygal() -> Any:
    """Import pygal, which most processes never need."""
    import pygal

    # It installs an outdated import hook, about which Python warns at every later import.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


# Cleaning pygal's drawing


def _clean(root: ET.Element, told: str, series: Sequence[Series]) -> str:
    ET.register_namespace("", SVG)
    for parent in list(root.iter()):
        for child in list(parent):
            if _tag(child) in {"style", "script", "defs", "title"} or "tooltip-overlay" in _classes(child):
                parent.remove(child)
    for place, each in enumerate(series):
        for group in root.iter(f"{{{SVG}}}g"):
            if f"serie-{place}" in _classes(group):
                group.set("class", f"series look-{each.column.attribute}")
                _say_what_is_shown(group, each.name)
    for element in root.iter():
        for attribute in ("id", "style"):
            element.attrib.pop(attribute, None)
        for attribute in _PLACES & set(element.attrib):
            element.set(attribute, _shorter(element.attrib[attribute]))
    _drop_empty(root)
    root.set("class", "drawing")
    root.set("role", "img")
    root.set("aria-label", f"{told} The figures are in the table below.")
    return ET.tostring(root, encoding="unicode")


def _say_what_is_shown(group: ET.Element, name: str) -> None:
    """Give each shape a title, which browsers show as a tooltip."""
    for parent in group.iter():
        found = {_classes(child): child for child in parent if _tag(child) == "desc"}
        if not found:
            continue
        value, when = found.get(("value",)), found.get(("x_label",))
        for child in found.values():
            parent.remove(child)
        said = f"{name}: {'' if value is None else value.text}"
        title = ET.Element(f"{{{SVG}}}title")
        title.text = said if when is None else f"{when.text}, {said}"
        parent.insert(0, title)


def _drop_empty(element: ET.Element) -> None:
    for child in list(element):
        _drop_empty(child)
        if _tag(child) == "g" and not len(child):
            element.remove(child)


def _shorter(places: str) -> str:
    """Round coordinates to a tenth of a point, which is the least that can be seen."""
    return re.sub(r"(\d\.\d)\d+", r"\1", places)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _classes(element: ET.Element) -> tuple[str, ...]:
    return tuple(element.get("class", "").split())
