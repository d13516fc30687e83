"""Sends notifications by mail, each with what is so at that moment, or not at all where it has no point."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from django.core.mail import EmailMessage, EmailMultiAlternatives

from approvals.conf import approval_settings
from approvals.delivery import links, unsubscribing
from approvals.delivery.mail import NOT_SET_UP, MailSender, message_id
from approvals.delivery.messages import compose
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
        if due.notice.moot:
            return Answer(error=due.notice.moot, moot=True)
        if not due.notice.notification.destination.user.email:
            return NO_ADDRESS
        failpoints.reach("notification-claimed")
        answer = await self._mail.send(partial(make_mail, due.notice))
        failpoints.reach("message-sent")
        return answer

    def close(self) -> None:
        self._mail.close()


def make_mail(notice: Notice) -> EmailMessage:
    """Make the email: all about one request are one conversation, and no robot answers them."""
    words = compose(notice)
    host = urlsplit(approval_settings().url).hostname
    message = EmailMultiAlternatives(
        words.subject,
        words.text,
        to=[notice.notification.destination.user.email],
        headers={
            "Message-ID": message_id(notice.notification.pk),
            "References": f"<request-{notice.request.pk}@{host}>",
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            **unsubscribing.headers_of(notice.notification.destination_id),
        },
    )
    message.attach_alternative(words.html, "text/html")
    return message
