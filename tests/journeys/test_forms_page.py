"""Forms in a real browser: every format, rows and alternatives, in a time zone with summer time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, Page, expect

from approvals import gate
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from tests import factories as make
from tests.connections import session_of
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.timeout(180)]

TEXT = {"type": "string"}
# Labels of the form, which those of filters begin like.
DUE, WHO = re.compile(r"^\s*Due(?! soon)"), re.compile(r"^\s*Who(?!se)")
FORMATS = ("date", "time", "date-time", "email", "uri", "uuid", "ipv4", "ipv6", "duration")
EVERY_FORMAT = {
    "type": "object",
    "properties": {name: {**TEXT, "format": name, "title": name} for name in FORMATS},
    "required": list(FORMATS),
}
LINE = {
    "type": "object",
    "title": "Line",
    "properties": {
        "article": TEXT,
        "tags": {"type": "array", "items": TEXT},
        "due": {**TEXT, "format": "date-time"},
    },
    "required": ["article"],
}
ORDER = {
    "type": "object",
    "properties": {
        "lines": {"type": "array", "items": LINE, "minItems": 1},
        "gift": {"type": "object", "properties": {"words": {**TEXT, "minLength": 3}}, "required": ["words"]},
        "way": {
            "oneOf": [
                {"title": title, "type": "object", "properties": {name: TEXT}, "required": [name]}
                for title, name in (("By mail", "street"), ("Collected", "who"))
            ]
        },
    },
    "required": ["lines", "way"],
}


@pytest.fixture
async def ravi(stack: Any) -> User:
    return await in_database(make.user, "ravi")


@pytest.fixture
async def berlin(browser: Browser, server: Server, ravi: User) -> AsyncIterator[Page]:
    """Ravi's browser in Berlin, logged in."""
    context = await browser.new_context(timezone_id="Europe/Berlin", base_url=server.url)
    yield await logged_in(await context.new_page(), server, ravi)
    await context.close()


async def logged_in(page: Page, server: Server, person: User) -> Page:
    key = await in_database(session_of, person)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    return page


async def asked(schema: Any, person: User) -> str:
    return await in_database(make.clarification, schema=schema, assignees=[person])


async def send(page: Page) -> None:
    await page.get_by_role("button", name="Answer", exact=True).click()


async def answered(page: Page, request: str) -> Any:
    await expect(page.locator("#detail")).to_contain_text("Answered: Which cost centre?")
    outcome: Outcome = await in_database(gate.outcome, request)
    return outcome.answer


async def test_what_the_input_of_each_format_sends_is_valid(berlin: Page, ravi: User) -> None:
    """A day and time are meant in the reader's zone, as its clocks go on that day; an hour that is left out
    there is refused."""
    request = await asked(EVERY_FORMAT, ravi)
    await berlin.goto(f"/requests/{request}/")
    typed = {
        "date": "2026-03-29",
        "time": "09:30",
        "date-time": "2026-03-29T02:30",
        "email": "ann@example.org",
        "uri": "https://example.org/a",
        "uuid": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "duration": "PT1H30M",
    }
    for name, value in typed.items():
        await berlin.get_by_label(name, exact=True).fill(value)
    await berlin.get_by_label("Time zone").first.select_option("UTC")
    await expect(berlin.get_by_label("Time zone").last).to_have_value("Europe/Berlin")
    await send(berlin)
    await expect(berlin.locator(".errors")).to_have_text(
        "date-time does not exist in Europe/Berlin: the clocks go forward then."
    )
    await expect(berlin.get_by_label("Time zone").last).to_have_value("Europe/Berlin")
    await berlin.get_by_label("date-time", exact=True).fill("2026-03-29T03:30")
    await send(berlin)
    answer = await answered(berlin, request)
    assert answer == {**typed, "time": "09:30:00Z", "date-time": "2026-03-29T01:30:00Z"}


