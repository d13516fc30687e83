"""Sends notifications by the kind of their destination: what is so at that moment, or nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID

from django.core.mail import EmailMessage, EmailMultiAlternatives

from approvals import links
from approvals.conf import own_url
from approvals.database.threads import in_database
from approvals.delivery import addresses, unsubscribing
from approvals.delivery.chat import ChatSender
from approvals.delivery.mail import LONGEST, NOT_SET_UP, MailSender, NoPoint, message_id
from approvals.delivery.messages import Message, compose, compose_digest, compose_for_chat
from approvals.delivery.webhooks import events
from approvals.delivery.webhooks.posting import WebhookCarrier
from approvals.delivery.webhooks.targets import destination_reach
from approvals.domain.telling import DestinationKind
from approvals.process import failpoints
from approvals.queries.notices import Notice
from approvals.writer.notifications import Due, message_number, outbox
from approvals.writer.outboxes import Answer

# Messages on their way to the mail server at the same time, each by a connection of its own.
MAIL_AT_ONCE = 8
# Seconds after which what was read for a mail is read again, when its turn has come.
FRESH = 1.0

NO_ADDRESS = Answer(error="The account has no email address.", final=True)
UNREADABLE = Answer(
    error="The address can't be read: it was saved under another secret key. Enter it again.", final=True
)


class NotificationCarrier:
    """Sends what is to be told, by the kind of its destination."""

    def __init__(self) -> None:
        self._mail = MailSender(MAIL_AT_ONCE)
        self._chat = ChatSender()
        self._webhooks = WebhookCarrier(reach=destination_reach)

    async def deliver(self, due: Due) -> Answer:
        if not links.are_set_up():
            return NOT_SET_UP
        if not due.live:
            return Answer(error=due.notice.moot, moot=True)
        address = address_of(due.notice)
        if not address:
            return UNREADABLE if address is None else NO_ADDRESS
        failpoints.reach("notification-claimed")
        answer = await self._send(due, address)
        failpoints.reach("message-sent")
        return answer

    async def _send(self, due: Due, address: str) -> Answer:
        if due.destination.kind == DestinationKind.WEBHOOK:
            return await self._webhooks.post(address, events.message_of(due))
        if due.destination.kind == DestinationKind.CHAT:
            return await self._chat.send(address, compose_for_chat(due.live))
        loop, parts = asyncio.get_running_loop(), dict[UUID, str]()
        answer = await self._mail.send(partial(_make, due, loop, loop.time(), parts))
        return replace(answer, parts=dict(parts))

    def close(self) -> None:
        self._mail.close()
        self._chat.close()
        self._webhooks.close()


def address_of(notice: Notice) -> str | None:
    """Return where the notice goes; "" where an account has no email address, None for what can't be read."""
    destination = notice.notification.destination
    if destination.is_of_account:
        return str(destination.user.email) if destination.user else ""
    return addresses.decrypt(destination.address)


def _make(due: Due, loop: asyncio.AbstractEventLoop, since: float, parts: dict[UUID, str]) -> EmailMessage:
    """Make the mail, on a thread: if it waited for its turn, of what is so by now. NoPoint: of nothing.

    Note in `parts` what was read again: why each notification is not in it, or "".
    """
    if loop.time() - since > FRESH:
        due = asyncio.run_coroutine_threadsafe(_read_again(due), loop).result(LONGEST)
        parts |= {notice.notification.pk: notice.moot for notice in (due.notice, *due.others)}
        if not due.live:
            raise NoPoint(due.notice.moot)
    return make_digest(due.live) if due.notice.notification.digest else make_mail(due.notice)


async def _read_again(due: Due) -> Due:
    ids = [notice.notification.pk for notice in (due.notice, *due.others)]
    for again in await in_database(outbox.read, ids, due.claimed_at, due.claimed_until):
        return again
    raise NoPoint("The notification is gone.")


def make_digest(notices: Sequence[Notice]) -> EmailMessage:
    """Make the one email that tells all of these, which go to one address."""
    return _email(notices[0], compose_digest(notices))


def make_mail(notice: Notice) -> EmailMessage:
    """Make the email: all about one request are one conversation, and no robot answers them."""
    host = urlsplit(own_url()).hostname
    message = _email(notice, compose(notice))
    message.extra_headers["References"] = f"<request-{notice.request.pk}@{host}>"
    return message


def _email(notice: Notice, words: Message) -> EmailMessage:
    destination = notice.notification.destination
    message = EmailMultiAlternatives(
        words.subject,
        words.text,
        to=[address_of(notice) or ""],
        headers={
            "Message-ID": message_id(message_number(notice.notification)),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            # One reader of a group's mail does not unsubscribe the others.
            **(unsubscribing.headers_of(destination.pk) if destination.group_id is None else {}),
        },
    )
    message.attach_alternative(words.html, "text/html")
    return message
