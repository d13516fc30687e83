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
from tests.journeys.test_inbox_page import HIDE, NARROW, POOR_CONTRAST, live, logged_in, opened, outcome, row
from tests.looking import until_seen
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
    await opened("Not searched for", assignees=[ravi])
    await at_work.reload()
    await live(at_work)
    await expect(at_work.locator("#rows li")).to_have_count(5)
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

    await row(at_work, "Refund 1").locator("a").focus()
    await at_work.keyboard.press("d")
    await at_work.keyboard.press("Enter")
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


async def test_enter_in_a_box_decides_nothing(at_work: Page, server: Server, ravi: User) -> None:
    requests = await refunds(2, ravi, severity="high")
    await at_work.goto(f"{server.url}/decide/?{'&'.join(f'id={request}' for request in requests)}")
    await at_work.get_by_label("I have read what will happen").check()
    for name in ("Include Refund 0", "I have read what will happen"):
        await at_work.get_by_role("checkbox", name=name).press("Enter")
    await at_work.get_by_role("button", name="Reject all 2").click()
    await expect(at_work.get_by_role("heading", name="2 recorded")).to_be_visible()
    assert [(await outcome(request)).approved for request in requests] == [False, False]


async def test_buttons_hints_and_the_tick_follow_what_is_left_ticked(
    at_work: Page, server: Server, ravi: User
) -> None:
    """The tick is for what matters much: without any such request left, one approves without it."""
    requests = await refunds(2, ravi)
    requests.append(await opened("Wipe", assignees=[ravi], arguments={"disk": "a"}, severity="high"))
    await at_work.goto(f"{server.url}/decide/?{'&'.join(f'id={request}' for request in requests)}")
    read = at_work.get_by_label("I have read what will happen")
    hint = at_work.locator(".armed-hint")
    await at_work.keyboard.press("r")
    await expect(at_work.get_by_label("Note")).to_be_focused()
    await at_work.keyboard.press("Tab")
    await expect(hint).to_have_text("Press Enter to reject all 3, or move on.")
    await at_work.keyboard.press("Escape")
    wipe = at_work.get_by_role("checkbox", name="Include Wipe")
    await wipe.uncheck()
    await expect(read).not_to_have_attribute("required", "")
    await wipe.check()
    await expect(read).to_have_attribute("required", "")
    await wipe.uncheck()
    await at_work.get_by_role("checkbox", name="Include Refund 1").uncheck()
    await at_work.locator("#title").focus()
    await at_work.keyboard.press("a")
    await expect(hint).to_have_text("Press Enter to approve 1 of 3, or move on.")
    await at_work.keyboard.press("Enter")
    await expect(at_work.get_by_role("heading", name="1 recorded")).to_be_visible()
    assert [(await outcome(request)).status for request in requests] == ["approved", "pending", "pending"]


async def test_no_more_than_a_hundred_are_ticked(at_work: Page, server: Server, ravi: User) -> None:
    def many() -> None:
        for n in range(102):
            make.approval(f"Number {n}", assignees=[ravi])

    await in_database(many)
    await at_work.goto(f"{server.url}/?limit=200")
    await box(at_work, "Number 101").check()
    bar = at_work.get_by_role("form", name="Decide several at once")
    await bar.get_by_role("button", name="Select the first 100").click()
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


# New in the background

# Keeps notifications instead of showing them, counts what the connection has said, and closes it on request.
STAND_IN = """
    window.notices = [];
    window.heard = {};
    window.asked = 0;
    window.Notification = class extends EventTarget {
        static permission = "default";
        static async requestPermission() {
            window.asked += 1;
            return (Notification.permission = "denied");
        }
        constructor(title, options) {
            super();
            window.notices.push(Object.assign(this, { title, ...options, open: true }));
        }
        close() { this.open = false; }
    };
    const count = ({ detail: { type } }) => (heard[type] = (heard[type] ?? 0) + 1);
    document.addEventListener("sayso:heard", count);
    const Socket = WebSocket;
    window.WebSocket = class extends Socket {
        constructor(...given) {
            super(...given);
            window.socket = this;
        }
    };"""
SWITCHED_ON = """localStorage.setItem("sayso.notices", "on"); Notification.permission = "granted";"""


@pytest.fixture
async def told(page: Page, server: Server, ravi: User) -> Page:
    """Ravi, who has switched on notifications, at the inbox."""
    await page.add_init_script(STAND_IN + SWITCHED_ON)
    await page.clock.install()
    await logged_in(page, server, ravi)
    await live(page)
    return page


