"""Mail goes by connections that stay open for the next message, and each message goes once."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Iterator
from functools import partial

import pytest
from django.core.mail import EmailMessage
from pytest_django import Settings

from approvals.delivery import mail
from approvals.delivery.mail import MailSender
from approvals.delivery.mail_connections import MailConnections
from tests.mail_server import LATER, NEVER, MailServer, mail_server, send_by_smtp


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


@pytest.fixture
def connections() -> Iterator[MailConnections]:
    running = MailConnections()
    yield running
    running.close()


def letter(subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, "Text.", "sayso@example.com", ["ada@example.org"])


def subjects(smtp: MailServer) -> list[str]:
    return sorted(str(one["Subject"]) for one in smtp.taken)


def test_one_after_the_other_goes_by_the_same_connection(
    smtp: MailServer, connections: MailConnections
) -> None:
    for number in range(5):
        connections.send(partial(letter, f"No. {number}"))
    assert len(subjects(smtp)) == 5
    assert smtp.connections == 1


def test_one_that_the_server_has_closed_is_replaced_and_nothing_goes_twice(
    smtp: MailServer, connections: MailConnections
) -> None:
    smtp.letters_a_connection = 2
    for number in range(5):
        connections.send(partial(letter, f"No. {number}"))
    assert subjects(smtp) == [f"No. {number}" for number in range(5)]
    assert smtp.connections == 3


@pytest.mark.parametrize("answer", [LATER, NEVER])
def test_after_a_refusal_the_next_message_goes_as_if_nothing_had_been(
    smtp: MailServer, connections: MailConnections, answer: str
) -> None:
    smtp.answers = [answer]
    with pytest.raises(smtplib.SMTPDataError):
        connections.send(partial(letter, "Refused"))
    connections.send(partial(letter, "Taken"))
    assert subjects(smtp) == ["Taken"]


async def test_many_at_once_share_a_few_connections_which_are_closed_when_there_is_no_more(
    smtp: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "KEPT_OPEN", 0.0)
    sender = MailSender(3)
    answers = await asyncio.gather(*[sender.send(partial(letter, f"No. {n:02}")) for n in range(30)])
    assert [one.error for one in answers] == [""] * 30
    assert subjects(smtp) == [f"No. {n:02}" for n in range(30)]
    assert smtp.connections <= 3
    await asyncio.to_thread(smtp.wait_for_goodbyes, smtp.connections)
    sender.close()
