"""The benchmark's mail server takes what real clients send, and counts it by what it is about."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage

from orchestration.benchmark.mailbox import Mailbox

REQUEST = "01a22b4a-d7c1-730c-93e4-28241437a7f0"


def send(port: int, *about: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        for each in about:
            message = EmailMessage()
            message["From"], message["To"] = "sayso@example.org", "ada@example.org"
            message["References"] = f"<request-{each}@sayso.example.com>"
            message.set_content(".\n..\nReferences: <request-of-nothing@x>\n")
            client.send_message(message)


async def test_each_message_counts_once_for_its_request() -> None:
    mailbox = Mailbox()
    await mailbox.begin()
    port = await mailbox.port()
    counting = asyncio.create_task(mailbox.await_messages(3, 30.0))
    await asyncio.to_thread(send, port, REQUEST, REQUEST)
    await asyncio.to_thread(send, port, "0" * 36)
    assert (await counting)[REQUEST] == 2
    assert await mailbox.await_messages(4, 0.01) == await counting
    mailbox._server.close()
    await mailbox._server.wait_closed()
