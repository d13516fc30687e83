"""People at a real browser: the inbox lives by itself, and one more act decides."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.async_api import Browser, Locator, Page, Route, expect

from approvals import deciding, delegations, gate, queries
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.web.pages.relative_times import time_left, time_since
from tests import factories as make
from tests.conftest import Serve
from tests.connections import session_of
from tests.looking import until_seen
from tests.marks import both_databases
from tests.patience import patience
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(180),
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

AMOUNT = {"type": "object", "properties": {"amount": {"type": "string", "pattern": "^[0-9.]+$"}}}
NARROW = {"width": 360, "height": 740}


@pytest.fixture
async def ravi(stack: Any) -> User:
    return await in_database(make.user, "ravi")


@pytest.fixture
async def at_work(page: Page, server: Server, ravi: User) -> Page:
    """Ravi, logged in; `page.goto("/")` leads to the server."""
    return await logged_in(page, server, ravi)


async def logged_in(page: Page, server: Server, person: User) -> Page:
    key = await in_database(session_of, person)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    await page.goto(server.url)
    return page


async def opened(*args: Any, **terms: Any) -> str:
    return await in_database(make.approval, *args, **terms)


async def outcome(request: str) -> Outcome:
    return await in_database(gate.outcome, request)


def row(page: Page, title: str) -> Locator:
    return page.locator("#rows li", has_text=title)


async def live(page: Page) -> None:
    await expect(page.locator(".pill")).to_have_text("Live")


# Live


@both_databases
async def test_new_requests_appear_and_closed_ones_stay_greyed_with_who_decided(
    at_work: Page, ravi: User
) -> None:
    """Without reloading; what other processes decide shows as well. A reload tidies up."""
    await live(at_work)
    await expect(at_work.get_by_text("Nothing waits for you.")).to_be_visible()
    nina = await in_database(make.user, "nina")
    later = await opened("Pay later", assignees=[ravi, nina], timeout=900)
    await expect(row(at_work, "Pay later")).to_be_visible()
    await opened("Pay sooner", assignees=[ravi], timeout=600)
    await expect(at_work.locator("#rows .title")).to_have_text(["Pay sooner", "Pay later"])
    assert (await at_work.title()).startswith("(2) ")

    await deciding.adecide(make.actor(nina), later, "reject")
    await expect(row(at_work, "Pay later")).to_contain_text("Rejected by nina")
    await expect(row(at_work, "Pay later")).to_have_class(re.compile("closed"))
    assert (await at_work.title()).startswith("(1) ")
    await at_work.reload()
    await expect(at_work.locator("#rows .title")).to_have_text(["Pay sooner"])


async def test_a_timeout_shows_by_itself(at_work: Page, ravi: User) -> None:
    await live(at_work)
    await opened("Pay now", assignees=[ravi], timeout=10)
    await expect(row(at_work, "Pay now")).to_contain_text(
        "Timed out, rejected by default", timeout=1000 * patience(60)
    )


async def test_the_last_fifth_of_its_time_is_urgent_and_not_by_colour_alone(
    at_work: Page, server: Server, ravi: User
) -> None:
    await opened("Pay now", assignees=[ravi], timeout=600)
    await at_work.clock.install()
    await at_work.goto(server.url)
    left = row(at_work, "Pay now").locator("time.left")
    await expect(left).to_have_class("left")
    await at_work.clock.fast_forward(500_000)
    await expect(left).to_have_class("left urgent")
    await expect(left).to_have_text(re.compile(r"^1 min \d\d s left$"))
    mark = await left.evaluate("each => getComputedStyle(each, '::before').content")
    assert "!" in mark


async def test_the_request_beside_the_list_changes_under_the_eyes_of_its_reader(
    at_work: Page, ravi: User
) -> None:
    """What is being typed stays for as long as it can be sent; a decision elsewhere replaces the form."""
    nina, olga = await in_database(make.user, "nina"), await in_database(make.user, "olga")
    origin = {"kind": "job", "id": "7"}
    request = await opened("Rotate", assignees=[ravi, nina, olga], required=3, origin=origin)
    await row(at_work, "Rotate").click()
    await at_work.get_by_label("Note").fill("Because of")
    await deciding.adecide(make.actor(nina), request, "approve")
    await expect(at_work.locator("#detail")).to_contain_text("1 of 3 so far")
    await expect(at_work.locator("#detail")).to_contain_text("olga, ravi (you); 2 are enough")
    other = await opened("Of the same job", assignees=[ravi, nina], origin=origin)
    beside = at_work.locator("[data-part=beside]")
    await expect(beside).to_contain_text("Of the same job")
    await beside.get_by_role("link").focus()
    another = await opened("Another of it", assignees=[ravi, nina], origin=origin)
    await expect(beside).to_contain_text("Another of it")
    await expect(beside.get_by_role("link", name="Of the same job")).to_be_focused()
    for each in (other, another):
        await deciding.adecide(make.actor(nina), each, "approve")
    await expect(beside).to_be_empty()
    await expect(at_work.get_by_label("Note")).to_have_value("Because of")
    await deciding.adecide(make.actor(olga), request, "reject", comment="Not today.")
    await expect(at_work.locator("#detail")).to_contain_text("Rejected by olga")
    await expect(at_work.locator("#detail")).to_contain_text("Not today.")
    await expect(at_work.get_by_role("button", name="Approve")).to_have_count(0)


async def test_what_is_said_about_an_open_request_shows_while_it_is_read(at_work: Page, ravi: User) -> None:
    """What is being typed stays. Also once the request is closed, and no list has it any more."""
    nina = make.actor(await in_database(make.user, "nina"))
    request = await opened("Rotate", assignees=[ravi, await in_database(User.objects.get, username="nina")])
    await row(at_work, "Rotate").click()
    comment, trail = at_work.get_by_label("Comment or question"), at_work.locator("[data-part=trail]")
    await comment.fill("I think")
    await deciding.acomment(nina, request, "Which key?", question=True)
    await expect(trail).to_contain_text("Question by nina")
    await expect(trail).to_contain_text("Which key?")
    await expect(at_work.locator("#announce")).to_contain_text("Question by nina")
    await deciding.adecide(nina, request, "reject")
    await expect(at_work.locator("#detail")).to_contain_text("Rejected by nina")
    await at_work.goto(at_work.url)
    await live(at_work)
    await comment.fill("I thought")
    await deciding.acomment(nina, request, "All of them.")
    await expect(trail).to_contain_text("All of them.")
    await expect(comment).to_have_value("I thought")


async def test_a_delegation_brings_its_requests_and_takes_them_away(at_work: Page, ravi: User) -> None:
    """Without reloading, also from under the eyes of who reads one."""
    nina = await in_database(make.user, "nina")
    await opened("Pay ACME", assignees=[nina])
    await live(at_work)
    made = await in_database(make.delegation, nina, ravi)
    await row(at_work, "Pay ACME").click()
    await expect(at_work.get_by_role("button", name="Approve")).to_be_visible()
    await in_database(delegations.end, made)
    await expect(row(at_work, "Pay ACME")).to_have_count(0)
    await expect(at_work.locator(".act")).to_contain_text("no longer yours to decide")


@pytest.mark.parametrize("sees_it", [True, False])
async def test_who_does_not_decide_an_open_request_any_more_is_told(
    at_work: Page, ravi: User, sees_it: bool
) -> None:
    """At once, and politely; what was typed stays, and can't be sent."""
    nina, boss = (
        await in_database(make.user, "nina"),
        await in_database(make.user, may=("change_humanrequest",)),
    )
    request = await opened("Rotate", assignees=[ravi], requester=ravi if sees_it else nina)
    await row(at_work, "Rotate").click()
    await at_work.get_by_label("Note").fill("Because of")
    await live(at_work)
    await deciding.areassign(make.actor(boss), request, [nina.pk])
    words = "others decide it" if sees_it else "This is no longer yours to decide"
    await expect(at_work.locator("#detail .act")).to_contain_text(words)
    await expect(at_work.locator("#announce")).to_contain_text(words)
    await expect(at_work.get_by_role("button", name="Approve")).to_have_count(0)
    await expect(at_work.locator("#detail [data-note]")).to_contain_text("Because of")
    await expect(at_work.locator("#detail h1")).to_have_text("Rotate")


