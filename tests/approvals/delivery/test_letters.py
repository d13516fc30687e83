"""Letters wait in an outbox, are made and sent by one worker, and are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.delivery.letters import LetterCarrier
from approvals.delivery.outbox_worker import OutboxWorker
from approvals.models import Letter
from approvals.process import hints
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import emails, outboxes
from tests import factories as make
from tests.mail_server import LATER, NEVER, SILENCE, MailServer, mail_server, send_by_smtp
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

URL = "https://sayso.example.com/approvals"


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    """The installation's mail server."""
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


@pytest.fixture(autouse=True)
def address(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again when the test says so."""
    settings.SAYSO_URL = URL
    monkeypatch.setattr(outboxes, "BACKOFF", (600.0,))


@pytest.fixture
async def worker(stack: object) -> AsyncIterator[None]:
    room = waiting_room()
    await room.start()
    worker = OutboxWorker(room, emails.outbox, LetterCarrier())
    await worker.start()
    yield
    await worker.stop()
    await room.stop()


@pytest.fixture
def ada() -> User:
    return make.user("ada", email="ada@example.org", password="former")


def ask(email: str = "ada@example.org", **headers: str) -> Any:
    """As the page does when somebody asks for a new password."""
    return Client(headers=headers).post("/accounts/reset/", {"email": email})


def change(**fields: Any) -> None:
    User.objects.update(**fields)


def due_now() -> None:
    """The pause is over, and everybody is told."""
    Letter.writing.update(due_at=database_now() - timedelta(seconds=1), changed_at=database_now())
    hints.send(emails.TOPIC, list(Letter.objects.values_list("pk", flat=True)))


async def settled(status: str, attempts: int) -> Letter:
    """The only letter, as soon as it is so."""
    while True:
        row: Letter = await in_database(Letter.objects.get)
        if (row.status, row.attempts, row.claimed_until) == (status, attempts, None):
            return row


async def came(smtp: MailServer, count: int = 1) -> list[Any]:
    return await asyncio.to_thread(smtp.wait_for, count)


class TestWriting:
    def test_the_page_writes_whom_and_what_kind_and_nothing_of_what_is_said(
        self, ada: User, smtp: MailServer
    ) -> None:
        assert ask()["Location"] == "/accounts/reset/sent/"
        letter = Letter.objects.get()
        assert (letter.user, letter.kind, letter.status) == (ada, "password_reset", "waiting")
        assert smtp.connections == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM approvals_letter")
            row = " ".join(map(str, cursor.fetchone()))
        assert "http" not in row
        assert "example.org" not in row

    @both_databases
    def test_one_that_waits_is_not_doubled_but_due_at_once(self, ada: User) -> None:
        ask()
        later = database_now() + timedelta(minutes=10)
        Letter.writing.update(due_at=later)
        ask()
        assert Letter.objects.get().due_at < later

    @pytest.mark.parametrize("fields", [{"is_active": False}, {"password": "!"}, {"email": ""}])
    def test_who_cannot_reset_a_password_is_told_the_same(self, ada: User, fields: dict[str, Any]) -> None:
        change(**fields)
        assert ask()["Location"] == "/accounts/reset/sent/"
        assert not Letter.objects.exists()

    def test_without_an_address_of_its_own_the_installation_says_so(
        self, ada: User, settings: Settings
    ) -> None:
        settings.SAYSO_URL = ""
        for response in (Client().get("/accounts/reset/"), ask()):
            assert "Password reset is not set up" in response.content.decode()
        assert not Letter.objects.exists()


class TestSending:
    async def test_it_is_sent_with_a_link_below_the_installations_address(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        """Whatever host the request claimed."""
        await in_database(ask, host="localhost:1234")
        (letter,) = await came(smtp)
        row = await settled("delivered", 1)
        assert (letter["To"], letter["Subject"]) == ("ada@example.org", "Sayso: choose a new password")
        assert letter["Message-ID"] == f"<{row.pk}@sayso.example.com>"
        link = next(line for line in letter.get_content().splitlines() if "://" in line)
        assert link.startswith(f"{URL}/accounts/reset/")
        assert "localhost" not in letter.get_content()
        assert await in_database(set_password, link.removeprefix(URL), "a-new-one-4711")

    async def test_the_link_is_of_the_account_as_it_is_when_the_letter_is_sent(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        smtp.answers = [LATER]
        await in_database(ask)
        await settled("waiting", 1)
        await in_database(change, email="ada@elsewhere.example", password="!changed")
        await in_database(ada.set_password, "another")
        await in_database(change, password=ada.password)
        await in_database(due_now)
        (letter,) = await came(smtp)
        assert letter["To"] == "ada@elsewhere.example"
        link = next(line for line in letter.get_content().splitlines() if "://" in line)
        assert await in_database(set_password, link.removeprefix(URL), "a-new-one-4711")

    async def test_what_the_server_cannot_take_now_is_sent_again(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        smtp.answers = [LATER]
        await in_database(ask)
        assert (await settled("waiting", 1)).error == "The mail server answered 451."
        await in_database(due_now)
        assert (await settled("delivered", 2)).error == ""

    async def test_what_the_server_never_takes_is_given_up(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        smtp.answers = [NEVER]
        await in_database(ask)
        assert (await settled("given_up", 1)).error == "The mail server answered 554."

    async def test_an_account_that_may_not_log_in_any_more_gets_nothing(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        smtp.answers = [LATER]
        await in_database(ask)
        await settled("waiting", 1)
        await in_database(change, is_active=False)
        await in_database(due_now)
        await settled("given_up", 2)
        assert smtp.taken == []

    async def test_a_server_that_stays_silent_is_left_after_the_timeout(
        self, ada: User, worker: None, settings: Settings
    ) -> None:
        with mail_server(SILENCE) as silent:
            send_by_smtp(settings, silent.port, timeout=0.1)
            await in_database(ask)
            row = await settled("waiting", 1)
        assert "timed out" in row.error or "in time" in row.error

    async def test_a_letter_whose_account_is_deleted_meanwhile_holds_up_nothing(
        self, ada: User, worker: None, smtp: MailServer
    ) -> None:
        smtp.answers = [LATER]
        await in_database(ask)
        await settled("waiting", 1)
        await in_database(ada.delete)
        await in_database(make.user, "eve", email="eve@example.org", password="former")
        await in_database(ask, "eve@example.org")
        assert (await came(smtp))[0]["To"] == "eve@example.org"


class TestRows:
    @both_databases
    def test_a_claim_gives_each_letter_to_one(self, ada: User) -> None:
        ask()
        (due,) = emails.outbox.claim(10)
        assert emails.outbox.claim(10) == []
        assert emails.outbox.next_due()[0] == due.claimed_until
        emails.outbox.record([outboxes.Attempt(due=due, seconds=0.1, answer=outboxes.Answer())])
        assert emails.outbox.next_due()[0] is None
        assert emails.outbox.changed_since(due.claimed_at - timedelta(hours=1)) == {}

    def test_after_an_hour_it_is_given_up(self, ada: User) -> None:
        ask()
        (due,) = emails.outbox.claim(10)
        Letter.writing.update(give_up_at=database_now())
        emails.outbox.record([outboxes.Attempt(due=due, seconds=0.1, answer=outboxes.Answer(error="no"))])
        assert Letter.objects.get().status == "given_up"

    def test_what_ended_a_month_ago_is_removed(self, ada: User) -> None:
        ask()
        Letter.writing.update(status="delivered", due_at=None, changed_at=database_now() - timedelta(days=31))
        ask()
        (due,) = emails.outbox.claim(10)
        emails.outbox.record([outboxes.Attempt(due=due, seconds=0.1, answer=outboxes.Answer())])
        assert Letter.objects.get().pk == due.id


def set_password(path: str, password: str) -> bool:
    """Whether the link leads to a page that sets it."""
    client = Client()
    form = client.get(path, follow=True)
    posted = client.post(form.redirect_chain[-1][0], {"new_password1": password, "new_password2": password})
    return posted.status_code == 302 and client.login(username="ada", password=password)
