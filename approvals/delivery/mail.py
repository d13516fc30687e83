"""Send mail within time limits. `MailCarrier` delivers letters and makes their text and token at that time.

EMAIL_TIMEOUT limits each wait for the mail server, LONGEST the whole attempt. A server that accepts a letter
but answers too late gets it again, under the same Message-ID.
"""

from __future__ import annotations

import asyncio
import smtplib
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit

from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from approvals.conf import approval_settings
from approvals.delivery import links
from approvals.waiting.outages import describe
from approvals.writer import emails
from approvals.writer.emails import Due
from approvals.writer.outboxes import Answer

# Seconds; shorter than a claim.
LONGEST = 45.0
TOO_SLOW = "The mail server did not answer in time."

NOT_SET_UP = Answer(error="SAYSO_URL is not set: no link can be made for the letter.")
NOBODY = Answer(error="The account is not active, or has no address or no password of its own.", final=True)


def send(message: EmailMessage) -> None:
    """Send the message within LONGEST seconds.

    Raises TimeoutError, OSError or smtplib.SMTPException. After a TimeoutError the server may have accepted
    it.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="sayso-mail")
    sending = thread.submit(message.send)
    thread.shutdown(wait=False)
    if not wait([sending], LONGEST).done:
        raise TimeoutError(TOO_SLOW)
    sending.result()


class MailCarrier:
    """Sends letters on threads of its own, so that a mail server that hangs blocks nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(emails.AT_ONCE, thread_name_prefix="sayso-mail")

    async def deliver(self, due: Due) -> Answer:
        if not links.are_set_up():
            return NOT_SET_UP
        if not due.user.is_active or not due.user.email or not due.user.has_usable_password():
            return NOBODY
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.get_running_loop().run_in_executor(self._threads, _send, due)
        except TimeoutError:
            return Answer(error=TOO_SLOW)
        except (smtplib.SMTPException, OSError) as error:
            return _refusal(error)
        return Answer()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _send(due: Due) -> None:
    host = urlsplit(approval_settings().url).hostname
    link = links.link_to(
        "password_reset_confirm",
        uidb64=urlsafe_base64_encode(force_bytes(due.user.pk)),
        token=default_token_generator.make_token(due.user),
    )
    told = {"user": due.user, "host": host, "link": link}
    EmailMessage(
        # A template ends with a line break, a subject must not have one.
        render_to_string(f"account/{due.kind}_subject.txt", told).strip(),
        render_to_string(f"account/{due.kind}_email.txt", told),
        to=[due.user.email],
        headers={"Message-ID": f"<{due.id}@{host}>", "Auto-Submitted": "auto-generated"},
    ).send()


def _refusal(error: Exception) -> Answer:
    """Record the server's code without its text, which names the address: the row outlives the account."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        final = all(code >= 500 for code in codes)
        return Answer(status_code=codes[0], error=f"The address was refused with {codes[0]}.", final=final)
    if isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
        # Final only if the letter itself is refused: a wrong log-in or sender can be mended.
        final = isinstance(error, smtplib.SMTPDataError) and code >= 500
        return Answer(status_code=code, error=f"The mail server answered {code}.", final=final)
    return Answer(error=describe(error))