async def look_away(page: Page) -> None:
    """From now on, time passes only where the test lets it."""
    await page.evaluate(HIDE, True)
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))


async def heard(page: Page, kind: str, times: int) -> None:
    """Wait for so many messages of this kind, then let the time pass that the page waits for more."""
    await until_seen(lambda: page.evaluate(f"heard.{kind} >= {times}"))
    await page.clock.run_for(1000)


async def notices(page: Page) -> list[list[Any]]:
    return await page.evaluate("notices.map(({ title, body, open }) => [title, body, open])")  # type: ignore[no-any-return]


async def test_what_is_new_for_me_is_told_in_the_background(told: Page, ravi: User) -> None:
    """What others decide is not; hidden characters are marked; what closes again is taken back; whoever comes
    back has seen it."""
    nina = await in_database(make.user, "nina")
    await opened("While I look", assignees=[ravi])
    await expect(row(told, "While I look")).to_be_visible()
    await look_away(told)
    await opened("Hers", assignees=[nina], requester=ravi)
    first = await opened("Pay \u202etxt", assignees=[ravi, nina], requester=nina)
    await heard(told, "request_opened", 3)
    await expect(told).to_have_title("(2, 1 new) Inbox · Sayso")
    assert await notices(told) == [["Pay [U+202E]txt", "Asked by nina", True]]

    for n in range(4):
        await opened(f"Number {n}", assignees=[ravi], confidential=n == 1)
    await heard(told, "request_opened", 7)
    await expect(told).to_have_title("(6, 5 new) Inbox · Sayso")
    assert (await notices(told))[1] == ["4 new requests", "Number 0\nA confidential request\nNumber 2", True]

    await deciding.adecide(make.actor(nina), first, "approve")
    await heard(told, "request_closed", 1)
    await expect(told).to_have_title("(5, 4 new) Inbox · Sayso")
    assert [open_ for *_, open_ in await notices(told)] == [False, True]
    await told.evaluate(HIDE, False)
    await expect(told).to_have_title("(5) Inbox · Sayso")
    assert [open_ for *_, open_ in await notices(told)] == [False, False]


async def test_a_click_on_a_notification_opens_the_request(told: Page, ravi: User) -> None:
    """Also of one that was opened while there was no connection, that the list does not show, and of which
    the notification says nothing."""
    await look_away(told)
    await told.evaluate("socket.close()")
    await expect(told.locator(".pill")).to_have_text("Reconnecting")
    request = await opened("Pay", assignees=[ravi], confidential=True)
    await told.evaluate("document.querySelector('[type=search]').value = 'nothing'")
    await told.clock.run_for(1000)
    await heard(told, "snapshot", 2)
    await until_seen(lambda: notices(told))
    assert await notices(told) == [["A confidential request", "", True]]
    assert await told.evaluate("notices[0].tag") == request
    await told.evaluate("notices[0].dispatchEvent(new Event('click'))")
    await expect(told).to_have_url(re.compile(f"/requests/{request}/"))
    await expect(told.locator("#detail h1")).to_have_text("Pay")


async def test_notifications_are_switched_on_in_one_browser(page: Page, server: Server, ravi: User) -> None:
    """The browser is asked on the click alone; where it says no, the page says so, and the title counts."""
    await page.add_init_script(STAND_IN)
    at_work = await logged_in(page, server, ravi)

    await at_work.goto(f"{server.url}/preferences/")
    switch = at_work.get_by_label("Tell me what is new for me")
    await expect(switch).not_to_be_checked()
    await expect(switch).to_be_enabled()
    assert await at_work.evaluate("asked") == 0
    await switch.check()
    await expect(at_work.locator("#notices-state")).to_contain_text("This browser blocks notifications")
    assert await at_work.evaluate("asked") == 1
    await at_work.reload()
    await expect(switch).to_be_checked()

    await at_work.goto(server.url)
    await live(at_work)
    await at_work.evaluate(HIDE, True)
    await opened("Pay", assignees=[ravi])
    await expect(at_work).to_have_title("(1, 1 new) Inbox · Sayso")
    assert await notices(at_work) == []
    await at_work.goto(f"{server.url}/preferences/")
    await switch.uncheck()
    await expect(at_work.locator("#notices-state")).to_be_empty()
    await at_work.goto(server.url)
    await live(at_work)
    await at_work.evaluate(HIDE, True)
    await opened("Pay more", assignees=[ravi])
    await expect(at_work).to_have_title("(2) Inbox · Sayso")
