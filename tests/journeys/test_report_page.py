"""The report page in a real browser: by permission and link, in light, dark, narrow and print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from approvals import deciding
from approvals.database.threads import in_database
from tests import factories as make
from tests.approvals.reports.records import Asked, put_on_record
from tests.connections import session_of
from tests.processes import Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.one_stack,
    pytest.mark.django_db,
    pytest.mark.usefixtures("shared_server"),
]


def decided(count: int) -> None:
    rita = make.reviewer("rita")
    for number in range(count):
        deciding.decide(make.actor(rita), make.approval(f"Refund {number}"), "approve")


@pytest.fixture
async def reading(server: Server, page: Page) -> Page:
    """The page, open for an auditor."""
    await in_database(decided, 3)
    auditor = await in_database(
        lambda: make.user("ada", may=("view_report", "view_humanrequest"), is_staff=True)
    )
    key = await in_database(session_of, auditor)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    await page.goto(f"{server.url}/admin/")
    await page.locator("#content-main").get_by_role("link", name="Reports").click()
    await expect(page.get_by_role("heading", name="How decisions flow")).to_be_visible()
    return page


async def test_an_auditor_reads_a_report_and_follows_a_figure_to_its_rows(reading: Page) -> None:
    """Nothing on the way violates the policy: the `page` fixture sees to that."""
    await reading.get_by_role("combobox", name="By").select_option(label="Approver")
    await reading.get_by_role("button", name="Show").click()
    await expect(reading).to_have_url(re.compile("by=approver"))
    row = reading.get_by_role("row", name=re.compile("^rita"))
    await row.get_by_role("link", name="3", exact=True).click()
    await expect(reading.locator("#result_list tbody tr")).to_have_count(3)
    await reading.locator("#result_list").get_by_role("link").first.click()
    await expect(reading.get_by_text("Approved by rita").first).to_be_visible()


async def test_an_hour_of_the_week_leads_to_what_was_opened_in_it(reading: Page) -> None:
    hour = reading.locator(".week").get_by_role("link", name=re.compile(r"UTC: \d opened$")).first
    count = int(await hour.inner_text())
    await hour.click()
    await expect(reading.locator("#result_list tbody tr")).to_have_count(count)
    await expect(reading.get_by_role("link", name=re.compile("day, .* UTC$"))).to_be_visible()


async def test_each_plot_has_a_name_and_its_figures_in_a_table(reading: Page) -> None:
    for name in ("Time to decision", "Outcomes", "Backlog", "Age of the backlog"):
        plot = reading.locator("section", has=reading.get_by_role("heading", name=name, exact=True))
        await expect(plot.get_by_role("img")).to_have_accessible_name(re.compile(f"^{name}"))
        await plot.get_by_text("The figures behind it").click()
        await expect(plot.get_by_role("table")).to_be_visible()


async def test_plots_have_the_colours_of_the_scheme_and_fit_a_telephone(reading: Page) -> None:
    """Colours come from the stylesheet alone, so light and dark differ; no page is wider than its window."""
    found = {}
    for scheme in ("light", "dark"):
        await reading.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        bar = reading.locator(".look-approved .rect").last
        found[scheme] = await bar.evaluate("bar => getComputedStyle(bar).fill")
    assert found["light"] != found["dark"]
    await reading.set_viewport_size({"width": 360, "height": 780})
    assert await reading.evaluate("document.documentElement.scrollWidth") <= 360


async def test_the_page_prints_as_a_report_alone(reading: Page) -> None:
    await reading.emulate_media(media="print", color_scheme="dark")
    await expect(reading.locator(".tiles")).to_be_visible()
    await expect(reading.locator(".choose")).to_be_hidden()
    await expect(reading.locator("#nav-sidebar")).to_be_hidden()
    paper = await reading.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"


async def test_the_file_looks_like_the_page_and_needs_no_server(reading: Page, tmp_path: Path) -> None:
    async with reading.expect_download() as download:
        await reading.get_by_role("link", name="HTML", exact=True).click()
    path = tmp_path / "report.html"
    await (await download.value).save_as(path)
    await reading.context.set_offline(True)
    await reading.goto(path.as_uri())
    await expect(reading.get_by_role("heading", name="How decisions flow")).to_be_visible()
    await expect(reading.get_by_role("img", name=re.compile("^Outcomes"))).to_be_visible()


async def test_much_is_drawn_without_a_shift_or_a_wide_page(reading: Page) -> None:
    """Two hundred days, by day."""
    await in_database(
        put_on_record,
        [Asked(opened=each * 40_000, closed=each * 40_000 + 7 ** (each % 7)) for each in range(400)],
    )
    await reading.goto(reading.url.split("?")[0] + "?since=2026-03-02&until=2026-09-20&by=day")
    await expect(reading.locator(".plot-outcomes .rect").first).to_be_visible()
    assert await reading.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
