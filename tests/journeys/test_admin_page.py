"""The admin in a real browser: every page fits the Content-Security-Policy, and deciding works by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
from django.contrib.auth.models import Group, Permission, User
from playwright.async_api import Page, expect
from pytest_django import Settings

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.models import AuditEntry, Callback
from approvals.trail import exports
from approvals.trail.exports.records import EntryRecord
from approvals.web.edge import tokens
from tests import factories as make
from tests.conftest import Manage
from tests.connections import session_of
from tests.journeys.test_inbox_page import POOR_CONTRAST
from tests.processes import Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.one_stack,
    pytest.mark.django_db,
    pytest.mark.usefixtures("shared_server"),
]

SignIn = Callable[[User], Awaitable[Page]]


@pytest.fixture
def rita() -> User:
    return make.user("rita", may=("decide_humanrequest", "view_humanrequest"), is_staff=True)


@pytest.fixture
def boss() -> User:
    return make.user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def sign_in(server: Server, page: Page) -> SignIn:
    """The page, with a session of this person's."""

    async def sign_in(person: User) -> Page:
        key = await in_database(session_of, person)
        await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
        return page

    return sign_in


def posted_of(person: User) -> Callback:
    """The callback of a request that this person has just decided."""
    request_id = make.approval(callback_url="https://hooks.example.org/")
    deciding.decide(make.actor(person), request_id, "approve")
    found: Callback = Callback.objects.get(request_id=request_id)
    return found


async def test_many_are_decided_with_one_reason(sign_in: SignIn, server: Server, rita: User) -> None:
    """Tick, choose, confirm with a reason, and read the outcome of each."""
    ids = [await in_database(make.approval, f"Refund {number}") for number in (811, 812)]
    page = await sign_in(rita)
    await page.goto(f"{server.url}/admin/approvals/approval/")
    for number in (811, 812):
        await page.get_by_role("row", name=f"Refund {number}").get_by_role("checkbox").check()
    await page.get_by_label("Action:").select_option(label="Reject…")
    await page.get_by_role("button", name="Go").click()
    await expect(page.get_by_role("heading", name="Reject?")).to_be_visible()
    await page.get_by_label("Reason").fill("Not twice.")
    await page.get_by_role("button", name="Reject these 2").click()
    await expect(page.get_by_text("2 recorded.")).to_be_visible()
    for number in (811, 812):
        told = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=f"Refund {number}"))
        await expect(told).to_contain_text("Rejected by rita")
    outcomes = [await in_database(gate.outcome, request_id) for request_id in ids]
    assert {(one.status, one.comment) for one in outcomes} == {("rejected", "Not twice.")}


async def test_one_is_decided_from_its_page_which_then_says_who_from_where(
    sign_in: SignIn, server: Server, rita: User
) -> None:
    """The history names the address and the program, and says that nothing was tampered with."""
    request_id = await in_database(make.approval, "Refund ACME", arguments={"order": 812})
    page = await sign_in(rita)
    await page.goto(f"{server.url}/admin/approvals/approval/{request_id}/change/")
    await page.get_by_role("link", name="Approve…").click()
    await expect(page.get_by_role("cell", name="812")).to_be_visible()
    await page.get_by_role("button", name="Approve", exact=True).click()
    decided = page.get_by_role("listitem").filter(has_text="Approved by rita").last
    await expect(decided).to_contain_text("127.0.0.1")
    await expect(decided).to_contain_text("Chrome")
    await expect(page.get_by_text("every entry of this trail is as it was written")).to_be_visible()
    await expect(page.get_by_role("link", name="Approve…")).to_have_count(0)


async def test_an_administrator_sets_who_decides_for_an_orchestration(
    sign_in: SignIn, server: Server, boss: User
) -> None:
    await in_database(make.group, "finance")
    page = await sign_in(boss)
    await page.goto(f"{server.url}/admin/orchestration/decidersoverride/add/")
    await page.get_by_label("Orchestration").select_option("plan")
    await page.get_by_label("Deciders").fill("finanze")
    await page.get_by_label("Four eyes").select_option(label="Yes")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("'finanze' is no active user and no group.")).to_be_visible()
    await page.get_by_label("Deciders").fill("finance")
    await page.get_by_role("button", name="Save", exact=True).click()
    row = page.get_by_role("row", name="plan")
    await expect(row).to_contain_text("finance")
    await expect(row).to_contain_text("boss")