async def test_filters_hold_for_what_comes_later(at_work: Page, ravi: User) -> None:
    await opened("Pay the printer", assignees=[ravi])
    await live(at_work)
    await at_work.get_by_label("Search requests").fill("printer")
    await expect(at_work).to_have_url(re.compile(r"\?q=printer$"))
    await opened("Pay the rent", assignees=[ravi])
    await opened("Another printer", assignees=[ravi])
    await expect(row(at_work, "Another printer")).to_be_visible()
    await expect(at_work.locator("#rows li")).to_have_count(2)
    await at_work.get_by_text("Filter and sort").click()
    await at_work.get_by_label("Kind of request").select_option("clarification")
    await expect(at_work.get_by_text("No requests match.")).to_be_visible()
    await expect(at_work.get_by_text("Filter and sort")).to_contain_text("(1 on)")
    await at_work.get_by_role("link", name="Decided").click()
    await expect(at_work).to_have_url(re.compile(r"/\?tab=decided&kind=clarification&q=printer$"))


@both_databases
async def test_each_tab_is_live_in_its_order_and_groups(
    at_work: Page, browser: Browser, server: Server, ravi: User
) -> None:
    """What arrives goes where it belongs; what closes stays, greyed, and comes first in *Decided*."""
    nina = await in_database(make.user, "nina")
    decided = await logged_in(await (await browser.new_context()).new_page(), server, ravi)
    await decided.goto(f"{server.url}/?tab=decided")
    await at_work.goto(f"{server.url}/?tab=asked&group=requester&sort=newest")
    first = await opened("First", requester=ravi, assignees=[nina])
    for page in (decided, at_work):
        await live(page)
    await expect(at_work.locator("#rows h2")).to_have_text(["ravi"])
    await opened("Second", requester=ravi, assignees=[nina])
    await opened("Nina's", requester=nina, assignees=[ravi])
    await expect(at_work.locator("#rows .title")).to_have_text(["Second", "First"])
    await expect(at_work.locator("[data-tab=mine]")).to_have_text("For me 1 to decide")
    await deciding.adecide(make.actor(nina), first, "approve")
    await expect(row(at_work, "First")).to_have_class("closed")
    await expect(at_work.locator("[data-tab=asked]")).to_have_text("I asked 1 pending")
    third = await opened("Third", requester=ravi, assignees=[nina])
    await expect(row(at_work, "Third")).to_be_visible()
    await expect(decided.locator("[data-tab=asked]")).to_have_text("I asked 2 pending")
    await deciding.awithdraw(make.actor(ravi), third)
    await expect(decided.locator("#rows .title")).to_have_text(["Third", "First"])
    await expect(decided.locator("[data-tab=decided]")).to_have_text("Decided 2 closed")
    await expect(row(decided, "First")).to_contain_text("Approved by nina")

    await at_work.goto(f"{server.url}/?group=requester")
    await live(at_work)
    await opened("Ravi's", requester=ravi, assignees=[ravi], timeout=60)
    await expect(at_work.locator("#rows h2")).to_have_text(["ravi", "nina"])
    await opened("Nina's again", requester=nina, assignees=[ravi], timeout=50)
    await expect(at_work.locator("#rows > li")).to_have_text(
        [re.compile(text) for text in ("^ravi$", "Ravi's", "^nina$", "Nina's again", "Nina's")]
    )


LAYOUT = """async () => {
    const rows = [...document.querySelectorAll("#rows li")], scroller = document.querySelector(".scroll");
    const frame = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
    await frame();
    const isDrawn = (row) => row.firstElementChild.checkVisibility({ contentVisibilityAuto: true });
    const drawn = rows.filter(isDrawn);
    const readable = rows.filter((row) => row.getBoundingClientRect().bottom <= innerHeight);
    const before = scroller.scrollHeight;
    for (let top = 0; top < before; top += scroller.clientHeight) {
        scroller.scrollTo(0, top);
        await frame();
    }
    return [drawn.length, readable.length, before, scroller.scrollHeight];
}"""


