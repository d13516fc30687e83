"""A group of requests at a real browser: one row of the inbox, which lives, and one page that decides."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, Locator, Page, expect

from approvals import deciding
from approvals.database.threads import in_database
from tests import factories as make
from tests.journeys.test_inbox_page import POOR_CONTRAST, live, logged_in, opened, outcome, row
from tests.marks import both_databases
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(180),
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

GROUP = {"key": "turn-7", "title": "Three calls"}


@pytest.fixture
async def ravi(stack: Any) -> User:
    return await in_database(make.user, "ravi")


@pytest.fixture
async def at_work(page: Page, server: Server, ravi: User) -> Page:
    return await logged_in(page, server, ravi)


async def call(name: str, ravi: User, **terms: Any) -> str:
    return await opened(
        f"Call {name}", **{"assignees": [ravi], "group": GROUP, "arguments": {"tool": name}, **terms}
    )


def titles(page: Page) -> Locator:
    return page.locator("#rows li:not(.closed) .title")


@both_databases
async def test_the_row_of_a_group_follows_what_opens_closes_and_is_handed_on(
    at_work: Page, ravi: User
) -> None:
    """Without reloading: the second request makes the row, each changes its count, the last is itself."""
    await live(at_work)
    actor = make.actor(ravi)
    first = await call("search", ravi, timeout=600)
    await expect(titles(at_work)).to_have_text(["Call search"])
    second = await call("pay", ravi, timeout=900)
    await expect(titles(at_work)).to_have_text(["Three calls"])
    await expect(row(at_work, "Three calls")).to_contain_text("2 requests to decide")
    third = await call("post", ravi, timeout=900)
    await expect(row(at_work, "Three calls")).to_contain_text("3 requests to decide")
    await opened("Pay alone", assignees=[ravi], timeout=700)
    await expect(titles(at_work)).to_have_text(["Three calls", "Pay alone"])
    await deciding.adecide(actor, first, "approve")
    await expect(row(at_work, "Three calls")).to_contain_text("2 requests to decide")
    await expect(titles(at_work)).to_have_text(["Pay alone", "Three calls"])
    await in_database(make.user, "nina")
    await deciding.areassign(actor, second, ["nina"])
    await expect(titles(at_work)).to_have_text(["Pay alone", "Call post"])
    await deciding.areassign(actor, third, ["nina"])
    await expect(titles(at_work)).to_have_text(["Pay alone"])


async def test_all_at_once_closes_the_row_of_who_looks_at_the_list(
    at_work: Page, browser: Browser, server: Server, ravi: User
) -> None:
    for name in ("search", "pay", "post"):
        await call(name, ravi)
    await live(at_work)
    await expect(titles(at_work)).to_have_text(["Three calls"])
    context = await browser.new_context()
    try:
        elsewhere = await logged_in(await context.new_page(), server, ravi)
        await row(elsewhere, "Three calls").click()
        await expect(elsewhere.locator("h1")).to_have_text("Three calls")
        await expect(elsewhere.locator("article.member")).to_have_count(3)
        await elsewhere.get_by_role("button", name="Approve all 3").click()
        await expect(elsewhere.get_by_role("status").filter(has_text="3 recorded.")).to_be_visible()
    finally:
        await context.close()
    await expect(titles(at_work)).to_have_count(0)
    await expect(at_work.locator("#empty")).to_be_visible()


@both_databases
async def test_a_group_is_decided_without_scripts(browser: Browser, server: Server, ravi: User) -> None:
    """On a narrow screen, each by itself."""
    first, second = [await call(name, ravi) for name in ("search", "pay")]
    context = await browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    try:
        page = await logged_in(await context.new_page(), server, ravi)
        await page.get_by_role("link", name="Three calls").click()
        card = page.locator(f"#request-{second}")
        await card.get_by_label("Note").fill("Not now.")
        await card.get_by_role("button", name="Reject").click()
        await expect(page.locator(f"#request-{second}")).to_contain_text("Rejected by ravi")
        await expect(page.get_by_role("button", name="Approve all")).to_have_count(0)
        assert ((await outcome(second)).status, (await outcome(second)).comment) == ("rejected", "Not now.")
        assert (await outcome(first)).status == "pending"
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
    finally:
        await context.close()


async def test_the_keys_decide_all_with_a_visible_confirmation(at_work: Page, ravi: User) -> None:
    requests = [await call(name, ravi) for name in ("search", "pay")]
    await at_work.reload()
    await row(at_work, "Three calls").click()
    await expect(at_work.locator("h1")).to_have_text("Three calls")
    await at_work.keyboard.press("a")
    await expect(at_work.get_by_text("Press Enter to approve all 2, or move on.")).to_be_visible()
    await at_work.keyboard.press("Enter")
    await expect(at_work.get_by_role("status").filter(has_text="2 recorded.")).to_be_visible()
    assert [(await outcome(request)).status for request in requests] == ["approved"] * 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_contrast_and_fits_a_narrow_screen(
    browser: Browser, server: Server, ravi: User, scheme: Any
) -> None:
    """Before a decision and after it, with what was refused."""
    nina = await in_database(make.user, "nina")
    await call("search", ravi, timeout=50, severity="high", details="`x` *y*")
    lost = await call("pay", ravi, assignees=[ravi, nina])
    context = await browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740})
    try:
        page = await logged_in(await context.new_page(), server, ravi)
        await page.get_by_role("link", name="Three calls").click()
        await expect(page.locator("article.member")).to_have_count(2)
        assert await page.evaluate(POOR_CONTRAST) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await deciding.adecide(make.actor(nina), lost, "reject", comment="No.")
        await page.get_by_label("I have read what will happen").last.check()
        await page.get_by_role("button", name="Approve all 2").click()
        await expect(page.get_by_text("1 recorded, 1 not recorded.")).to_be_visible()
        assert await page.evaluate(POOR_CONTRAST) == []
    finally:
        await context.close()