async def test_a_question_is_answered_by_choice(sign_in: SignIn, server: Server, rita: User) -> None:
    request_id = await in_database(make.clarification, "Which colour?", choices=["red", "blue"])
    page = await sign_in(rita)
    await page.goto(f"{server.url}/admin/approvals/clarification/{request_id}/change/")
    await page.get_by_role("link", name="Answer…").click()
    await page.get_by_label("blue").check()
    await page.get_by_role("button", name="Answer").click()
    await expect(page.get_by_text("Which colour?: answered by rita")).to_be_visible()
    assert (await in_database(gate.outcome, request_id)).answer == "blue"


async def test_a_request_is_handed_on_and_taken_back(
    sign_in: SignIn, server: Server, boss: User, rita: User
) -> None:
    request_id = await in_database(make.approval, "Refund ACME", requester=boss)
    page = await sign_in(boss)
    await page.goto(f"{server.url}/admin/approvals/approval/{request_id}/change/")
    await page.get_by_role("link", name="Reassign…").click()
    await page.get_by_label("People").fill("nobody.known")
    await page.get_by_role("button", name="Reassign").click()
    await expect(page.get_by_role("alert")).to_contain_text("nobody.known")
    await page.get_by_label("People").fill("rita")
    await page.get_by_role("button", name="Reassign").click()
    await expect(page.get_by_text("Refund ACME: reassigned")).to_be_visible()
    await page.get_by_role("link", name="Withdraw…").click()
    await page.get_by_label("Reason").fill("Asked by mistake.")
    await page.get_by_role("button", name="Withdraw").click()
    await expect(page.get_by_text("Refund ACME: withdrawn by boss")).to_be_visible()
    assert (await in_database(gate.outcome, request_id)).status == "withdrawn"


async def test_an_auditor_finds_verifies_and_exports_and_decides_nothing(
    sign_in: SignIn, server: Server, rita: User, tmp_path: Path
) -> None:
    """From the list by a filter that is typed, to the verified trail, to a file that verifies."""
    for title in ("Refund ACME", "Refund BCME"):
        request_id = await in_database(make.approval, title)
        await in_database(deciding.decide, make.actor(rita), request_id, "approve")
    auditor = await in_database(make.user, "ines", is_staff=True)
    await in_database(lambda: auditor.groups.add(Group.objects.get(name="auditor")))
    page = await sign_in(auditor)
    await page.goto(f"{server.url}/admin/approvals/approval/?q=bcme")
    await page.get_by_label("Decided by").fill("rita")
    await page.get_by_role("button", name="Apply").first.click()
    await expect(page.get_by_text("1 shown, that is all")).to_be_visible()
    await page.get_by_role("link", name="Refund BCME").click()
    await expect(page.get_by_role("link", name=re.compile("Approve|Reject|Reassign|Withdraw"))).to_have_count(
        0
    )
    await page.get_by_role("link", name="Verify").click()
    await expect(page.get_by_text("The trail holds.")).to_be_visible()
    await page.get_by_role("link", name="Back to the list").click()
    await page.get_by_role("link", name="Export…").click()
    await page.get_by_label("JSON lines").check()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export").click()
    await (await download.value).save_as(tmp_path / "trail.jsonl")
    with exports.open_export(tmp_path / "trail.jsonl") as export:
        assert sum(isinstance(record, EntryRecord) for record in export.records()) >= 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wider_than_a_narrow_screen(
    sign_in: SignIn, server: Server, rita: User, scheme: Literal["light", "dark"]
) -> None:
    """Lists become cards, facts stand below each other, and long words break. All text has contrast."""
    given = {"note": "word " * 100, "iban": "NL91ABNA0417164300" * 6, "lines": [{"a": [1, {"b": "c" * 90}]}]}
    request_id = await in_database(make.approval, "W" * 200, assignees=[rita], arguments=given)
    manage = await Permission.objects.aget(codename="manage_delegation")
    await in_database(rita.user_permissions.add, manage)
    delegation = await in_database(lambda: make.delegation(rita, make.user("w" * 100)))
    page = await sign_in(rita)
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.emulate_media(color_scheme=scheme)
    request = f"approvals/approval/{request_id}"
    for address in (
        "",
        "approvals/humanrequest/",
        "approvals/approval/",
        f"{request}/change/",
        f"{request}/approve/",
        f"{request}/reassign/",
        "approvals/auditentry/",
        f"approvals/auditentry/verify/?request={request_id}",
        "approvals/delegation/",
        "approvals/delegation/add/",
        f"approvals/delegation/{delegation}/end/",
        "orchestration/run/",
    ):
        await page.goto(f"{server.url}/admin/{address}")
        await expect(page.get_by_role("heading", level=1).last).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, address
        assert await page.evaluate(POOR_CONTRAST) == [], address


