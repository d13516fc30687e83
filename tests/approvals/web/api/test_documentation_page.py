"""The page of the API in a real browser: local files, under the strict policy, wide and narrow."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from approvals.database.threads import in_database
from approvals.web.api.service import api
from tests import factories as make
from tests.connections import session_of
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.one_stack,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("shared_server"),
]

DOCS = "/api/v1/docs"


@pytest.mark.parametrize("width", [1280, 390])
async def test_every_operation_is_listed_and_nothing_comes_from_elsewhere(
    page: Page, server: Server, width: int
) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    await page.set_viewport_size({"width": width, "height": 900})
    await page.goto(server.url + DOCS)
    described = api.get_openapi_schema()["paths"].values()
    operations = sum(len(path.keys() & {"get", "post"}) for path in described)
    await expect(page.locator(".opblock")).to_have_count(operations)
    await expect(page.locator(".bar")).to_contain_text("Log in")
    assert hosts == {server.url.removeprefix("http://")}
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_an_operation_shows_its_body_and_its_refusals(page: Page, server: Server) -> None:
    await page.goto(server.url + DOCS)
    await page.locator("#operations-requests-ask .opblock-summary-control").click()
    operation = page.locator("#operations-requests-ask")
    await expect(operation.locator(".opblock-section-request-body")).to_contain_text("Refund 1,240.00 EUR")
    await expect(operation.locator(".responses-table")).to_contain_text("key_conflict")


async def test_a_person_tries_it_out_with_a_session(page: Page, server: Server) -> None:
    """The page shows the CSRF token along; the question is on record then."""
    ada = await in_database(make.reviewer, "ada")
    key = await in_database(session_of, ada)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    await page.goto(server.url + DOCS)
    await expect(page.locator(".bar")).to_contain_text("Logged in as ada")
    operation = page.locator("#operations-requests-ask")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table tbody .response-col_status")).to_contain_text("201")
