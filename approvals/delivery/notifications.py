"""Sends notifications by mail, each with what is so at that moment, or not at all where it has no point."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from django.core.mail import EmailMessage, EmailMultiAlternatives

from approvals.conf import approval_settings
from approvals.delivery import links, unsubscribing
from approvals.delivery.mail import NOT_SET_UP, MailSender, message_id
from approvals.delivery.messages import Message, compose, compose_digest
from approvals.process import failpoints
from approvals.queries.notices import Notice
from approvals.writer import notifications
from approvals.writer.notifications import Due
from approvals.writer.outboxes import Answer

NO_ADDRESS = Answer(error="The account has no email address.", final=True)


class NotificationCarrier:
    """Sends what is to be told, by the kind of its destination."""

    def __init__(self) -> None:
        self._mail = MailSender(notifications.AT_ONCE)

    async def deliver(self, due: Due) -> Answer:
        if not links.are_set_up():
            return NOT_SET_UP
        if not due.live:
            return Answer(error=due.notice.moot, moot=True)
        if not due.notice.notification.destination.user.email:
            return NO_ADDRESS
        failpoints.reach("notification-claimed")
        answer = await self._mail.send(partial(_make, due))
        failpoints.reach("message-sent")
        return answer

    def close(self) -> None:
        self._mail.close()


def _make(due: Due) -> EmailMessage:
    return make_digest(due.live) if due.notice.notification.digest else make_mail(due.notice)


def make_digest(notices: Sequence[Notice]) -> EmailMessage:
    """Make the one email that tells all of these, which go to one person."""
    return _email(notices[0], compose_digest(notices))


def make_mail(notice: Notice) -> EmailMessage:
    """Make the email: all about one request are one conversation, and no robot answers them."""
    host = urlsplit(approval_settings().url).hostname
    message = _email(notice, compose(notice))
    message.extra_headers["References"] = f"<request-{notice.request.pk}@{host}>"
    return message


def _email(notice: Notice, words: Message) -> EmailMessage:
    message = EmailMultiAlternatives(
        words.subject,
        words.text,
        to=[notice.notification.destination.user.email],
        headers={
            "Message-ID": message_id(notice.notification.pk),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            **unsubscribing.headers_of(notice.notification.destination_id),
        },
    )
    message.attach_alternative(words.html, "text/html")
    return message
