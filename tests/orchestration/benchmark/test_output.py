"""Numbers in the terminal, and the charts as one SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from orchestration.benchmark.output import cell, number, svg
from orchestration.benchmark.report import Chart

LINES = Chart(
    title="CPU & waits",
    kind="lines",
    unit="% of a core",
    ticks=("100", "1,000"),
    series={"Sayso": (0.01, 0.01), "polling": (2.4, None)},
    across="waits",
    logarithmic=True,
)
STACKED = Chart(
    title="Where the time goes",
    kind="stacked",
    unit="ms",
    ticks=("Sayso", "floor"),
    series={"commit": (1.0, 0.5), "read": (0.4, 0.0)},
)
BARS = Chart(
    title="Decisions",
    kind="bars",
    unit="1/s",
    ticks=("1", "8"),
    series={"Sayso": (9.0, 8.0)},
)


@pytest.mark.parametrize("chart", [LINES, STACKED, BARS], ids=lambda chart: chart.kind)
def test_a_chart_says_what_it_shows(chart: Chart) -> None:
    words = "".join(ET.fromstring(svg([chart])).itertext())
    assert chart.title in words
    assert chart.unit in words
    for name in (*chart.ticks, *chart.series):
        assert name in words


def test_charts_stand_one_below_the_other() -> None:
    page = ET.fromstring(svg([LINES, STACKED, BARS]))
    places = [float(chart.get("y", "")) for chart in page]
    heights = [float(chart.get("height", "")) for chart in page]
    assert places == [0, heights[0], heights[0] + heights[1]]
    assert float(page.get("height", "")) == sum(heights)


def test_nothing_in_it_runs_or_is_fetched() -> None:
    """So every viewer shows all of it, and a page with a strict policy may embed it."""
    page = ET.fromstring(svg([LINES, STACKED, BARS]))
    tags = {element.tag.rpartition("}")[2] for element in page.iter()}
    assert not tags & {"script", "image", "foreignObject", "a"}
    assert "@import" not in "".join(page.itertext())


def test_a_chart_of_nothing_but_zeros_can_be_drawn() -> None:
    nothing = {"Sayso": (0.0, 0.0)}
    zeros = Chart(title="Idle", kind="lines", unit="%", ticks=("1", "2"), series=nothing, logarithmic=True)
    assert "Idle" in svg([zeros])


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,234"), (99.96, "100")]
)
def test_numbers_have_three_digits_that_count(value: float, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (12000, "12,000"), (1.5, "1.5"), ("Sayso", "Sayso")]
)
def test_cells_are_written_for_people(value: float | str | None, words: str) -> None:
    assert cell(value) == words