# Counts the pongs that the page has heard, and notes once its reporting of a view has been answered.
COUNT_PONGS = """
    window.pongs = 0;
    window.viewed = false;
    const ask = window.fetch;
    window.fetch = async (address, ...how) => {
        const answer = await ask(address, ...how);
        window.viewed ||= String(address).endsWith("/viewed/");
        return answer;
    };
    const Socket = WebSocket;
    window.WebSocket = class extends Socket {
        constructor(...given) {
            super(...given);
            this.addEventListener("message", ({ data }) => data.includes('"pong"') && (window.pongs += 1));
        }
    };"""


async def test_an_idle_page_asks_for_nothing_however_much_it_shows(
    at_work: Page, server: Server, ravi: User
) -> None:
    """Also where more is shown than a snapshot names. A minute passes, with its heartbeats, which the server
    answers; what changes then is asked for."""
    nina = await in_database(make.user, "nina")
    requests = await in_database(many, 500, assignees=[ravi, nina])
    await at_work.clock.install()
    await at_work.goto(f"{server.url}/?limit=200")
    await live(at_work)
    await at_work.get_by_role("link", name="Show more").click()
    await expect(at_work.locator("#rows li")).to_have_count(500)
    await expect(at_work.locator("#detail h1")).to_be_visible()
    await at_work.set_viewport_size({"width": 1280, "height": 800})
    drawn, readable, before, after = await at_work.evaluate(LAYOUT)
    assert drawn < 100, "what is far from the screen is not laid out"
    assert readable >= 20, "on a laptop's screen"
    assert before == after, "what is not laid out takes the room that it will have"
    asked: list[str] = []
    at_work.on("request", lambda request: asked.append(request.url))
    await at_work.add_init_script(COUNT_PONGS)
    await at_work.reload()
    await live(at_work)
    await expect(at_work.locator("#rows li")).to_have_count(500)
    await expect(at_work.locator("#detail h1")).to_be_visible()
    await until_seen(lambda: at_work.evaluate("window.viewed"))
    await expect(at_work.locator(".trail")).to_contain_text("Seen by ravi")
    await at_work.wait_for_load_state("networkidle")
    asked.clear()
    for _ in range(3):
        before = await at_work.evaluate("window.pongs")
        await at_work.clock.run_for(25_000)
        await until_seen(partial(at_work.evaluate, f"window.pongs > {before}"))
    assert asked == []
    await at_work.clock.resume()
    await deciding.adecide(make.actor(nina), requests[100], "approve")
    await expect(at_work.locator("#rows li.closed")).to_have_count(1)
    await expect(at_work).to_have_title(re.compile(r"^\(499\) "))
    assert asked


def many(count: int, **terms: Any) -> list[str]:
    return [make.approval(f"Number {n:03}", timeout=9000.0 + n, **terms) for n in range(count)]


async def test_show_more_keeps_the_search_and_shows_where_there_is_more(at_work: Page, ravi: User) -> None:
    await in_database(many, 60, assignees=[ravi])
    await in_database(many, 5, requester=ravi, assignees=[await in_database(make.user)])
    await opened("The printer", assignees=[ravi])
    more = at_work.get_by_role("link", name="Show more")
    await at_work.reload()
    await live(at_work)
    assert (await at_work.title()).startswith("(61) ")
    await expect(at_work.locator("[data-tab=mine]")).to_have_text("For me 61 to decide")
    await expect(at_work.locator("[data-tab=asked]")).to_have_text("I asked 5 pending")
    search = at_work.get_by_label("Search requests")
    await search.fill("printer")
    await expect(at_work.locator("#rows li")).to_have_count(1)
    await expect(more).to_be_hidden()
    await search.fill("Number")
    await expect(at_work.locator("#rows li")).to_have_count(50)
    await more.click()
    await expect(at_work.locator("#rows li")).to_have_count(60)
    await expect(more).to_be_hidden()
    await expect(at_work).to_have_url(re.compile(r"/\?limit=200&q=Number$"))
    await expect(at_work.locator("#rows li:nth-child(51) a")).to_be_focused()
    await opened("Number 999", assignees=[ravi])
    await expect(at_work.locator("#rows li")).to_have_count(61)
    assert (await at_work.title()).startswith("(62) ")
    await search.fill("")
    await expect(at_work.locator("#rows li")).to_have_count(62)
    await at_work.goto(at_work.url.split("?")[0])
    await search.fill("printer")
    await expect(at_work.locator("#rows li")).to_have_count(1)
    await search.fill("")
    await expect(at_work.locator("#rows li")).to_have_count(50)
    await expect(more).to_be_visible()


async def test_an_answer_that_comes_late_does_not_bring_show_more_back(at_work: Page, ravi: User) -> None:
    await in_database(many, 60, assignees=[ravi])
    await at_work.reload()
    await live(at_work)
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await at_work.route(re.compile(r"/rows/\?.*&id="), hold)
    async with at_work.expect_request(re.compile(r"/rows/\?.*&id=")):
        await opened("Number 999", assignees=[ravi])
    more = at_work.get_by_role("link", name="Show more")
    await more.click()
    await expect(at_work.locator("#rows li")).to_have_count(61)
    await expect(more).to_be_hidden()
    async with at_work.expect_response(re.compile(r"/rows/\?.*&id=")) as late:
        for route in held:
            await route.continue_()
    await (await late.value).finished()
    await at_work.evaluate("new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))")
    await expect(more).to_be_hidden()


