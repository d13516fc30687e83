"""Send a test to a destination, by the way that requests are told there."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Sequence
from uuid import uuid4

from django.core.mail import EmailMessage

from approvals import links, queries
from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.delivery import addresses, chat, mail
from approvals.delivery.messages import ChatMessage
from approvals.delivery.notifications import UNREADABLE
from approvals.delivery.webhooks.messages import signed
from approvals.delivery.webhooks.posting import WebhookCarrier
from approvals.delivery.webhooks.targets import destination_reach
from approvals.domain.payloads import canonical
from approvals.domain.telling import DestinationKind

SUBJECT = "Sayso: a test message"


def try_out(kind: str, stored: str, secrets: Sequence[str]) -> str:
    """Send a test to this stored address; return why it failed, or "". The secrets sign a webhook's."""
    address = addresses.decrypt(stored)
    if address is None:
        return UNREADABLE.error
    if kind == DestinationKind.WEBHOOK:
        return _try_webhook(address, secrets)
    if kind == DestinationKind.CHAT:
        return chat.send(address, ChatMessage(heading=SUBJECT, title="", link=links.link_to("inbox"))).error
    return try_mail(address)


def try_mail(address: str) -> str:
    """Send a test to this email address; return why it failed, or ""."""
    message = EmailMessage(
        SUBJECT,
        f"Sayso at {approval_settings().url} can send you messages about requests that wait for you.\n"
        f"What you are told about is up to you: {links.link_to('preferences')}\n",
        to=[address],
        headers={"Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send(message)
    except (OSError, smtplib.SMTPException) as error:
        return str(error)
    return ""


def _try_webhook(address: str, secrets: Sequence[str]) -> str:
    now = database_now()
    body = {
        "type": "test",
        "timestamp": queries.moment_on_the_wire(now),
        "data": {"url": links.link_to("inbox")},
    }
    message = signed(str(uuid4()), now, canonical(body), secrets)

    async def post() -> str:
        carrier = WebhookCarrier(reach=destination_reach)
        try:
            return (await carrier.post(address, message)).error
        finally:
            carrier.close()

    return asyncio.run(post())
