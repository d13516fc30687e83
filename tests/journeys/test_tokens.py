"""An API token from its issue to its end: a program that waits with it, a person who revokes it by hand."""

from __future__ import annotations

import asyncio
from time import monotonic

import httpx
import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from approvals import gate
from approvals.database.threads import in_database
from approvals.models import ApiToken
from tests import factories as make
from tests.conftest import Manage
from tests.connections import session_of
from tests.looking import blocked_until
from tests.processes import Process, Server

pytestmark = [pytest.mark.browser, pytest.mark.one_stack, pytest.mark.django_db]

PATIENCE = 50.0


@pytest.fixture
def boss() -> User:
    return make.user("boss", is_staff=True, is_superuser=True)


@pytest.mark.alone
async def test_a_revoked_token_ends_the_wait_that_is_open_with_it(
    page: Page, server: Server, manage: Manage, boss: User
) -> None:
    """Within moments, not when the wait's patience is over. What it asked stays open."""
    secret = await in_database(printed_by, manage("create_token", "boss", "--name", "deploy bot"))
    request_id = await in_database(lambda: make.approval("Refund ACME", requester=boss, timeout=None))
    address = f"{server.url}/api/v1/requests/{request_id}/outcome"
    key = await in_database(session_of, boss)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=PATIENCE) as program:
        wait = asyncio.create_task(program.get(address, params={"wait": PATIENCE}))
        await in_database(used)
        await page.goto(f"{server.url}/admin/approvals/apitoken/")
        await page.get_by_role("link", name="deploy bot").click()
        await page.get_by_role("link", name="Revoke…").click()
        await expect(page.get_by_text("can’t be undone")).to_be_visible()  # noqa: RUF001  as it is written
        assert not wait.done()
        began = monotonic()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("was revoked: it no longer works")).to_be_visible()
        turned_away = await wait
        assert monotonic() - began < 30
        again = await program.get(address)

    assert (turned_away.status_code, turned_away.json()["code"]) == (401, "unauthenticated")
    assert again.status_code == 401
    await expect(page.get_by_role("link", name="Revoke…")).to_have_count(0)
    assert (await in_database(gate.outcome, request_id)).status == "pending"


def printed_by(process: Process) -> str:
    """The token, beside what people are told."""
    assert process.wait() == 0
    (secret,) = [line for line in process.output.text.splitlines() if line.startswith("sayso_")]
    return secret


def used() -> None:
    """Return once the token has let somebody in."""
    blocked_until(ApiToken.objects.filter(last_used_at__isnull=False).exists)
