"""Plots of a report as SVG, drawn by pygal on the server and embedded in the page.

Of pygal's drawing we keep shapes, text and classes: no style, script or id. So it fits any
Content-Security-Policy, and a stylesheet (`report.css`) has its colours for light, dark and print. The title
of each shape says what it shows; each plot comes with its figures, as a table.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from approvals.reports import labels
from approvals.reports.figures import Figures, Report, Slot

WIDTH, HALF, HEIGHT = 900, 540, 300
# Width of a label below the axis.
LABEL = 150
SVG = "http://www.w3.org/2000/svg"

# Ticks of logarithmic axes: times to decision range from seconds to weeks.
_TIMES = {
    0.01: "0.01 s",
    0.1: "0.1 s",
    1: "1 s",
    3: "3 s",
    10: "10 s",
    30: "30 s",
    60: "1 min",
    300: "5 min",
    900: "15 min",
    3_600: "1 h",
    10_800: "3 h",
    43_200: "12 h",
    86_400: "1 d",
    259_200: "3 d",
    604_800: "7 d",
    1_209_600: "14 d",
    2_592_000: "30 d",
    7_776_000: "90 d",
    31_536_000: "1 y",
    94_608_000: "3 y",
    315_360_000: "10 y",
}
_SHORTEST = 0.01
_PLACES = {"d", "x", "y", "cx", "cy", "width", "height", "transform"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line or bar of a plot. `look` is a class in the stylesheet."""

    column: labels.Column
    look: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawn plot. `svg` is safe HTML: its text is escaped. `rows` are the figures that it shows."""

    name: str
    title: str
    summary: str
    svg: str
    series: Sequence[Series]
    rows: Sequence[tuple[str, Slot]]


Options = dict[str, Any]
Draw = Callable[[Sequence[Figures], Sequence[Series], Options], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a plot shows. `summary` has placeholders for "on" a "day", or "in" a "week"."""

    name: str
    title: str
    summary: str
    series: Sequence[Series]
    draw: Draw
    width: int = WIDTH


def plots(report: Report) -> list[Plot]:
    """Draw all plots of the report."""
    return [_plot(report, sketch) for sketch in _sketches()]


def _sketches() -> Iterator[Sketch]:
    yield Sketch(
        name="times",
        title="Time to decision",
        summary="How long people took, from opening to decision, for what was decided {at} each {slot}.",
        series=_series(median="Median", p90="p90: nine in ten were quicker", p95="p95"),
        draw=_lines_of_times,
    )
    yield Sketch(
        name="outcomes",
        title="Outcomes",
        summary="What was closed {at} each {slot}, by how it ended.",
        series=_series(
            approved="Approved",
            rejected="Rejected",
            answered="Answered",
            timed_out="Timed out",
            withdrawn="Withdrawn",
        ),
        draw=_bars,
    )
    yield Sketch(
        name="backlog",
        title="Backlog",
        summary="How many requests were open at the end of each {slot}.",
        series=_series(backlog="Open"),
        draw=_line_of_counts,
        width=HALF,
    )
    yield Sketch(
        name="ages",
        title="Age of the backlog",
        summary="How long what was open at the end of each {slot} had been open by then.",
        series=_series(mean_age="Mean", oldest="Oldest"),
        draw=_lines_of_times,
        width=HALF,
    )


def _plot(report: Report, sketch: Sketch) -> Plot:
    slots = report.timeline
    at, slot = ("on", "day") if report.days else ("in", "week")
    summary = sketch.summary.format(at=at, slot=slot)
    names = [labels.days(slot.period) for slot in slots]
    chart = sketch.draw([slot.figures for slot in slots], sketch.series, _options(sketch.width))
    # All labels are in the shapes' titles; below the axis there are as many as fit.
    chart.x_labels = names
    chart.x_labels_major = names[:: -(-len(names) * LABEL // sketch.width)]
    drawn = ET.fromstring(chart.render())  # noqa: S314  our own
    return Plot(
        name=sketch.name,
        title=sketch.title,
        summary=summary,
        svg=_clean(drawn, f"{sketch.title}. {summary}", sketch.series),
        series=sketch.series,
        rows=list(zip(names, slots, strict=True)),
    )


def _series(**names: str) -> list[Series]:
    by_attribute = {column.attribute: column for column in labels.COLUMNS}
    return [
        Series(column=by_attribute[attribute], look=attribute, name=name) for attribute, name in names.items()
    ]


def _lines_of_times(figures: Sequence[Figures], series: Sequence[Series], options: Options) -> Any:
    rows = {each.name: [_at_least(getattr(one, each.look)) for one in figures] for each in series}
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


def _at_least(seconds: float | None) -> float | None:
    """Raise small values to the shortest tick: a logarithmic axis has no zero."""
    return None if seconds is None else max(seconds, _SHORTEST)


def _bars(figures: Sequence[Figures], series: Sequence[Series], options: Options) -> Any:
    axis = _whole(figures, series, stacked=True)
    return _with(load_pygal().StackedBar(**options, **axis), _counts(figures, series))


def _line_of_counts(figures: Sequence[Figures], series: Sequence[Series], options: Options) -> Any:
    return _with(load_pygal().Line(**options, **_whole(figures, series)), _counts(figures, series))


def _counts(figures: Sequence[Figures], series: Sequence[Series]) -> dict[str, list[Any]]:
    return {each.name: [getattr(one, each.look) for one in figures] for each in series}


def _whole(figures: Sequence[Figures], series: Sequence[Series], *, stacked: bool = False) -> dict[str, Any]:
    """Return the options of an axis with a few whole numbers from 0."""
    together = sum if stacked else max
    most = max((together(getattr(one, each.look) for each in series) for one in figures), default=0)
    step = _step(max(most, 1) / 5)
    ticks = [number * step for number in range(-(-max(most, 1) // step) + 1)]
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


def _with(chart: Any, rows: dict[str, list[Any]]) -> Any:
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
                group.set("class", f"series look-{each.look}")
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


def levels(hours: Sequence[Sequence[int]], count: int = 8) -> Iterator[list[tuple[int, int]]]:
    """Yield, for each day of the week, each hour's number and its shade from 0 to `count` (the most)."""
    most = max(map(max, hours), default=0) or 1
    for day in hours:
        yield [(number, -(-number * count // most)) for number in day]