async def test_what_one_has_voted_on_is_not_counted_and_does_not_open_again(
    at_work: Page, server: Server, ravi: User
) -> None:
    """Nor if the vote was given elsewhere; the row stays, and what can still be decided opens."""
    nina = await in_database(make.user, "nina")
    voted = await opened("Of two", assignees=[ravi, nina], required=2, timeout=500)
    await opened("Of one", assignees=[ravi], timeout=600)
    await at_work.reload()
    await live(at_work)
    mine = at_work.locator("[data-tab=mine]")
    await expect(mine).to_have_text("For me 2 to decide")
    await deciding.adecide(make.actor(ravi), voted, "approve")
    await expect(mine).to_have_text("For me 1 to decide")
    await expect(at_work).to_have_title(re.compile(r"^\(1\) "))
    await expect(row(at_work, "Of two")).to_contain_text("You have approved this")
    await at_work.goto(server.url)
    await expect(at_work.locator("#detail h1")).to_have_text("Of one")
    await at_work.get_by_role("button", name="Approve").click()
    await expect(at_work.locator("#detail")).to_contain_text("Nothing else waits for you now.")
    await expect(mine).to_have_text("For me 0 to decide")
    await expect(at_work).to_have_title("Inbox · Sayso")


class HeldBack:
    """Answers of the server that a test holds back: they were given, and the page has not heard them yet."""

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, re.compile(address)
        self._come, self._let_go = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._page.route(self._address, self._hold)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let them go, and those that come after them."""
        self._let_go.set()

    async def come(self) -> None:
        await self._come.wait()

    async def _hold(self, route: Route) -> None:
        response = await route.fetch()
        self._come.set()
        await self._let_go.wait()
        await route.fulfill(response=response)


async def test_an_answer_that_comes_late_is_not_for_another_list(at_work: Page, ravi: User) -> None:
    """Neither does a row stand in a list that leaves it out, nor is one removed that belongs there."""
    nina = await in_database(make.user, "nina")
    await opened("Pay the printer", assignees=[ravi], timeout=500)
    await at_work.reload()
    await live(at_work)
    search, titles = at_work.get_by_label("Search requests"), at_work.locator("#rows .title")
    async with HeldBack(at_work, r"/rows/\?.*id=") as held:
        rent = await opened("Pay the rent", assignees=[ravi, nina], required=2, timeout=600)
        await held.come()
        await search.fill("printer")
        await expect(at_work.locator("#announce")).to_have_text("1 shown.")
    await opened("Another printer", assignees=[ravi], timeout=700)
    await expect(row(at_work, "Another printer")).to_be_visible()
    await expect(titles).to_have_text(["Pay the printer", "Another printer"])

    async with HeldBack(at_work, r"/rows/\?.*id=") as held:
        await deciding.adecide(make.actor(nina), rent, "approve")
        await held.come()
        await search.fill("")
        await expect(at_work.locator("#announce")).to_have_text("3 shown.")
    await opened("Last", assignees=[ravi], timeout=800)
    await expect(row(at_work, "Last")).to_be_visible()
    await expect(titles).to_have_text(["Pay the printer", "Pay the rent", "Another printer", "Last"])


async def test_what_arrives_while_a_list_is_on_its_way_is_in_it(at_work: Page, ravi: User) -> None:
    await opened("Pay the printer", assignees=[ravi], timeout=500)
    await at_work.reload()
    await live(at_work)
    async with HeldBack(at_work, r"/rows/\?(?!.*id=)") as held:
        await at_work.get_by_label("Search requests").fill("pay")
        await held.come()
        await opened("Pay the rent", assignees=[ravi], timeout=600)
        await expect(row(at_work, "Pay the rent")).to_be_visible()
    await opened("Pay late", assignees=[ravi], timeout=700)
    await expect(row(at_work, "Pay late")).to_be_visible()
    await expect(at_work.locator("#rows .title")).to_have_text(
        ["Pay the printer", "Pay the rent", "Pay late"]
    )


async def test_a_request_opened_by_its_address_is_in_the_list(
    at_work: Page, server: Server, ravi: User
) -> None:
    """Wherever it stands, and closed ones, too; it stays there while the list changes."""
    requests = await in_database(many, 60, assignees=[ravi])
    closed = await opened("Closed", assignees=[ravi])
    await deciding.adecide(make.actor(ravi), closed, "approve")
    for request, title in ((requests[58], "Number 058"), (closed, "Closed")):
        await at_work.goto(f"{server.url}/requests/{request}/")
        await live(at_work)
        await expect(row(at_work, title).locator("a")).to_have_attribute("aria-current", "true")
        await opened(f"Beside {title}", assignees=[ravi], timeout=600)
        await expect(row(at_work, f"Beside {title}")).to_be_visible()
        await expect(row(at_work, title).first).to_be_attached()
    await at_work.goto(f"{server.url}/requests/{requests[58]}/?q=nothing")
    await expect(at_work.locator("#rows li")).to_have_count(0)


@both_databases
async def test_the_page_catches_up_after_the_server_was_away(page: Page, serve: Serve, ravi: User) -> None:
    """The pill says so meanwhile; what came and went is there afterwards, without a reload."""
    server = await in_database(serve)
    at_work = await logged_in(page, server, ravi)
    gone = await opened("Goes", assignees=[ravi])
    await live(at_work)
    await expect(row(at_work, "Goes")).to_be_visible()
    await in_database(server.kill)
    await expect(at_work.locator(".pill")).to_have_text("Reconnecting")
    await deciding.adecide(make.actor(ravi), gone, "approve")
    await opened("Comes", assignees=[ravi])
    again = await in_database(server.again)
    try:
        await expect(at_work.locator(".pill")).to_have_text("Live", timeout=1000 * patience(45))
        await expect(row(at_work, "Comes")).to_be_visible()
        await expect(row(at_work, "Goes")).to_contain_text("Approved by ravi")
    finally:
        await in_database(again.kill)


async def test_a_short_absence_shows_and_passes(at_work: Page, ravi: User) -> None:
    """The connection outlives it: the pill must not stay on Offline."""
    await live(at_work)
    await at_work.context.set_offline(True)
    await expect(at_work.locator(".pill")).to_have_text("Offline")
    await at_work.context.set_offline(False)
    await live(at_work)


async def test_who_logs_out_elsewhere_sees_nothing_more_here(at_work: Page, ravi: User) -> None:
    await live(at_work)
    await in_database(Session.objects.all().delete)
    await opened("Secret", assignees=[ravi])
    await expect(at_work).to_have_url(re.compile("/accounts/login/"), timeout=1000 * patience(75))


# Deciding


async def test_an_open_request_and_one_click(at_work: Page, ravi: User) -> None:
    """On a wide screen the first one is open from the start; after the click the record is there."""
    request = await opened("Pay", assignees=[ravi], timeout=600)
    await at_work.reload()
    await at_work.get_by_role("button", name="Approve", exact=True).click()
    await expect(at_work.locator("#detail")).to_contain_text("Approved: Pay")
    await expect(row(at_work, "Pay")).to_contain_text("Approved by ravi")
    assert (await outcome(request)).approved


async def test_the_next_request_opens_where_one_was_decided(
    at_work: Page, server: Server, ravi: User
) -> None:
    """Its address and its title, the focus and what a screen reader says go along; back leads back."""
    first = await opened("First", assignees=[ravi], timeout=600, severity="high")
    second = await opened("Second", assignees=[ravi], timeout=900)
    await in_database(make.clarification, "Third?", assignees=[ravi], timeout=1200)
    await at_work.goto(f"{server.url}/requests/{first}/?kind=approval")
    await live(at_work)
    await at_work.get_by_label("Note").fill("Fine.")
    await at_work.get_by_role("button", name="Approve").click()
    await expect(at_work.locator(".errors")).to_contain_text("must be ticked before you approve")
    await expect(at_work.get_by_label("I have read what will happen")).to_be_focused()
    await expect(at_work).to_have_url(f"{server.url}/requests/{first}/?kind=approval")
    await at_work.keyboard.press("Space")
    await at_work.get_by_role("button", name="Approve").click()

    heading = at_work.locator("#detail h1")
    await expect(heading).to_have_text("Second")
    await expect(heading).to_be_focused()
    await expect(at_work).to_have_url(f"{server.url}/requests/{second}/?kind=approval")
    await expect(at_work).to_have_title("(2) Second · Sayso")
    line = "Approved: First. The program that asked goes on."
    await expect(at_work.locator(".done")).to_have_text(line)
    await expect(at_work.locator("#announce")).to_contain_text(line)
    await expect(row(at_work, "First")).to_contain_text("Approved by ravi")
    await expect(row(at_work, "Second").locator("a")).to_have_attribute("aria-current", "true")
    assert (await outcome(first)).comment == "Fine."
    assert "sayso.note" not in await at_work.evaluate("Object.keys(sessionStorage).join()")

    await at_work.get_by_role("button", name="Reject").click()
    last = at_work.get_by_role("heading", name="That was the last one in this list.")
    await expect(last).to_be_focused()
    await expect(at_work).to_have_url(f"{server.url}/?kind=approval")
    await expect(at_work).to_have_title("(1) Inbox · Sayso")
    await at_work.go_back()
    await expect(heading).to_have_text("Second")
    await expect(at_work.locator("#detail")).to_contain_text("Rejected by ravi")
    await expect(at_work).to_have_title("(1) Rejected: Second · Sayso")
    await expect(at_work.locator(".done")).to_have_count(0)


async def test_a_double_click_decides_one_request(at_work: Page, server: Server, ravi: User) -> None:
    """What opens under the pointer takes no click for a moment."""
    first = await opened("First", assignees=[ravi], timeout=600)
    second = await opened("Second", assignees=[ravi], timeout=900)
    await at_work.clock.install()
    await at_work.goto(f"{server.url}/requests/{first}/")
    await live(at_work)
    await at_work.wait_for_load_state("networkidle")
    await at_work.clock.pause_at(await at_work.evaluate("Date.now() + 1000"))
    approve = at_work.get_by_role("button", name="Approve")
    await approve.click()
    await expect(at_work.locator("#detail h1")).to_have_text("Second")
    box = await approve.bounding_box()
    assert box
    await at_work.mouse.click(box["x"] + 5, box["y"] + 5)
    assert (await outcome(second)).status == "pending"
    await at_work.clock.run_for(1000)
    await at_work.mouse.click(box["x"] + 5, box["y"] + 5)
    await expect(at_work.locator("#detail")).to_contain_text("Approved: Second")
    assert (await outcome(second)).approved


async def test_edited_arguments_are_reviewed_then_approved(at_work: Page, ravi: User) -> None:
    request = await opened(
        "Pay", assignees=[ravi], arguments={"amount": "12.00", "to": "ACME"}, editable=AMOUNT
    )
    await row(at_work, "Pay").click()
    await at_work.get_by_text("Change before approving").click()
    await at_work.get_by_label("Amount").fill("lots")
    await at_work.get_by_role("button", name="Approve").click()
    await expect(at_work.locator(".errors")).to_be_visible()
    await expect(at_work.get_by_label("Amount")).to_be_focused()
    await at_work.get_by_label("Amount").fill("9.00")
    await at_work.get_by_role("button", name="Approve").click()
    await expect(at_work.locator("del")).to_have_text("12.00")
    await expect(at_work.locator("ins")).to_have_text("9.00")
    assert (await outcome(request)).status == "pending"
    await at_work.get_by_role("button", name="Approve with these changes").click()
    await expect(at_work.locator("#detail")).to_contain_text("Approved: Pay")
    assert (await outcome(request)).arguments == {"amount": "9.00", "to": "ACME"}


async def test_keys_move_open_and_decide_with_a_visible_confirmation(at_work: Page, ravi: User) -> None:
    first = await opened("First", assignees=[ravi], timeout=600)
    second = await opened("Second", assignees=[ravi], timeout=900)
    await at_work.reload()
    await expect(at_work.locator("#detail h1")).to_have_text("First")
    await at_work.keyboard.press("j")
    await at_work.keyboard.press("Enter")
    await expect(at_work.locator("#detail h1")).to_have_text("Second")
    await expect(at_work.locator("#detail h1")).to_be_focused()
    await at_work.keyboard.press("a")
    await expect(at_work.get_by_role("button", name="Approve")).to_be_focused()
    await expect(at_work.get_by_text("Press Enter to approve")).to_be_visible()
    assert (await outcome(second)).status == "pending"
    await at_work.keyboard.press("Enter")
    await expect(at_work.locator("#detail")).to_contain_text("Approved: Second")
    await expect(at_work.locator("#detail h1")).to_have_text("First")
    await expect(at_work.locator("#detail h1")).to_be_focused()
    await at_work.keyboard.press("r")
    await expect(at_work.get_by_label("Note")).to_be_focused()
    await at_work.keyboard.type("ajk/? no")
    await expect(at_work.get_by_label("Note")).to_have_value("ajk/? no")
    await at_work.keyboard.press("Tab")
    await expect(at_work.get_by_role("button", name="Reject")).to_be_focused()
    await expect(at_work.get_by_text("Press Enter to reject")).to_be_visible()
    assert (await outcome(first)).status == "pending"
    await at_work.keyboard.press("Enter")
    await expect(at_work.locator("#detail")).to_contain_text("Rejected: First")
    assert (await outcome(first)).comment == "ajk/? no"


async def test_stray_keys_decide_nothing(at_work: Page, server: Server, ravi: User) -> None:
    """With the focus nowhere: letters of a word, however they begin, and a space."""
    request = await opened("Pay", assignees=[ravi], timeout=600)
    await at_work.clock.install()
    await at_work.goto(server.url)
    approve = at_work.get_by_role("button", name="Approve", exact=True)
    hint = at_work.get_by_text("Press Enter to approve")
    await expect(approve).to_be_visible()

    async def armed() -> None:
        """By `a`, some time after the last key."""
        await at_work.clock.run_for(1000)
        await at_work.keyboard.press("a")
        await expect(hint).to_be_visible()
        await expect(approve).to_be_focused()

    async def disarmed() -> None:
        await expect(hint).to_be_hidden()
        await expect(approve).not_to_be_focused()
        await at_work.keyboard.press("Enter")

    await armed()
    await at_work.keyboard.press("Space")
    await expect(hint).to_be_visible()
    await at_work.keyboard.press("x")
    await disarmed()
    await armed()
    await at_work.keyboard.press("Escape")
    await disarmed()
    for words in ("banana", "1 a", "papa", "aa"):
        await at_work.clock.run_for(1000)
        await at_work.keyboard.type(words)
        await disarmed()
    await armed()
    await at_work.keyboard.type("ll right")
    await disarmed()
    await expect(at_work.get_by_label("Note")).not_to_be_focused()
    await expect(at_work.get_by_label("Note")).to_have_value("")
    assert (await outcome(request)).status == "pending"

    await armed()
    await at_work.keyboard.press("Enter")
    await expect(at_work.locator("#detail")).to_contain_text("Approved: Pay")


@pytest.mark.parametrize("scripts", [True, False])
async def test_enter_in_a_box_or_a_field_decides_nothing(
    browser: Browser, server: Server, ravi: User, scripts: bool
) -> None:
    """On the request's page, with scripts and without: what is decided then is what a button says."""
    terms: dict[str, Any] = {"arguments": {"amount": "12.00"}, "editable": AMOUNT, "severity": "high"}
    request = await opened("Pay", assignees=[ravi], **terms)
    context = await browser.new_context(java_script_enabled=scripts)
    page = await logged_in(await context.new_page(), server, ravi)
    await page.goto(f"{server.url}/requests/{request}/")
    await page.get_by_text("Change before approving").click()
    await page.get_by_label("I have read what will happen").press("Space")
    await page.keyboard.press("Enter")
    if not scripts:
        await expect(page.get_by_role("alert")).to_contain_text("Nothing was recorded: press the button")
    await expect(page.get_by_label("I have read what will happen")).to_be_checked()
    await page.get_by_label("Amount").fill("9.00")
    await page.get_by_label("Amount").press("Enter")
    await expect(page.get_by_label("Amount")).to_have_value("9.00")
    await page.get_by_label("Note").fill("After Enter")
    await page.get_by_role("button", name="Reject", exact=True).click()
    await expect(page.get_by_role("main")).to_contain_text("Rejected: Pay")
    await context.close()
    assert (await outcome(request)).comment == "After Enter"


