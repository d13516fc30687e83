"""Plots: what any Content-Security-Policy lets pass, with words for those who do not look."""

from __future__ import annotations

import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from approvals.domain.lifecycle import Status
from approvals.reports import By, Period, report
from approvals.reports.plots import SVG, plots
from approvals.reports.presentation import present
from tests.approvals.reports.records import Asked, after, put_on_record

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

DAY = 86_400
PERIOD = Period(since=after(0), until=after(3 * DAY))


def some() -> None:
    put_on_record(
        [
            *(
                Asked(opened=number * 9_000, closed=number * 9_000 + 4 ** (number % 9))
                for number in range(25)
            ),
            Asked(opened=5, closed=DAY, status=Status.TIMED_OUT),
            Asked(opened=7),
        ]
    )


def test_no_plot_has_styles_scripts_or_ids() -> None:
    some()
    for plot in plots(report(PERIOD)):
        for element in ET.fromstring(plot.svg).iter():
            assert element.tag.rpartition("}")[2] in {"svg", "g", "rect", "path", "circle", "text", "title"}
            assert not {"style", "id"} & set(element.attrib)
            assert not [name for name in element.attrib if name.startswith("on") or "href" in name]


def test_each_plot_has_a_name_and_its_figures_as_words() -> None:
    """Each shape says what it shows, and a table has the same."""
    some()
    by_name = {plot.name: plot for plot in plots(report(PERIOD))}
    assert list(by_name) == ["times", "outcomes", "backlog", "ages"]
    for plot in by_name.values():
        root = ET.fromstring(plot.svg)
        assert root.get("role") == "img"
        assert plot.title in (root.get("aria-label") or "")
        assert len(plot.rows) == 3
    said = [title.text for title in ET.fromstring(by_name["outcomes"].svg).iter(f"{{{SVG}}}title")]
    assert "2026-03-03, Timed out: 1" in said
    name, slot = by_name["outcomes"].rows[1]
    assert name == "2026-03-03"
    assert [each.column.text(slot.figures) for each in by_name["outcomes"].series][1:] == ["0", "0", "1", "0"]


@pytest.mark.parametrize("by", list(By))
def test_an_empty_report_has_empty_plots(by: By) -> None:
    assert len(plots(report(PERIOD, by))) == 4


def test_one_and_many_of_everything_can_be_drawn() -> None:
    """From a microsecond to years, from one request to thousands."""
    put_on_record(Asked(opened=0, closed=0.000001) for _ in range(2_000))
    put_on_record([Asked(opened=0, closed=300 * DAY)])
    long = Period(since=after(0), until=after(400 * DAY))
    for by in (By.DAY, By.KIND):
        assert len(plots(report(long, by))) == 4


def test_drawing_leaves_no_import_hook_of_an_old_kind() -> None:
    """Python warns about one at every later import."""
    plots(report(PERIOD))
    assert not [hook for hook in sys.meta_path if type(hook).__module__.startswith("pygal")]


def test_shades_grow_with_what_they_stand_for() -> None:
    for hours, levels in (([[0, 1, 50], [100, 99, 12]], [[0, 1, 4], [8, 8, 1]]), ([[0, 0]], [[0, 0]])):
        week = present(replace(report(PERIOD), hours=hours))["week"]
        assert [[(hour.number, hour.level) for hour in day] for _, day in week] == [
            list(zip(*each, strict=True)) for each in zip(hours, levels, strict=True)
        ]
