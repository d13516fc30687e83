"""A person chooses in a browser when to be told nothing, and unsubscribes from a message."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, expect

from approvals import queries
from approvals.database.threads import in_database
from approvals.delivery.unsubscribing import token_of
from approvals.models import Destination
from tests import factories as make
from tests.conftest import Serve
from tests.connections import session_of

pytestmark = [pytest.mark.browser, pytest.mark.one_stack, pytest.mark.django_db]


@pytest.fixture
def ada() -> User:
    return make.user("ada", email="ada@example.org")


async def test_the_browser_tells_its_zone_and_the_link_of_a_message_ends_messages(
    browser: Browser, serve: Serve, ada: User
) -> None:
    """The zone is shown before it is saved. The link works in a browser that is not logged in."""
    server = serve(SAYSO_NOTIFY="on", SAYSO_URL="https://sayso.example.com")
    context = await browser.new_context(timezone_id="Europe/Berlin")
    page = await context.new_page()
    key = await in_database(session_of, ada)
    await context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    await page.goto(f"{server.url}/preferences/")
    await expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    await page.get_by_label("Quiet from").fill("22:00")
    await page.get_by_label("Quiet until").fill("07:00")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    saved = await in_database(queries.preference_of, ada.pk)
    assert (saved.time_zone, str(saved.quiet_until)) == ("Europe/Berlin", "07:00:00")

    mail = await in_database(Destination.objects.get, user=ada)
    stranger = await (await browser.new_context()).new_page()
    await stranger.goto(f"{server.url}/unsubscribe/{token_of(mail.pk)}/")
    assert await in_database(queries.told_by_mail, ada.pk) != []
    await stranger.get_by_role("button", name="Unsubscribe").click()
    await expect(stranger.get_by_role("heading")).to_have_text("You are unsubscribed")
    assert await in_database(queries.told_by_mail, ada.pk) == []


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_what_is_refused_of_a_place_is_in_view(
    browser: Browser, serve: Serve, ada: User, scripts: bool
) -> None:
    """Its form is far down the page."""
    server = serve(SAYSO_NOTIFY="on", SAYSO_URL="https://sayso.example.com")
    context = await browser.new_context(viewport={"width": 360, "height": 800}, java_script_enabled=scripts)
    page = await context.new_page()
    key = await in_database(session_of, ada)
    await context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    await page.goto(f"{server.url}/preferences/")
    await page.get_by_role("textbox", name="Email address").fill("ada@example.org")
    await page.get_by_role("button", name="Send a code").click()
    await expect(page.get_by_text("Email address must be another one")).to_be_in_viewport()
    await page.get_by_role("textbox", name="Email address").fill("ada@home.example.org")
    await page.get_by_role("button", name="Send a code").click()
    await page.get_by_label("Code").fill("12345678")
    await page.get_by_role("button", name="Add this address").click()
    await expect(
        page.get_by_text(re.compile("Code (has not been sent yet|must be the last one)"))
    ).to_be_in_viewport()
