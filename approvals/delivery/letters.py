"""Letters to people about their accounts: text and token are made when a letter is sent."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from approvals import links
from approvals.conf import approval_settings
from approvals.database.threads import in_database
from approvals.delivery import addresses
from approvals.delivery.mail import NOT_SET_UP, MailSender, message_id
from approvals.writer import emails, new_addresses
from approvals.writer.emails import Due
from approvals.writer.outboxes import Answer

NOBODY = Answer(error="The account is not active, or has no address or no password of its own.", final=True)

NO_LONGER = Answer(error="No address waits for a code any more.", final=True)


class LetterCarrier:
    """Sends letters by mail."""

    def __init__(self) -> None:
        self._mail = MailSender(emails.AT_ONCE)

    async def deliver(self, due: Due) -> Answer:
        if not links.are_set_up():
            return NOT_SET_UP
        if due.kind == emails.ADDRESS_CODE:
            return await self._send_code(due)
        if not due.user.is_active or not due.user.email or not due.user.has_usable_password():
            return NOBODY
        return await self._mail.send(partial(_make, due))

    async def _send_code(self, due: Due) -> Answer:
        """Send a code, made at this moment, to the address that waits for it."""
        issued = await in_database(new_addresses.issue, due.user.pk) if due.user.is_active else None
        if issued is None:
            return NO_LONGER
        stored, code = issued
        if not (address := addresses.decrypt(stored)):
            return NO_LONGER
        return await self._mail.send(partial(_make_code, due, address, code))

    def close(self) -> None:
        self._mail.close()


def _make(due: Due) -> EmailMessage:
    link = links.link_to(
        "password_reset_confirm",
        uidb64=urlsafe_base64_encode(force_bytes(due.user.pk)),
        token=default_token_generator.make_token(due.user),
    )
    return _letter(due, due.id, due.user.email, {"link": link})


def _make_code(due: Due, address: str, code: str) -> EmailMessage:
    half = len(code) // 2
    minutes = new_addresses.LIFETIME.seconds // 60
    said = {"code": f"{code[:half]} {code[half:]}", "minutes": minutes, "link": links.link_to("preferences")}
    # Another code is another message, also where the mail server may have got the one before.
    return _letter(due, uuid4(), address, said)


def _letter(due: Due, number: UUID, address: str, said: dict[str, object]) -> EmailMessage:
    told = {"user": due.user, "host": urlsplit(approval_settings().url).hostname, **said}
    return EmailMessage(
        # A template ends with a line break, a subject must not have one.
        render_to_string(f"account/{due.kind}_subject.txt", told).strip(),
        render_to_string(f"account/{due.kind}_email.txt", told),
        to=[address],
        headers={"Message-ID": message_id(number), "Auto-Submitted": "auto-generated"},
    )
