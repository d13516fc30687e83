"""Served below a path prefix by a reverse proxy, the installation is whole: no page leads outside of it."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.async_api import Page, Response, expect
from websockets.asyncio.client import connect

from approvals import gate
from approvals.database.threads import in_database
from approvals.web.edge import tokens
from orchestration.manager import OrchestrationManager
from tests import factories as make
from tests.conftest import Serve
from tests.connections import session_of
from tests.reverse_proxy import reverse_proxy

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(60), pytest.mark.one_stack]

PREFIX = "/tools/desk"


@pytest.mark.parametrize("strips", [False, True], ids=["by the setting", "by a header"])
async def test_a_person_works_below_a_path_prefix(page: Page, serve: Serve, strips: bool) -> None:
    """By SAYSO_URL, the proxy passing whole paths on; or the proxy takes the prefix off, and says so."""
    said = {"SAYSO_TRUSTED_PROXIES": "127.0.0.1"} if strips else {"SAYSO_URL": f"https://example.com{PREFIX}"}
    server = serve(**said)
    ravi = await in_database(make.user, "ravi", is_staff=True, is_superuser=True)
    failed: list[str] = []
    page.on("response", lambda response: failed.extend(_failure(response)))
    # Daphne's own header, which anybody may send.
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as stranger:
        shown = await stranger.get("/accounts/login/", headers={"Daphne-Root-Path": "/else"})
    assert "/else" not in shown.text
    async with reverse_proxy(server.port, PREFIX, strips=strips) as proxy:
        await page.goto(f"{proxy.url}/runs/")
        await expect(page).to_have_url(f"{proxy.url}/accounts/login/?next={PREFIX}/runs/")

        key = await in_database(session_of, ravi)
        path = "/" if strips else PREFIX
        await page.context.add_cookies(
            [{"name": "sessionid", "value": key, "domain": "127.0.0.1", "path": path}]
        )
        await page.goto(f"{proxy.url}/")
        await expect(page.locator(".pill")).to_have_text("Live")
        request_id = await in_database(make.approval, "Refund 12 EUR", assignees=[ravi])
        await page.locator("#rows a", has_text="Refund 12 EUR").click()
        await expect(page).to_have_url(f"{proxy.url}/requests/{request_id}/")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.locator("#detail")).to_contain_text("Approved")
        assert (await in_database(gate.outcome, request_id)).approved
        await page.get_by_role("searchbox").fill("nothing of that name")
        await expect(page.get_by_text("No requests match.")).to_be_visible()

        given = {"title": "Release", "items": ["Tests are green"]}
        run_id = await in_database(OrchestrationManager().start, "checklist", given, ravi)
        await page.get_by_role("link", name="Runs").click()
        await page.locator(f"a[href='{PREFIX}/runs/{run_id}/']").click()
        await expect(page.locator(".pill")).to_have_text("Live")
        await page.locator("#asked-title a").click()
        await expect(page.locator("#detail h1")).to_contain_text("Tests are green")
        assert page.url.startswith(f"{proxy.url}/requests/")

        await page.goto(f"{proxy.url}/api/v1/docs")
        await expect(page.get_by_text("/requests", exact=False).first).to_be_visible()
        await page.goto(f"{proxy.url}/admin/")
        await page.get_by_role("link", name="Requests").last.click()
        await expect(page.locator("h1").last).to_be_visible()

        _, token = await in_database(tokens.issue, ravi.pk, "desk", ["read", "decide", "ask"])
        sockets = proxy.url.replace("http", "ws", 1)
        bearer = {"Authorization": f"Bearer {token}"}
        async with connect(f"{sockets}/ws/api/inbox/", additional_headers=bearer, proxy=None) as socket:
            assert json.loads(await socket.recv())["type"] == "hello"

        await page.goto(f"{proxy.url}/")
        await page.locator(".bar .menu summary").click()
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(f"{proxy.url}/accounts/login/")
        assert proxy.strays == []
        assert failed == []


def _failure(response: Response) -> list[str]:
    return [f"{response.status} {response.url}"] if response.status >= 400 else []
