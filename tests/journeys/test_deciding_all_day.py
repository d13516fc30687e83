"""The inbox of somebody who decides all day: several requests at once, and what is new in the background."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, Locator, Page, expect

from approvals import deciding
from approvals.database.threads import in_database
from tests import factories as make
from tests.journeys.test_inbox_page import NARROW, POOR_CONTRAST, live, logged_in, opened, outcome, row
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(180),
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]


@pytest.fixture
async def ravi(stack: Any) -> User:
    return await in_database(make.user, "ravi")


@pytest.fixture
async def at_work(page: Page, server: Server, ravi: User) -> Page:
    """Ravi, logged in, at the inbox."""
    return await logged_in(page, server, ravi)


def box(page: Page, title: str) -> Locator:
    return row(page, title).get_by_role("checkbox")


async def refunds(count: int, *people: User, **terms: Any) -> list[str]:
    return [
        await opened(
            f"Refund {n}",
            assignees=people,
            arguments={"order": n, "currency": "EUR"},
            timeout=600.0 + n,
            **terms,
        )
        for n in range(count)
    ]


# Several at once


async def test_ticked_rows_are_decided_together(at_work: Page, ravi: User) -> None:
    """The bar counts them; a row that changes stays ticked, one that closes is not any more; the way back
    keeps the filters."""
    nina = await in_database(make.user, "nina")
    requests = await refunds(4, ravi, nina, required=2)
    await opened("Not mine", assignees=[nina], requester=ravi)
    await at_work.reload()
    await live(at_work)
    bar = at_work.get_by_role("form", name="Decide several at once")
    await expect(bar).to_be_hidden()
    await expect(box(at_work, "Not mine")).to_have_count(0)
    await at_work.get_by_label("Search requests").fill("Refund")
    await expect(at_work).to_have_url(re.compile(r"q=Refund"))
    await expect(at_work.locator("#rows li")).to_have_count(4)
    await box(at_work, "Refund 0").check()
    await expect(bar).to_contain_text("1 selected")
    await box(at_work, "Refund 3").click(modifiers=["Shift"])
    await expect(bar).to_contain_text("4 selected")

    await deciding.adecide(make.actor(nina), requests[1], "approve")
    await deciding.adecide(make.actor(nina), requests[0], "reject")
    await expect(row(at_work, "Refund 0")).to_contain_text("Rejected by nina")
    await expect(bar).to_contain_text("3 selected")
    await expect(box(at_work, "Refund 1")).to_be_checked()
    await bar.get_by_role("button", name="Select none").click()
    await expect(bar).to_be_hidden()
    await row(at_work, "Refund 1").locator("a").focus()
    await at_work.keyboard.press("x")
    await expect(bar).to_contain_text("1 selected")
    await bar.get_by_role("button", name="Select all shown").click()
    await expect(bar).to_contain_text("3 selected")

    await bar.get_by_role("button", name="Decide them").click()
    await expect(at_work.get_by_role("heading", name="Decide 3 requests")).to_be_visible()
    await expect(at_work.get_by_role("heading", name="3 requests that differ in order")).to_be_visible()
    await at_work.get_by_role("checkbox", name="Include Refund 2").uncheck()
    await at_work.get_by_label("Note").fill("Not this month")
    await at_work.get_by_role("button", name="Reject 2 of 3").click()
    await expect(at_work.get_by_role("heading", name="2 recorded")).to_be_visible()
    for n, ended in ((1, "rejected"), (2, "pending"), (3, "rejected")):
        assert (await outcome(requests[n])).status == ended
    assert (await outcome(requests[3])).comment == "Not this month"
    await at_work.get_by_role("link", name="Back to the inbox").click()
    await expect(at_work).to_have_url(re.compile(r"/\?(.*&)?q=Refund$"))
    await expect(at_work.locator("#rows .title")).to_have_text(["Refund 2"])


async def test_several_are_decided_without_scripts(browser: Browser, server: Server, ravi: User) -> None:
    """On a narrow screen, which nothing is wider than; what matters much wants its tick."""
    requests = await refunds(2, ravi, severity="high", details="word" * 60)
    context = await browser.new_context(java_script_enabled=False, viewport=NARROW)  # type: ignore[arg-type]
    page = await logged_in(await context.new_page(), server, ravi)
    for n in range(2):
        await box(page, f"Refund {n}").check()
    await page.get_by_role("button", name="Decide the ticked").click()
    await page.get_by_role("button", name="Approve all 2").click()
    await expect(page.get_by_role("heading", name="Decide 2 requests")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    await page.get_by_label("I have read what will happen").check()
    await page.get_by_role("button", name="Approve all 2").click()
    await expect(page.get_by_role("heading", name="2 recorded")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    await context.close()
    assert [(await outcome(request)).approved for request in requests] == [True, True]


async def test_no_more_than_a_hundred_are_ticked(at_work: Page, server: Server, ravi: User) -> None:
    def many() -> None:
        for n in range(102):
            make.approval(f"Number {n}", assignees=[ravi])

    await in_database(many)
    await at_work.goto(f"{server.url}/?limit=200")
    await box(at_work, "Number 101").check()
    bar = at_work.get_by_role("form", name="Decide several at once")
    await bar.get_by_role("button", name="Select all shown").click()
    await expect(bar).to_contain_text("100 selected")
    await box(at_work, "Number 101").check()
    await expect(bar).to_contain_text("101 selected: at most 100 can be decided at once")
    await expect(bar.get_by_role("button", name="Decide them")).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_of_several_has_contrast(
    browser: Browser, server: Server, ravi: User, scheme: Any
) -> None:
    nina = await in_database(make.user, "nina")
    requests = await refunds(2, ravi, severity="high")
    requests += [
        await opened("Delete", assignees=[ravi], arguments={"a": "\u202e"}),
        await opened("Gone", assignees=[nina]),
    ]
    requests += [await opened("Hers", assignees=[nina], requester=ravi)]
    context = await browser.new_context(color_scheme=scheme)
    page = await logged_in(await context.new_page(), server, ravi)
    await page.goto(f"{server.url}/decide/?{'&'.join(f'id={request}' for request in requests)}")
    assert await page.evaluate(POOR_CONTRAST) == []
    await page.get_by_role("button", name="Reject all 3").click()
    await expect(page.get_by_role("heading", name="3 recorded")).to_be_visible()
    assert await page.evaluate(POOR_CONTRAST) == []
    await context.close()