async def test_rows_and_alternatives_come_and_go_on_the_page(berlin: Page, ravi: User) -> None:
    """What is not ticked or chosen is neither checked nor sent; rows in rows have ids of their own."""
    request = await asked(ORDER, ravi)
    await berlin.goto(f"/requests/{request}/")
    sent: list[str] = []
    berlin.on("request", lambda one: sent.append(one.method))
    await berlin.get_by_label("Article").fill("A")
    for _ in range(2):
        await berlin.get_by_role("button", name="Add Line to Lines").click()
    await expect(berlin.get_by_label("Article").last).to_be_focused()
    await berlin.get_by_label("Article").nth(1).fill("gone")
    await berlin.get_by_label("Article").nth(2).fill("C")
    await berlin.get_by_role("button", name="Add to Tags").nth(2).click()
    for number, word in ((2, "new"), (3, "blue")):
        await berlin.get_by_role("textbox", name="Tags").nth(number).fill(word)
    await berlin.get_by_label(DUE).nth(2).fill("2026-07-01T09:30")
    await berlin.get_by_role("button", name="Remove Line").nth(1).click()
    await expect(berlin.get_by_label("Article")).to_have_count(2)

    await berlin.get_by_role("checkbox", name="Gift").check()
    await berlin.get_by_label("Words").fill("x")
    await berlin.get_by_role("checkbox", name="Gift").uncheck()
    await berlin.get_by_role("radio", name="By mail").check()
    await berlin.get_by_label("Street").fill("Main St 1")
    await berlin.get_by_role("radio", name="Collected").check()
    await expect(berlin.get_by_label("Street")).to_be_hidden()
    await berlin.get_by_label(WHO).fill("Ravi")
    assert "POST" not in sent
    await send(berlin)
    assert await answered(berlin, request) == {
        "lines": [
            {"article": "A"},
            {"article": "C", "tags": ["new", "blue"], "due": "2026-07-01T07:30:00Z"},
        ],
        "way": {"who": "Ravi"},
    }


async def test_everything_is_there_without_scripts(browser: Browser, server: Server, ravi: User) -> None:
    """Enter in a field or box sends nothing and presses no button. Times are given in UTC."""
    request = await asked(ORDER, ravi)
    context = await browser.new_context(java_script_enabled=False, base_url=server.url)
    page = await logged_in(await context.new_page(), server, ravi)
    await page.goto(f"/requests/{request}/")
    await page.get_by_label("Article").fill("A")
    await page.get_by_role("button", name="Add Line to Lines").click()
    await page.get_by_label("Article").nth(1).fill("B")
    await expect(page.get_by_label("Time zone").nth(1)).to_have_value("UTC")
    await page.get_by_label(DUE).nth(1).fill("2026-07-01T09:30")
    await page.get_by_role("button", name="Remove Line").first.click()
    await expect(page.get_by_label("Article")).to_have_value("B")
    await page.get_by_role("radio", name="Collected").check()
    await page.get_by_label(WHO).fill("Ravi")
    for field in (page.get_by_label(WHO), page.get_by_role("radio", name="Collected")):
        await field.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("Nothing was recorded: press the button")
    await page.get_by_label("Note").fill("After Enter")
    await page.get_by_role("button", name="Answer").click()
    assert await answered(page, request) == {
        "lines": [{"article": "B", "due": "2026-07-01T09:30:00Z"}],
        "way": {"who": "Ravi"},
    }
    assert (await in_database(gate.outcome, request)).comment == "After Enter"
    await context.close()


async def test_rows_of_arguments_are_edited_and_reviewed(berlin: Page, ravi: User) -> None:
    schema = {"type": "object", "properties": {"lines": {"type": "array", "items": LINE}}}
    first = {"article": "A", "due": "2026-07-01T09:30:00+02:00"}
    arguments = {"lines": [first, {"article": "B"}], "by": "ann"}
    request = await in_database(make.approval, arguments=arguments, editable=schema, assignees=[ravi])
    await berlin.goto(f"/requests/{request}/")
    await berlin.get_by_text("Change before approving").click()
    await berlin.get_by_role("button", name="Remove Line").last.click()
    await berlin.get_by_role("button", name="Add Line to Lines").click()
    await berlin.get_by_label("Article").last.fill("C")
    await berlin.get_by_role("button", name="Approve", exact=True).click()
    await expect(berlin.get_by_text("You are about to approve these changes")).to_be_visible()
    await berlin.get_by_role("button", name="Approve with these changes").click()
    await expect(berlin.locator("#detail")).to_contain_text("Approved: Refund 12.00 EUR")
    outcome = await in_database(gate.outcome, request)
    assert outcome.arguments == {"lines": [first, {"article": "C"}], "by": "ann"}
