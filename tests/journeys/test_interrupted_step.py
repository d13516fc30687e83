"""A process dies between a step's effect and its record; a person settles it at a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

import tests.faults.orchestrations  # noqa: F401 - registers what is started here
from approvals.database.threads import in_database
from orchestration.manager import OrchestrationManager
from tests import factories as make
from tests.connections import session_of
from tests.faults.ledger import Ledger
from tests.patience import patience
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.timeout(180)]


async def test_a_person_sees_what_is_known_and_says_how_to_go_on(
    page: Page, serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The question says which step, with which arguments; what is no JSON is refused beside its field; the
    run goes on with the result that was given."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "SAYSO_TEST_LEDGER": str(tmp_path / "ledger.jsonl"),
    }
    olga = await in_database(make.user, "olga")
    key = await in_database(session_of, olga)
    dying = await asyncio.to_thread(serve, **environment, SAYSO_TEST_FAILPOINTS='{"step-performed": "kill"}')
    given = {"questions": 0}
    run_id = await in_database(OrchestrationManager().start, "faults-errand", given, olga)
    await asyncio.to_thread(dying.wait)
    server = await asyncio.to_thread(serve, **environment)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])

    await page.goto(f"{server.url}/runs/{run_id}/")
    question = page.locator("#asked-title a", has_text="Interrupted: was “begin” done?")
    await expect(question).to_be_visible(timeout=1000 * patience(30))
    await question.click()
    detail = page.locator("#detail")
    await expect(detail).to_contain_text("it may have had its effect, or not")
    await expect(detail).to_contain_text(f'"run_id": "{run_id}"')
    await page.get_by_label("It was done: go on").check()
    result = page.get_by_label("Its result, if it was done")
    await result.fill("done by hand")
    await page.get_by_role("button", name="Answer").click()
    await expect(detail).to_contain_text("is not JSON")
    await result.fill('{"effect": "by hand"}')
    await page.get_by_role("button", name="Answer").click()
    await expect(detail).to_contain_text("Answered")

    await page.goto(f"{server.url}/runs/{run_id}/")
    await expect(page.locator("article")).to_contain_text("Completed", timeout=1000 * patience(30))
    await expect(page.locator("article")).to_contain_text("by hand")
    effects = [note for note in Ledger(tmp_path / "ledger.jsonl").notes() if note["what"] == "performed"]
    assert len(effects) == 1
