"""What people read, at a real browser, narrow and wide, on the pages and in the admin."""

from __future__ import annotations

import re
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.async_api import Browser, Page, expect

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.models import AuditEntry
from orchestration.models import Message, Run, RunStatus, StepRecord
from tests import factories as make
from tests.connections import session_of
from tests.processes import Server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(180),
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

DETAILS = """The invoice of ACME, which the owner has checked:

| Position | Description | Amount | Currency | Balance |
|:---------|:------------|-------:|:---------|--------:|
| 1 | Consulting in November | 1,240.00 | EUR | 12,345,678.90 |
| 2 | Accommodation | 98,760.50 | EUR | 1,048,576.00 |

First line
Second line

See https://acme.example/orders/812, and ![the invoice](https://acme.example/invoice.png)
"""
ARGUMENTS = {
    "order": 812,
    "amount": "1,240.00",
    "recipient": {
        "owner": "Amsterdam Chemicals",
        "account": {"number": "NL91ABNA0417164300", "limit": 1048576},
    },
    "positions": [{"description": "Consulting", "quantity": 1000000, "price": {"amount": "98,760.50"}}],
}

# Words and figures of up to 24 signs that stand on more than one line.
BROKEN = """() => {
    const broken = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode;
        if (!node.parentElement.checkVisibility({ visibilityProperty: true })) continue;
        if (node.parentElement.closest(".unseen, .pill, .rows .title, pre")) continue;
        const words = /(?<![\\p{L}\\p{N}.,])[\\p{L}\\p{N}.,]{2,24}(?![\\p{L}\\p{N}.,])/gu;
        for (const { 0: word, index } of node.data.matchAll(words)) {
            const range = document.createRange();
            range.setStart(node, index);
            range.setEnd(node, index + word.length);
            const parts = [...range.getClientRects()].filter(({ width }) => width > 0);
            const lines = new Set(parts.map(({ top }) => Math.round(top)));
            if (lines.size > 1) broken.push(`${word} in ${node.parentElement.outerHTML.slice(0, 80)}`);
        }
    }
    return broken;
}"""