async def test_columns_do_not_break_words(sign_in: SignIn, server: Server, rita: User) -> None:
    """On a laptop's screen, beside the filters; what is wider than its table is scrolled."""
    sam = await in_database(make.user, "samantha.longername@example.org")
    finance = await in_database(make.group, "Accountspayable Europe", rita)
    title = "Kraftfahrzeughaftpflichtversicherung kündigen"
    asked = await in_database(make.approval, title, requester=sam, assignees=[rita, finance], timeout=90_000)
    await in_database(make.clarification, title, requester=sam)
    await in_database(deciding.decide, make.actor(rita), asked, "approve")
    await in_database(tokens.issue, rita.pk, "nightly refunds of Accountspayable", ["ask", "read", "decide"])
    await in_database(make.delegation, rita, sam)
    page = await sign_in(rita)
    await page.set_viewport_size({"width": 1280, "height": 800})
    for name in ("humanrequest", "approval", "clarification", "auditentry", "apitoken", "delegation"):
        await page.goto(f"{server.url}/admin/approvals/{name}/")
        assert await page.locator("#result_list tbody tr").count() > 0
        assert await page.evaluate(BROKEN_WORDS) == [], name


BROKEN_WORDS = """() => {
    const broken = [];
    const texts = document.createTreeWalker(document.querySelector("#result_list"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        for (const { 0: word, index } of texts.currentNode.data.matchAll(/[^\\s-]+/g)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, index);
            range.setEnd(texts.currentNode, index + word.length);
            const lines = new Set([...range.getClientRects()].map((part) => Math.round(part.top)));
            if (lines.size > 1) broken.push(word);
        }
    }
    return broken;
}"""


async def test_every_page_fits_the_policy(
    sign_in: SignIn, server: Server, manage: Manage, boss: User, tmp_path: Path, settings: Settings
) -> None:
    """The `page` fixture fails on any violation, or any error of a script."""
    approval = await in_database(make.approval, arguments={"deep": {"list": [1, {"a": "b"}]}}, editable=True)
    clarification = await in_database(make.clarification, choices=["red", "blue"])
    settings.SAYSO_CALLBACK_HOSTS = ["hooks.example.org"]
    callback = await in_database(posted_of, boss)
    entry = await in_database(AuditEntry.objects.filter(request_id=approval).latest, "pk")
    token, _ = await in_database(tokens.issue, boss.pk, "deploy", ["ask"])
    delegation = await in_database(lambda: make.delegation(boss, make.user()))
    (tmp_path / "file").write_bytes(bytes(10))
    given = json.dumps({"directory": str(tmp_path)})
    run = manage("orchestrate", "disk_cleanup", "--input", given, "--as", "boss")
    run_id = await in_database(lambda: run.output.wait_for("page: ").partition("run: ")[2][:36])
    page = await sign_in(boss)
    for address in (
        "",
        "approvals/",
        "approvals/approval/",
        "approvals/approval/?q=refund&status=pending&due=soon&mine=yes",
        "approvals/approval/?requester=nobody&opened_from=2026-01-01&orchestration=disk_cleanup&p=oldest",
        f"approvals/approval/{approval}/change/",
        f"approvals/approval/decide/?ids={approval}&decision=approve",
        f"approvals/approval/decide/?ids={approval}&decision=reject",
        f"approvals/approval/{approval}/approve/",
        f"approvals/approval/{approval}/reject/",
        f"approvals/approval/{approval}/reassign/",
        f"approvals/approval/{approval}/withdraw/",
        "approvals/clarification/",
        f"approvals/clarification/{clarification}/change/",
        f"approvals/clarification/answer/?ids={clarification}",
        "approvals/auditentry/",
        f"approvals/auditentry/{entry.pk}/change/",
        f"approvals/auditentry/verify/?request={approval}",
        "approvals/auditentry/export/",
        "approvals/seal/",
        "approvals/humanrequest/?status=pending",
        "approvals/apitoken/",
        "approvals/apitoken/add/",
        f"approvals/apitoken/{token.pk}/change/",
        f"approvals/apitoken/{token.pk}/revoke/",
        "approvals/delegation/?state=now&principal=boss",
        "approvals/delegation/add/",
        f"approvals/delegation/{delegation}/change/",
        f"approvals/delegation/{delegation}/end/",
        "approvals/callback/",
        f"approvals/callback/{callback.pk}/change/",
        "orchestration/run/",
        f"orchestration/run/{run_id}/change/",
        "auth/user/",
        f"auth/user/{boss.pk}/change/",
        f"auth/user/{boss.pk}/password/",
        "auth/user/add/",
        "auth/group/add/",
        "password_change/",
    ):
        response = await page.goto(f"{server.url}/admin/{address}")
        assert response
        assert response.status == 200, address
        await expect(page.get_by_role("heading", level=1).last).to_be_visible()