async def test_a_request_is_seen_once_it_was_opened_or_has_stood_for_a_while(
    at_work: Page, server: Server, ravi: User
) -> None:
    """What the page opens by itself is not seen by that, nor by what a hidden page shows. What was unfolded
    to read stays so when it is on record as seen."""
    nina = await in_database(make.user, "nina")
    first = await opened("First", assignees=[ravi, nina], timeout=600, required=2, arguments={"order": 1})
    second = await opened("Second", assignees=[ravi], timeout=900)
    await at_work.clock.install()
    await at_work.add_init_script(f"({HIDE})(true)")
    await at_work.goto(server.url)
    await live(at_work)
    await expect(at_work.locator("#detail h1")).to_have_text("First")
    await deciding.adecide(make.actor(nina), first, "approve")  # the page fetches the request anew
    await expect(at_work.locator("#detail")).to_contain_text("1 of 2 so far")
    await at_work.clock.run_for(10_000)
    assert await seen(first) == []

    await at_work.clock.pause_at(await at_work.evaluate("Date.now() + 1000"))
    await at_work.evaluate(HIDE, False)
    await at_work.get_by_text("Raw JSON").click()
    await at_work.clock.run_for(2_900)
    assert await seen(first) == []
    await at_work.clock.run_for(200)
    await expect(at_work.locator(".trail")).to_contain_text("Seen by ravi")
    assert await seen(first) == ["ravi"]
    await expect(at_work.locator("#detail details[open]")).to_have_count(1)

    await at_work.clock.resume()
    assert await seen(second) == []
    await row(at_work, "Second").click()
    await expect(at_work.locator("#detail h1")).to_have_text("Second")
    assert await seen(second) == ["ravi"]


HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


async def seen(request: str) -> list[str | None]:
    def read() -> list[str | None]:
        (asked,) = queries.requests_by_id([request])
        return [entry.actor for entry in queries.history(asked) if entry.event == "viewed"]

    return await in_database(read)


async def test_a_typed_note_is_kept_until_it_is_sent(
    at_work: Page, browser: Browser, server: Server, ravi: User
) -> None:
    """Through a reload and the end of the session; then it is forgotten."""
    request = await opened("Pay", assignees=[ravi])
    await at_work.goto(f"{server.url}/requests/{request}/")
    await at_work.get_by_label("Note").fill("Only half of it!")
    await at_work.reload()
    await expect(at_work.get_by_label("Note")).to_have_value("Only half of it!")

    await live(at_work)
    await in_database(Session.objects.all().delete)
    await opened("Another", assignees=[ravi])
    await expect(at_work).to_have_url(re.compile("/accounts/login/"), timeout=75_000)
    await logged_in(at_work, server, await in_database(make.reviewer, "nina"))
    await at_work.goto(f"{server.url}/requests/{await opened('Hers')}/")
    await expect(at_work.get_by_label("Note")).to_have_value("")
    await logged_in(at_work, server, ravi)
    await at_work.goto(f"{server.url}/requests/{request}/")
    await expect(at_work.get_by_label("Note")).to_have_value("Only half of it!")
    await at_work.get_by_role("button", name="Reject", exact=True).click()
    await expect(at_work.locator("#detail")).to_contain_text("Rejected: Pay")
    await expect(at_work.get_by_text("was not sent")).to_have_count(0)
    assert (await outcome(request)).comment == "Only half of it!"
    assert "sayso.note" not in await at_work.evaluate("Object.keys(sessionStorage).join()")