@pytest.fixture
def boss() -> User:
    return make.user("boss", is_staff=True, is_superuser=True)


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
async def test_words_and_figures_do_not_break_inside(
    browser: Browser, server: Server, boss: User, scheme: Literal["light", "dark"], width: int
) -> None:
    """Nor is any page wider than its screen: what needs more room scrolls by itself."""
    addresses = await in_database(_record, boss)
    page = await signed_in(
        browser, server, boss, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    for address in addresses:
        await page.goto(server.url + address)
        await expect(page.locator("h1").last).to_be_attached()
        assert await page.evaluate(BROKEN) == [], address
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, address
    await page.context.close()


async def test_the_admin_tells_times_in_the_zone_of_its_reader(
    browser: Browser, server: Server, boss: User
) -> None:
    """On a record's page and in lists; the title has both, the date and the zone."""
    request = await in_database(make.approval, "Pay", timeout=9_000)
    (asked,) = await in_database(queries.requests_by_id, [request])
    local = asked.opened_at.astimezone(ZoneInfo("Asia/Kathmandu"))
    page = await signed_in(browser, server, boss, timezone_id="Asia/Kathmandu", locale="en-GB")
    await page.goto(f"{server.url}/admin/approvals/approval/{request}/change/")
    await expect(page.locator(".facts time").first).to_have_text(f"{local:%-d %b %Y, %H:%M:%S} GMT+5:45")
    await page.goto(f"{server.url}/admin/approvals/auditentry/")
    await expect(page.locator("time.moment").first).to_have_text(f"{local:%-d %b %Y, %H:%M}")
    await expect(page.locator("time.moment").first).to_have_attribute("title", re.compile(r"GMT\+5:45$"))
    await page.context.close()


async def test_what_cannot_be_reached_is_not_said_any_more_once_it_is_live(
    browser: Browser, server: Server, boss: User
) -> None:
    """What was typed stays, and is sent by the next press."""
    request = await in_database(make.approval, "Pay", assignees=[boss])
    page = await signed_in(browser, server, boss)
    await page.goto(f"{server.url}/requests/{request}/")
    await expect(page.locator(".pill")).to_have_text("Live")
    await page.get_by_label("Note").fill("Twice")
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Reject", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    await page.context.set_offline(False)
    await in_database(make.approval, "Another", assignees=[boss])
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(page.locator(".pill")).to_have_text("Live")
    await expect(page.get_by_label("Note")).to_have_value("Twice")
    await page.get_by_role("button", name="Reject", exact=True).click()
    await expect(page.locator(".done")).to_contain_text("Rejected: Pay")
    await page.context.close()


async def signed_in(browser: Browser, server: Server, person: User, **options: Any) -> Page:
    context = await browser.new_context(**options)
    key = await in_database(session_of, person)
    await context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    return await context.new_page()


def _record(boss: User) -> list[str]:
    run = _run(boss)
    origin = {"kind": "run", "id": str(run.pk), "url": f"/runs/{run.pk}/"}
    edited = make.approval(
        "Refund 1,240.00 EUR to Amsterdam Chemicals",
        details=DETAILS,
        arguments=ARGUMENTS,
        editable=True,
        assignees=[boss],
        origin=origin,
    )
    deciding.decide(
        make.actor(boss),
        edited,
        "approve",
        comment="As the owner said",
        arguments={**ARGUMENTS, "amount": "1,180.00"},
    )
    other = make.user("someone-with-a-long-name")
    pending = make.approval(
        "Refund 12,345,678.90 EUR",
        details=DETAILS,
        arguments=ARGUMENTS,
        editable=True,
        assignees=[boss, other],
        timeout=9000,
    )
    question = make.clarification(
        "Which cost centre?", choices={"eu": "Europe", "us": "United States"}, assignees=[boss], timeout=5000
    )
    entry = AuditEntry.objects.filter(request_id=edited).latest("pk")
    return [
        "/",
        f"/requests/{pending}/",
        f"/requests/{edited}/",
        f"/requests/{question}/",
        "/runs/",
        f"/runs/{run.pk}/",
        "/admin/approvals/approval/",
        f"/admin/approvals/approval/{edited}/change/",
        f"/admin/approvals/approval/{pending}/change/",
        f"/admin/approvals/approval/{pending}/approve/",
        "/admin/approvals/clarification/",
        f"/admin/approvals/clarification/{question}/change/",
        "/admin/approvals/auditentry/",
        f"/admin/approvals/auditentry/{entry.pk}/change/",
        "/admin/orchestration/run/",
        f"/admin/orchestration/run/{run.pk}/change/",
        "/admin/",
    ]


def _run(owner: User) -> Run:
    now = timezone.now()
    run = Run.objects.create(
        orchestration="refund",
        title="Refund 1,240.00 EUR for order 812",
        owner=owner,
        input=ARGUMENTS,
        plan=[
            {
                "agent": "payments",
                "action": "transfer",
                "arguments": {"amount": "1,240.00"},
                "state": "completed",
                "started_at": "2026-11-22T12:00:00.000Z",
                "finished_at": "2026-11-22T12:00:02.500Z",
            },
            {
                "agent": "warehouse",
                "action": "restock",
                "arguments": {"owner": "owner"},
                "state": "waiting",
                "started_at": "2026-11-22T12:00:03Z",
            },
        ],
        status=RunStatus.COMPLETED,
        result=ARGUMENTS,
        created_at=now,
        changed_at=now,
        finished_at=now,
    )
    for number, name in enumerate(("transfer-to-the-owner", "restock")):
        StepRecord.objects.create(
            run=run,
            position=number,
            fingerprint="",
            key=name,
            name=name,
            kind="step",
            status="done",
            result=ARGUMENTS,
            started_at=now,
            finished_at=now,
        )
    Message.objects.create(
        run=run, agent="payments", text="Transferred 1,240.00 EUR", complete=True, said_at=now
    )
    return run
