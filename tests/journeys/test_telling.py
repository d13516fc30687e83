"""People are told by real servers through a real mail server, once each, whatever dies in between."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, expect
from pytest_django import Settings

from approvals import deciding
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.models import AuditEntry, Delegation, Destination, Notification, NotificationStatus, Watch
from tests import factories as make
from tests.approvals.delivery.webhooks.receiver import receiver
from tests.conftest import Serve
from tests.looking import blocked_until
from tests.mail_server import MailServer, mail_server
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(180)]

Teller = Callable[..., Server]


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> None:
    """This process asks; servers tell."""
    settings.SAYSO_NOTIFY = "on"


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def teller(serve: Serve, smtp: MailServer) -> Teller:
    """Start a server that tells people by this mail server."""
    told = {"SAYSO_NOTIFY": "on", "SAYSO_URL": "https://sayso.example.com", "EMAIL_URL": smtp.url}
    return lambda **environment: serve(**told, **environment)


@pytest.fixture
def people() -> list[User]:
    return [make.user(name, email=f"{name}@example.org") for name in ("ada", "bob", "cleo")]


def claims_are_over() -> None:
    """What a dead process had claimed is due, before another starts."""
    now = database_now()
    Watch.writing.exclude(due_at=None).update(due_at=now)
    Notification.writing.filter(status=NotificationStatus.WAITING).update(due_at=now, changed_at=now)


def until_settled(number: int) -> None:
    """All notifications of so many are sent, or have no point any more."""
    blocked_until(
        lambda: (
            Notification.objects.filter(status__in=("delivered", "moot")).count() >= number
            and not Watch.objects.exclude(claimed_until=None).exists()
        )
    )


@pytest.mark.one_stack
async def test_the_link_of_a_real_message_decides_in_a_browser_where_nobody_is_logged_in(
    teller: Teller, smtp: MailServer, people: list[User], browser: Browser
) -> None:
    server = await asyncio.to_thread(teller, SAYSO_LINKS="personal")
    request = await in_database(make.approval, "Pay ACME", assignees=people[:1], arguments={"order": 812})
    (letter,) = await asyncio.to_thread(smtp.wait_for, 1)
    (path,) = set(re.findall(r"https://sayso.example.com(/d/[\w-]{43}/)", letter.as_string()))
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as scanner:
        for method in ("HEAD", "GET", "OPTIONS", "PUT"):
            await scanner.request(method, path)
    page = await (await browser.new_context()).new_page()
    await page.goto(server.url + path)
    await expect(page.get_by_role("heading", name="Pay ACME")).to_be_visible()
    await page.get_by_label("Note").fill("As agreed.")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".act")).to_contain_text("Approved by ada")
    await page.goto(server.url + path)
    await expect(page.get_by_role("heading", name="This link was used")).to_be_visible()
    assert await page.context.cookies() == []
    entries = AuditEntry.objects.filter(request_id=request).order_by("sequence")
    on_trail = await in_database(lambda: list(entries.values_list("event", "channel")))
    assert on_trail == [("opened", "program"), ("viewed", "link"), ("decided", "link")]
    assert path.split("/")[2] not in server.output.text


@pytest.mark.parametrize("died", ["watches-claimed", "notifications-written", "notification-claimed"])
def test_a_server_that_is_killed_on_the_way_costs_nobody_a_message_and_tells_nobody_twice(
    teller: Teller, smtp: MailServer, people: list[User], died: str
) -> None:
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    dying = teller(**faults, SAYSO_TEST_FAILPOINTS=f'{{"{died}": "kill"}}')
    make.approval("Pay", assignees=people)
    dying.wait()
    claims_are_over()
    teller()
    until_settled(3)
    assert Counter(letter["To"] for letter in smtp.taken) == {f"{person}@example.org": 1 for person in people}


@pytest.mark.one_stack
@pytest.mark.parametrize("died", ["newcomers-read", "newcomers-greeted"])
def test_a_server_that_is_killed_while_it_greets_costs_nobody_the_greeting_and_greets_nobody_twice(
    teller: Teller, smtp: MailServer, people: list[User], settings: Settings, died: str
) -> None:
    settings.SAYSO_NOTIFY = "off"  # so nobody has been told
    for _ in range(3):
        make.approval("Pay", assignees=people[:1], timeout=None)
    settings.SAYSO_NOTIFY = "on"
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    dying = teller(**faults, SAYSO_TEST_FAILPOINTS=f'{{"{died}": "kill"}}')
    make.destination(make.group("finance"), "email", "finance@example.org", to_greet=True)
    make.delegation(people[0], people[1])
    dying.wait()
    claims_are_over()
    teller()
    until_settled(3)
    assert not Delegation.objects.filter(to_greet=True).exists()
    assert [(letter["To"], letter["Subject"]) for letter in smtp.taken] == [
        (f"{people[1]}@example.org", "3 requests wait for you")
    ]


@pytest.mark.one_stack
def test_a_server_that_is_killed_before_it_noted_what_was_sent_repeats_it_under_the_same_name(
    teller: Teller, smtp: MailServer, people: list[User]
) -> None:
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    dying = teller(**faults, SAYSO_TEST_FAILPOINTS='{"message-sent": "kill"}')
    make.approval("Pay", assignees=people[:1])
    dying.wait()
    claims_are_over()
    teller()
    until_settled(1)
    assert len(smtp.taken) == 2
    assert len({letter["Message-ID"] for letter in smtp.taken}) == 1


@pytest.mark.one_stack
def test_a_webhook_that_was_posted_and_not_noted_is_posted_again_under_the_same_name(teller: Teller) -> None:
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    allowed = {"SAYSO_CALLBACK_HOSTS": "127.0.0.1", "SAYSO_CALLBACK_NETWORKS": "127.0.0.0/8"}
    ada = make.user("ada")
    Destination.objects.create(user=ada, events=[])
    with receiver() as hook:
        make.destination(ada, "webhook", f"{hook.url}/told")
        dying = teller(**faults, **allowed, SAYSO_TEST_FAILPOINTS='{"message-sent": "kill"}')
        make.approval(assignees=[ada])
        dying.wait()
        claims_are_over()
        teller(**allowed)
        until_settled(1)
    assert len(hook.posted) == 2
    assert len({posted.message_id for posted in hook.posted}) == 1


@pytest.mark.stacks("postgresql-redis")
def test_two_servers_tell_each_once(teller: Teller, smtp: MailServer, people: list[User]) -> None:
    teller(), teller()
    for _ in range(30):
        make.approval("Pay", assignees=people)
    until_settled(90)
    told = Counter((letter["To"], letter["References"]) for letter in smtp.taken)
    assert len(told) == 90
    assert set(told.values()) == {1}


@pytest.mark.one_stack
def test_what_was_asked_while_no_server_ran_is_told_when_one_does_unless_it_is_closed(
    teller: Teller, smtp: MailServer, people: list[User]
) -> None:
    make.approval("Open", assignees=people)
    deciding.withdraw(Actor.program(), make.approval("Closed", assignees=people))
    teller()
    until_settled(3)
    assert {letter["Subject"] for letter in smtp.taken} == {"Approve or reject: Open"}