async def test_a_note_that_can_not_be_sent_any_more_is_shown_until_it_is_thrown_away(
    at_work: Page, server: Server, ravi: User
) -> None:
    nina = await in_database(make.user, "nina")
    request = await opened("Pay", assignees=[ravi, nina])
    question = await in_database(make.clarification, "Why?", assignees=[ravi, nina])
    for asked, label in ((request, "Note"), (question, "Your answer")):
        await at_work.goto(f"{server.url}/requests/{asked}/")
        await live(at_work)
        await at_work.get_by_label(label).fill("Ask <b>finance</b>")
        if asked == request:
            await deciding.adecide(make.actor(nina), asked, "approve")
        else:
            await deciding.aanswer(make.actor(nina), asked, "Because")
        unsent = at_work.locator(".unsent")
        await expect(unsent).to_contain_text("was not sent")
        await expect(unsent).to_contain_text("Ask <b>finance</b>")
        await at_work.reload()
        await expect(unsent).to_contain_text("Ask <b>finance</b>")
        await unsent.get_by_role("button", name="Discard it").click()
        await expect(unsent).to_have_count(0)
        await at_work.reload()
        await expect(at_work.locator("#detail")).to_contain_text("by nina")
        await expect(unsent).to_have_count(0)


async def test_shortcuts_are_listed_and_can_be_switched_off(at_work: Page, ravi: User) -> None:
    await opened("Pay", assignees=[ravi])
    await at_work.reload()
    await expect(at_work.get_by_role("button", name="Approve")).to_be_visible()
    await at_work.keyboard.press("?")
    await at_work.get_by_label("Single-key shortcuts").uncheck()
    await at_work.get_by_role("button", name="Close").click()
    await at_work.keyboard.press("a")
    await expect(at_work.get_by_text("Press Enter to approve")).to_be_hidden()


async def test_what_could_not_be_sent_stays_typed(page: Page, serve: Serve, ravi: User) -> None:
    server = await in_database(serve)
    at_work = await logged_in(page, server, ravi)
    await opened("Pay", assignees=[ravi])
    await row(at_work, "Pay").click()
    await at_work.get_by_label("Note").fill("My long reason")
    await in_database(server.kill)
    await at_work.get_by_role("button", name="Reject", exact=True).click()
    await expect(at_work.get_by_role("alert")).to_contain_text("what you typed is still here")
    await expect(at_work.get_by_label("Note")).to_have_value("My long reason")


# Every browser, every screen


async def test_everything_works_without_scripts(browser: Browser, server: Server, ravi: User) -> None:
    request = await opened("Pay", assignees=[ravi], arguments={"amount": "12.00"}, editable=AMOUNT)
    await opened("Delete", assignees=[ravi])
    question = await in_database(make.clarification, "Which?", choices=["A", "B"], assignees=[ravi])
    context = await browser.new_context(java_script_enabled=False)
    page = await logged_in(await context.new_page(), server, ravi)

    await page.get_by_text("Filter and sort").click()
    await page.get_by_label("Group").select_option("requester")
    await page.get_by_label("Search requests").fill("pay")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("heading", name="A program")).to_be_visible()
    await page.get_by_role("link", name="Pay").click()
    await expect(page).to_have_url(re.compile(rf"/requests/{request}/\?group=requester&q=pay$"))
    await page.get_by_text("Change before approving").click()
    await page.get_by_label("Amount").fill("9.00")
    await page.get_by_role("button", name="Approve").click()
    await page.get_by_role("button", name="Approve with these changes").click()
    await expect(page.get_by_role("main")).to_contain_text("Approved: Pay. The program that asked goes on.")
    await expect(page.get_by_role("heading", name="That was the last one in this list.")).to_be_visible()
    await page.get_by_role("link", name="Show all pending requests").first.click()
    await page.get_by_role("link", name="Delete").click()
    await page.get_by_label("Note").fill("No.")
    await page.get_by_role("button", name="Reject", exact=True).click()
    await expect(page.get_by_role("main")).to_contain_text("Rejected: Delete")
    await expect(page.get_by_role("heading", name="Which?")).to_be_visible()
    await page.get_by_label("B", exact=True).check()
    await page.get_by_role("button", name="Answer").click()
    await expect(page.get_by_role("main")).to_contain_text("That was the last one.")
    await context.close()
    assert (await outcome(request)).arguments == {"amount": "9.00"}
    assert (await outcome(question)).answer == "B"


@pytest.fixture
async def narrow(browser: Browser, server: Server, ravi: User) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
    yield await logged_in(await context.new_page(), server, ravi)
    await context.close()


async def test_a_narrow_screen_shows_the_list_then_the_request(narrow: Page, ravi: User) -> None:
    """Nothing is wider than the screen, whatever a request holds, and the form covers nothing of it."""
    arguments = {"deep": {"er": {"still": ["x" * 80, {"a": 1}]}}, "k" * 60: "v" * 300}
    long = "A title that is long " * 8
    await opened(long, assignees=[ravi], arguments=arguments, details="x" * 200)
    await narrow.reload()
    await expect(narrow.locator("#detail")).to_be_hidden()
    box = await narrow.locator("#rows li").bounding_box()
    assert box
    assert box["height"] < 60, "two lines"
    await narrow.locator("#rows a").click()
    await expect(narrow.get_by_role("button", name="Approve")).to_be_visible()
    assert await narrow.evaluate(
        """() => {
            const edge = (part, side) => document.querySelector(part).getBoundingClientRect()[side];
            return edge("[data-part=consequence]", "bottom") <= edge(".act", "top");
        }"""
    )
    await expect(narrow.locator("#rows")).to_be_hidden()
    assert await narrow.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    await narrow.get_by_role("link", name="← Inbox").click()
    await expect(narrow.locator("#rows")).to_be_visible()
    assert await narrow.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


async def test_a_row_of_a_laptop_tells_its_numbers_apart_and_cuts_no_title_without_need(
    at_work: Page, ravi: User
) -> None:
    """In each order: neither does one column run into another."""
    await opened("Refund the order", assignees=[ravi], arguments={"order": 0, "amount": "0.00"})
    await opened("A title that is long " * 5, assignees=[ravi], arguments={"order": 0, "amount": "0.00"})
    await at_work.set_viewport_size({"width": 1280, "height": 700})
    for query in ("", "?sort=newest"):
        await at_work.goto(at_work.url.split("?")[0] + query)
        refund = row(at_work, "Refund the order")
        name = await refund.locator(".name").first.bounding_box()
        assert name
        assert name["width"] > 20
        assert await at_work.evaluate(OVERLAPS) == []
        title = refund.locator(".title")
        assert await title.evaluate("each => each.scrollWidth <= each.clientWidth")


OVERLAPS = """() => [...document.querySelectorAll("#rows a")].flatMap((row) => {
    const box = (name) => row.querySelector(name).getBoundingClientRect();
    const shown = [".title", ".what", ".by", ".left", ".since"].map(box).filter(({ width }) => width);
    return shown.slice(1).filter((next, number) => next.left < shown[number].right).map(({ left }) => left);
})"""


async def test_nothing_shifts_after_the_page_has_loaded(at_work: Page, ravi: User) -> None:
    for number in range(5):
        await opened(f"Number {number}", assignees=[ravi], timeout=600)
    await at_work.add_init_script(
        """window.shifts = 0;
        const add = (list) => list.getEntries().forEach((entry) => (window.shifts += entry.value));
        new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });"""
    )
    await at_work.reload()
    await live(at_work)
    await expect(at_work.locator("#detail h1")).to_have_text("Number 0")
    assert await at_work.evaluate("window.shifts") < 0.01


async def test_a_row_that_arrives_above_does_not_move_the_one_under_the_pointer(
    at_work: Page, ravi: User
) -> None:
    for number in range(30):
        await opened(f"Number {number:02}", assignees=[ravi], timeout=600)
    await at_work.reload()
    await live(at_work)
    reading = row(at_work, "Number 15")
    await reading.scroll_into_view_if_needed()
    await reading.hover()
    before = await reading.bounding_box()
    await opened("Urgent", assignees=[ravi], timeout=300)
    await expect(row(at_work, "Urgent")).to_have_count(1)
    after = await reading.bounding_box()
    assert before
    assert after
    assert abs(before["y"] - after["y"]) < 1


async def test_script_and_server_say_times_alike(at_work: Page) -> None:
    """Otherwise the page would change when its script starts."""
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    seconds = [
        -5,
        0,
        1,
        44,
        45,
        59,
        60,
        61,
        89,
        90,
        91,
        3599,
        3600,
        5399,
        5400,
        86_399,
        86_400,
        129_600,
        500_000,
    ]
    said = await at_work.evaluate(
        """async (seconds) => {
            const clock = await import("/static/approvals/clock.js");
            return seconds.map((each) => [clock.timeLeft(each), clock.timeSince(each)]);
        }""",
        seconds,
    )
    assert said == [
        [time_left(now + timedelta(seconds=each), now), time_since(now - timedelta(seconds=each), now)]
        for each in seconds
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_contrast_in_both_schemes(
    browser: Browser, server: Server, ravi: User, scheme: Any
) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for every text that is shown, on the background it is shown on."""
    nina = await in_database(make.user, "nina")
    closed = await opened("Closed", assignees=[ravi, nina])
    await opened("Urgent", assignees=[ravi], timeout=50, arguments={"a": "\u202e"}, severity="high")
    await deciding.adecide(make.actor(ravi), closed, "reject", comment="No.")
    await in_database(make.delegation, nina, ravi)
    context = await browser.new_context(color_scheme=scheme)
    page = await logged_in(await context.new_page(), server, ravi)
    paths = (f"/requests/{closed}/?tab=decided", f"/requests/{closed}/?done={closed}", f"/?done={closed}")
    for path in ("", *paths, "/runs/", "/tokens/", "/away/", "/preferences/", "/accounts/password/"):
        if path:
            await page.goto(server.url + path)
        assert await page.evaluate(POOR_CONTRAST) == []
    await context.close()


POOR_CONTRAST = """() => {
    const numbers = (colour) => {
        const canvas = new OffscreenCanvas(1, 1).getContext("2d");
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => numbers(colour).slice(0, 3)
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            if (numbers(colour)[3] === 255) return colour;
        }
        return "white";
    };
    const poor = [];
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        const [ink, paper] = [light(getComputedStyle(element).color), light(ground(element))];
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (contrast < 4.5) poor.push(`${element.outerHTML.slice(0, 90)}: ${contrast.toFixed(2)}`);
    }
    return poor;
}"""
